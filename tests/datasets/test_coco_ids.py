"""COCO files in which ids, names or boxes are not as they should be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from yolov4sdk.datasets import load_dataset
from yolov4sdk.errors import DatasetError

from .conftest import HEIGHT, WIDTH, picture

CATEGORIES = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]


def image(number: Any, name: str) -> dict[str, Any]:
    return {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT}


def box(number: Any, image: Any, category: Any = 1, x: float = 10, **more: Any) -> dict[str, Any]:
    entry = {"id": number, "image_id": image, "category_id": category, "bbox": [x, 10, 30, 30]}
    return {k: v for k, v in {**entry, **more}.items() if v is not None}


def write(
    folder: Path,
    images: list[dict[str, Any]],
    boxes: list[Any],
    categories: list[dict[str, Any]] = CATEGORIES,
) -> Path:
    for entry in images:
        picture(folder / "train" / entry["file_name"])
    file = folder / "instances_train.json"
    content = {"images": images, "annotations": boxes, "categories": categories}
    file.write_text(json.dumps(content))
    return file


def test_an_image_id_of_two_files_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, [image(1, "a.jpg"), image(1, "b.jpg")], [box(1, 1)])
    with pytest.raises(DatasetError, match=r"image id 1 is used twice, for a\.jpg and b\.jpg"):
        load_dataset(file)


def test_an_image_listed_twice_with_one_id_is_one(tmp_path: Path) -> None:
    file = write(tmp_path, [image(1, "a.jpg"), image(1, "a.jpg")], [box(1, 1)])
    assert load_dataset(file).report.class_counts == {"cat": 1, "dog": 0}


def test_a_file_under_two_ids_keeps_all_boxes(tmp_path: Path) -> None:
    boxes = [box(1, 1), box(2, 2, 2, 40, iscrowd=1), box(3, 2, 2, 50)]
    dataset = load_dataset(write(tmp_path, [image(1, "a.jpg"), image(2, "a.jpg")], boxes))
    assert dataset.report.class_counts == {"cat": 1, "dog": 1} and dataset.report.ignored == 1
    assert "a.jpg" in dataset.report.notes[0] and dataset.image_ids == [1]


def test_a_category_id_of_two_names_is_refused(tmp_path: Path) -> None:
    categories = [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}]
    file = write(tmp_path, [image(1, "a.jpg")], [box(1, 1)], categories)
    with pytest.raises(DatasetError, match="category id 1 is used twice, for 'cat' and 'dog'"):
        load_dataset(file)
    same = write(tmp_path, [image(1, "a.jpg")], [box(1, 1)], [*CATEGORIES, CATEGORIES[0]])
    assert load_dataset(same).names == ("cat", "dog")


def test_annotation_ids_that_repeat_are_noted(tmp_path: Path) -> None:
    report = load_dataset(write(tmp_path, [image(1, "a.jpg")], [box(5, 1), box(5, 1, 2)])).report
    assert report.boxes == 2 and "such as 5" in report.notes[0]


@pytest.mark.parametrize(("listed", "named"), [("1", 1), (1, "1"), ("one", "one"), (1.0, "1")])
def test_ids_as_text(tmp_path: Path, listed: Any, named: Any) -> None:
    file = write(tmp_path, [image(listed, "a.jpg")], [box(1, named, "2")])
    assert load_dataset(file).report.class_counts == {"cat": 0, "dog": 1}


def test_text_and_number_of_one_id_are_one_id(tmp_path: Path) -> None:
    file = write(tmp_path, [image("1", "a.jpg"), image(1, "b.jpg")], [box(1, 1)])
    with pytest.raises(DatasetError, match="used twice"):
        load_dataset(file)


def test_a_polygon_gives_its_box(tmp_path: Path) -> None:
    shape = [[20, 20, 50, 25, 30, 60], [10, 30, 12, 40]]
    for empty in (None, []):
        entry = box(1, 1, bbox=empty, segmentation=shape)
        dataset = load_dataset(write(tmp_path, [image(1, "a.jpg")], [entry]))
        np.testing.assert_allclose(dataset.boxes_xyxy(0)[0], [[10, 20, 50, 60]], atol=1e-4)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (box(7, 1, bbox=None), "annotation 7 breaks the COCO format: it has no bbox and no segm"),
        (
            box(7, 1, bbox=None, segmentation={"counts": "x"}),
            "a mask that is not a poly",
        ),
        (box(7, 1, bbox=None, segmentation=[[1]]), "too few points"),
        (box(7, 1, bbox=[1, 2, 3]), r"bbox must be \[x, y, width, height\], got \[1, 2, 3\]"),
        (box(7, 1, bbox="1 2 3 4"), "bbox must be numbers"),
        (box(7, 1, bbox=[1, None, 3, 4]), "bbox must be numbers"),
        (box(7, None), "image_id must be a whole number, got None"),
        (box(7, 1, category_id=True), "category_id must be a whole number, got True"),
        (box(7, 1, 9), "category 9, which is not among the 2 categories"),
        ("box", "annotation breaks the COCO format: expected an object, got 'box'"),
    ],
)
def test_messages_name_the_entry(tmp_path: Path, entry: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        load_dataset(write(tmp_path, [image(1, "a.jpg")], [entry]))
    assert "Error(" not in str(caught.value)


def test_folders_of_windows(tmp_path: Path) -> None:
    file = write(tmp_path, [image(1, "sub/a.jpg")], [box(1, 1)])
    file.write_text(file.read_text().replace("sub/a.jpg", r"sub\\a.jpg"))
    assert load_dataset(file).images == [tmp_path / "train" / "sub" / "a.jpg"]


def test_orphans_are_counted_with_an_example(tmp_path: Path) -> None:
    report = load_dataset(write(tmp_path, [image(1, "a.jpg")], [box(1, 1), box(2, 99)])).report
    assert (report.written, report.boxes, report.without_image) == (2, 1, 1)
    assert any("image 99" in note for note in report.notes)


def test_the_ids_and_areas_of_the_file_are_kept(tmp_path: Path) -> None:
    boxes = [box(1, 9, area=5.0), box(2, 9, 2, 50), box(3, 7, 2, area=-1)]
    dataset = load_dataset(write(tmp_path, [image(9, "a.jpg"), image(7, "b.jpg")], boxes))
    assert dataset.image_ids == [9, 7] and dataset.category_ids == {"cat": 1, "dog": 2}
    np.testing.assert_array_equal(np.concatenate(dataset.areas), [5, np.nan, np.nan])
    assert dataset.subset([1]).image_ids == [7]
    assert dataset.keep_classes(["dog"]).areas[0].tolist() != [5.0]
    assert len(dataset.keep_classes(["dog"]).areas[0]) == 1
