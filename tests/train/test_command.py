"""`yolov4sdk train` and `train-backbone` as a person starts them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.train.synthetic import quick, write_dataset
from train.backbone import (
    BackboneSettings,
    Classifier,
    backbone_length,
    load_backbone,
    train_backbones,
)
from train.checkpoint import STATE_FILE
from train.resnet import resnet50
from yolov4sdk.cli import app
from yolov4sdk.errors import DatasetError, TrainingError
from yolov4sdk.models import build_model

REPOSITORY = Path(__file__).resolve().parents[2]
QUICK = ("--size", "64", "--batch", "4", "--workers", "0", "--threads", "1", "--device", "cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    file = write_dataset(tmp_path_factory.mktemp("data"), train=8, val=4)
    quick(file, file.parent)  # writes the tiny model
    return file


def test_the_command_trains_draws_and_resumes(data, tmp_path):
    output = tmp_path / "run"
    arguments = ["train", str(data), "--model", str(data.parent / "tiny.yaml"), *QUICK]
    done = CliRunner().invoke(app, [*arguments, "--epochs", "1", "--output", str(output)])
    assert done.exit_code == 0, done.output
    assert "iou-ratio 1.00" in done.output
    assert "best possible recall" in done.output
    pictures = {p.name for p in (output / "plots").iterdir()}
    assert {"curves.png", "labels.png", "batch.jpg", "predictions.jpg", "pr.png"} <= pictures
    assert list((output / "tensorboard").iterdir())
    again = CliRunner().invoke(app, ["train", "--resume", str(output)])
    assert again.exit_code == 0  # a finished run has nothing left to do
    assert "epoch 1/1" not in again.output


@pytest.mark.parametrize("workers", ["0", "1"])
def test_sigterm_saves_and_exits(data, tmp_path, workers):
    """It is sent to the whole process group, loader workers included, as service managers do."""
    output = tmp_path / "run"
    command = [
        sys.executable, "-m", "yolov4sdk", "train", str(data), "--epochs", "1000", *QUICK,
        "--model", str(data.parent / "tiny.yaml"), "--output", str(output), "--no-plots",
        "--no-tensorboard", "--val-split", "", "--save-minutes", "0", "--workers", workers,
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        while not (output / STATE_FILE).exists() and process.poll() is None:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGTERM)
        text, _ = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "stopped by SIGTERM" in text
    state = torch.load(output / STATE_FILE, weights_only=True)
    assert state["position"]["updates"] > 0
    assert not state["position"]["finished"]


# -- train-backbone -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Two classes that differ in color."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 4)):
        for name, channel in (("blue", 0), ("red", 2)):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                image = rng.integers(0, 80, (48, 40, 3)).astype(np.uint8)
                image[..., channel] += 150
                cv2.imwrite(str(folder / split / name / f"{i}.png"), image)
    return folder


def test_backbones_side_by_side_and_a_detector_from_one(pictures, tmp_path):
    arguments = [
        "train-backbone", str(pictures), "--model", "resnet50", "--model", "yolov4-csp-n",
        "--size", "32", "--epochs", "2", "--batch", "8", "--threads", "1", "--device", "cpu",
        "--output", str(tmp_path), "--lr", "0.02",
    ]  # fmt: skip
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    for word in ("parameters", "accuracy", "images/s", "memory", "resnet50"):
        assert word in done.output
    memory = next(line for line in done.output.splitlines() if "memory in training" in line)
    assert all(float(cell) > 0.01 for cell in memory.split("│")[2:4])  # of each alone
    file = tmp_path / "yolov4-csp-n-backbone.safetensors"
    model = build_model("yolov4-csp-n", ("a",))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    assert "tensors taken from the backbone" in load_backbone(model, str(file))
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert "model.0.conv.weight" in changed
    assert all(int(k.split(".")[1]) < 11 for k in changed)
    with pytest.raises(TrainingError, match="not the backbone of this model"):
        load_backbone(build_model("yolov4-csp-s", ("a",)), str(file))


@pytest.mark.parametrize(
    ("name", "layers"), [("yolov4-csp-n", 11), ("yolov4-csp", 11), ("yolov4-p6", 13)]
)
def test_length_of_the_backbone(name, layers):
    with torch.device("meta"):
        assert backbone_length(build_model(name)) == layers


def test_resnet50_is_the_published_one():
    with torch.device("meta"):
        network = resnet50(1000)
    assert sum(p.numel() for p in network.parameters()) == 25_557_032


def test_the_classifier_learns_nothing_of_the_neck():
    classifier = Classifier(build_model("yolov4-csp-n", ("a",)), 3)
    assert classifier(torch.rand(2, 3, 64, 64)).shape == (2, 3)
    assert len(classifier.model) == 11


def test_bad_folders_are_named(pictures, tmp_path):
    with pytest.raises(DatasetError, match="there is no folder"):
        train_backbones(BackboneSettings(str(tmp_path)), print)
    (tmp_path / "train" / "one").mkdir(parents=True)
    with pytest.raises(DatasetError, match="expected two or more"):
        train_backbones(BackboneSettings(str(tmp_path)), print)
