"""NMS against a plain reference on random boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolov4sdk.errors import SettingError
from yolov4sdk.results.postprocess import box_iou, nms, suppress


def reference(boxes, scores, conf, iou, max_det, classes, agnostic, multi_label):
    """The definition, word for word, one pair at a time."""
    candidates = []
    for row in range(len(boxes)):
        ids = range(scores.shape[1]) if multi_label else [int(scores[row].argmax())]
        candidates += [(row, c) for c in ids if scores[row, c] > conf]
    if classes is not None:
        candidates = [(row, c) for row, c in candidates if c in classes]
    candidates.sort(key=lambda rc: -scores[rc])
    kept: list[tuple[int, int]] = []
    for row, c in candidates:
        if not any(
            (agnostic or c == other) and box_iou(boxes[[row]], boxes[[k]])[0, 0] > iou
            for k, other in kept
        ):
            kept.append((row, c))
    kept = kept[:max_det]
    rows, ids = [r for r, _ in kept], [c for _, c in kept]
    return boxes[rows], scores[rows, ids], np.array(ids, np.int64)


def random_boxes(rng: np.random.Generator, n: int, nc: int, spread: float):
    centre = rng.uniform(0, spread, (n, 2))
    size = rng.uniform(5, 60, (n, 2))
    boxes = np.concatenate((centre - size / 2, centre + size / 2), axis=1).astype(np.float32)
    scores = rng.uniform(0, 1, (n, nc)).astype(np.float32) ** 2
    return boxes, np.round(scores, 2)  # rounded: equal scores must not upset the order


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 240),
    nc=st.integers(1, 5),
    spread=st.sampled_from([20.0, 150.0, 1e4]),
    conf=st.sampled_from([0.0, 0.25, 0.9]),
    iou=st.sampled_from([0.0, 0.45, 0.65, 1.0]),
    max_det=st.sampled_from([1, 7, 300]),
    classes=st.sampled_from([None, [0], [1, 2]]),
    agnostic=st.booleans(),
    multi_label=st.booleans(),
)
def test_equals_the_reference(
    seed, n, nc, spread, conf, iou, max_det, classes, agnostic, multi_label
):
    boxes, scores = random_boxes(np.random.default_rng(seed), n, nc, spread)
    options = dict(
        conf=conf, iou=iou, max_det=max_det, classes=classes,
        agnostic=agnostic, multi_label=multi_label,
    )  # fmt: skip
    for ours, plain in zip(
        nms(boxes, scores, **options), reference(boxes, scores, **options), strict=True
    ):
        assert np.array_equal(ours, plain)


@pytest.mark.parametrize("agnostic", [False, True])
def test_equals_the_reference_of_many_boxes(agnostic: bool) -> None:
    boxes, scores = random_boxes(np.random.default_rng(1), 400, 2, 120)
    options = dict(
        conf=0.01, iou=0.5, max_det=10**6, classes=None, agnostic=agnostic, multi_label=False
    )
    for ours, plain in zip(
        nms(boxes, scores, **options), reference(boxes, scores, **options), strict=True
    ):
        assert np.array_equal(ours, plain)


def test_answer_does_not_depend_on_place() -> None:
    """A fixed class offset would fail here: the boxes lie further out than it."""
    boxes, scores = random_boxes(np.random.default_rng(2), 100, 3, 100)
    near = nms(boxes, scores, conf=0.1)
    far = nms(boxes + np.float32(8192), scores, conf=0.1)
    assert np.array_equal(near[1], far[1]) and np.array_equal(near[2], far[2])


def test_rows_that_are_no_boxes_are_left_out() -> None:
    boxes = np.array([[0, 0, 10, 10], [np.nan, 0, 10, 10], [20, 20, 30, 30]], np.float32)
    scores = np.array([[0.9], [0.8], [np.nan]], np.float32)
    assert nms(boxes, scores)[0].tolist() == [[0, 0, 10, 10]]


def test_reduced_form_equals_the_full_one() -> None:
    boxes, scores = random_boxes(np.random.default_rng(3), 200, 4, 200)
    full = nms(boxes, scores, conf=0.3)
    best = scores.argmax(axis=1)
    reduced = suppress(boxes, scores.max(axis=1), best, conf=0.3)
    assert all(np.array_equal(a, b) for a, b in zip(full, reduced, strict=True))


@pytest.mark.parametrize("option", [{"conf": 1.5}, {"iou": -0.1}, {"max_det": 0}])
def test_thresholds_out_of_range(option) -> None:
    with pytest.raises(SettingError):
        nms(np.zeros((0, 4), np.float32), np.zeros((0, 1), np.float32), **option)


@pytest.mark.parametrize("multi_label", [False, True])
@given(seed=st.integers(0, 10_000), agnostic=st.booleans())
@settings(deadline=None)
def test_thresholds_by_class(multi_label: bool, seed: int, agnostic: bool) -> None:
    """A class's own threshold does what leaving its weak candidates out does."""
    rng = np.random.default_rng(seed)
    boxes, scores = random_boxes(rng, 60, 3, 150)
    conf = rng.uniform(0, 0.8, 3).astype(np.float32)
    options = {"iou": 0.45, "max_det": 300, "agnostic": agnostic}
    found = nms(boxes, scores, conf=conf, multi_label=multi_label, **options)
    rows, ids = np.nonzero(scores >= 0) if multi_label else (np.arange(60), scores.argmax(1))
    strong = scores[rows, ids] > conf[ids]
    rows, ids = rows[strong], ids[strong]
    expected = suppress(boxes[rows], scores[rows, ids], ids, **options)
    for one, other in zip(found, expected, strict=True):
        assert (one == other).all()
    reduced = suppress(boxes, scores.max(1), scores.argmax(1), conf=conf, **options)
    if not multi_label:
        assert all((a == b).all() for a, b in zip(found, reduced, strict=True))


def test_wrong_thresholds_by_class() -> None:
    boxes, scores = random_boxes(np.random.default_rng(0), 5, 2, 50)
    with pytest.raises(SettingError, match="conf"):
        nms(boxes, scores, conf=np.array([0.5, 1.5], np.float32))
