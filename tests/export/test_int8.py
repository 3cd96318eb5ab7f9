"""INT8: what the graphs contain, what is refused, and that a bad file is never put in place."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import export.int8
import export.int8_onnx
from export import ExportResult, export_model
from export.calibration import HELD_OUT, CalibrationSet
from export.int8 import badness
from export.options import CALIBRATION_IMAGES
from yolov4sdk.backends import load_backend
from yolov4sdk.backends.artefacts import read_spec
from yolov4sdk.cli.export import export as export_command
from yolov4sdk.errors import DatasetError, SettingError, VerificationError
from yolov4sdk.imaging.synthetic import drawn_image
from yolov4sdk.measure.verify import Agreement
from yolov4sdk.models import Model
from yolov4sdk.models.checkpoints import save_checkpoint
from yolov4sdk.system.openvino_runtime import openvino_core

from .conftest import onnx_of, tiny

pytest.importorskip("nncf", reason='needs pip install "yolov4sdk[quantise]"')
import export.int8_openvino


@pytest.fixture(scope="module")
def pictures(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures with one labelled box each, as a YOLO data set and as a folder of images."""
    folder = tmp_path_factory.mktemp("pictures")
    for kind in ("images", "labels"):
        (folder / kind / "val").mkdir(parents=True)
    for i in range(8):
        cv2.imwrite(str(folder / f"images/val/{i}.png"), drawn_image((48, 64), i))
        (folder / f"labels/val/{i}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    names = json.dumps(model.spec.names)
    (folder / "data.yaml").write_text(f"path: .\nval: images/val\nnames: {names}\n")
    return folder


@pytest.fixture(scope="module")
def quantised(
    model: Model, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, ExportResult]:
    folder = tmp_path_factory.mktemp("int8")
    common: dict[str, Any] = {"precision": "int8", "calibration": pictures / "images"}
    return {
        "onnx": export_model(model, "onnx", folder / "cpu.onnx", batch=2, uint8=True, **common),
        "tensorrt": export_model(model, "onnx", folder / "trt.onnx", qdq="tensorrt", **common),
        "openvino": export_model(
            model, "openvino", folder / "x.xml", batch=None, dynamic=True, topk=20, **common
        ),
    }


@pytest.fixture
def one_method(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first method alone: the choice is tested above."""
    for module in (export.int8_onnx, export.int8_openvino):
        monkeypatch.setattr(module, "METHODS", dict([next(iter(module.METHODS.items()))]))


def by_output(graph: Any) -> dict[str, Any]:
    return {name: node for node in graph.node for name in node.output}


@pytest.mark.parametrize("kind", ["onnx", "tensorrt", "openvino"])
def test_both_runtimes_run_it(
    quantised: dict[str, ExportResult], kind: str, photos_dir: Path
) -> None:
    result = quantised[kind]
    made = result.quantisation
    assert made is not None and set(made.candidates) > {made.method}
    best = badness(made.candidates[made.method])
    assert all(best <= badness(found) for found in made.candidates.values())
    assert (made.calibrated_on, made.ap_before) == (7, None)
    assert "held-out" in result.checks[0].shown
    assert read_spec(result.path).precision == "int8" == result.spec.precision
    with load_backend(result.path) as backend:
        assert backend.precision == "int8"
        assert backend.spec == result.spec
    json.dumps(result.to_dict())


@pytest.mark.parametrize("kind", ["onnx", "tensorrt"])
def test_graph_with_q_dq(quantised: dict[str, ExportResult], kind: str) -> None:
    graph = onnx_of(quantised[kind].path).graph
    made_by = by_output(graph)
    tensors = {t.name: t for t in graph.initializer}
    assert "BatchNormalization" not in {node.op_type for node in graph.node}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    head = [node for node in convolutions if made_by[node.input[0]].op_type != "DequantizeLinear"]
    assert {tuple(tensors[node.input[1]].dims[:1]) for node in head} == {(16,)}  # 2 anchors x 8
    assert len(head) == 2 and len(convolutions) > 20
    from onnx import numpy_helper

    for node in convolutions:
        if node in head:
            continue
        dequantise = made_by[node.input[1]]
        weight, scale, zero = (numpy_helper.to_array(tensors[n]) for n in dequantise.input)
        assert weight.dtype == np.int8 and not zero.any()
        assert scale.shape == (weight.shape[0],)  # one for each output channel
        assert abs(weight.astype(int)).max() == 127
    types = {tensors[n.input[2]].data_type for n in graph.node if n.op_type == "QuantizeLinear"}
    followers = {
        node.op_type for node in graph.node if set(node.input) & {c.output[0] for c in convolutions}
    }
    if kind == "tensorrt":
        from onnx import TensorProto

        assert types == {TensorProto.INT8}
        zeros = [tensors[n.input[2]] for n in graph.node if n.op_type == "QuantizeLinear"]
        assert not any(numpy_helper.to_array(zero).any() for zero in zeros)
        assert "QuantizeLinear" not in followers  # Mish can follow in the same kernel
    else:
        assert "QuantizeLinear" in followers


def test_openvino_keeps_the_head_float(quantised: dict[str, ExportResult]) -> None:
    with openvino_core() as core:
        model = core.read_model(quantised["openvino"].path)
        compiled = core.compile_model(
            model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        )
    kinds = [op.get_type_name() for op in model.get_ordered_ops()]
    assert kinds.count("FakeQuantize") > 10 and "Mish" in kinds and "SoftPlus" not in kinds
    convolutions = [
        str(op.get_rt_info()["runtimePrecision"].astype(str))
        for op in compiled.get_runtime_model().get_ordered_ops()
        if op.get_rt_info()["layerType"].astype(str) == "Convolution"
    ]
    assert sum(p not in {"i8", "u8"} for p in convolutions) == 2, convolutions


def test_past_max_drop_nothing_is_kept(
    model: Model,
    pictures: Path,
    tmp_path: Path,
    one_method: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = tmp_path / "x.onnx"
    target.write_text("the old one")
    points = iter([40.0, 39.0] * 2)
    monkeypatch.setattr(export.int8, "average_precision", lambda *_: next(points))
    options: dict[str, Any] = {
        "precision": "int8", "calibration": pictures / "images",
        "val_data": pictures / "data.yaml",
    }  # fmt: skip
    with pytest.raises(VerificationError, match=r"from 40\.00 to 39\.00 on 8 images.*0\.5 is"):
        export_model(model, output=target, **options)
    assert target.read_text() == "the old one" and list(tmp_path.iterdir()) == [target]
    result = export_model(model, output=target, **options, max_drop=1.0)
    made = result.quantisation
    assert made is not None and (made.ap_before, made.ap_after) == (40.0, 39.0)


def test_accuracy_is_really_measured(
    model: Model, pictures: Path, tmp_path: Path, one_method: None
) -> None:
    result = export_model(
        model,
        "openvino",
        tmp_path / "x.xml",
        precision="int8",
        calibration=pictures / "data.yaml",
        split="val",
        val_data=pictures / "data.yaml",
        max_drop=100,
    )
    made = result.quantisation
    assert made is not None and made.ap_before is not None and made.ap_after is not None
    assert 0 <= made.ap_before <= 100 and 0 <= made.ap_after <= 100


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({}, SettingError, "needs images to calibrate with"),
        ({"calibration": "empty"}, SettingError, "no images in"),
        ({"calibration": "nowhere"}, SettingError, "no image, folder or match"),
        ({"calibration": "pictures", "max_drop": -1}, SettingError, "max_drop must be at least 0"),
        (
            {"calibration": "pictures", "calibration_images": 0},
            SettingError,
            "calibration_images must be a positive integer, got 0",
        ),
        ({"calibration": "pictures", "qdq": "cuda"}, SettingError, "qdq must be one of"),
        ({"calibration": "pictures", "val_data": "nowhere.yaml"}, DatasetError, "does not exist"),
        (
            {"calibration": "pictures", "precision": "fp16"},
            SettingError,
            "calibration belong to precision int8 of a float model, not to fp16",
        ),
    ],
)
def test_refused(
    model: Model,
    pictures: Path,
    options: dict[str, Any],
    kind: type[Exception],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    if options.get("calibration") == "pictures":
        options = options | {"calibration": pictures / "images"}
    with pytest.raises(kind, match=message):
        export_model(model, output=tmp_path / "x.onnx", **{"precision": "int8"} | options)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_missing_extra_is_told_before_any_work() -> None:
    code = (
        "import sys; sys.modules['nncf'] = None\n"
        "from export.int8 import library\n"
        "try:\n    library('openvino')\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert 'pip install "yolov4sdk[quantise]"' in done.stdout, done.stderr


def test_calibration_images(model: Model, tmp_path: Path) -> None:
    for i in range(100):
        (tmp_path / f"{i}.png").touch()
    spec = model.spec.replace(batch=3)
    chosen = CalibrationSet.of(tmp_path, "train", spec)
    assert (len(chosen.images), len(chosen.held_out)) == (CALIBRATION_IMAGES, HELD_OUT)
    assert not set(chosen.images) & set(chosen.held_out)
    assert chosen == CalibrationSet.of(tmp_path, "train", spec)
    assert len(chosen) == 22  # 64 in threes
    (tmp_path / "one").mkdir()
    cv2.imwrite(str(tmp_path / "one/a.png"), drawn_image((50, 40)))
    single = CalibrationSet.of(tmp_path / "one", "train", spec)
    assert single.images == single.held_out
    (batch,) = single
    assert batch.shape == (3, 3, *spec.input_size) and batch.dtype == np.float32
    np.testing.assert_array_equal(batch[0], batch[2])


def test_the_better_method() -> None:
    good = Agreement(0, 0, 0, 0.01, 10, 0, 1)
    assert badness(good) < badness(Agreement(0, 0, 0, 0.02, 10, 0, 1))
    assert badness(good) < badness(Agreement(0, 0, 0, 0.0, 10, 1, 1))
    assert badness(good) < badness(Agreement(0, 0, 0, float("nan"), 10, 0, 1))


def test_command(pictures: Path, tmp_path: Path, one_method: None) -> None:
    app = typer.Typer()
    app.command()(export_command)
    checkpoint = tmp_path / "tiny.safetensors"
    save_checkpoint(tiny(), checkpoint)
    arguments = [str(checkpoint), "--precision", "int8", "--calibration", str(pictures / "images")]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "INT8, calibrated on 7 images" in done.output and "--val-data" in done.output
    assert (tmp_path / "tiny.onnx").is_file()
