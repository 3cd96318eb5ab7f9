"""Detections: a checked value, its conversions and its table."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from yolov4sdk import Detections, errors
from yolov4sdk.detections import resolve_conf

NAMES = ("cat", "dog", "polar bear")


def some(tracks: bool = False) -> Detections:
    return Detections(
        xyxy=np.array([[10, 20, 30, 60], [0, 0, 100, 50], [5, 5, 6, 6]], np.float32),
        scores=np.array([0.9, 0.5, 0.25], np.float32),
        class_ids=np.array([1, 0, 2]),
        names=NAMES,
        image_size=(50, 100),
        track_ids=np.array([7, 8, 9]) if tracks else None,
    )


def test_boxes_in_other_forms() -> None:
    found = some()
    assert found.xywh[0].tolist() == [10, 20, 20, 40]
    assert found.cxcywh[0].tolist() == [20, 40, 20, 40]
    np.testing.assert_allclose(found.xyxy_normalised[1], [0, 0, 1, 1])
    np.testing.assert_allclose(found.cxcywh_normalised[0], [0.2, 0.8, 0.2, 0.8])
    assert found.labels == ["dog", "cat", "polar bear"]


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (0, [0.9]),
        (-1, [0.25]),
        (np.int64(1), [0.5]),
        (slice(1, None), [0.5, 0.25]),
        ([2, 0], [0.25, 0.9]),
        (np.array([True, False, True]), [0.9, 0.25]),
        ([], []),
    ],
)
def test_selection(index, expected) -> None:
    found = some(tracks=True)[index]
    np.testing.assert_allclose(found.scores, expected)
    assert len(found.track_ids) == len(found.xyxy) == len(expected)


def test_filter_iterate_compare() -> None:
    found = some()
    assert found.filter(classes=["dog", 2]).labels == ["dog", "polar bear"]
    assert found.filter(min_score=0.5).labels == ["dog", "cat"]
    assert [one.labels for one in found] == [["dog"], ["cat"], ["polar bear"]]
    assert found == some() != found[:2] and found != some(tracks=True) and found != 3
    with pytest.raises(errors.UnknownClassError, match="did you mean 'polar bear'"):
        found.filter(classes=["polarbear"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.scores = found.scores  # type: ignore[misc]


def test_json_and_coco() -> None:
    data = json.loads(some(tracks=True).to_json())
    assert data["image"] == {"height": 50, "width": 100}
    assert data["detections"][0] == {
        "name": "dog",
        "class_id": 1,
        "score": 0.9,
        "box": {"x1": 10.0, "y1": 20.0, "x2": 30.0, "y2": 60.0},
        "track_id": 7,
    }
    entries = some().to_coco(image_id=5, category_ids={0: 17, 1: 18, 2: 23})
    assert entries[0] == {
        "image_id": 5,
        "category_id": 18,
        "bbox": [10.0, 20.0, 20.0, 40.0],
        "score": 0.9,
    }
    assert [entry["category_id"] for entry in some().to_coco()] == [1, 0, 2]


def test_yolo_lines() -> None:
    assert some().to_yolo().splitlines()[0] == "1 0.200000 0.800000 0.200000 0.800000 0.900000"
    assert some().to_yolo(scores=False).splitlines()[0].count(" ") == 4


def test_supervision() -> None:
    pytest.importorskip("supervision")
    converted = some(tracks=True).to_supervision()
    assert np.array_equal(converted.xyxy, some().xyxy)
    assert converted.data["class_name"].tolist() == some().labels
    assert converted.tracker_id.tolist() == [7, 8, 9]


def test_table() -> None:
    lines = str(some()).splitlines()
    assert lines[0].split() == ["class", "score", "x1", "y1", "x2", "y2"]
    assert lines[3].split() == ["polar", "bear", "0.250", "5.0", "5.0", "6.0", "6.0"]
    assert str(some()[[]]) == "no detections in an image of 100 x 50"


def test_crop_draw_save(photos_dir: Path, tmp_path: Path) -> None:
    image = cv2.imread(str(photos_dir / "dog.jpg"))
    height, width = image.shape[:2]
    found = Detections(
        np.array([[10.2, 20, 60.5, 90], [width - 3, 0, width, 4], [50, 50, 50, 50]], np.float32),
        np.array([0.9, 0.8, 0.7], np.float32),
        np.array([0, 1, 2]),
        NAMES,
        (height, width),
    )
    crops = found.crop(image)
    assert [crop.shape for crop in crops] == [(70, 51, 3), (4, 3, 3), (1, 1, 3)]
    assert np.array_equal(crops[0], image[20:90, 10:61])
    before = image.copy()
    drawn = found.draw(photos_dir / "dog.jpg")
    assert np.array_equal(image, before)
    changed = (drawn != image).any(axis=2)
    assert changed[20, 10:60].all() and not changed[200:, 200:].any()
    path = found.save(tmp_path / "new" / "dog.png", image)
    assert np.array_equal(cv2.imread(str(path)), drawn)
    with pytest.raises(errors.SettingError, match=r"'\.xyz' is not written"):
        found.save(tmp_path / "dog.xyz", image)
    assert not (tmp_path / "dog.xyz").exists()
    with pytest.raises(errors.TensorError, match="belong to"):
        found.draw(image[:50])


def test_shapes_are_checked() -> None:
    with pytest.raises(errors.TensorError, match=r"\(2, 4\), \(1,\)"):
        Detections(
            np.zeros((2, 4), np.float32), np.zeros(1, np.float32), np.zeros(2, int), NAMES, (5, 5)
        )


def test_thresholds_by_name_or_id() -> None:
    names = ("ant", "bee", "cow")
    assert resolve_conf(0.3, names) == 0.3
    by_class = resolve_conf({"bee": 0.5, 2: 0.75}, names)
    np.testing.assert_array_equal(by_class, np.array([0.25, 0.5, 0.75], np.float32))
    others = resolve_conf({"bee": 0.5, "default": 0.125}, names)
    np.testing.assert_array_equal(others, np.array([0.125, 0.5, 0.125], np.float32))
    own = resolve_conf({"default": 0.5}, (*names, "default"))  # a class of that name
    np.testing.assert_array_equal(own, np.array([0.25, 0.25, 0.25, 0.5], np.float32))
    with pytest.raises(errors.UnknownClassError, match="did you mean 'bee'"):
        resolve_conf({"be": 0.5}, names)
    with pytest.raises(errors.SettingError, match="numbers"):
        resolve_conf({"bee": "high"}, names)  # type: ignore[dict-item]
