"""A runtime is a row: what is derived from it, and one that is not the SDK's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from yolov4sdk import Detector, ModelSpec, errors
from yolov4sdk.backends import TABLE, RuntimeInfo, load_backend, readers, register, suffixes
from yolov4sdk.backends.artefacts import read_spec
from yolov4sdk.backends.base import ContextManager
from yolov4sdk.backends.runtimes import RUNTIMES
from yolov4sdk.conventions import Outputs
from yolov4sdk.system.cpu import units
from yolov4sdk.system.environment import requirements


class Constant(ContextManager):
    """A runtime that sees an ant in the upper left quarter of every picture."""

    name, device, precision = "constant", "cpu", "fp32"

    def __init__(self, model: Path, device: str, precision: str | None, threads: int | None):
        self.spec = constant_spec(model)

    def infer(self, batch: np.ndarray) -> Outputs:
        height, width = self.spec.contract.input.canvas_of(batch.shape)
        boxes = np.array([[[0, 0, width / 2, height / 2]]] * len(batch), np.float32)
        return Outputs(boxes, np.full((len(batch), 1, 1), 0.9, np.float32))

    def close(self) -> None:
        pass


def constant_spec(path: Path) -> ModelSpec:
    return ModelSpec.from_json(path.read_text())


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    row = RuntimeInfo(
        "constant", "Constant", Constant, reads={".toy": constant_spec},
        probe=lambda: {"version": "1.0"},
    )  # fmt: skip
    for table in (TABLE, RUNTIMES):
        monkeypatch.setitem(table, row.name, row)
    register(row)
    path = tmp_path / "model.toy"
    spec = ModelSpec("unknown", ("ant",), (32,), (((8.0, 8.0),),), input_size=(64, 64))
    path.write_text(spec.to_json())
    return path


def test_a_toy_runtime_is_one_row(toy: Path) -> None:
    with Detector(toy) as detector:
        found = detector(np.zeros((32, 64, 3), np.uint8))
        assert detector.backend.name == "constant"
    assert found.labels == ["ant"] and found.xyxy.tolist() == [[0, 0, 32, 16]]
    assert read_spec(toy).names == ("ant",) and ".toy" in suffixes()
    with load_backend(toy, "constant") as backend:
        assert isinstance(backend, Constant)
    with pytest.raises(errors.SettingError, match=r"does not read \.toy files"):
        load_backend(toy, "onnxruntime")


def test_commands_know_of_it(toy: Path, photos_dir: Path, tmp_path: Path) -> None:
    from yolov4sdk.cli import app

    run = CliRunner()
    said = run.invoke(app, ["info", str(toy)])
    assert said.exit_code == 0 and "ant" in said.output
    said = run.invoke(app, ["doctor"])
    assert "constant" in said.output and "version 1.0" in said.output
    arguments = ["detect", str(photos_dir / "dog.jpg"), "-m", str(toy), "-o", str(tmp_path / "o")]
    said = run.invoke(app, [*arguments, "--backend", "constant"])
    assert said.exit_code == 0 and "1 ant" in said.output


def test_unknown_runtimes_and_files_are_answered_from_the_rows(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(errors.SettingError, match=r"no backend 'tensorrt'; there are .*const"):
        load_backend(toy, "tensorrt")
    other = tmp_path / "model.abc"
    other.write_bytes(b"x")
    for read in (read_spec, load_backend):
        with pytest.raises(errors.ForeignFileError, match=r"\.engine.*\.toy"):
            read(other)


def test_rows_name_extras_that_exist() -> None:
    known = set(requirements())
    for name, row in RUNTIMES.items():
        assert row.name == name and row.title
        assert row.extra in known, f"{name}: no extra {row.extra!r}"
        assert bool(row.reads) != bool(row.schemes)
    assert readers(".onnx")[0].name == "onnxruntime"
    assert {row.exporter for row in TABLE.values()} - {""} <= _formats()


def _formats() -> Any:
    pytest.importorskip("onnxscript")
    from export.formats import FORMATS

    return set(FORMATS)


def test_two_packages_of_one_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from yolov4sdk.backends.onnxruntime_backend import _check_installation

    monkeypatch.setattr(onnxruntime, "__file__", str(tmp_path / "onnxruntime" / "__init__.py"))
    (tmp_path / "onnxruntime_extensions-0.9.dist-info").mkdir()
    (tmp_path / "onnxruntime-1.22.0.dist-info").mkdir()
    _check_installation()
    (tmp_path / "onnxruntime_gpu-1.23.1.dist-info").mkdir()
    with pytest.raises(
        errors.BackendError, match="onnxruntime and onnxruntime-gpu are installed over"
    ):
        _check_installation()


def test_what_a_start_need_not_load() -> None:
    code = "import sys; from yolov4sdk import Detector; print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert "'yolov4sdk.detector'" in loaded
    for slow in ("importlib.metadata", "email", "onnxruntime", "torch", "typer"):
        assert f"'{slow}'" not in loaded


def test_units_of_a_processor(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        "model name\t: X\nflags\t\t: sse avx2 avx512f avx512_vnni amx_tile amx_bf16\n"
    )
    here = units(cpuinfo)
    assert here == ("AVX2", "AVX512", "VNNI", "AMX")
    assert units(tmp_path / "none") == ()
    used = {name: TABLE[name].units(here) for name in ("openvino", "onnxruntime", "torch", "trt")}
    assert used["openvino"] == {"fp32": "AVX512", "bf16": "AMX", "int8": "AMX"}
    assert used["onnxruntime"] == {"fp32": "AVX512", "int8": "AMX"}  # no bfloat16 on x86
    assert used["torch"] == {"fp32": "AVX512", "bf16": "AMX"}
    assert used["trt"] == {}
    assert TABLE["openvino"].units(("AVX2",)) == {"fp32": "AVX2", "int8": "AVX2"}
