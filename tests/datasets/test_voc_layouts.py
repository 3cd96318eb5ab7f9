"""Where PASCAL VOC labels lie, and how their lists name images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from yolov4sdk.datasets import find_splits, load_dataset
from yolov4sdk.errors import DatasetError

from .conftest import picture


def annotate(path: Path, name: str = "cat", file: str = "", boxes: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    items = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{10 * i + 1}</xmin><ymin>5</ymin>"
        f"<xmax>{10 * i + 9}</xmax><ymax>40</ymax></bndbox></object>"
        for i in range(boxes)
    )
    path.write_text(f"<annotation><filename>{file}</filename>{items}</annotation>")


def folder_of(root: Path, stems: dict[str, str], listing: str) -> Path:
    for stem, name in stems.items():
        picture(root / "JPEGImages" / f"{stem}.jpg")
        annotate(root / "Annotations" / f"{stem}.xml", name)
    (root / "ImageSets" / "Main").mkdir(parents=True)
    (root / "ImageSets" / "Main" / "train.txt").write_bytes(listing.encode())
    return root


@pytest.mark.parametrize(
    ("listing", "stems"),
    [
        ("a\na 1\na (copy)\n b \n", ["a", "a 1", "a (copy)", " b "]),
        ("a 1\r\na\r\n", ["a 1", "a"]),
        ("a (copy) -1\na  1\n", ["a (copy)", "a"]),  # a list of one class
        ("a\t 1\na (copy)\t-1\n", ["a", "a (copy)"]),
        ("a.jpg\na 1.jpg\n", ["a", "a 1"]),
        ("sub/c\nsub\\d\n", ["sub/c", "sub/d"]),
    ],
)
def test_names_in_lists(tmp_path: Path, listing: str, stems: list[str]) -> None:
    names = ["a", "a 1", "a (copy)", " b ", "sub/c", "sub/d"]
    folder = folder_of(tmp_path, dict.fromkeys(names, "cat"), listing)
    dataset = load_dataset(folder)
    found = [
        p.relative_to(folder / "JPEGImages").with_suffix("").as_posix() for p in dataset.images
    ]
    assert found == stems and dataset.report.boxes == len(stems)


def test_a_listed_image_that_is_missing_is_named(tmp_path: Path) -> None:
    report = load_dataset(folder_of(tmp_path, {"a": "cat"}, "a\nnot there\n")).report
    assert report.missing_images == 1
    assert report.files["missing_images"] == [str(tmp_path / "JPEGImages" / "not there.jpg")]


def test_names_do_not_leave_the_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="leaves the data set"):
        load_dataset(folder_of(tmp_path, {"a": "cat"}, "../../secret\n"))


def test_two_images_of_one_name(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"a": "cat"}, "a\n")
    picture(folder / "JPEGImages" / "a.png")
    annotate(folder / "Annotations" / "a.xml", file="a.png")
    dataset = load_dataset(folder)
    assert [p.name for p in dataset.images] == ["a.png"] and "such as a" in dataset.report.notes[0]


@pytest.mark.parametrize("images", ["{}", "{}/images", "images/{}"])
@pytest.mark.parametrize("labels", [None, "Annotations", "labels"])
def test_xml_beside_images(tmp_path: Path, images: str, labels: str | None) -> None:
    if labels and images == "{}":
        pytest.skip("no folder of images to be replaced")
    for split, name in (("train", "cat"), ("valid", "dog")):
        place = tmp_path / images.format(split)
        picture(place / f"{split}.jpg")
        where = tmp_path / images.format(split).replace("images", labels) if labels else place
        annotate(where / f"{split}.xml", name)
    dataset = load_dataset(tmp_path, "train")
    assert dataset.names == ("cat", "dog") and dataset.report.class_counts == {"cat": 1, "dog": 0}
    assert load_dataset(tmp_path, "val").report.class_counts == {"cat": 0, "dog": 1}
    assert find_splits(tmp_path) == ["train", "val"]


def test_xml_without_its_image_is_counted(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "a.jpg")
    annotate(tmp_path / "train" / "a.xml")
    annotate(tmp_path / "train" / "gone.xml", boxes=3)
    report = load_dataset(tmp_path, "train").report
    assert (report.written, report.boxes, report.without_image) == (4, 1, 3)
    assert any("gone.xml" in note for note in report.notes)


def test_a_data_yaml_of_xml_labels_says_so(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.jpg")
    annotate(tmp_path / "images" / "a.xml")
    (tmp_path / "data.yaml").write_text("train: images\nnames: [cat]")
    with pytest.raises(DatasetError, match=r"no YOLO labels, but PASCAL VOC labels .*a\.xml"):
        load_dataset(tmp_path / "data.yaml")


def test_a_devkit_holds_voc_folders(tmp_path: Path) -> None:
    folder_of(tmp_path / "VOCdevkit" / "VOC2007", {"a": "cat"}, "a\n")
    for top in (tmp_path, tmp_path / "VOCdevkit"):
        np.testing.assert_equal(load_dataset(top).report.boxes, 1)
    folder_of(tmp_path / "VOCdevkit" / "VOC2012", {"b": "dog"}, "b\n")
    with pytest.raises(DatasetError, match=r"several PASCAL VOC folders .*VOC2007.*VOC2012"):
        load_dataset(tmp_path / "VOCdevkit")
