"""YOLO data sets with links, label files without images, and names that coincide."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from yolov4sdk.datasets import check_splits, load_dataset
from yolov4sdk.errors import DatasetError

from .conftest import picture

BOX = "0 .5 .5 .4 .4\n"


def label(path: Path, boxes: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"0 .{i + 1} .5 .1 .4\n" for i in range(boxes)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    picture(tmp_path / "ds" / "images" / "train" / "a.jpg")
    label(tmp_path / "ds" / "labels" / "train" / "a.txt")
    (tmp_path / "ds" / "data.yaml").write_text("train: images/train\nnames: [cat]")
    return tmp_path / "ds"


def test_linked_folders_are_read_once_each(folder: Path, tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / "store" / f"{number}.jpg")
    for name in ("one", "two"):
        (folder / "images" / "train" / name).symlink_to(tmp_path / "store")
        label(folder / "labels" / "train" / name / "0.txt")
    (folder / "images" / "train" / "loop").symlink_to(folder / "images" / "train")
    (tmp_path / "store" / "back").symlink_to(folder / "images")
    report = load_dataset(folder).report
    assert (report.images, report.boxes, report.missing_labels) == (7, 3, 4)


def test_a_linked_split_is_the_same_images(folder: Path) -> None:
    (folder / "images" / "val").symlink_to(folder / "images" / "train")
    (folder / "labels" / "val").symlink_to(folder / "labels" / "train")
    (folder / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat]")
    with pytest.raises(DatasetError, match="1 of 1 training images are validation images"):
        check_splits(load_dataset(folder, "train"), load_dataset(folder, "val"))


def test_a_broken_link_is_a_missing_image(folder: Path) -> None:
    (folder / "images" / "train" / "b.jpg").symlink_to(folder / "nowhere.jpg")
    label(folder / "labels" / "train" / "b.txt", 2)
    report = load_dataset(folder).report
    assert (report.missing_images, report.without_image, report.written) == (1, 2, 3)


def test_a_folder_called_like_an_image_is_a_folder(folder: Path) -> None:
    picture(folder / "images" / "train" / "d.jpg" / "c.jpg")
    label(folder / "labels" / "train" / "d.jpg" / "c.txt")
    report = load_dataset(folder).report
    assert (report.images, report.boxes, report.corrupt_images) == (2, 2, 0)


@pytest.mark.parametrize("beside", [False, True])
def test_labels_without_an_image_are_counted(folder: Path, beside: bool) -> None:
    place = folder / ("images" if beside else "labels") / "train"
    if beside:
        shutil.move(folder / "labels" / "train" / "a.txt", place / "a.txt")
    label(place / "gone.txt", 3)
    (place / "classes.txt").write_text("cat\n")
    (place / "README.txt").write_text("taken in May\n")
    report = load_dataset(folder).report
    assert (report.written, report.boxes, report.without_image) == (4, 1, 3)
    assert any("gone.txt" in note for note in report.notes)


def test_images_that_share_a_label_file_are_noted(folder: Path) -> None:
    picture(folder / "images" / "train" / "a.png")
    report = load_dataset(folder).report
    assert report.boxes == 2 and "a.png and a.jpg" in report.notes[0]


def test_a_folder_that_cannot_be_read_is_an_error(folder: Path, monkeypatch) -> None:
    real = Path.iterdir

    def iterdir(path: Path):
        if path.name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    (folder / "images" / "train" / "closed").mkdir()
    monkeypatch.setattr(Path, "iterdir", iterdir)
    with pytest.raises(DatasetError, match=r"closed cannot be read: Permission denied"):
        load_dataset(folder)


def test_valid_is_val_in_plain_folders(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        picture(tmp_path / split / "images" / f"{split}.jpg")
        label(tmp_path / split / "labels" / f"{split}.txt")
    assert [p.name for p in load_dataset(tmp_path, "val").images] == ["valid.jpg"]
