"""Data sets written in one form and read back are the same; nothing is half-written."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from yolov4sdk.cli import app
from yolov4sdk.datasets import DetectionDataset, find_splits, load_dataset, write_dataset
from yolov4sdk.datasets.cleaning import assemble
from yolov4sdk.datasets.raw import RawImage
from yolov4sdk.datasets.report import DatasetReport
from yolov4sdk.datasets.write import file_names
from yolov4sdk.errors import DatasetError, SettingError, YOLOv4Error

NAMES = ("zebra", "red & blue: <cell>", "größe", "no", "1")
"""Not in alphabetical order, and with what XML and YAML read as their own."""


def dataset(
    folder: Path, split: str, seed: int, count: int = 3, ignored: bool = True
) -> DetectionDataset:
    """Random boxes, also whole pixels and ones at the border, some ignored; one background."""
    rng = np.random.default_rng(seed)
    raw = []
    for i in range(count):
        height, width = (int(n) for n in rng.integers(20, 300, 2))
        path = folder / split / f"{split} image {i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))
        number = int(rng.integers(1, 6)) if i else 0
        corner = rng.uniform(0, (width - 4, height - 4), (number, 2))
        extent = rng.uniform(3, (width, height), (number, 2))
        boxes = np.hstack([rng.integers(0, len(NAMES), (number, 1)), corner, corner + extent])
        if i % 2:
            boxes = boxes.round()
        difficult = [bool(rng.integers(2)) and ignored and n > 0 for n in range(number)]
        raw.append(RawImage(path, boxes.tolist(), ignored=difficult))
    return assemble(raw, NAMES, split=split, source=folder, report=DatasetReport())


def assert_same(first: DetectionDataset, second: DetectionDataset, ignored: bool = True) -> None:
    assert (second.names, second.split) == (first.names, first.split)
    order = {path.stem: i for i, path in enumerate(second.images)}
    matches = [order["_".join(path.stem.split())] for path in first.images]
    assert sorted(matches) == list(range(len(second)))
    for i, j in enumerate(matches):
        assert first.images[i].read_bytes() == second.images[j].read_bytes()
        assert (first.sizes[i] == second.sizes[j]).all()
        for get in ("boxes_xyxy", "ignored_xyxy") if ignored else ("boxes_xyxy",):
            (xyxy, ids), (other, other_ids) = getattr(first, get)(i), getattr(second, get)(j)
            assert ids.tolist() == other_ids.tolist()
            np.testing.assert_allclose(xyxy, other, atol=2e-3)


@pytest.mark.parametrize("forms", list(permutations(["coco", "voc", "yolo"])), ids="-".join)
@given(seed=st.integers(0, 10_000))
@settings(
    deadline=None, max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_round_trip_through_all_forms(
    forms: tuple[str, ...], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("round")
    splits = [dataset(folder, split, seed + i, ignored=False) for i, split in enumerate(SPLITS)]
    read = splits
    for form in forms:
        assert write_dataset(read, folder / form, form) == []  # type: ignore[arg-type]
        assert find_splits(folder / form) == list(SPLITS)
        read = [load_dataset(folder / form, split) for split in SPLITS]
        assert not any(d.report.troubles or d.report.notes for d in read)
    for first, last in zip(splits, read, strict=True):
        assert_same(first, last)


SPLITS = ("train", "val", "test")


@pytest.mark.parametrize("form", ["coco", "voc"])
def test_ignored_boxes_are_kept_where_the_form_has_them(form: str, tmp_path: Path) -> None:
    made = dataset(tmp_path, "train", 3)
    assert sum(map(len, made.ignored)) > 0
    assert write_dataset([made], tmp_path / "out", form) == []  # type: ignore[arg-type]
    assert_same(made, load_dataset(tmp_path / "out", "train"))


def test_yolo_says_that_ignored_boxes_are_left_out(tmp_path: Path) -> None:
    made = dataset(tmp_path, "train", 3)
    (note,) = write_dataset([made], tmp_path / "out", "yolo")
    assert note.startswith(f"{sum(map(len, made.ignored))} crowd or difficult boxes left out")
    assert_same(made, load_dataset(tmp_path / "out", "train"), ignored=False)


def test_yolo_keeps_what_float32_holds(tmp_path: Path) -> None:
    write_dataset([dataset(tmp_path, "train", 5, 20)], tmp_path / "a", "yolo")
    once = load_dataset(tmp_path / "a", "train")
    write_dataset([once], tmp_path / "b", "yolo")
    twice = load_dataset(tmp_path / "b", "train")
    for first, second in zip(once.boxes, twice.boxes, strict=True):
        np.testing.assert_allclose(first, second, rtol=0, atol=1e-7)  # of the image's side


def test_coco_ids_are_contiguous_from_one(tmp_path: Path) -> None:
    write_dataset([dataset(tmp_path, "val", 1)], tmp_path / "out", "coco")
    data = json.loads((tmp_path / "out" / "annotations" / "instances_val.json").read_text())
    for key in ("images", "annotations", "categories"):
        assert [entry["id"] for entry in data[key]] == list(range(1, len(data[key]) + 1))


@pytest.mark.parametrize("how", ["copy", "symlink", "hardlink"])
def test_images_are_linked_or_copied(how: str, tmp_path: Path) -> None:
    made = dataset(tmp_path, "train", 1)
    write_dataset([made], tmp_path / "out", "coco", how)  # type: ignore[arg-type]
    there = tmp_path / "out" / "images" / "train" / "train_image_0.png"
    assert there.is_symlink() == (how == "symlink")
    assert there.samefile(made.images[0]) == (how != "copy")
    assert there.read_bytes() == made.images[0].read_bytes()


def test_file_names_never_collide() -> None:
    paths = [Path(p) for p in ("/a/x.jpg", "/b/x.jpg", "/c/b/x.png", "/b/b_x.jpg", "/e/.X Y.jpg")]
    names = file_names(paths)
    assert list(names.values()) == ["x.jpg", "b_x.jpg", "x_2.png", "b_b_x.jpg", "X_Y.jpg"]


def test_equal_names_in_two_splits(tmp_path: Path) -> None:
    """Only VOC, which has one folder for all images, has to rename."""
    splits = [dataset(tmp_path, "train", 1), dataset(tmp_path, "val", 2)]
    for path in splits[1].images:
        path.rename(path.with_name(path.name.replace("val", "train")))
    splits[1].images[:] = [p.with_name(p.name.replace("val", "train")) for p in splits[1].images]
    for form, name in (("yolo", "train_image_1"), ("coco", "train_image_1"),
                       ("voc", "val_train_image_1")):  # fmt: skip
        write_dataset(splits, tmp_path / form, form)  # type: ignore[arg-type]
        read = load_dataset(tmp_path / form, "val")
        assert name in [path.stem for path in read.images]
        assert read.report.boxes == splits[1].report.boxes


def test_nothing_is_left_of_a_failed_write(tmp_path: Path) -> None:
    made = dataset(tmp_path, "train", 1)
    made.images[2].unlink()
    with pytest.raises(DatasetError, match="train image 2"):
        write_dataset([made], tmp_path / "deep" / "out", "voc")
    assert list((tmp_path / "deep").iterdir()) == []


def convert(*words: object) -> tuple[int, str]:
    run = CliRunner().invoke(app, ["data", "convert", *map(str, words)])
    if run.exception and not isinstance(run.exception, SystemExit):
        assert isinstance(run.exception, YOLOv4Error)
        return 2, str(run.exception)
    return run.exit_code, " ".join(run.output.split())


def test_convert_command(voc_set, tmp_path: Path) -> None:
    source = voc_set({"a": [("cat", 1, 2, 30, 40)], "b": [("dog", 5, 6, 70, 80)]})
    lists = source / "ImageSets" / "Main"
    for listing in lists.iterdir():
        listing.unlink()
    (lists / "trainval.txt").write_text("a\n")
    (lists / "test.txt").write_text("b\n")
    code, words = convert(
        source, tmp_path / "y", "--format", "yolo", "--split", "train=trainval, test"
    )
    assert code == 0 and "train: 1 images" in words
    assert find_splits(tmp_path / "y") == ["train", "test"]
    code, words = convert(source, tmp_path / "y", "--format", "coco")
    assert code == 2 and "holds something already" in words
    code, words = convert(source, tmp_path / "z", "--format", "yolo", "--split", "trainval")
    assert code == 2 and "such as train=trainval" in words
    code, words = convert(source, tmp_path / "z", "--format", "pascal")
    assert code == 2 and "'voc'" in words
    assert not (tmp_path / "z").exists()


@pytest.mark.parametrize("make", ["missing", "empty", "text"])
def test_convert_refuses_what_is_no_data_set(make: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    if make == "empty":
        source.mkdir()
    if make == "text":
        source = tmp_path / "notes.md"
        source.write_text("no data")
    code, words = convert(source, tmp_path / "out", "--format", "coco")
    assert code == 2 and str(source) in words
    assert not (tmp_path / "out").exists()


def test_splits_must_belong_together(tmp_path: Path) -> None:
    made = dataset(tmp_path, "train", 1)
    with pytest.raises(DatasetError, match="written once"):
        write_dataset([made, made], tmp_path / "out", "coco")
    other = dataset(tmp_path, "val", 1).with_names(("extra", *NAMES))
    with pytest.raises(DatasetError, match="differ"):
        write_dataset([made, other], tmp_path / "out", "coco")
    with pytest.raises(SettingError, match="images must be"):
        write_dataset([made], tmp_path / "out", "coco", "move")  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match="no split"):
        write_dataset([], tmp_path / "out", "coco")
