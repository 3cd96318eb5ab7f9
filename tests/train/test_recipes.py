"""The two recipes: the published settings as they were, and our own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.train.synthetic import write_dataset
from train import recipes
from train.augment import Augmentation
from train.loss import DetectionLoss
from train.optimizer import scaled_decay
from train.settings import TrainSettings
from yolov4sdk.errors import SettingError


def test_the_authors_recipe_is_the_published_settings() -> None:
    chosen = recipes.settings(data="x", recipe="authors", epochs=300)
    schedule = chosen.schedule
    assert (schedule.optimizer, chosen.learning_rate, schedule.lr_final) == ("sgd", 0.01, 0.2)
    assert (schedule.momentum, schedule.weight_decay) == (0.937, 5e-4)
    assert (schedule.warmup_epochs, schedule.warmup_iterations) == (3.0, 1000)
    assert schedule.warmup_share == pytest.approx(1 / 3)
    assert chosen.images_per_update(292) == 64
    assert scaled_decay(schedule.weight_decay, 16, 4) == 5e-4
    assert chosen.ema(100) == (0.9999, 2000.0)
    assert chosen.augmenting() == Augmentation()
    tuned = recipes.settings(data="x", recipe="authors", weights="w")
    assert tuned.augmenting() == Augmentation.fine_tuning()
    assert chosen.mosaic_epochs == 300
    loss = chosen.loss_of(80)
    assert (loss.iou, loss.box_gain, loss.objectness_gain, loss.class_gain) == (
        "giou",
        0.05,
        1,
        0.5,
    )
    assert chosen.loss_of(20).class_gain == pytest.approx(0.125)


@pytest.mark.parametrize("ratio", [0, 1])
def test_the_authors_recipe_gives_the_oracle_s_loss(shared_dir: Path, ratio: int) -> None:
    with np.load(shared_dir / "oracle" / "loss-p5.npz") as file:
        oracle = dict(file)
    maps = [torch.from_numpy(oracle[f"raw{i}"]) for i in range(3)]
    settings = recipes.settings(data="x", recipe="authors").loss_of(80)
    loss = DetectionLoss(torch.from_numpy(oracle["anchors"]), settings)
    parts = loss(maps, torch.from_numpy(oracle["targets"]), ratio)
    expected = float(oracle[f"giou_ratio{ratio}_gamma0"][0])
    assert parts.total.item() == pytest.approx(expected, rel=1e-5)


def test_own_has_no_rule_for_80_classes() -> None:
    gains = {n: recipes.settings(data="x").loss_of(n).class_gain for n in (2, 6, 80)}
    assert len(set(gains.values())) == 1


@pytest.mark.parametrize(
    ("given", "optimizer", "rate"),
    [
        ({}, "adamw", 0.001),
        ({"weights": "w.safetensors"}, "adamw", 0.001),
        ({"from_scratch": True}, "sgd", 0.01),
        ({"model": "yolov4-csp-n"}, "sgd", 0.01),
        ({"from_scratch": True, "optimizer": "adamw"}, "adamw", 0.001),
        ({"optimizer": "sgd"}, "sgd", 0.01),
    ],
)
def test_the_optimizer_of_own_goes_by_the_start(given, optimizer: str, rate: float) -> None:
    chosen = recipes.settings(data="x", recipe="own", **given)
    assert (chosen.schedule.optimizer, chosen.learning_rate) == (optimizer, rate)


@pytest.mark.parametrize(
    ("model", "classes", "expected"),
    [("yolov4-csp", 2, "own"), ("yolov4-csp", 80, "authors"), ("yolov4-csp-n", 80, "own")],
)
def test_the_recipe_of_a_run_that_names_none(
    model: str, classes: int, expected: str, tmp_path: Path
) -> None:
    data = write_dataset(tmp_path, train=2, val=2)
    names = [f"c{i}" for i in range(classes)]
    data.write_text(f"path: .\ntrain: images/train\nval: images/val\nnames: {names}\n")
    assert recipes.settings(data=str(data), model=model).recipe == expected
    assert recipes.settings(data=str(data)).recipe == "own"


def test_what_is_given_wins() -> None:
    grouped = recipes.settings(data="x", recipe="authors", loss={"box_gain": 0.3}, lr=0.02)
    assert (grouped.loss.box_gain, grouped.learning_rate) == (0.3, 0.02)
    assert grouped.loss.iou == "giou"
    again = TrainSettings.from_json(grouped.to_json())
    assert again == grouped
    assert recipes.settings(again, epochs=5).loss == grouped.loss  # a file's values stay
    assert recipes.settings(again, recipe="own").loss.box_gain == recipes.OWN["box_gain"]
    with pytest.raises(SettingError, match="recipe is 'best'; expected one of own, authors"):
        recipes.settings(data="x", recipe="best")
