"""A run that was made and interrupted before the settings had groups: it is read and goes on.

`old_run/` holds its `settings.json`, its state after 8 of 15 batches (`last.state`, whose name in a
run's folder is `last.state.pt`), and the figures of the same run without an interruption.
"""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.train.synthetic import write_dataset
from train.augment import Augmentation
from train.checkpoint import STATE_FILE
from train.groups import AugmentationSettings, LossSettings, ScheduleSettings
from train.main import resume
from train.run import RESULTS_FILE
from train.settings import TrainSettings

OLD = Path(__file__).parent / "old_run"
DEFINITION = {
    "nc": 2, "depth_multiple": 1.0, "width_multiple": 1.0, "input_size": 64,
    "anchors": [[4, 5], [12, 25], [48, 36]],
    "backbone": [[-1, 1, "Conv", [8, 3, 2]] for _ in range(5)],
    "head": [[[2, 3, 4], 1, "Detect", ["nc", "anchors"]]],
}  # fmt: skip
SETTINGS = TrainSettings(
    data="data/data.yaml", output="run", model="micro.yaml", classes=("box",), size=64, epochs=3,
    batch=4, nominal_batch=8, multi_scale=0.5, device="cpu", auto_anchor=False, workers=0,
    threads=1, tensorboard=False, plots=False,
    schedule=ScheduleSettings(
        optimizer="adamw", momentum=0.9, warmup_epochs=0.5, warmup_iterations=2
    ),
    loss=LossSettings(iou="giou", focal=1.5, label_smoothing=0.05, hard_epochs=0),
    augmentation=AugmentationSettings(mixup=0.3, hsv_h=0.02),
)  # fmt: skip


def test_its_settings_are_read() -> None:
    read = TrainSettings.read(OLD / "settings.json")
    assert read == SETTINGS
    assert read.augmenting() == Augmentation(mixup=0.3, hsv_h=0.02)
    fine = read.changed({"weights": "x.safetensors", "mixup": None})
    assert fine.augmenting() == Augmentation(mixup=0.2, scale=0.8, hsv_h=0.02)


def test_what_is_written_now_has_groups_and_is_read_too() -> None:
    text = SETTINGS.to_json()
    written = json.loads(text)
    assert written["loss"]["focal"] == 1.5 and written["augmentation"]["mixup"] == 0.3
    assert "focal" not in written
    assert TrainSettings.from_json(text) == SETTINGS


def test_it_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # its paths are relative
    write_dataset(Path("data"), train=18, val=6)
    Path("micro.yaml").write_text(yaml.safe_dump(DEFINITION))
    Path("run").mkdir()
    shutil.copy(OLD / "last.state", Path("run", STATE_FILE))
    assert resume("run").finished
    with (OLD / "uninterrupted.csv").open() as old, Path("run", RESULTS_FILE).open() as new:
        expected, found = list(csv.DictReader(old))[1:], list(csv.DictReader(new))
    assert [row["epoch"] for row in found] == ["2", "3"]
    for before, now in zip(expected, found, strict=True):
        for name in ("box", "objectness", "classes", "iou_ratio", "lr", "updates", "map50_95"):
            # another processor rounds differently
            assert float(now[name]) == pytest.approx(float(before[name]), rel=0.02), name
