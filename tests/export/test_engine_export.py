"""Engines exported from a network and from ONNX files: checked graph, sidecar, what is refused."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from export import export_model
from export.api import ENGINES
from export.half_onnx import convert_onnx, round_onnx
from yolov4sdk.backends import load_backend
from yolov4sdk.cli import app
from yolov4sdk.contract.spec import ModelSpec
from yolov4sdk.errors import ExportError, MissingExtraError, SettingError
from yolov4sdk.imaging.synthetic import drawn_image
from yolov4sdk.models import Model
from yolov4sdk.models.checkpoints import save_checkpoint
from yolov4sdk.tensorrt.sidecar import read_sidecar

from .conftest import Exporter, images, planar

pytest.importorskip("tensorrt_rtx")


def test_from_a_network(model: Model, tmp_path: Path) -> None:
    result = export_model(model, "trt-rtx", tmp_path / "x.engine", batch_profile=(1, 2, 4))
    assert [f.name for f in result.files] == ["x.engine.json", "x.engine"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.engine", "x.engine.json"]
    sidecar = read_sidecar(result.path)
    assert sidecar is not None and sidecar.spec == result.spec and sidecar.precision == "fp16"
    assert sidecar.profile.batch == (1, 2, 4)
    assert sidecar.agreement["onnx"]["scores_max"] < 0.03 and result.checks
    assert result.engine is not None and set(result.engine.convolutions) == {"fp16"}
    json.dumps(result.to_dict())


def test_int8_of_a_checkpoint(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command, from a float checkpoint and pictures to an engine that computes in int8."""
    int8_onnx = pytest.importorskip("export.int8_onnx", exc_type=ImportError)
    monkeypatch.setattr(int8_onnx, "METHODS", {"minmax": int8_onnx.METHODS["minmax"]})
    checkpoint, pictures = tmp_path / "tiny.safetensors", tmp_path / "pictures"
    save_checkpoint(model, checkpoint)
    pictures.mkdir()
    for i in range(6):
        cv2.imwrite(str(pictures / f"{i}.png"), drawn_image((48, 64), i))
    arguments = ["export", checkpoint, "--engine", "trt-rtx", "--precision", "int8",
                 "--calibration", pictures, "--compute-capability", "8.9"]  # fmt: skip
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    report = json.loads(done.output)
    convolutions = report["engine"]["convolutions"]
    assert convolutions == {"int8": 23, "fp16": 2}  # the two last ones are the head
    assert sum(n for kind, n in report["engine"]["layers"].items() if "int8" in kind) >= 23
    assert "1 held-out" in report["checks"][0]["shown"]
    sidecar = read_sidecar(tmp_path / "tiny.engine")
    assert sidecar is not None and sidecar.source == checkpoint.name
    assert sidecar.precision == sidecar.spec.precision == "int8"
    assert sidecar.agreement["onnx"]["boxes_mean"] > 0
    assert sorted(p.suffix for p in tmp_path.iterdir() if p.is_file()) == [
        ".engine", ".json", ".safetensors",
    ]  # fmt: skip


def test_graph_that_only_claims_to_be_quantised(exporter: Exporter, tmp_path: Path) -> None:
    graph = onnx.load(exporter().path)
    spec = ModelSpec.from_json(graph.metadata_props[0].value).replace(precision="int8")
    graph.metadata_props[0].value = spec.to_json()
    onnx.save(graph, tmp_path / "claims.onnx")
    with pytest.raises(ExportError, match=r"of 25 convolutions 25 in fp32, int8 was asked for"):
        export_model(tmp_path / "claims.onnx", "trt-rtx", tmp_path / "x.engine")
    assert not (tmp_path / "x.engine").exists()


def test_bf16_is_compared_rounded(model: Model, tmp_path: Path) -> None:
    result = export_model(model, "trt-rtx", tmp_path / "x.engine", precision="bf16")
    assert result.engine is not None and set(result.engine.convolutions) == {"bf16"}
    assert 1e-4 < result.checks[0].agreement.scores_mean < 0.1


def test_from_an_onnx_file(exporter: Exporter, tmp_path: Path) -> None:
    source = exporter().path
    half = export_model(source, "trt-rtx", tmp_path / "half.engine")
    assert half.spec.precision == "fp16" and half.checks  # converted, so compared
    single = export_model(source, "trt-rtx", tmp_path / "single.engine", precision="fp32")
    assert not single.checks  # the file itself
    sidecar = read_sidecar(single.path)
    assert sidecar is not None and sidecar.source == source.name
    other = export_model(source, "openvino", tmp_path / "x.xml")
    assert other.spec.contract == single.spec.contract
    figures = [dict(result.spec.provenance) for result in (other, single)]
    assert figures[0].pop("check") != figures[1].pop("check")  # each file's own, and the source's
    assert figures[0] == figures[1]


@pytest.mark.parametrize("options", [{}, {"batch": None, "dynamic": True, "uint8": True}], ids=str)
def test_half_of_an_onnx_file(exporter: Exporter, tmp_path: Path, options: dict) -> None:
    source = exporter(**options).path
    assert convert_onnx(source, tmp_path / "half.onnx", "fp16").precision == "fp16"
    onnx.checker.check_model(tmp_path / "half.onnx", full_check=True)
    pixels = images(1, 64, 64)
    batch = pixels if "uint8" in options else planar(pixels)
    with load_backend(source, device="cpu") as one:
        exact = one.infer(batch)
    with load_backend(tmp_path / "half.onnx", device="cpu") as other:
        found = other.infer(batch)
    assert 0 < np.abs(found.scores - exact.scores).max() < 0.03
    assert found.boxes.dtype == np.float32  # decoded there: no coordinate is on the grid of halves
    assert (found.boxes != found.boxes.astype(np.float16)).mean() > 0.5
    round_onnx(source, tmp_path / "rounded.onnx")
    with load_backend(tmp_path / "rounded.onnx", device="cpu") as rounded:
        coarse = np.abs(rounded.infer(batch).scores - exact.scores).mean()
    assert coarse > 2 * np.abs(found.scores - exact.scores).mean()


def test_dynamic_graphs_are_in_order(exporter: Exporter) -> None:
    onnx.checker.check_model(exporter(batch=None, dynamic=True).path, full_check=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int8"}, "needs images to calibrate with"),
        ({"size": (32, 32)}, r"finished graph with size \(64, 64\), \(32, 32\) was asked"),
        ({"topk": 5}, "finished graph with topk None, 5 was asked"),
        ({"nms": True}, "finished graph with nms False"),
    ],
)
def test_refused(exporter: Exporter, tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        export_model(exporter().path, "trt-rtx", tmp_path / "x.engine", **options)
    assert not list(tmp_path.iterdir())


def test_only_float32_is_converted(exporter: Exporter, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="only float32 graphs are converted"):
        export_model(
            exporter(precision="fp16").path, "trt-rtx", tmp_path / "x.engine", precision="bf16"
        )
    big = onnx.load(exporter().path)
    weight = next(t for t in big.graph.initializer if len(t.dims) == 4)
    weight.raw_data = np.full(tuple(weight.dims), 1e5, np.float32).tobytes()
    onnx.save(big, tmp_path / "big.onnx")
    with pytest.raises(ExportError, match=r"holds 1e\+05, past the 65504"):
        convert_onnx(tmp_path / "big.onnx", tmp_path / "x.onnx", "fp16")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk")
@pytest.mark.parametrize("engine", ["onnx", "openvino", "trt-rtx"])
def test_full_disk(model: Model, tmp_path: Path, engine: str) -> None:
    """Each library says it in its own way, or not at all."""
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        with pytest.raises(ExportError, match=r"(no room on the disk|MB free).*elsewhere with -o"):
            export_model(model, engine, tmp_path / f"x{ENGINES[engine]}")
        assert not list(tmp_path.iterdir())
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_file_is_not_written_over_itself(exporter: Exporter) -> None:
    with pytest.raises(SettingError, match="would overwrite the model itself"):
        export_model(exporter().path, "onnx", precision="fp16")


def test_tensorrt_is_asked_for_first(model: Model, tmp_path: Path) -> None:
    try:
        import tensorrt  # noqa: F401
    except ImportError:
        with pytest.raises(MissingExtraError, match=r"yolov4sdk\[trt\]"):
            export_model(model, "trt", tmp_path / "x.engine")
