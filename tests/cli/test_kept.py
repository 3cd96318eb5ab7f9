"""No command replaces a file that is there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.test_cli import run


@pytest.fixture
def owned(tmp_path: Path) -> Path:
    file = tmp_path / "owned"
    file.mkdir()
    return file


def refused(capsys: pytest.CaptureFixture[str], file: Path, *words: object) -> str:
    """The refusal; the file is as it was."""
    before = file.read_bytes()
    code, _, err = run(capsys, *words)
    assert code == 2 and file.name in err and "Traceback" not in err, err
    assert file.read_bytes() == before
    return err


def test_export(capsys, micro_artefacts: dict[str, Path], owned: Path) -> None:
    source = owned / "m.safetensors"
    shutil.copy(micro_artefacts["torch"], source)
    target = owned / "m.onnx"
    target.write_text("notes of mine")
    assert "not written by this program" in refused(capsys, target, "export", source)
    refused(capsys, target, "export", source, "--overwrite")
    shutil.copy(micro_artefacts["onnxruntime"], target)
    assert "--overwrite" in refused(capsys, target, "export", source)
    assert "its source" in refused(capsys, target, "export", target, "-o", target, "--overwrite")
    weights = owned / "x.bin"
    weights.write_text("weights of mine")
    refused(capsys, weights, "export", source, "--engine", "openvino", "-o", owned / "x.xml")


def test_import(capsys, micro_artefacts: dict[str, Path], owned: Path, tmp_path: Path) -> None:
    source = tmp_path / "foreign.pt"
    source.write_bytes(b"anything: it is not read")
    target = owned / "foreign.safetensors"
    target.write_text("another program's")
    refused(capsys, target, "import", source, "-o", target, "--overwrite")
    shutil.copy(micro_artefacts["torch"], target)
    assert "--overwrite" in refused(capsys, target, "import", source, "-o", target)


def test_val_and_benchmark(capsys, micro_artefacts: dict[str, Path], owned: Path) -> None:
    own = owned / "own.json"
    own.write_text("[]")
    model = micro_artefacts["onnxruntime"]
    refused(capsys, own, "val", model, "nosuch.yaml", "--detections", own)
    picture = owned / "predictions.jpg"
    picture.write_text("mine")
    refused(capsys, picture, "val", model, "nosuch.yaml", "--plots", owned)
    refused(capsys, own, "benchmark", model, "--data", "nosuch.yaml", "--plot", own)


def test_data(capsys, owned: Path) -> None:
    own = owned / "train-labels.png"
    own.write_text("mine")
    refused(capsys, own, "data", "check", "nosuch.yaml", "-o", owned)
    code, _, err = run(capsys, "data", "crops", "nosuch.yaml", owned)
    assert code == 2 and "holds something already" in err


def test_backbones(capsys, owned: Path) -> None:
    own = owned / "yolov4-csp-backbone.safetensors"
    own.write_text("mine")
    refused(capsys, own, "train-backbone", "nosuch", "--output", owned)
