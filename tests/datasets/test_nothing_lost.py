"""Data sets with random damage: boxes read + boxes reported as dropped = boxes written, always."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolov4sdk.datasets import load_dataset
from yolov4sdk.errors import DatasetError

from .test_headers import exif

Row = tuple[int, float, float, float, float, bool]  # class, corners in pixels, ignored
NAMES = ("cat", "dog", "1.10")
DAMAGE = ("none", "none", "missing", "corrupt", "listed twice", "size", "turned")
WHOLE = ("no readable image", "no labels at all", "holds no images", "were not found")
STEMS = ("a", "a 1", "a (copy)", "b.c", "sub/d", "é")


@dataclass
class Image:
    """What is written for one image, before damage."""

    stem: str
    width: int
    height: int
    rows: list[Row]
    damage: str = "none"
    label_width: int = 0
    label_height: int = 0

    @property
    def file(self) -> str:
        return f"{self.stem}.{'jpg' if self.damage == 'turned' else 'png'}"


def make_image(random: np.random.Generator, stem: str) -> Image:
    """Boxes of all kinds, and damage to the image or to how it is listed."""
    width, height = (int(n) for n in random.integers(20, 60, 2))
    rows: list[Row] = []
    for _ in range(int(random.integers(0, 5))):
        x1, x2 = random.uniform(-5, width + 5, 2).round(2).tolist()
        y1, y2 = random.uniform(-5, height + 5, 2).round(2).tolist()
        rows.append((int(random.integers(3)), x1, y1, x2, y2, bool(random.random() < 0.2)))
    if rows and random.random() < 0.4:
        rows.append(rows[0])
    if random.random() < 0.2:
        rows.append((0, float("nan"), 1, 9, 9, False))
    damage = str(
        random.choice(["none", "none", "missing", "corrupt", "listed twice", "size", "turned"])
    )
    image = Image(stem, width, height, rows, damage, width, height)
    if damage == "size":
        factor = int(random.choice([1, 2, 3]))
        image.label_width, image.label_height = random.permutation(
            [width * factor, height * int(random.choice([1, factor]))]
        ).tolist()
    return image


def draw(folder: Path, image: Image, orientation: int = 6) -> None:
    """The image file, as its damage says; one that EXIF turns is labelled as it is stored."""
    path = folder / image.file
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((image.height, image.width, 3), np.uint8)
    data = cv2.imencode(path.suffix, pixels)[1].tobytes()
    if image.damage == "turned":
        data = data[:2] + exif(orientation, "<") + data[2:]
    if image.damage != "missing":
        path.write_bytes(data[:40] if image.damage == "corrupt" else data)


def write_yolo(folder: Path, images: list[Image]) -> int:
    """Returns the boxes written."""
    listing = []
    for image in images:
        draw(folder / "images", image)
        label = folder / "labels" / f"{image.stem}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        lines = []
        for c, x1, y1, x2, y2, _ in image.rows:
            box = (x1 + x2) / 2 / image.width, (y1 + y2) / 2 / image.height
            lines.append(f"{c} {box[0]} {box[1]} {(x2 - x1) / image.width} "
                         f"{(y2 - y1) / image.height}\n")  # fmt: skip
        label.write_text("".join(lines))
        listing += [f"images/{image.file}"] * (2 if image.damage == "listed twice" else 1)
    (folder / "list.txt").write_text("\n".join(listing))
    train = "list.txt" if len(images) % 2 else "images"
    names = "".join(f"  '{i}': {name}\n" for i, name in enumerate(NAMES))
    (folder / "data.yaml").write_text(f"train: {train}\nnames:\n{names}")
    return sum(len(image.rows) for image in images)


def shape_of(x1: float, y1: float, x2: float, y2: float, row: int) -> dict[str, object]:
    """A box or, for every third one, a polygon without it."""
    if row % 3 == 2:
        return {"segmentation": [[x1, y1, x2, y1, x2, y2]]}
    return {"bbox": [x1, y1, x2 - x1, y2 - y1]}


def write_coco(folder: Path, images: list[Image]) -> int:
    """Some ids as text, some images under two ids, some boxes of unlisted images."""
    entries, annotations = [], []
    for number, image in enumerate(images, 1):
        draw(folder / "train", image)
        key = str(number) if number % 3 == 0 else number
        entry = {"id": key, "file_name": image.file,
                 "width": image.label_width, "height": image.label_height}  # fmt: skip
        entries.append(entry)
        second = number
        if image.damage == "listed twice":
            second = 100 + number
            entries.append({**entry, "id": second})
        for row, (c, x1, y1, x2, y2, crowd) in enumerate(image.rows):
            annotations.append(
                {"id": len(annotations) % 7, "image_id": second if row % 2 else number,
                 "category_id": c + 5, "iscrowd": int(crowd), **shape_of(x1, y1, x2, y2, row)}
            )  # fmt: skip
    annotations += [{"id": 1, "image_id": 999, "category_id": 5, "bbox": [1, 1, 5, 5]}] * 2
    categories = [{"id": i + 5, "name": name} for i, name in enumerate(NAMES)]
    content = {"images": entries, "annotations": annotations, "categories": categories}
    (folder / "instances_train.json").write_text(json.dumps(content))
    return len(annotations)


def xml_of(image: Image) -> str:
    items = "".join(
        f"<object><name>{NAMES[c]}</name><difficult>{int(difficult)}</difficult><bndbox>"
        f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for c, x1, y1, x2, y2, difficult in image.rows
    )
    size = f"<width>{image.label_width}</width><height>{image.label_height}</height>"
    return f"<annotation><size>{size}</size>{items}</annotation>"


def write_voc(folder: Path, images: list[Image]) -> int:
    lines = []
    for image in images:
        draw(folder / "JPEGImages", image)
        label = folder / "Annotations" / f"{image.stem}.xml"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(xml_of(image))
        lines += [image.stem] * (2 if image.damage == "listed twice" else 1)
    (folder / "JPEGImages").mkdir(exist_ok=True)
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("\n".join(lines), encoding="utf-16")
    return sum(len(image.rows) for image in images)


def write_voc_beside(folder: Path, images: list[Image]) -> int:
    for image in images:
        draw(folder / "train", image)
        label = folder / "train" / f"{image.stem}.xml"
        label.write_text(xml_of(image))
    return sum(len(image.rows) for image in images)


@pytest.mark.parametrize(
    "write", [write_yolo, write_coco, write_voc, write_voc_beside], ids=lambda w: w.__name__[6:]
)
@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_every_box_is_read_or_reported(
    write: Callable[[Path, list[Image]], int], seed: int
) -> None:
    random = np.random.default_rng(seed)
    stems = random.permutation(STEMS)[: int(random.integers(1, len(STEMS) + 1))].tolist()
    images = [make_image(random, stem) for stem in stems]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        written = write(folder, images)
        try:
            dataset = load_dataset(folder, "train")
        except DatasetError as error:
            # Refused as a whole: nothing readable is left.
            assert any(text in str(error) for text in WHOLE)
            return
    report = dataset.report
    read = sum(map(len, dataset.boxes)) + sum(map(len, dataset.ignored))
    assert report.boxes + report.ignored == read
    assert read + report.degenerate + report.duplicates + report.without_image == written
    assert report.written == written
    for kind, count in report.troubles.items():  # each kind names an example
        assert report.files[kind], (kind, count)
    gone = sum(image.damage in ("missing", "corrupt") for image in images)
    listed = report.missing_images + report.corrupt_images
    assert listed == gone or write in (write_yolo, write_voc_beside)  # folders list what is there
