"""Classes of a model and of data under different names, in `evaluate` and in `val --map`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from yolov4sdk.backends.base import Outputs
from yolov4sdk.datasets import DetectionDataset, load_dataset
from yolov4sdk.errors import DatasetError, SettingError, UnknownClassError
from yolov4sdk.measure.classes import parse_map, share_classes
from yolov4sdk.measure.evaluation import evaluate

from .test_evaluation import Finder


@pytest.fixture
def dataset(tmp_path: Path) -> DetectionDataset:
    """Red and green rectangles, called rouge and vert, and a class without boxes."""
    for i in range(3):
        image = np.full((120, 160, 3), (255, 0, 0), np.uint8)
        image[10:50, 10:60] = (0, 0, 255)
        image[60:100, 80:150] = (0, 255, 0)
        cv2.imwrite(str(tmp_path / f"{i}.png"), image)
        rows = (
            f"0 {115 / 160} {80 / 120} {70 / 160} {40 / 120}\n1 {35 / 160} .25 {50 / 160} {1 / 3}\n"
        )
        (tmp_path / f"{i}.txt").write_text(rows)
    (tmp_path / "classes.txt").write_text("vert\nrouge\nrare\n")
    return load_dataset(tmp_path)


class ManyClasses(Finder):
    """The finder of red and green, in a model of five classes that also sees what is not there."""

    def __init__(self, reduced: bool = False) -> None:
        super().__init__(names=("bus", "red", "scarlet", "green", "tree"))
        self._reduced = reduced

    def infer(self, batch: np.ndarray) -> Outputs:
        boxes, scores, _ = super().infer(batch)
        wide = np.zeros((*scores.shape[:2], 5), np.float32)
        wide[..., [1, 3]] = scores
        wide[..., 2] = scores[..., 0] * 0.5  # scarlet: as red, less sure
        wide[..., [0, 4]] = 0.99  # classes that the data do not have
        if not self._reduced:
            return Outputs(boxes, wide, None)
        flat = wide.reshape(len(wide), -1)
        ids = np.tile(np.arange(5), boxes.shape[1])
        return Outputs(
            np.repeat(boxes, 5, axis=1), flat, np.broadcast_to(ids, flat.shape).astype(np.int64)
        )


MAP = {"red": "rouge", "scarlet": "rouge", "green": "vert"}


@pytest.mark.parametrize("reduced", [False, True])
def test_mapped_classes_are_measured_alone(dataset: DetectionDataset, reduced: bool) -> None:
    result = evaluate(ManyClasses(reduced), dataset, size=160, class_map=MAP)
    assert result.names == ("rouge", "vert") == result.dataset.names
    assert result.ap50 > 0.99 and result.boxes == 6
    assert result.confusion.tolist() == [[3, 0, 0], [0, 3, 0], [0, 0, 0]]
    rare, ignored = result.notes
    assert "does not know rare" in rare
    assert ignored == (
        "2 of the model's 5 classes are not in the data set and are ignored: bus, tree"
    )
    assert result.to_dict()["notes"] == result.notes


def test_same_names_leave_no_note(dataset: DetectionDataset) -> None:
    shared, same = share_classes(dataset.names, dataset)
    assert shared.same and same is dataset and not shared.notes()
    turned, other = share_classes(dataset.names[::-1], dataset)
    assert turned.same and other.names == dataset.names[::-1] and not turned.notes()


@pytest.mark.parametrize(
    ("renamed", "error", "message"),
    [
        ({}, SettingError, "no class in common; map names"),
        ({"red": "rouge"}, DatasetError, "labels vert, which is not among"),
        ({"rot": "rouge"}, UnknownClassError, "the model has no class 'rot' to map; it has bus"),
        (
            {"red": "roug"},
            UnknownClassError,
            "the data set has no class 'roug' to map; it has vert",
        ),
    ],
)
def test_what_is_refused(
    dataset: DetectionDataset, renamed: dict[str, str], error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        evaluate(ManyClasses(), dataset, size=160, class_map=renamed)


def test_a_function_has_no_names(dataset: DetectionDataset) -> None:
    with pytest.raises(SettingError, match="class_map needs a backend"):
        evaluate(lambda images: (images, images), dataset, class_map={"a": "b"})


def test_the_commands_form() -> None:
    assert parse_map(["potted plant=pottedplant", "a = b"]) == {
        "potted plant": "pottedplant",
        "a": "b",
    }
    for wrong in (["a"], ["=b"], ["a="], ["a=b", "a=c"]):
        with pytest.raises(SettingError, match="model name=data name"):
            parse_map(wrong)
