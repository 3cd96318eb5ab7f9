"""Regions keep the boxes inside, whatever the polygon."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolov4sdk import Detections
from yolov4sdk.errors import SettingError
from yolov4sdk.results.regions import Regions

SIZE = (100, 200)


def at(*points: tuple[float, float]) -> Detections:
    """Boxes of 8 x 8 pixels around points (x, y)."""
    centres = np.array(points, np.float32).reshape(-1, 2)
    xyxy = np.concatenate((centres - 4, centres + 4), axis=1)
    n = len(points)
    return Detections(xyxy, np.full(n, 0.5, np.float32), np.zeros(n, np.int64), ("a",), SIZE)


@given(
    corners=st.tuples(
        st.integers(0, 90), st.integers(0, 40), st.integers(100, 200), st.integers(50, 100)
    ),
    points=st.lists(st.tuples(st.integers(4, 196), st.integers(4, 96)), max_size=20),
)
def test_a_rectangle_is_a_comparison(
    corners: tuple[int, int, int, int], points: list[tuple[int, int]]
) -> None:
    left, top, right, bottom = corners
    polygon = [(left, top), (right, top), (right, bottom), (left, bottom)]
    expected = [left <= x <= right and top <= y <= bottom for x, y in points]
    found = at(*points)
    assert Regions([polygon]).inside(found).tolist() == expected
    assert Regions(ignore=[polygon]).inside(found).tolist() == [not e for e in expected]
    fractions = np.array(polygon) / (200, 100)
    near = Regions([fractions], normalised=True).inside(found)
    on_edge = [x in (left, right) or y in (top, bottom) for x, y in points]
    assert all(a == b or e for a, b, e in zip(near, expected, on_edge, strict=True))


def test_several_regions_ignored_parts_and_a_mask() -> None:
    found = at((10, 10), (50, 50), (150, 50), (190, 90))
    left, right = [(0, 0), (99, 0), (99, 99), (0, 99)], [(101, 0), (199, 0), (199, 99), (101, 99)]
    mask = np.zeros(SIZE, bool)
    mask[80:, 180:] = True
    kept = Regions([left, right], [[(0, 0), (20, 0), (0, 20)]], mask)(found)
    assert kept == found[[1, 2]]
    assert Regions()(found) == found
    assert len(Regions([left])(at())) == 0


def test_the_anchor_is_the_centre_or_the_feet() -> None:
    below = [(0, 53), (200, 53), (200, 100), (0, 100)]
    assert len(Regions([below])(at((50, 50)))) == 0
    assert len(Regions([below], anchor="bottom")(at((50, 50)))) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"include": [[(0, 0), (1, 1)]]}, "three or more points"),
        ({"ignore": [[(0, 0), (1, 1)]]}, "three or more points"),
        ({"include": [[0, 1, 2]]}, "three or more points"),
        ({"include": [[(0, 0, 0)] * 3]}, "three or more points"),
        ({"include": [["a", "b", "c"]]}, "three or more points"),
        ({"include": [[(0, 0), (1, 1), (np.nan, 2)]]}, "finite"),
        ({"include": [[(0, 0), (1, 1), (2, 2)]]}, "no area"),
        ({"include": [[(0, 0), (2, 0), (0, 2)]], "normalised": True}, "0..1"),
        ({"mask": np.zeros((4, 4, 3), np.uint8)}, "mask is bool or uint8"),
        ({"anchor": "top"}, "anchor must be"),
    ],
)
def test_wrong_regions(options: dict[str, object], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        Regions(**options)  # type: ignore[arg-type]


def test_a_mask_of_another_size() -> None:
    with pytest.raises(SettingError, match="the image"):
        Regions(mask=np.zeros((9, 9), bool))(at((5, 5)))
