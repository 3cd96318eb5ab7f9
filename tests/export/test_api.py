"""What is refused, what is checked, and that a bad file is never put in place."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

import export.check
from export import export_model
from export.check import real_image
from export.formats import onnx_format
from export.half import halve
from export.options import ExportOptions
from export.plan import Step, Work
from yolov4sdk.cli.export import export as export_command
from yolov4sdk.errors import (
    ArtefactNotFoundError,
    ExportError,
    InputSizeError,
    NonFiniteOutputError,
    SettingError,
    VerificationError,
)
from yolov4sdk.imaging.synthetic import drawn_image
from yolov4sdk.models import Model, fold
from yolov4sdk.models.checkpoints import save_checkpoint

from .conftest import Exporter, tiny


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"size": (60, 64)}, InputSizeError, r"\(56, 64\) or \(64, 64\)"),
        ({"size": (0, 64)}, InputSizeError, "positive"),
        ({"precision": "int4"}, SettingError, "fp32, fp16"),
        ({"strip": True}, SettingError, "strip: only for trt, trt-rtx, not for onnx"),
        ({"batch": 0}, SettingError, "batch must be a positive integer"),
        ({"topk": 0}, SettingError, "topk must be a positive integer"),
        ({"topk": 5, "nms": True}, SettingError, "exclude each other"),
        ({"nms": True, "conf": 2}, SettingError, "conf must be between 0 and 1"),
        ({"nms": True, "max_det": 5000}, SettingError, "at most 3840"),
        ({"half": True}, SettingError, "unknown options half"),
        ({"engine": "tflite"}, SettingError, "engine must be one of darknet, onnx, openvino"),
        ({"output": "x.xml"}, SettingError, r"writes \.onnx files, got 'x.xml'"),
    ],
)
def test_refused(
    model: Model, options: dict[str, Any], kind: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=message):
        export_model(model, **{"output": tmp_path / "x.onnx"} | options)
    assert not list(tmp_path.iterdir())


def test_missing_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ArtefactNotFoundError):
        export_model(tmp_path / "x.safetensors")


@pytest.fixture
def quick(exporter: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports write a copy of the plain export of the tiny model, whatever they are given."""
    plain = exporter().path

    def write(work: Work) -> None:
        shutil.copy(plain, work.path)
        work.files = (work.path,)

    monkeypatch.setattr(onnx_format, "write_steps", lambda _: [Step("write", write)])


@pytest.mark.parametrize(
    ("level", "bias", "message"),
    [
        (
            0,
            0.1,
            r"x\.onnx differs from its source \(.*\.jpg and noise, size \(64, 64\), batch 1\): ",
        ),
        (1, 0.1, r"largest error of the scores .* own rounding .* The file was not kept"),
        (0, np.nan, r"the model itself gives NaN .* they begin in layer model\.9\.m\.0"),
    ],
)
def test_a_wrong_file_is_not_kept(
    quick: None, tmp_path: Path, level: int, bias: float, message: str
) -> None:
    target = tmp_path / "x.onnx"
    target.write_text("the old one")
    other = tiny()
    other.detect.m[level].bias.data[:6] += bias
    with pytest.raises((VerificationError, NonFiniteOutputError), match=message):
        export_model(other, output=target)
    assert target.read_text() == "the old one" and list(tmp_path.iterdir()) == [target]


def test_exporter_failure_names_the_cause(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("outer") from ValueError("the inner reason\nand more")

    monkeypatch.setattr(torch.onnx, "export", broken)
    with pytest.raises(ExportError, match=r"ValueError: the inner reason$"):
        export_model(model, output=tmp_path / "x.onnx", batch=7)  # never traced before
    assert not list(tmp_path.iterdir())


def test_result(exporter: Exporter, model: Model) -> None:
    result = exporter()
    (check,) = result.checks
    assert (check.size, check.batch) == ((64, 64), 1)
    assert check.agreement.images == 2 and check.agreement.detections > 0
    assert 0 < check.agreement.boxes_max < 1e-3 and check.agreement.matched == 1
    peaks = result.peak_memory
    assert peaks[0] is not None and peaks[1] is not None and 1e8 < peaks[0] <= peaks[1]
    flexible = exporter(batch=None, dynamic=True)
    tried = {(c.size, c.batch) for c in flexible.checks}
    assert tried == {((64, 64), 1), ((64, 64), 2), ((32, 72), 1), ((32, 72), 2)}
    json.dumps(result.to_dict())


def test_the_model_is_not_changed(model: Model, exporter: Exporter) -> None:
    exporter(precision="fp16", uint8=True, batch=2)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules())


def test_weights_too_large_for_half() -> None:
    model = fold(tiny())
    model.detect.m[0].weight.data[0, 0] = 1e5
    with pytest.raises(ExportError, match=r"weight holds 1e\+05, past the 65504 of float16"):
        halve(model)


def test_anchors_stay_single() -> None:
    model = halve(fold(tiny()))
    assert model.detect.anchor_grid.dtype == torch.float32
    assert {p.dtype for p in model.parameters()} == {torch.float16}


def test_image_to_check_with(
    photos_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    image, kind = real_image((64, 96))
    assert kind.endswith(".jpg") and (photos_dir / kind).is_file() and image.ndim == 3
    monkeypatch.setattr(export.check, "PHOTOGRAPHS", tmp_path)
    image, kind = real_image((64, 96))
    assert kind == "drawn image" and image.shape == (64, 96, 3) and image.dtype == np.uint8
    np.testing.assert_array_equal(image, drawn_image((64, 96)))
    steps = np.abs(np.diff(image.astype(int), axis=1)).mean()
    assert image.std() > 20 > steps  # neighbours are alike, as in photographs


def test_options_make_the_spec(model: Model) -> None:
    spec = ExportOptions(topk=7, uint8=True, precision="fp16").artefact_spec(model.spec, "1.2")
    assert (spec.outputs, spec.topk, spec.input_form) == ("best", 7, "uint8_nhwc")
    assert spec.provenance["sdk_version"] == "1.2" and "nms" not in spec.provenance


def test_command(quick: None, model: Model, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(export_command)
    checkpoint = str(tmp_path / "tiny.safetensors")
    save_checkpoint(model, checkpoint)
    done = CliRunner().invoke(app, [checkpoint, "--size", "64", "64"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "64 x 64" in done.output and "peak memory" in done.output
    assert (tmp_path / "tiny.onnx").is_file()
    target = tmp_path / "new folder" / "x.onnx"
    done = CliRunner().invoke(app, [checkpoint, "--json", "-o", str(target)])
    report = json.loads(done.output)
    assert report["path"] == str(target) and report["checks"][0]["scores_max"] < 1e-3
    with pytest.raises(SettingError, match="a number or `dynamic`"):
        CliRunner().invoke(app, [checkpoint, "--batch", "many"], catch_exceptions=False)
