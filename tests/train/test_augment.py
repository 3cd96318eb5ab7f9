"""Geometry: the object is a red rectangle, and the box must stay on it in the picture."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.augment import (
    Augmentation,
    Sample,
    augment,
    box_filter,
    hsv_jitter,
    mixup,
    mosaic,
    place_centred,
    random_flips,
    random_perspective,
    warp_boxes,
)
from yolov4sdk.errors import SettingError
from yolov4sdk.imaging.preprocess import PADDING

CANVAS = (96, 128)
QUIET = Augmentation.none()
seeds = st.integers(0, 2**32 - 1)


def scene(height: int = 96, width: int = 128, box: tuple[int, ...] = (30, 20, 70, 60)) -> Sample:
    """A blue picture with one red rectangle, which is the object."""
    image = np.full((height, width, 3), (200, 60, 0), np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = (0, 0, 255)
    return Sample.of(image, np.array([box]), np.array([3]))


def red_box(image: np.ndarray) -> np.ndarray | None:
    """xyxy of all red pixels; half-red ones at an edge count as red."""
    pixels = image.astype(int)
    ys, xs = np.nonzero((pixels[..., 2] > 120) & (pixels[..., 0] < 105) & (pixels[..., 1] < 90))
    return None if len(xs) == 0 else np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])


def assert_on_object(sample: Sample, tolerance: float) -> None:
    found = red_box(sample.image)
    if len(sample.boxes) == 0:  # filtered: then hardly anything of it can be seen
        if found is not None:
            w, h = found[2:] - found[:2]
            assert min(w, h) <= 5 or w * h <= 0.35 * 40 * 40 * 2.3, found
        return
    assert found is not None
    np.testing.assert_allclose(sample.boxes[0], found, atol=tolerance)


@given(seeds, st.integers(40, 96), st.integers(40, 128))
def test_place_centred(seed: int, height: int, width: int) -> None:
    x1, y1 = np.random.default_rng(seed).integers(0, 20, 2).tolist()
    sample = place_centred(scene(height, width, (x1, y1, x1 + 15, y1 + 17)), CANVAS)
    assert sample.image.shape == (*CANVAS, 3)
    assert_on_object(sample, 0)
    assert (sample.image == PADDING).all(axis=2).sum() == 96 * 128 - height * width


@given(seeds)
def test_flips(seed: int) -> None:
    both = Augmentation(**{**vars(QUIET), "fliplr": 0.5, "flipud": 0.5})
    assert_on_object(random_flips(scene(), both, np.random.default_rng(seed)), 0)


def test_certain_flips_move_the_box() -> None:
    both = Augmentation(**{**vars(QUIET), "fliplr": 1.0, "flipud": 1.0})
    flipped = random_flips(scene(), both, np.random.default_rng(0))
    np.testing.assert_array_equal(flipped.boxes, [[58, 36, 98, 76]])


@settings(deadline=None)
@given(
    seeds,
    st.sampled_from(["degrees", "translate", "scale", "shear", "perspective", "all"]),
)
def test_random_perspective(seed: int, step: str) -> None:
    strengths = {
        "degrees": 180.0,
        "translate": 0.5,
        "scale": 0.8,
        "shear": 30.0,
        "perspective": 0.003,
    }
    strengths = strengths if step == "all" else {step: strengths[step]}
    jitter = Augmentation(**{**vars(QUIET), **strengths})
    moved = random_perspective(scene(), CANVAS, jitter, np.random.default_rng(seed))
    assert moved.image.shape == (*CANVAS, 3)
    # The tip of a turned corner is thinner than a pixel, so it is found up to 2 px short; a warp
    # that clips the object first is wider than what is left of its corners' box.
    if len(moved.boxes) and step in {"degrees", "shear", "perspective", "all"}:
        found = red_box(moved.image)
        assert found is not None
        inside = moved.boxes[0] + (-1.5, -1.5, 1.5, 1.5)
        assert (inside[:2] <= found[:2]).all() and (inside[2:] >= found[2:]).all()
        if moved.visible[0] > 0.999:
            np.testing.assert_allclose(moved.boxes[0], found, atol=3.0)
    else:
        assert_on_object(moved, 1.01)


@settings(deadline=None)
@given(seeds)
def test_mosaic_keeps_every_box_on_its_object(seed: int) -> None:
    rng = np.random.default_rng(seed)
    colors = [(0, 0, 255), (0, 255, 255), (255, 0, 255), (255, 255, 0)]
    samples = []
    for i, color in enumerate(colors):
        h, w = int(rng.integers(40, 97)), int(rng.integers(50, 129))
        x1, y1 = int(rng.integers(0, w - 20)), int(rng.integers(0, h - 20))
        image = np.full((h, w, 3), 10 * i, np.uint8)
        image[y1 : y1 + 20, x1 : x1 + 20] = color
        box = np.array([[x1, y1, x1 + 20, y1 + 20]])
        samples.append(Sample.of(image, box, np.array([i])))
    whole = mosaic(samples, CANVAS, rng)
    assert whole.image.shape == (192, 256, 3)
    for i, color in enumerate(colors):
        ys, xs = np.nonzero((whole.image == color).all(axis=2))
        boxes = whole.boxes[whole.classes == i]
        assert len(boxes) == (1 if len(xs) else 0)
        if len(xs):
            expected = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            np.testing.assert_array_equal(boxes[0], expected)
            assert whole.visible[whole.classes == i][0] == pytest.approx(len(xs) / 400)


def test_mixup_is_a_blend_and_keeps_all_boxes() -> None:
    a, b = scene(), scene(box=(5, 5, 25, 25))
    mixed = mixup(a, b, 8.0, np.random.default_rng(1))
    weight = np.random.default_rng(1).beta(8.0, 8.0)
    expected = a.image * weight + b.image * (1 - weight)
    np.testing.assert_allclose(mixed.image, expected, atol=0.51)
    np.testing.assert_array_equal(mixed.boxes, np.concatenate([a.boxes, b.boxes]))


@given(seeds)
def test_hsv_changes_colors_and_nothing_else(seed: int) -> None:
    sample = scene()
    before = sample.image.copy()
    hsv_jitter(sample.image, Augmentation(), np.random.default_rng(seed))
    blue, red = sample.image[0, 0], sample.image[40, 50]
    inside = (before == (0, 0, 255)).all(axis=2)
    assert (sample.image[inside] == red).all() and (sample.image[~inside] == blue).all()
    assert (red != blue).any()


def test_hsv_of_zero_strength_is_exact() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    before = image.copy()
    hsv_jitter(image, QUIET, np.random.default_rng(0))
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        ((10, 10, 12.0, 30), False),  # 2 px or less wide
        ((10, 10, 12.5, 30), True),
        ((-80, 10, 20, 60), False),  # exactly 20 % of the area left
        ((-79, 10, 20, 60), True),
        ((5, 10, 105, 15), False),  # aspect ratio of 20
        ((5, 10, 104, 15), True),
        ((200, 10, 230, 30), False),  # outside
    ],
)
def test_box_filter(box: tuple[float, ...], kept: bool) -> None:
    sample = Sample.of(np.zeros((*CANVAS, 3), np.uint8), np.array([box]), np.array([0]))
    assert len(box_filter(sample, CANVAS).boxes) == kept


def test_box_filter_remembers_earlier_crops() -> None:
    sample = Sample.of(np.zeros((*CANVAS, 3), np.uint8), np.array([[-20, 10, 20, 50]]), np.ones(1))
    sample.visible[:] = 0.3  # a mosaic left 30 %, the border now takes half of that
    assert len(box_filter(sample, CANVAS).boxes) == 0


@settings(deadline=None)
@given(seeds)
def test_whole_pipeline(seed: int) -> None:
    """One object in a set of four pictures; in a mosaic it may come up several times."""
    pictures = [scene(), *(scene(box=(0, 0, 0, 0)).select(np.zeros(1, bool)) for _ in range(3))]
    strengths = {**vars(QUIET), "translate": 0.4, "scale": 0.5, "fliplr": 0.5, "flipud": 0.5}
    strengths["mosaic"] = 0.5
    rng = np.random.default_rng(seed)
    sample = augment(pictures.__getitem__, 0, 4, CANVAS, Augmentation(**strengths), rng)
    assert sample.image.shape == (*CANVAS, 3)
    reds = (sample.image[..., 2] > 200) & (sample.image[..., 0] < 60)
    for x1, y1, x2, y2 in sample.boxes.tolist():
        # All but the edge, where colors mix, is on an object.
        inside = reds[math.ceil(y1) + 1 : int(y2) - 1, math.ceil(x1) + 1 : int(x2) - 1]
        assert inside.all(), "the box is not on an object"
    mosaic_drawn = np.random.default_rng(seed).random() < strengths["mosaic"]
    if not mosaic_drawn:
        assert_on_object(sample, 1.01)


def test_result_depends_on_the_generator_alone() -> None:
    def run(seed: int) -> Sample:
        strong = Augmentation(mixup=1.0, degrees=10, shear=5, perspective=0.0005)
        return augment(lambda _: scene(), 0, 9, CANVAS, strong, np.random.default_rng(seed))

    np.random.seed(1)
    random.seed(1)
    first, state = run(5), np.random.get_state()[1].copy()  # type: ignore[union-attr]
    np.random.seed(2)
    random.seed(2)
    second = run(5)
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.boxes, second.boxes)
    assert not np.array_equal(first.image, run(6).image)
    np.random.seed(1)
    assert np.array_equal(state, np.random.get_state()[1])  # type: ignore[index]


def test_inputs_are_left_alone() -> None:
    sample = scene()
    image, boxes = sample.image.copy(), sample.boxes.copy()
    for name in ("none", "mosaic"):
        chosen = QUIET if name == "none" else Augmentation()
        augment(lambda _: sample, 0, 2, CANVAS, chosen, np.random.default_rng(0))
    np.testing.assert_array_equal(sample.image, image)
    np.testing.assert_array_equal(sample.boxes, boxes)


def test_mixup_happens_only_inside_the_mosaic_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real: Callable[..., Sample] = mixup
    monkeypatch.setattr("train.augment.mixup", lambda *args: (calls.append(1), real(*args))[1])
    for strength, expected in ((0.0, 0), (1.0, 1)):
        augment(
            lambda _: scene(),
            0,
            4,
            CANVAS,
            Augmentation(mosaic=strength, mixup=1.0),
            np.random.default_rng(0),
        )
        assert len(calls) == expected


def test_warp_boxes_without_boxes() -> None:
    assert warp_boxes(np.zeros((0, 4)), np.eye(3)).shape == (0, 4)


def test_huge_perspective_does_not_fold_the_picture() -> None:
    tilt = Augmentation(**{**vars(QUIET), "perspective": 0.01})
    for seed in range(10):
        moved = random_perspective(
            scene(1200, 1600, (10, 10, 1590, 1190)), (1200, 1600), tilt, np.random.default_rng(seed)
        )
        assert np.isfinite(moved.boxes).all() and len(moved.boxes) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"mosaic": 1.1},
        {"hsv_s": -0.1},
        {"scale": 1.0},
        {"degrees": float("nan")},
        {"mixup_beta": 0},
    ],
)
def test_settings_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingError, match=next(iter(wrong))):
        Augmentation(**wrong)
