"""Repair of boxes, and the counts of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolov4sdk.datasets.cleaning import clean_boxes
from yolov4sdk.datasets.dataset import to_pixels
from yolov4sdk.datasets.raw import RawImage
from yolov4sdk.datasets.report import DatasetReport

SIZE = (80, 100)


def clean(
    rows: list[tuple[float, ...]], ignored: tuple[bool, ...] = ()
) -> tuple[np.ndarray, DatasetReport]:
    report = DatasetReport()
    boxes, *_ = clean_boxes(RawImage(Path("a.jpg"), rows, ignored=ignored), SIZE, report)
    return boxes, report


@pytest.mark.parametrize(
    ("row", "pixels", "troubles"),
    [
        ((1, 10, 20, 30, 60), (10, 20, 30, 60), {}),
        ((1, 30, 60, 10, 20), (10, 20, 30, 60), {"inverted": 1}),
        ((1, 30, 20, 10, 60), (10, 20, 30, 60), {"inverted": 1}),
        ((1, -5, 20, 30, 99), (0, 20, 30, 80), {"clipped": 1}),
        ((1, 0, 0, 100, 80), (0, 0, 100, 80), {}),
        ((1, 10, 20, 11.5, 60), None, {"degenerate": 1}),  # under 2 px
        ((1, 10, 20, 12, 60), (10, 20, 12, 60), {}),  # 2 px stay
        ((1, 99, 20, 130, 60), None, {"degenerate": 1}),  # under 2 px after clipping
        ((1, 200, 20, 230, 60), None, {"degenerate": 1}),  # outside
        ((1, float("nan"), 20, 30, 60), None, {"degenerate": 1}),
        ((1, 10, 20, float("inf"), 60), None, {"degenerate": 1}),
    ],
)
def test_one_box(
    row: tuple[float, ...], pixels: tuple[float, ...] | None, troubles: dict[str, int]
) -> None:
    boxes, report = clean([row])
    assert report.troubles == troubles
    xyxy, ids = to_pixels(boxes, np.array(SIZE, np.int32))
    if pixels is None:
        assert len(boxes) == 0
    else:
        np.testing.assert_allclose(xyxy, [pixels], atol=1e-4)
        assert ids.tolist() == [1]


def test_duplicates_are_of_class_and_box() -> None:
    a, b = (0, 10, 10, 30, 30), (1, 10, 10, 30, 30)
    boxes, report = clean([a, b, a, (0, 30, 30, 10, 10)])
    assert boxes[:, 0].tolist() == [0, 1]
    assert report.duplicates == 2 and report.inverted == 1


def test_ignored_boxes_are_kept_apart() -> None:
    report = DatasetReport()
    rows = [(0, 10, 10, 30, 30), (0, 40, 10, 60, 30)]
    boxes, crowd, *_ = clean_boxes(RawImage(Path("a"), rows, ignored=(False, True)), SIZE, report)
    assert len(boxes) == len(crowd) == report.ignored == 1
    assert crowd[0, 1] == pytest.approx(0.5)


numbers = st.floats(allow_nan=True, allow_infinity=True, width=32)
rows = st.lists(st.tuples(st.integers(0, 3), numbers, numbers, numbers, numbers), max_size=8)


@given(rows)
def test_whatever_comes_in_what_goes_out_is_sound(raw: list[tuple[float, ...]]) -> None:
    boxes, report = clean(raw)
    assert boxes.dtype == np.float32 and boxes.shape == (len(boxes), 5)
    assert len(boxes) + report.degenerate + report.duplicates == len(raw)
    assert np.isfinite(boxes).all()
    xyxy, _ = to_pixels(boxes, np.array(SIZE, np.int32))
    assert (xyxy >= -1e-3).all() and (xyxy <= np.array([100, 80, 100, 80]) + 1e-3).all()
    assert (xyxy[:, 2:] - xyxy[:, :2] >= 2 - 1e-2).all()
    again, second = clean([(row[0], *box) for row, box in zip(boxes, xyxy, strict=True)])
    assert second.troubles.get("inverted") is None and len(again) <= len(boxes)
