"""Every option of the ONNX export, run in ONNX Runtime against torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from export import export_model
from tests.support.forms import raw
from yolov4sdk.backends import load_backend
from yolov4sdk.contract.onnx_header import read_onnx_spec
from yolov4sdk.errors import TensorError
from yolov4sdk.models import Model
from yolov4sdk.models.official import import_official
from yolov4sdk.results.postprocess import nms

from .conftest import (
    Exporter,
    images,
    largest_box_error,
    largest_error,
    onnx_of,
    planar,
    tiny,
    torch_outputs,
)

FLEXIBLE = {"batch": None, "dynamic": True}
SIZES = [(64, 64), (8, 8), (8, 72), (40, 24)]


def operators(graph: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in graph.graph.node}


def test_plain_graph(exporter: Exporter, model: Model) -> None:
    result = exporter()
    with load_backend(result.path, device="cpu") as backend:
        for seed in range(3):
            batch = images(1, 64, 64, seed)
            boxes, scores = torch_outputs(model, batch)
            outputs = backend.infer(planar(batch))
            assert outputs.class_ids is None
            assert outputs.boxes.dtype == outputs.scores.dtype == np.float32
            assert largest_box_error(outputs.boxes, boxes) < 1e-4
            assert largest_error(outputs.scores, scores) < 1e-5
            assert scores.max() > 0.5 > 0.1 > scores.min()  # the scores say something


def test_structure(exporter: Exporter, model: Model) -> None:
    graph = onnx_of(exporter().path)
    onnx.checker.check_model(graph, full_check=True)
    found = operators(graph)
    assert not found & {"BatchNormalization", "Mish", "Softplus", "Range", "Shape"}
    assert not graph.functions
    assert [(o.domain, o.version) for o in graph.opset_import] == [("", 18)]
    assert graph.producer_name == "yolov4sdk"
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*graph.graph.input, *graph.graph.output)
    }
    assert shapes == {
        "images": [1, 3, 64, 64],
        "boxes": [1, 2 * (16 * 16 + 8 * 8), 4],
        "scores": [1, 2 * (16 * 16 + 8 * 8), 3],
    }


def test_the_spec_travels(exporter: Exporter, model: Model) -> None:
    result = exporter()
    spec = read_onnx_spec(result.path)
    assert spec == result.spec
    assert spec.names == model.spec.names and spec.anchors == model.spec.anchors
    assert (spec.input_size, spec.dynamic_size, spec.batch) == ((64, 64), False, 1)
    flexible = read_onnx_spec(exporter(nms=True, conf=0.3, max_det=50, **FLEXIBLE).path)
    assert (flexible.dynamic_size, flexible.batch) == (True, None)
    assert (flexible.outputs, flexible.topk) == ("nms", 50)
    assert flexible.provenance["nms"] == "conf 0.3, iou 0.45"


def test_no_paths_of_the_machine_travel(exporter: Exporter) -> None:
    assert str(Path(__file__).parents[2]).encode() not in exporter().path.read_bytes()


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("size", SIZES)
def test_any_size_and_batch(
    exporter: Exporter, model: Model, size: tuple[int, int], batch: int
) -> None:
    pixels = images(batch, *size)
    boxes, scores = torch_outputs(model, pixels)
    with load_backend(exporter(**FLEXIBLE).path, device="cpu") as backend:
        outputs = backend.infer(planar(pixels))
    assert outputs.boxes.shape == boxes.shape and outputs.scores.shape == scores.shape
    assert largest_box_error(outputs.boxes, boxes) < 1e-4
    assert largest_error(outputs.scores, scores) < 1e-5


def test_axes_have_names(exporter: Exporter) -> None:
    graph = onnx_of(exporter(**FLEXIBLE).path).graph
    axes = [
        [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*graph.input, *graph.output)
    ]
    assert axes == [
        ["batch", 3, "height", "width"],
        ["batch", "boxes", 4],
        ["batch", "boxes", 3],
    ]


def test_half_graph_of_uint8_pixels(exporter: Exporter, model: Model) -> None:
    result = exporter(precision="fp16", uint8=True, batch=2)
    graph = onnx.shape_inference.infer_shapes(onnx_of(result.path)).graph
    kinds = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.output)}
    kinds |= {w.name: w.data_type for w in graph.initializer}
    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    for node in graph.node:
        if node.op_type in {"Conv", "Resize", "MaxPool"}:
            assert kinds[node.output[0]] == half, node.name
        if node.op_type == "Conv":
            assert {kinds[name] for name in node.input[1:]} == {half}
    sigmoids = [kinds[node.output[0]] for node in graph.node if node.op_type == "Sigmoid"]
    assert sigmoids.count(single) == 2 and sigmoids.count(half) > 10  # two levels are decoded
    decoded = [kinds[node.output[0]] for node in graph.node if node.op_type in {"Pow", "Sub"}]
    assert set(decoded[-4:]) == {single}
    pixels = images(2, 64, 64)
    boxes, scores = torch_outputs(model, pixels)
    with load_backend(result.path, device="cpu") as backend:
        assert (backend.spec.input_form, backend.spec.precision) == ("uint8_nhwc", "fp16")
        outputs = backend.infer(pixels)
        with pytest.raises(TensorError, match="exactly 2"):
            backend.infer(pixels[:1])
    assert outputs.boxes.dtype == outputs.scores.dtype == np.float32
    assert largest_box_error(outputs.boxes, boxes) < 0.05
    assert largest_error(outputs.scores, scores) < 0.01


@pytest.mark.parametrize("size", [(64, 64), (8, 8)])  # 640 boxes, and 10: fewer than rows
def test_topk(exporter: Exporter, model: Model, size: tuple[int, int]) -> None:
    k = 20
    pixels = images(2, *size)
    boxes, scores = torch_outputs(model, pixels)
    with load_backend(exporter(topk=k, **FLEXIBLE).path, device="cpu") as backend:
        outputs = backend.infer(planar(pixels))
    assert outputs.boxes.shape == (2, k, 4) and outputs.scores.shape == (2, k, 3)
    used = min(k, boxes.shape[1])
    for image in range(2):
        best = np.sort(scores[image].max(axis=1))[::-1][:used]
        np.testing.assert_allclose(outputs.scores[image, :used].max(axis=1), best, atol=1e-5)
        assert not outputs.scores[image, used:].any()
        for box, row in zip(outputs.boxes[image, :used], outputs.scores[image, :used], strict=True):
            same = np.abs(boxes[image] - box).max(axis=1) < 1e-3
            same &= np.abs(scores[image] - row).max(axis=1) < 1e-5
            assert same.any(), (box, row)


@pytest.mark.parametrize("size", [(64, 64), (8, 16)])
@pytest.mark.parametrize("batch", [1, 3])
def test_nms_inside(exporter: Exporter, model: Model, size: tuple[int, int], batch: int) -> None:
    pixels = images(batch, *size, seed=1)
    pixels[batch - 1] = 0  # another number of detections
    boxes, scores = torch_outputs(model, pixels)
    result = exporter(nms=True, conf=0.3, max_det=50, **FLEXIBLE)
    with load_backend(result.path, device="cpu") as backend:
        outputs = backend.infer(planar(pixels))
    assert outputs.boxes.shape == (batch, 50, 4)
    assert outputs.class_ids is not None
    for image in range(batch):
        expected = nms(boxes[image], scores[image], conf=0.3, iou=0.45, max_det=50)
        count = len(expected[1])
        assert count > 0
        np.testing.assert_allclose(outputs.boxes[image, :count], expected[0], atol=1e-3)
        np.testing.assert_allclose(outputs.scores[image, :count], expected[1], atol=1e-5)
        np.testing.assert_array_equal(outputs.class_ids[image, :count], expected[2])
        assert not outputs.scores[image, count:].any()


def test_one_class(tmp_path: Path) -> None:
    model = tiny(nc=1)
    pixels = images(1, 64, 64)
    boxes, scores = torch_outputs(model, pixels)
    result = export_model(model, output=tmp_path / "one.onnx", batch=2, float_input=True)
    with load_backend(result.path, device="cpu") as backend:
        outputs = backend.infer(planar(pixels.repeat(2, axis=0)))
    assert outputs.scores.shape == (2, scores.shape[1], 1)
    assert largest_error(outputs.scores[:1], scores) < 1e-5
    assert largest_box_error(outputs.boxes[:1], boxes) < 1e-4


@pytest.mark.parametrize("name", ["official-csp-w0125-d025", "official-p5-w0125-d020-legacy"])
def test_oracle(name: str, oracle_dir: Path, tmp_path: Path) -> None:
    oracle = np.load(oracle_dir / f"{name}.npz")
    decoded = oracle["decoded"]
    scores = decoded[..., 4:5] * decoded[..., 5:]
    batch = oracle["images"].astype(np.float32) / np.float32(255)
    model = import_official(oracle_dir / f"{name}.pt")
    options = raw(size=(256, 320), batch=2)
    path = export_model(model, output=tmp_path / "x.onnx", **options).path
    for runtime in ("onnxruntime", "openvino"):
        with load_backend(path, runtime, device="cpu") as backend:
            outputs = backend.infer(batch)
        near, far = outputs.boxes[..., :2], outputs.boxes[..., 2:]
        boxes = np.concatenate(((near + far) / 2, far - near), axis=-1)
        assert largest_error(boxes, decoded[..., :4]) < 1e-3, runtime
        assert largest_error(outputs.scores, scores) < 1e-3, runtime
