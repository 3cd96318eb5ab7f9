"""Letterbox: exact inverse, padding, and agreement of its two shapes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolov4sdk.errors import EmptyImageError, InputSizeError
from yolov4sdk.imaging.preprocess import PADDING, letterbox, letterbox_plan, to_input

SIDES = st.integers(1, 5000)


@settings(max_examples=400, deadline=None)
@given(height=SIDES, width=SIDES, size=st.sampled_from([64, 320, 640, 1536]), rect=st.booleans())
def test_boxes_survive_the_round_trip(height: int, width: int, size: int, rect: bool) -> None:
    plan = letterbox_plan((height, width), (size, size), rectangular=rect)
    boxes = np.array([[0, 0, width, height], [width * 0.25, height * 0.5, width * 0.75, height]])
    canvas = plan.to_canvas(boxes)
    assert canvas.min() >= 0
    assert (canvas <= np.array([plan.canvas[1], plan.canvas[0]] * 2) + 1e-3).all()
    np.testing.assert_allclose(plan.to_source(canvas), boxes, rtol=1e-5, atol=2e-3)


@settings(max_examples=400, deadline=None)
@given(height=SIDES, width=SIDES, rect=st.booleans())
def test_plan_keeps_the_aspect_and_fits(height: int, width: int, rect: bool) -> None:
    plan = letterbox_plan((height, width), (640, 640), rectangular=rect)
    (rh, rw), (top, left), (ch, cw) = plan.resized, plan.pad, plan.canvas
    assert min(top, left) >= 0 and top + rh <= ch and left + rw <= cw
    assert max(rh, rw) == 640
    assert abs(rh - height * 640 / max(height, width)) <= 1
    assert abs(rw - width * 640 / max(height, width)) <= 1
    assert abs((ch - rh - top) - top) <= 1 and abs((cw - rw - left) - left) <= 1
    if rect:
        assert ch % 32 == 0 and cw % 32 == 0 and ch - rh < 32 and cw - rw < 32
    else:
        assert (ch, cw) == (640, 640)


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 700), width=st.integers(1, 700))
def test_picture_lands_where_the_plan_says(height: int, width: int) -> None:
    image = np.full((height, width, 3), 200, np.uint8)
    plan = letterbox_plan((height, width), (320, 320))
    canvas = letterbox(image, plan)
    rows = slice(plan.pad[0], plan.pad[0] + plan.resized[0])
    columns = slice(plan.pad[1], plan.pad[1] + plan.resized[1])
    assert (canvas[rows, columns] == 200).all()
    canvas[rows, columns] = PADDING
    assert (canvas == PADDING).all()


def test_out_is_written_in_place() -> None:
    batch = np.zeros((2, 320, 320, 3), np.uint8)
    image = np.random.default_rng(0).integers(0, 256, (99, 200, 3), np.uint8)
    plan = letterbox_plan((99, 200), (320, 320))
    result = letterbox(image, plan, batch[1])
    assert np.shares_memory(result, batch)
    assert np.array_equal(batch[1], letterbox(image, plan)) and not batch[0].any()


@pytest.mark.parametrize("bgr", [True, False])
def test_to_input(bgr: bool) -> None:
    canvas = np.random.default_rng(0).integers(0, 256, (2, 32, 64, 3), np.uint8)
    rgb = canvas[..., ::-1] if bgr else canvas
    planes = to_input(canvas, "float_nchw", bgr=bgr)
    assert planes.dtype == np.float32 and planes.shape == (2, 3, 32, 64)
    np.testing.assert_allclose(planes, rgb.transpose(0, 3, 1, 2) / 255, atol=1e-7)
    assert np.array_equal(to_input(canvas, "uint8_nhwc", bgr=bgr), rgb)


def test_bad_sizes() -> None:
    with pytest.raises(EmptyImageError):
        letterbox_plan((0, 10), (320, 320))
    with pytest.raises(InputSizeError, match=r"multiples of 64.*\(576, 640\) or \(640, 640\)"):
        letterbox_plan((10, 10), (600, 640), stride=64)
