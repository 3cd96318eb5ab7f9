"""Runs of a tiny network: exact resume, errors, and what a run leaves behind."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

import train.checkpoint
from tests.train.synthetic import StopAfter, differences, quick, write_dataset
from train.checkpoint import STATE_FILE, read_state
from train.distributed import World
from train.job import prepare
from train.loader import TrainSet
from train.main import resume
from train.main import train as start
from train.run import RESULTS_FILE, RUN_FILE
from train.settings import TrainSettings
from yolov4sdk.errors import (
    DatasetError,
    NonFiniteLossError,
    SettingError,
    TrainingError,
    UnknownClassError,
)
from yolov4sdk.models.checkpoints import load_checkpoint

CPU = torch.device("cpu")
TIMED = {"seconds", "images_per_second", "memory_gib"}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"), train=18, val=6)


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory) -> Path:
    """An uninterrupted run of two epochs of five batches, two batches to an update."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert start(quick(data, folder, **VARIANT)).finished
    return folder


VARIANT = {"nominal_batch": 8, "multi_scale": 0.5, "warmup_epochs": 0.5, "warmup_iterations": 2}


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / RESULTS_FILE).open() as file:
        return [{k: v for k, v in r.items() if k not in TIMED} for r in csv.DictReader(file)]


def outcome(folder: Path) -> dict:
    state = read_state(folder / STATE_FILE)
    return {k: v for k, v in state.items() if k != "identity"}


@pytest.mark.parametrize("batches", [3, 5, 8], ids=["mid-epoch", "epoch-end", "second epoch"])
def test_a_resumed_run_equals_the_uninterrupted_one(data, whole, tmp_path, batches):
    folder = tmp_path / "run"
    first = start(quick(data, folder, **VARIANT), StopAfter(batches))
    assert not first.finished
    torch.manual_seed(99)  # nothing may depend on what happens between
    np.random.seed(99)
    assert resume(folder, {"workers": 1}).finished
    assert differences(outcome(folder), outcome(whole)) == []
    assert rows(folder) == rows(whole)
    mine, theirs = (load_checkpoint(f / "last.safetensors") for f in (folder, whole))
    assert differences(mine.state_dict(), theirs.state_dict()) == []


def test_the_run_folder_says_how_to_repeat_it(data, whole):
    about = json.loads((whole / RUN_FILE).read_text())
    assert about["seed"] == 0
    assert len(about["data"]["train_sha256"]) == 64
    assert about["versions"]["torch"] == torch.__version__.split("+")[0] or "+" in torch.__version__
    assert "--config" in about["repeat"]
    again = TrainSettings.read(whole / "settings.json")
    assert again == quick(data, whole, **VARIANT)
    assert [r["epoch"] for r in rows(whole)] == ["1", "2"]
    assert all(float(r["loss"]) > 0 for r in rows(whole))
    best = load_checkpoint(whole / "best.safetensors").spec
    assert best.names == ("box", "disc")
    assert best.train_size == 64


def test_a_repeated_run_gives_the_same_weights(data, whole, tmp_path):
    settings = TrainSettings.read(whole / "settings.json").changed({"output": str(tmp_path / "b")})
    start(settings)
    assert differences(outcome(tmp_path / "b"), outcome(whole)) == []


def test_a_used_folder_is_not_overwritten(data, whole):
    with pytest.raises(TrainingError, match="--resume"):
        start(quick(data, whole))


def test_resume_refuses_what_would_change_the_run(data, whole, tmp_path):
    with pytest.raises(SettingError, match="lr"):
        resume(whole, {"lr": 1.0})
    with pytest.raises(TrainingError, match="expected a run's folder"):
        resume(tmp_path)


def test_resume_notices_changed_labels(tmp_path):
    data = write_dataset(tmp_path / "data", train=8, val=2)
    start(quick(data, tmp_path / "run"), StopAfter(1))
    (tmp_path / "data/labels/train/train0.txt").write_text("0 0.5 0.5 0.2 0.2")
    with pytest.raises(TrainingError, match="labels differ"):
        resume(tmp_path / "run")


def test_a_damaged_state_is_refused(data, tmp_path):
    (tmp_path / STATE_FILE).write_bytes(b"PK\x03\x04 not a state")
    with pytest.raises(TrainingError, match="damaged"):
        resume(tmp_path)


def test_a_non_finite_loss_names_the_images_and_keeps_the_state(data, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    start(quick(data, folder), StopAfter(2))
    before = (folder / STATE_FILE).read_bytes()
    real = train.loss.paired_iou

    def broken(*arguments):
        return real(*arguments) * float("nan")

    monkeypatch.setattr("train.loss.paired_iou", broken)
    with pytest.raises(NonFiniteLossError, match=r"images/train/train\d+\.png") as caught:
        resume(folder)
    assert STATE_FILE in str(caught.value)
    assert (folder / STATE_FILE).read_bytes() == before


def test_non_finite_gradients_are_noticed(data, tmp_path, monkeypatch):
    monkeypatch.setattr("train.loop.clip_gradients", lambda model, limit: float("inf"))
    with pytest.raises(NonFiniteLossError, match="gradient"):
        start(quick(data, tmp_path / "run"))


def test_a_full_disk_keeps_the_old_checkpoint(data, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    start(quick(data, folder), StopAfter(2))
    before = (folder / STATE_FILE).read_bytes()

    def full(state, path):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(train.checkpoint.torch, "save", full)
    with pytest.raises(TrainingError, match="No space left") as caught:
        resume(folder)
    assert "previous content is kept" in str(caught.value)
    assert (folder / STATE_FILE).read_bytes() == before
    assert not [p for p in folder.iterdir() if p.name.startswith(".last")]


def test_a_killed_worker_gives_a_clear_error(data, tmp_path, monkeypatch):
    def die(self, key):
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(TrainSet, "__getitem__", die)
    with pytest.raises(TrainingError, match="worker died"):
        start(quick(data, tmp_path / "run", workers=1))


def test_early_stopping(data, tmp_path):
    position = start(quick(data, tmp_path / "run", epochs=30, patience=1, lr=1e-9, val_interval=1))
    assert position.finished
    assert position.epoch < 30


def test_the_mosaic_closes(data, tmp_path, monkeypatch):
    seen = []
    real = TrainSet.sample

    def sample(train_set, key):
        seen.append((key.epoch, key.augmentation.mosaic))
        return real(train_set, key)

    monkeypatch.setattr(TrainSet, "sample", sample)
    start(quick(data, tmp_path / "run", epochs=3, close_mosaic=1, mosaic=1.0))
    assert dict(seen) == {0: 1.0, 1: 1.0, 2: 0.0}


@pytest.mark.parametrize(
    "changes",
    [
        {"amp": "bf16"},
        {"optimizer": "adamw", "label_smoothing": 0.1, "focal": 1.5, "iou": "giou"},
        {"rectangular": True, "channels_last": False, "clip_gradients": 5.0, "val_split": ""},
        {"classes": ["disc"], "cache": None},
    ],
    ids=["bf16", "adamw focal", "rectangular", "one class"],
)
def test_variants_train(data, tmp_path, changes):
    position = start(quick(data, tmp_path / "run", epochs=1, **changes))
    assert position.finished
    assert position.updates == 5
    (row,) = rows(tmp_path / "run")
    assert float(row["loss"]) > 0
    assert bool(row["map50_95"]) == ("val_split" not in changes)


def test_fine_tuning_with_another_class_count(whole, tmp_path):
    data = write_dataset(tmp_path / "data", train=4, val=2, classes=3)
    lines: list[str] = []
    settings = quick(data, tmp_path / "run", weights=str(whole / "last.safetensors"), freeze=5)
    job = prepare(settings, World(), CPU, lines.append)
    assert job.model.spec.nc == 3
    assert any("6 have another shape" in line for line in lines)  # weight and bias of three levels
    source = load_checkpoint(whole / "last.safetensors").state_dict()
    own = job.model.state_dict()
    assert torch.equal(own["model.6.cv1.conv.weight"], source["model.6.cv1.conv.weight"])
    assert start(settings).finished
    after = load_checkpoint(tmp_path / "run" / "last.safetensors").state_dict()
    frozen = [k for k in source if int(k.split(".")[1]) < 5]
    assert frozen
    assert all(torch.equal(after[k], source[k]) for k in frozen)  # statistics too
    assert not torch.equal(after["model.6.cv1.conv.weight"], source["model.6.cv1.conv.weight"])


def test_a_checkpoint_of_another_architecture_is_refused(data, tmp_path):
    from yolov4sdk.models import build_model
    from yolov4sdk.models.checkpoints import save_checkpoint

    model = build_model("yolov4-csp-n", ("box", "disc"))
    model.spec = model.spec.replace(architecture="yolov4-p5")
    save_checkpoint(model, tmp_path / "odd.safetensors")
    with pytest.raises(Exception, match=r"odd\.safetensors"):
        start(quick(data, tmp_path / "run", weights=str(tmp_path / "odd.safetensors")))


def test_bad_data_gives_clear_errors(data, tmp_path):
    empty = write_dataset(tmp_path / "empty", train=2, val=2)
    for file in (tmp_path / "empty/labels/train").iterdir():
        file.write_text("")
    with pytest.raises(DatasetError, match="no labels at all"):
        start(quick(empty, tmp_path / "a"))
    leaky = write_dataset(tmp_path / "leaky", train=2, val=2)
    leaky.write_text(leaky.read_text().replace("images/val", "images/train"))
    with pytest.raises(DatasetError, match="validation images too"):
        start(quick(leaky, tmp_path / "b"))
    with pytest.raises(UnknownClassError):
        start(quick(data, tmp_path / "c", classes=["zebra"]))
    with pytest.raises(DatasetError):
        start(quick(tmp_path / "nowhere.yaml", tmp_path / "d", model="yolov4-csp-n"))


def test_anchors_are_fitted_when_the_models_miss_boxes(tmp_path):
    data = write_dataset(tmp_path / "data", train=8, val=2)
    lines: list[str] = []
    settings = quick(data, tmp_path / "run")
    tiny = Path(settings.model)
    text = tiny.read_text()
    tiny.write_text(text.replace("- 12\n", "- 500\n"))
    job = prepare(settings, World(), CPU, lines.append)
    assert any(line.startswith("anchors: best possible recall") for line in lines)
    assert torch.allclose(
        job.model.detect.anchor_grid.flatten(), torch.tensor(job.model.spec.anchors).flatten()
    )


def test_batch_must_suit_the_processes(data, tmp_path):
    with pytest.raises(SettingError, match="3 processes"):
        prepare(quick(data, tmp_path / "run"), World(0, 3, 0), CPU, print)
