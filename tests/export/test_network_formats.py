"""The way out: Darknet's files, TorchScript, and a state_dict under the authors' names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from export import export_model
from tests.support.darknet_nets import cfg_text, write_weights
from tests.support.forms import raw
from yolov4sdk.cli import app
from yolov4sdk.contract.spec import METADATA_KEY, ModelSpec
from yolov4sdk.errors import ExportError, SettingError, VerificationError
from yolov4sdk.models import Model, build_model, fold
from yolov4sdk.models.checkpoints import load_checkpoint, save_checkpoint
from yolov4sdk.models.darknet import DarknetModel, import_darknet
from yolov4sdk.models.darknet.weights import write_weights as store
from yolov4sdk.models.darknet.writer import to_darknet
from yolov4sdk.models.official import import_official

from ..models.test_darknet_family import OPENCV, opencv_outputs
from ..support.darknet_family import CLASSES, FAMILY
from .conftest import Exporter, images, planar, tiny, torch_outputs

SIZE = (64, 128)
NAMES = [*FAMILY, "yolov4-csp-x-mish", "yolov4-p5", "yolov4-p6"]


def darknet_files(name: str, folder: Path) -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    cfg, weights = folder / "x.cfg", folder / "x.weights"
    text = FAMILY[name](SIZE) if name in FAMILY else None
    cfg.write_text(text or cfg_text(name, SIZE, width=0.125, classes=CLASSES))
    write_weights(weights, cfg.read_text(), seed=3)
    return cfg, weights


@pytest.mark.parametrize("name", NAMES)
def test_in_and_out_is_the_same_file(name: str, tmp_path: Path) -> None:
    """By way of a checkpoint, the header included."""
    cfg, weights = darknet_files(name, tmp_path)
    save_checkpoint(import_darknet(cfg, weights), tmp_path / "x.safetensors")
    files = to_darknet(load_checkpoint(tmp_path / "x.safetensors"))
    store(tmp_path / "out.weights", files.header, files.graph.weighted, files.values)
    assert (tmp_path / "out.weights").read_bytes() == weights.read_bytes()
    (tmp_path / "out.cfg").write_text(files.cfg)
    first = import_darknet(cfg, weights)
    again = import_darknet(tmp_path / "out.cfg", tmp_path / "out.weights")
    assert type(again) is type(first) and again.spec.input_size == SIZE
    assert again.spec.anchors == first.spec.anchors
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in first.state_dict().items())


@pytest.mark.skipif(not OPENCV, reason="OPENCV4_PYTHON names no Python with opencv-python 4.10")
@pytest.mark.parametrize("name", ["yolov4-csp", "yolov4-p5", "yolov4-tiny", "yolov2"])
def test_opencv_says_the_same_of_both(name: str, tmp_path: Path) -> None:
    cfg, weights = darknet_files(name, tmp_path)
    before = opencv_outputs(cfg, weights, tmp_path)
    model = import_darknet(cfg, weights)
    result = export_model(model, "darknet", tmp_path / "out.cfg")
    after = opencv_outputs(result.path, tmp_path / "out.weights", tmp_path)
    assert len(before) == len(after)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_darknet_from_the_command(tmp_path: Path) -> None:
    cfg, weights = darknet_files("yolov4-tiny", tmp_path)
    checkpoint = tmp_path / "m.safetensors"
    save_checkpoint(import_darknet(cfg, weights, ["ant", "bee", "Käfer"]), checkpoint)
    command = ["export", str(checkpoint), "--engine", "darknet", "--size", "96", "64", "--json"]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    report = json.loads(done.output)
    assert [Path(f["path"]).suffix for f in report["files"]] == [".weights", ".names", ".cfg"]
    assert report["checks"][0]["against"] == "float64"
    assert (tmp_path / "m.names").read_text(encoding="utf-8") == "ant\nbee\nKäfer\n"
    text = (tmp_path / "m.cfg").read_text()
    assert "width=64\nheight=96\n" in text
    assert (tmp_path / "m.weights").read_bytes() == weights.read_bytes()


def test_other_classes_and_anchors_are_written(tmp_path: Path) -> None:
    """What fine-tuning changes."""
    cfg, weights = darknet_files("yolov2", tmp_path)
    imported = import_darknet(cfg, weights)
    anchors = (((20.0, 31.5), (40.0, 50.0), (64.0, 64.0), (9.0, 8.0), (100.0, 30.0)),)
    torch.manual_seed(0)
    model = build_model(imported.spec.architecture, ("a", "b"), anchors).eval()
    model.spec = model.spec.replace(input_size=SIZE)
    result = export_model(model, "darknet", tmp_path / "out.cfg")
    again = import_darknet(result.path, tmp_path / "out.weights", ("a", "b"))
    assert isinstance(again, DarknetModel) and again.detect.nc == 2
    np.testing.assert_allclose(again.spec.anchors, anchors, rtol=1e-7)


def test_what_darknet_cannot_say(model: Model, exporter: Exporter, tmp_path: Path) -> None:
    target = tmp_path / "x.cfg"
    with pytest.raises(ExportError, match=r"layer 5 cannot be said in a Darknet cfg: its block"):
        export_model(model, "darknet", target)
    with pytest.raises(SettingError, match="uint8, topk: not for darknet"):
        export_model(model, "darknet", target, topk=3, uint8=True)
    with pytest.raises(SettingError, match="precision must be one of fp32 for darknet"):
        export_model(model, "darknet", target, precision="fp16")
    with pytest.raises(SettingError, match=r"tiny\.onnx is a finished graph"):
        export_model(exporter().path, "darknet", target)
    cfg, weights = darknet_files("yolov4-tiny", tmp_path / "in")
    with pytest.raises(ExportError, match="the network is folded"):
        to_darknet(fold(import_darknet(cfg, weights)))
    assert not target.exists()


def test_a_wrong_darknet_file_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import yolov4sdk.models.darknet.writer as writer

    cfg, weights = darknet_files("yolov4-tiny", tmp_path / "in")
    model = import_darknet(cfg, weights)
    right = writer.to_darknet

    def wrong(model: Model) -> object:
        made = right(model)
        text = made.cfg.replace("scale_x_y=1.05", "scale_x_y=1.06", 1)
        return writer.DarknetFiles(text, made.graph, made.header, made.values)

    monkeypatch.setattr(writer, "to_darknet", wrong)
    with pytest.raises(VerificationError, match=r"x\.cfg differs from its source"):
        export_model(model, "darknet", tmp_path / "x.cfg")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("dynamic", [False, True])
def test_torchscript(model: Model, tmp_path: Path, dynamic: bool) -> None:
    options = raw(dynamic=True, batch=None) if dynamic else {"uint8": True, "topk": 5}
    result = export_model(model, "torchscript", tmp_path / "x.torchscript", **options)
    extra = {METADATA_KEY: ""}
    script = torch.jit.load(result.path, _extra_files=extra)
    spec = ModelSpec.from_json(extra[METADATA_KEY])
    assert spec.input_size == (64, 64) and spec.dynamic_size is dynamic
    assert len(result.checks) == (4 if dynamic else 1)
    pixels = images(3 if dynamic else 1, *((72, 96) if dynamic else (64, 64)))
    given = torch.from_numpy(planar(pixels) if dynamic else pixels)
    found = [value.numpy() for value in script(given)]
    boxes, scores = torch_outputs(model, pixels)
    if dynamic:
        np.testing.assert_allclose(found[0], boxes, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(found[1], scores, atol=1e-5)
    else:
        best = np.argsort(-scores[0].max(1))[:5]
        np.testing.assert_allclose(found[0][0], boxes[0][best], rtol=1e-4, atol=1e-3)
    with pytest.raises(SettingError, match="nms: not for torchscript"):
        export_model(model, "torchscript", tmp_path / "y.torchscript", nms=True)


def test_state_dict(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = build_model("yolov4-csp-n", ["a", "b"]).eval()
    model.spec = model.spec.replace(input_size=(64, 64))
    result = export_model(model, "state-dict", tmp_path / "x.pt")
    tensors = torch.load(result.path, weights_only=True)
    assert "model.31.m.0.weight" in tensors and "model.0.conv.weight" in tensors
    again = import_official(result.path, ["a", "b"])
    assert again.spec.architecture == "yolov4-csp-n"
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())
    cfg, weights = darknet_files("yolov4-csp", tmp_path)
    with pytest.raises(ExportError, match="export it with --engine darknet"):
        export_model(import_darknet(cfg, weights), "state-dict", tmp_path / "y.pt")
    with pytest.raises(SettingError, match="size: not for state-dict"):
        export_model(tiny(), "state-dict", tmp_path / "y.pt", size=(64, 64))
