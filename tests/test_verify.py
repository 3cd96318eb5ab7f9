"""The comparator: what counts as an error, in every form of outputs, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolov4sdk.backends import Outputs
from yolov4sdk.contract.spec import ModelSpec, OutputForm
from yolov4sdk.errors import SettingError, TensorError
from yolov4sdk.measure.verify import (
    Agreement,
    Result,
    box_error,
    compare,
    compare_artefacts,
    error,
    run,
)
from yolov4sdk.results.postprocess import nms

SPEC = ModelSpec(
    architecture="yolov4-csp-n", names=("a", "b"), strides=(8,), anchors=(((8.0, 8.0),),)
)


def full(images: int = 2, boxes: int = 40, classes: int = 2, seed: int = 0) -> Result:
    """Boxes that do not overlap, with scores far apart from one another."""
    rng = np.random.default_rng(seed)
    corner = np.stack((np.arange(boxes) * 30.0, rng.uniform(0, 99, boxes)), axis=-1)
    xyxy = np.concatenate((corner, corner + 20), axis=-1)
    scores = rng.permuted(np.linspace(0.01, 0.99, images * boxes * classes))
    return Result(
        Outputs(
            np.stack([xyxy] * images).astype(np.float32),
            scores.reshape(images, boxes, classes).astype(np.float32),
        ),
        "full",
    )


def reduced(result: Result, rows: int, form: OutputForm) -> Result:
    """The best rows of each image, as a reduced graph gives them."""
    parts = []
    for boxes, scores in zip(result.outputs.boxes, result.outputs.scores, strict=True):
        conf = 0.25 if form == "nms" else 0.0
        xyxy, score, ids = nms(boxes, scores, conf=conf, iou=1.0, max_det=rows)
        missing = rows - len(score)
        parts.append(
            (
                np.pad(xyxy, ((0, missing), (0, 0))),
                np.pad(score, (0, missing)),
                np.pad(ids, (0, missing)),
            )
        )
    return Result(Outputs(*(np.stack(p) for p in zip(*parts, strict=True))), form)


def shifted(result: Result, boxes: float = 0.0, scores: float = 0.0) -> Result:
    outputs = result.outputs
    moved = (outputs.scores + scores * (outputs.scores != 0)).astype(np.float32)
    return Result(
        Outputs((outputs.boxes + boxes).astype(np.float32), moved, outputs.class_ids), result.form
    )


def test_errors_of_elements() -> None:
    a, b = np.float32([0.5, 2, -100]), np.float32([0.25, 3, -90])
    np.testing.assert_allclose(error(a, b), [0.25, 0.5, 0.1])
    box = np.float32([[0, 0, 100, 50]])
    np.testing.assert_allclose(box_error(box, box + 1), np.full((1, 4), 0.01))


@pytest.mark.parametrize("form", ["full", "topk", "nms"])
def test_nothing_differs(form: OutputForm) -> None:
    result = full()
    other = result if form == "full" else reduced(result, 40 if form == "nms" else 30, form)
    for pair in ((result, other), (other, result), (other, other)):
        found = compare(*pair)
        assert (found.boxes_max, found.scores_max, found.unmatched) == (0, 0, 0)
        assert found.images == 2 and found.detections > 20 and found.matched == 1


@given(boxes=st.floats(0, 0.5, width=32), scores=st.floats(0, 0.00390625, width=32))
@pytest.mark.parametrize("form", ["full", "topk", "nms"])
def test_known_differences(form: OutputForm, boxes: float, scores: float) -> None:
    """Scores are 0.0062 apart: a smaller shift changes no order."""
    result = full()
    other = shifted(
        result if form == "full" else reduced(result, 40 if form == "nms" else 30, form),
        boxes,
        scores,
    )
    found = compare(result, other, conf=0.2499)
    assert found.scores_max == pytest.approx(scores, abs=1e-6)
    assert found.boxes_max <= boxes + 1e-4 and found.boxes_max >= boxes / 1220 - 1e-4
    assert found.boxes_mean <= found.boxes_max and found.scores_mean <= found.scores_max + 1e-7


def test_a_lost_detection_counts() -> None:
    result = full(images=1)
    other = reduced(result, 40, "nms")
    best = compare(result, other).detections
    other.outputs.scores[0, 3] = 0
    found = compare(result, other)
    assert (found.detections, found.unmatched) == (best, 1)
    assert found.matched == pytest.approx(1 - 1 / best)
    assert compare(other, result).unmatched == 1  # and one too many as well


def test_a_wrong_class_is_no_match() -> None:
    result = full(images=1)
    other = reduced(result, 40, "nms")
    assert other.outputs.class_ids is not None
    other.outputs.class_ids[0, 0] ^= 1
    assert compare(result, other).unmatched == 1


def test_order_of_equal_scores_does_not_count() -> None:
    result = full(images=1)
    result.outputs.scores[...] = 0.5
    top = reduced(result, 40, "topk")
    turned = Result(Outputs(*(part[:, ::-1] for part in top.outputs)), "topk")  # type: ignore[index]
    assert compare(result, turned).boxes_max == 0


def test_nothing_found_on_either_side() -> None:
    quiet = shifted(full(), scores=-0.99)
    found = compare(quiet, reduced(quiet, 5, "nms"))
    assert (found.detections, found.matched, found.boxes_max) == (0, 1.0, 0)


def test_nan_shows() -> None:
    result = full()
    other = shifted(result)
    other.outputs.boxes[0, 0, 0] = np.nan
    assert np.isnan(compare(result, other).boxes_max)


@pytest.mark.parametrize("other", [full(images=1), full(boxes=41), full(classes=3)])
def test_shapes_that_do_not_belong_together(other: Result) -> None:
    with pytest.raises(TensorError):
        compare(full(), other)


class Fake:
    """Says something that depends on the pixels; remembers the batches it got."""

    def __init__(self, spec: ModelSpec = SPEC, offset: float = 0.0) -> None:
        self.spec = spec
        self.offset = offset
        self.shapes: list[tuple[int, ...]] = []

    def infer(self, batch: np.ndarray[Any, Any]) -> Outputs:
        self.shapes.append(batch.shape)
        scale = 255 if batch.dtype == np.uint8 else 1
        level = batch.reshape(len(batch), -1).mean(axis=1).astype(np.float32) / scale
        boxes = np.tile(np.float32([10, 10, 20, 20]), (len(batch), 1, 1)) + self.offset
        return Outputs(boxes.astype(np.float32), np.stack([level, level / 2], axis=-1)[:, None])


def canvases(count: int) -> np.ndarray[Any, Any]:
    return np.stack([np.full((32, 64, 3), 40 * i + 10, np.uint8) for i in range(count)])


@pytest.mark.parametrize(
    ("fixed", "asked", "batches"), [(None, 1, [1] * 5), (None, 2, [2, 2, 1]), (4, 1, [4, 4])]
)
def test_run_cuts_batches(fixed: int | None, asked: int, batches: list[int]) -> None:
    fake = Fake(SPEC.replace(batch=fixed))
    result = run(fake, canvases(5), asked)
    assert [shape[0] for shape in fake.shapes] == batches
    assert {shape[1:] for shape in fake.shapes} == {(3, 32, 64)}
    np.testing.assert_allclose(
        result.outputs.scores[:, 0, 0], (np.arange(5) * 40 + 10) / 255, rtol=1e-5
    )


def test_artefacts_against_the_first() -> None:
    pixels = SPEC.replace(input_form="uint8_nhwc", input_size=(32, 64), dynamic_size=False)
    fakes = [Fake(), Fake(pixels), Fake(offset=2.0)]
    same, moved = compare_artefacts(fakes, list(canvases(3)))
    assert isinstance(same, Agreement) and same.images == 3
    assert same.scores_max < 1e-6 and same.boxes_max == 0
    assert moved.boxes_max == pytest.approx(0.1)
    assert {shape[1:] for shape in fakes[0].shapes} == {(3, 32, 64)}  # the fixed one decides
    assert {"boxes_max", "matched"} <= set(moved.to_dict())


@pytest.mark.parametrize(
    ("specs", "size", "message"),
    [
        ([SPEC], None, "at least two artefacts"),
        ([SPEC, SPEC.replace(names=("a", "c"))], None, "different classes"),
        (
            [
                SPEC.replace(dynamic_size=False),
                SPEC.replace(dynamic_size=False, input_size=(64, 64)),
            ],
            None,
            r"\(64, 64\), \(640, 640\)",
        ),
        ([SPEC, SPEC.replace(dynamic_size=False)], (64, 64), "different sizes"),
    ],
)
def test_refused(specs: list[ModelSpec], size: tuple[int, int] | None, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        compare_artefacts([Fake(spec) for spec in specs], list(canvases(1)), size=size)
