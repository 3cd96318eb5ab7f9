"""Letterbox: exact inverse, padding, and agreement of its two shapes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolov4sdk.contract.contract import InputContract, Resize
from yolov4sdk.errors import EmptyImageError, InputSizeError, SpecError
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


DECLARED = {
    "letterbox": ((Resize()), ((48, 64), (8, 0))),
    "top left": ((Resize("letterbox-top-left")), ((48, 64), (0, 0))),
    "stretch": ((Resize("stretch")), ((64, 64), (0, 0))),
    "margin": ((Resize(margin=4)), ((45, 60), (9, 2))),
}


@pytest.mark.parametrize("name", DECLARED)
def test_declared_resizes(name: str) -> None:
    resize, (resized, pad) = DECLARED[name]
    plan = letterbox_plan((75, 100), (64, 64), resize=resize)
    assert (plan.resized, plan.pad, plan.canvas) == (resized, pad, (64, 64))
    canvas = letterbox(np.full((75, 100, 3), 200, np.uint8), plan, resize=replace(resize, pad=7))
    inside = canvas[pad[0] : pad[0] + resized[0], pad[1] : pad[1] + resized[1]]
    assert (inside == 200).all() and (canvas == 7).sum() == canvas.size - inside.size
    box = np.array([[10, 10, 50, 50]], np.float32)
    np.testing.assert_allclose(plan.to_source(plan.to_canvas(box)), box, atol=1e-4)


def test_sides_are_rounded_as_declared() -> None:
    down = Resize("letterbox-top-left", rounding="down")
    assert letterbox_plan((333, 500), (416, 416), resize=down).resized == (277, 416)
    assert letterbox_plan((334, 500), (416, 416), resize=down).resized == (277, 416)
    assert letterbox_plan((334, 500), (416, 416)).resized == (278, 416)


def test_the_shortest_side_is_scaled() -> None:
    resize = Resize("shortest-side", shortest=800, longest=1333)
    plan = letterbox_plan((480, 640), (800, 800), stride=1, resize=resize)
    assert plan.resized == plan.canvas == (800, 1067)
    plan = letterbox_plan((400, 1600), (800, 800), stride=32, resize=resize)
    assert (plan.resized, plan.canvas) == ((333, 1333), (352, 1344))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("color", ["RGB", "BGR"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_declared_inputs(layout: str, color: str, dtype: str) -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    taken = InputContract(layout=layout, color=color, dtype=dtype, mean=mean, std=std)  # type: ignore[arg-type]
    canvas = np.random.default_rng(0).integers(0, 256, (2, 32, 64, 3), np.uint8)
    for bgr in (True, False):
        ordered = canvas if bgr == (color == "BGR") else canvas[..., ::-1]
        expected = (ordered / 255 - np.array(mean)) / np.array(std)
        if layout == "NCHW":
            expected = expected.transpose(0, 3, 1, 2)
        found = to_input(canvas, taken, bgr=bgr)
        assert found.dtype == dtype and found.shape == taken.shape(2, (32, 64))
        np.testing.assert_allclose(
            found, expected, rtol=1e-3, atol=1e-3 if dtype == "float16" else 1e-5
        )


def test_a_uint8_input_is_not_scaled() -> None:
    taken = InputContract(dtype="uint8", scale=1.0)
    canvas = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    planes = to_input(canvas, taken, bgr=True)
    np.testing.assert_array_equal(planes, canvas[..., ::-1].transpose(0, 3, 1, 2))
    with pytest.raises(SpecError, match="takes pixels as they are"):
        InputContract(dtype="uint8")
