"""Small data sets in the three formats, made in a temporary folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

WIDTH, HEIGHT = 100, 80


def picture(path: Path) -> Path:
    """Write a noisy image of 80 x 100 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), noise)
    return path


@pytest.fixture
def yolo_set(tmp_path: Path) -> Callable[..., Path]:
    """Make a YOLO set from {"train": {"a": "0 .5 .5 .2 .2", "b": None}}; returns data.yaml."""

    def make(splits: dict[str, dict[str, str | None]], extra: str = "") -> Path:
        for split, files in splits.items():
            for stem, text in files.items():
                picture(tmp_path / "images" / split / f"{stem}.jpg")
                if text is not None:
                    label = tmp_path / "labels" / split / f"{stem}.txt"
                    label.parent.mkdir(parents=True, exist_ok=True)
                    label.write_text(text)
        lines = [f"{split}: images/{split}" for split in splits]
        body = "\n".join(["path: .", *lines, "names: [cat, dog]", extra])
        (tmp_path / "data.yaml").write_text(body)
        return tmp_path / "data.yaml"

    return make


@pytest.fixture
def coco_set(tmp_path: Path) -> Callable[..., Path]:
    """Make a COCO set of one image; annotations are (category, x, y, w, h, crowd)."""

    def make(annotations: Sequence[tuple[float, ...]], folder: str = "val2017") -> Path:
        picture(tmp_path / folder / "1.jpg")
        data = {
            "images": [{"id": 7, "file_name": "1.jpg", "width": WIDTH, "height": HEIGHT}],
            "categories": [{"id": 90, "name": "brush"}, {"id": 3, "name": "car"}],
            "annotations": [
                {"id": i, "image_id": 7, "category_id": c, "bbox": box, "iscrowd": crowd}
                for i, (c, *box, crowd) in enumerate(annotations)
            ],
        }
        file = tmp_path / "annotations" / "instances_val2017.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(data))
        return file

    return make


@pytest.fixture
def voc_set(tmp_path: Path) -> Callable[..., Path]:
    """Make a VOC set from {"a": [("cat", 1, 2, 30, 40), ...]}; returns the folder."""

    def make(images: dict[str, list[tuple[object, ...]]], prefix: str = "") -> Path:
        (tmp_path / "Annotations").mkdir()
        (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
        for stem, objects in images.items():
            picture(tmp_path / "JPEGImages" / f"{stem}.jpg")
            items = "".join(
                f"<object><name>{name}</name><difficult>{(*rest, 0)[0]}</difficult><bndbox>"
                f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
                "</bndbox></object>"
                for name, x1, y1, x2, y2, *rest in objects
            )
            xml = f"{prefix}<annotation>{items}</annotation>"
            (tmp_path / "Annotations" / f"{stem}.xml").write_text(xml)
        (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("\n".join(images))
        return tmp_path

    return make
