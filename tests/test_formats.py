"""Files of earlier versions: one of each kind, as they were written then, is still read."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from yolov4sdk import Detector, ModelSpec, errors
from yolov4sdk.backends import load_backend
from yolov4sdk.backends.artefacts import read_spec
from yolov4sdk.contract.spec import FORMAT_VERSION
from yolov4sdk.tensorrt.sidecar import KEY_VARIABLE, read_sidecar

VERSION_1 = Path(__file__).parent / "formats" / "version1"
SECRET = "a secret of the tests"


@pytest.mark.parametrize(
    ("name", "outputs", "rows", "form", "box_sum", "score_sum"),
    [  # the sums are what the version that wrote the files made of a grey image
        ("model.safetensors", "full", None, "float_nchw", 10588.779, 0.173625),
        ("full.onnx", "full", None, "float_nchw", 10588.779, 0.173625),
        ("model.xml", "full", None, "float_nchw", 10588.779, 0.173625),
        ("topk.onnx", "topk", 10, "uint8_nhwc", 1138.5315, 0.0452199),
        ("nms.onnx", "nms", 300, "float_nchw", 10588.78, 0.0),
    ],
)
def test_version_1_runs_as_before(
    name: str, outputs: str, rows: int | None, form: str, box_sum: float, score_sum: float
) -> None:
    with load_backend(VERSION_1 / name, device="cpu") as backend:
        spec = backend.spec
        assert (spec.outputs, spec.topk, spec.input_form) == (outputs, rows, form)
        assert (spec.names, spec.strides, spec.train_size) == (("ant", "bee"), (8, 16, 32), 64)
        assert spec.provenance["license"] == "Apache-2.0"
        grey = np.full((1, 3, 64, 64), 0.5, np.float32)
        if form == "uint8_nhwc":
            grey = np.full((1, 64, 64, 3), 128, np.uint8)
        found = backend.infer(grey)
        assert found.boxes.sum() == pytest.approx(box_sum, rel=1e-5)
        assert found.scores.sum() == pytest.approx(score_sum, abs=1e-5)


def test_an_engine_of_version_1_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its signature covers the old text, and still holds."""
    engine = tmp_path / "model.engine"
    engine.write_bytes(b"ftrt" + bytes(60))
    shutil.copy(VERSION_1 / "model.engine.json", tmp_path)
    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    spec = read_spec(engine)
    assert (spec.names, spec.batch, spec.dynamic_size) == (("ant", "bee"), 1, False)
    sidecar = read_sidecar(engine)
    assert sidecar is not None
    assert sidecar.engine_sha256 == hashlib.sha256(engine.read_bytes()).hexdigest()
    monkeypatch.setenv(KEY_VARIABLE, "another")
    with pytest.raises(errors.EngineMismatchError, match="not signed"):
        read_sidecar(engine)


def test_what_is_written_now_is_version_2(tmp_path: Path) -> None:
    from yolov4sdk.models.checkpoints import load_checkpoint, save_checkpoint

    model = load_checkpoint(VERSION_1 / "model.safetensors")
    save_checkpoint(model, tmp_path / "again.safetensors")
    spec = read_spec(tmp_path / "again.safetensors")
    assert json.loads(spec.to_json())["format_version"] == FORMAT_VERSION == 2
    assert spec == model.spec == ModelSpec.from_json(spec.to_json())


def test_the_embedded_model_detects() -> None:
    with Detector(device="cpu") as detector:
        assert detector.spec.contract.output.convention == detector.spec.outputs
