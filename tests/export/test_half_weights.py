"""Weights in float16 in a graph that computes in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from export import export_model
from export.half_weights import restore_single, store_half
from tests.support.forms import raw
from yolov4sdk.backends import load_backend
from yolov4sdk.errors import ExportError, SettingError
from yolov4sdk.measure.verify import box_error
from yolov4sdk.models import Model


@pytest.fixture(scope="module")
def network(tiny_model: Model) -> Model:
    return tiny_model


@pytest.fixture(scope="module")
def files(network: Model, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("half")
    flexible: dict[str, Any] = raw(batch=None, dynamic=True)
    return {
        name: export_model(network, "onnx", folder / f"{name}.onnx", **options, **flexible).path
        for name, options in (("single", {}), ("half", {"half_weights": True}))
    }


def answers(path: Path, backend: str, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with load_backend(path, backend, "cpu") as loaded:
        assert loaded.precision == "fp32"
        outputs = loaded.infer(batch)
        return outputs.boxes, outputs.scores


def test_half_the_size_and_nearly_the_same_answers(files: dict[str, Path]) -> None:
    small, large = files["half"].stat().st_size, files["single"].stat().st_size
    assert small < 0.65 * large  # the graph itself is a part of so small a file
    onnx.checker.check_model(onnx.load(files["half"]), full_check=True)
    batch = np.random.default_rng(0).random((2, 3, 96, 64), np.float32)
    single = answers(files["single"], "onnxruntime", batch)
    for backend in ("onnxruntime", "openvino"):
        boxes, scores = answers(files["half"], backend, batch)
        assert 0 < np.abs(scores - single[1]).max() < 0.03
        assert box_error(single[0], boxes).mean() < 1e-2


def test_restored_it_computes_the_same(files: dict[str, Path], tmp_path: Path) -> None:
    restore_single(files["half"], tmp_path / "restored.onnx")
    types = {tensor.data_type for tensor in onnx.load(tmp_path / "restored.onnx").graph.initializer}
    assert onnx.TensorProto.FLOAT16 not in types
    batch = np.random.default_rng(1).random((1, 3, 64, 64), np.float32)
    for one, other in zip(
        answers(files["half"], "onnxruntime", batch),
        answers(tmp_path / "restored.onnx", "onnxruntime", batch),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)
    restore_single(files["single"], tmp_path / "copy.onnx")
    assert (tmp_path / "copy.onnx").read_bytes() == files["single"].read_bytes()


@pytest.mark.parametrize("options", [{"precision": "fp16"}, {}], ids=["fp16", "fp32"])
def test_it_is_a_source_like_any_other(
    files: dict[str, Path], tmp_path: Path, options: dict[str, str]
) -> None:
    flexible = {"batch": None, "dynamic": True}
    result = export_model(files["half"], "onnx", tmp_path / "again.onnx", **options, **flexible)
    assert result.spec.precision == options.get("precision", "fp32")
    assert export_model(files["half"], "openvino", tmp_path / "x.xml", **flexible).path.is_file()


def test_refused(network: Model, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="half_weights is for ONNX files"):
        export_model(network, "openvino", tmp_path / "x.xml", half_weights=True)
    with pytest.raises(SettingError, match="small already"):
        export_model(network, "onnx", tmp_path / "x.onnx", half_weights=True, precision="fp16")


def test_weights_too_large(files: dict[str, Path], tmp_path: Path) -> None:
    graph = onnx.load(files["single"])
    name = max(graph.graph.initializer, key=lambda tensor: np.prod(tensor.dims)).name
    for tensor in graph.graph.initializer:
        if tensor.name == name:
            values = onnx.numpy_helper.to_array(tensor) + np.float32(1e6)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, name))
    onnx.save(graph, tmp_path / "large.onnx")
    with pytest.raises(ExportError, match=f"{name} holds 1e"):
        store_half(tmp_path / "large.onnx")
