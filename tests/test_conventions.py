"""Contracts and conventions: declared inputs and outputs become images' boxes, without our form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from yolov4sdk import Detector, errors
from yolov4sdk.contract.contract import (
    ExtraInput,
    GraphContract,
    InputContract,
    OutputContract,
    OutputTensor,
    Resize,
    float_input,
    own_output,
)
from yolov4sdk.contract.spec import ModelInfo, ModelSpec
from yolov4sdk.conventions import Convention, Outputs, conventions, decode, register
from yolov4sdk.conventions.base import roles

from .support.graphs import constant_graph

onnx = pytest.importorskip("onnx")


# A toy family: one packed output [B, 2 + C + 2, N] of centre, scores and size as fractions.


def toy_decode(tensors: Any, contract: GraphContract, size: tuple[int, int]) -> Outputs:
    rows = tensors["packed"]
    height, width = size
    scale = np.array([width, height, width, height], np.float32)
    centre, scores, sides = rows[..., :2], rows[..., 2:-2], rows[..., -2:]
    boxes = np.concatenate((centre - sides / 2, centre + sides / 2), axis=-1) * scale
    return Outputs(boxes.astype(np.float32), scores)


TOY = Convention(
    "toy",
    "a toy of the tests",
    "this file",
    OutputContract(
        "toy",
        (OutputTensor("packed", position=0, axes="BCN", columns=("box", "scores")),),
        classes=2,
        box="cxcywh",
        unit="fraction",
        rows=3,
    ),
    toy_decode,
    InputContract(
        name="pixels", color="BGR", scale=1.0, size=(64, 96), dynamic=False,
        resize=Resize("letterbox-top-left", pad=0, rounding="down"),
        extra=(ExtraInput("original", "size_wh", "int64"),),
    ),
)  # fmt: skip


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of the toy family; its row is in the registry for one test."""
    monkeypatch.setitem(conventions(), "toy", TOY)
    assert register(TOY) is conventions()["toy"]
    assert TOY.input is not None
    spec = ModelSpec.of(
        ModelInfo("unknown", ("ant", "bee")), GraphContract(TOY.input, TOY.output, 1)
    )
    rows = (
        np.array(  # centre x, y, scores of ant and bee, width, height; the third lies on a lesser
            [
                [0.25, 0.5, 0.9, 0.1, 0.25, 0.5],
                [0.625, 0.5, 0.0, 0.8, 0.25, 0.25],
                [0.25, 0.5, 0.6, 0.0, 0.25, 0.5],
            ],
            np.float32,
        )
    )
    return constant_graph(
        tmp_path / "toy.onnx", spec, {"whatever": rows.T[None]},
        {"pixels": (onnx.TensorProto.FLOAT, [1, 3, 64, 96]),
         "original": (onnx.TensorProto.INT64, [1, 2])},
    )  # fmt: skip


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_toy_convention_is_one_row(toy: Path, backend: str) -> None:
    with Detector(toy, backend=backend, device="cpu") as detector:
        assert (detector.spec.outputs, detector.spec.contract.output.rows) == ("full", 3)
        found = detector(np.zeros((32, 48, 3), np.uint8))  # twice as large in the canvas
    assert found.labels == ["ant", "bee"]
    np.testing.assert_allclose(found.scores, [0.9, 0.8])
    np.testing.assert_allclose(found.xyxy, [[6, 8, 18, 24], [24, 12, 36, 20]], atol=1e-4)


def test_an_unknown_convention_is_named(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(conventions(), "toy")
    with (
        Detector(toy, device="cpu") as detector,
        pytest.raises(errors.SettingError, match=r"no convention 'toy'; .*full, .*nms, .*topk"),
    ):
        detector(np.zeros((32, 48, 3), np.uint8))


def test_every_row_says_where_its_facts_are_from() -> None:
    for name, row in conventions().items():
        assert row.name == name == row.output.convention
        assert row.title and row.source


def test_own_outputs_pass_as_they_are() -> None:
    boxes, scores = np.zeros((2, 5, 4), np.float32), np.zeros((2, 5, 3), np.float32)
    contract = GraphContract(float_input(), own_output("full", 3))
    found = decode({"scores": scores, "boxes": boxes}, contract, (64, 64))
    assert found.boxes is boxes and found.scores is scores and found.class_ids is None


@pytest.mark.parametrize(
    ("boxes", "scores", "labels"),
    [
        ((1, 7, 4), (1, 7, 5), None),  # five columns, three names
        ((1, 7, 4), (1, 6, 3), None),
        ((1, 7, 5), (1, 7, 3), None),
        ((1, 7, 4), (1, 7), np.full((1, 7), 3)),  # class 3 of 0 to 2
        ((1, 7, 4), (1, 7), np.zeros((1, 6))),
    ],
)
def test_outputs_that_do_not_fit_the_names_are_refused(
    boxes: Any, scores: Any, labels: Any
) -> None:
    contract = GraphContract(float_input(), own_output("full" if labels is None else "topk", 3, 7))
    raw = {"boxes": np.zeros(boxes, np.float32), "scores": np.zeros(scores, np.float32)}
    if labels is not None:
        raw["class_ids"] = labels.astype(np.int64)
    with pytest.raises(errors.TensorError, match="does not fit its spec"):
        decode(raw, contract, (64, 64))


def output(*tensors: OutputTensor, grid: tuple[tuple[int, int], ...] = ()) -> OutputContract:
    return OutputContract("full", tensors, classes=3, grid=grid)


@pytest.mark.parametrize(
    ("axes", "shape", "rows"),
    [
        ("BNC", (2, 5, 4), (2, 5, 4)),
        ("BCN", (2, 4, 5), (2, 5, 4)),
        ("BN1C", (2, 5, 1, 4), (2, 5, 4)),
        ("11NC", (1, 1, 5, 7), (1, 5, 7)),
        ("NC", (5, 7), (1, 5, 7)),
        ("N", (5,), (1, 5)),
        ("BAHWC", (2, 3, 4, 6, 8), (2, 72, 8)),
        ("BCHW", (2, 8, 4, 6), (2, 24, 8)),
        ("BHWK", (2, 4, 6, 24), (2, 72, 8)),
    ],
)
def test_axes_become_rows(axes: str, shape: tuple[int, ...], rows: tuple[int, ...]) -> None:
    declared = output(OutputTensor("boxes", position=0, axes=axes), grid=((8, 3),))
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    found = roles({"x": array}, declared)["boxes"]
    assert found.shape == rows
    if axes == "BHWK":  # anchors outermost, then the rows of cells, as our own decoders have it
        again = array.reshape(2, 4, 6, 3, 8)
        np.testing.assert_array_equal(found[0, 24 + 7], again[0, 1, 1, 1])


def test_levels_are_joined_in_order() -> None:
    declared = output(
        OutputTensor("scores", "b", axes="BHWC", level=0),
        OutputTensor("scores", "a", axes="BHWC", level=1),
    )
    raw = {"a": np.zeros((1, 1, 1, 3), np.float32), "b": np.ones((1, 2, 2, 3), np.float32)}
    assert roles(raw, declared)["scores"][0, :, 0].tolist() == [1, 1, 1, 1, 0]


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (OutputTensor("boxes", "box"), r"no output 'box' \(boxes\); it has x"),
        (OutputTensor("boxes", position=1), r"no output 1 \(boxes\)"),
        (OutputTensor("boxes", "x", axes="BN1C"), r"shape \(1, 2, 4\), declared are the axes BN1C"),
        (OutputTensor("boxes", "x", axes="1NC"), None),
        (OutputTensor("boxes", "x", axes="B1C"), "declared are the axes B1C"),
    ],
)
def test_outputs_that_are_not_the_declared_ones(tensor: OutputTensor, message: str | None) -> None:
    raw = {"x": np.zeros((1, 2, 4), np.float32)}
    if message is None:
        assert roles(raw, output(tensor))["boxes"].shape == (1, 2, 4)
        return
    with pytest.raises(errors.TensorError, match=message):
        roles(raw, output(tensor))


def test_extra_inputs_keep_boxes_in_input_pixels() -> None:
    taken = float_input(
        extra=(
            ExtraInput("scale_factor", "scale"), ExtraInput("sizes", "size_wh", "int64"),
            ExtraInput("pixel_mask", "mask", "int64", (64, 64)),
        )
    )  # fmt: skip
    feeds = taken.feeds(np.zeros((2, 3, 64, 96), np.float32))
    assert list(feeds) == ["images", "scale_factor", "sizes", "pixel_mask"]
    assert feeds["scale_factor"].tolist() == [[1, 1]] * 2
    assert feeds["sizes"].tolist() == [[96, 64]] * 2 and feeds["sizes"].dtype == np.int64
    assert feeds["pixel_mask"].shape == (2, 64, 64) and feeds["pixel_mask"].all()


def test_an_image_without_a_batch_axis() -> None:
    taken = InputContract(layout="CHW")
    assert taken.feeds(np.zeros((1, 3, 32, 64), np.float32))["images"].shape == (3, 32, 64)


def test_rows_are_counted_in_one_place() -> None:
    full = own_output("full", 80, grid=((8, 3), (16, 3), (32, 3)))
    assert full.count((640, 640)) == 25200
    assert full.count((64, 96)) == 3 * (8 * 12 + 4 * 6 + 2 * 3)
    assert own_output("topk", 80, 100).count((640, 640)) == 100
    assert own_output("full", 80).count((640, 640)) is None
