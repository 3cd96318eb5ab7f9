"""Training goes on from imported Darknet models whose decoding the loss knows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.support.darknet_nets import cfg_text, write_weights
from tests.train.synthetic import quick, write_dataset
from train.main import train as start
from yolov4sdk.errors import TrainingError
from yolov4sdk.models.checkpoints import load_checkpoint, save_checkpoint
from yolov4sdk.models.darknet import import_darknet


def checkpoint(folder: Path, name: str) -> Path:
    cfg, weights = folder / "x.cfg", folder / "x.weights"
    cfg.write_text(cfg_text(name, (64, 64), stages=(1, 1, 1, 1, 1), neck=1, width=1 / 16))
    write_weights(weights, cfg.read_text())
    path = folder / "x.safetensors"
    save_checkpoint(import_darknet(cfg, weights), path)
    return path


@pytest.mark.parametrize("name", ["yolov4-csp", "yolov4-csp-swish"])
def test_fine_tuning(name: str, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", train=4, val=2, classes=2)
    source = checkpoint(tmp_path, name)
    settings = quick(data, tmp_path / "run", weights=str(source), epochs=1)
    assert start(settings).finished
    before, after = load_checkpoint(source), load_checkpoint(tmp_path / "run" / "last.safetensors")
    assert type(after) is type(before) and after.spec.nc == 2
    key = "model.0.conv.weight"
    assert not torch.equal(after.state_dict()[key], before.state_dict()[key])


def test_the_exponential_decoding_is_refused(tmp_path: Path) -> None:
    cfg, weights = tmp_path / "x.cfg", tmp_path / "x.weights"
    cfg.write_text(cfg_text("yolov4-tiny", (64, 64), width=1 / 16))
    write_weights(weights, cfg.read_text())
    save_checkpoint(import_darknet(cfg, weights), tmp_path / "x.safetensors")
    data = write_dataset(tmp_path / "data", train=4, val=2, classes=2)
    settings = quick(data, tmp_path / "run", weights=str(tmp_path / "x.safetensors"))
    with pytest.raises(TrainingError, match="cannot be trained here"):
        start(settings)
