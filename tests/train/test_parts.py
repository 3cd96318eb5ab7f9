"""The trainer's parts, each by itself: schedule, optimizer, EMA, anchors, settings."""

from __future__ import annotations

import dataclasses
import inspect
import math
import os
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from train.augment import Augmentation
from train.autoanchor import by_level, fit_anchors, measure
from train.ema import ModelEMA
from train.environment import patient_threads
from train.groups import AugmentationSettings, LossSettings, ScheduleSettings
from train.optimizer import (
    clip_gradients,
    make_optimizer,
    parameter_groups,
    scaled_decay,
    set_rates,
)
from train.schedule import Schedule
from train.settings import TrainSettings
from yolov4sdk.cli.train import train as train_command
from yolov4sdk.errors import DatasetError, SettingError
from yolov4sdk.models import build_model

# -- schedule -----------------------------------------------------------------------------------

LONG = Schedule(epochs=300, steps_per_epoch=100, lr=0.01, final=0.2, accumulate=4)


@pytest.mark.parametrize("epoch", [0, 1, 150, 299])
def test_the_cosine_is_the_published_one(epoch):
    expected = 0.01 * (((1 + math.cos(math.pi * epoch / 300)) / 2) * 0.8 + 0.2)
    assert 0.01 * LONG.factor(epoch) == pytest.approx(expected)
    assert LONG.at(epoch * 100 + 1000 * (epoch < 10)).lr == pytest.approx(
        0.01 * LONG.factor(epoch + 10 * (epoch < 10))
    )


def test_warm_up():
    assert LONG.warmup == 1000
    start, end = LONG.at(0), LONG.at(1000)
    assert (start.lr, start.bias_lr, start.momentum, start.accumulate) == (0, 0.1, 0.9, 1)
    assert end.lr == end.bias_lr == pytest.approx(0.01, rel=0.01)
    assert (end.momentum, end.accumulate) == (0.937, 4)
    ramp = [LONG.at(i).accumulate for i in range(1001)]
    assert ramp == sorted(ramp)
    assert set(ramp) == {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("changes", "length"),
    [
        ({"epochs": 6}, 200),  # at most a third of the run
        ({"warmup_epochs": 20.0}, 2000),  # the longer of epochs and iterations
        ({"warmup_epochs": 0.0}, 0),
        ({"epochs": 10, "warmup_share": 0.1}, 100),
    ],
)
def test_length_of_the_warm_up(changes, length):
    assert dataclasses.replace(LONG, **changes).warmup == length


@settings(deadline=None)
@given(st.integers(0, 29_999))
def test_rates_stay_in_their_range(iteration):
    rates = LONG.at(iteration)
    assert 0 <= rates.lr <= 0.01
    assert 0.002 - 1e-9 <= rates.bias_lr <= 0.1
    assert 0.9 <= rates.momentum <= 0.937


# -- optimizer ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    return build_model("yolov4-csp-n", ("a", "b"))


def test_groups_hold_every_parameter_once_and_only_weights_decay(detector):
    weights, norms, biases = parameter_groups(detector)
    together = [id(p) for group in (weights, norms, biases) for p in group]
    assert sorted(together) == sorted(id(p) for p in detector.parameters())
    assert all(p.ndim == 4 for p in weights)
    bns = [m for m in detector.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {id(m.weight) for m in bns} == {id(p) for p in norms}
    assert {id(m.bias) for m in bns} < {id(p) for p in biases}
    decays = [g["weight_decay"] for g in make_optimizer(detector, "sgd", 1, 0.9, 0.5).param_groups]
    assert decays == [0.5, 0, 0]


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_rates_reach_the_optimizer(detector, name):
    optimizer = make_optimizer(detector, name, 0.01, 0.937, 0)
    set_rates(optimizer, LONG.at(0))
    assert [g["lr"] for g in optimizer.param_groups] == [0, 0, 0.1]
    momenta = [g["momentum"] if name == "sgd" else g["betas"][0] for g in optimizer.param_groups]
    assert momenta == [0.9] * 3


def test_a_first_update_that_fp16_skips_leaves_no_trace(monkeypatch):
    layer = nn.Linear(3, 1)
    monkeypatch.setattr(torch, "empty_like", lambda t, **_: torch.full_like(t, math.nan))
    optimizer = make_optimizer(layer, "sgd", 0.1, 0.9, 0)
    before = layer.weight.detach().clone()
    for found_inf, factor in ((1.0, 0.0), (0.0, 1.9)):  # Nesterov: gradient + 0.9 x momentum
        for parameter in layer.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.found_inf = torch.tensor(found_inf)  # as GradScaler tells a fused optimizer
        optimizer.grad_scale = None
        optimizer.step()
        torch.testing.assert_close(layer.weight.detach(), before - 0.1 * factor)


def test_optimizer_errors(detector):
    with pytest.raises(SettingError, match="lion"):
        make_optimizer(detector, "lion", 0.01, 0.9, 0)
    frozen = nn.Linear(2, 2).requires_grad_(False)
    with pytest.raises(SettingError, match="frozen"):
        make_optimizer(frozen, "sgd", 0.01, 0.9, 0)
    assert scaled_decay(5e-4, 16, 4) == 5e-4
    assert scaled_decay(5e-4, 16, 1) == pytest.approx(1.25e-4)


def test_clipping():
    layer = nn.Linear(3, 1)
    for limit, norm in ((1.0, 1.0), (math.inf, 5.0)):
        layer.weight.grad = torch.tensor([[3.0, 0.0, 0.0]])
        layer.bias.grad = torch.tensor([4.0])
        assert clip_gradients(layer, limit) == pytest.approx(5)
        total = torch.cat([layer.weight.grad.flatten(), layer.bias.grad]).norm()
        assert float(total) == pytest.approx(norm)


# -- EMA ----------------------------------------------------------------------------------------


def test_ema_follows_its_formula_in_weights_and_buffers():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    ema = ModelEMA(model, decay=0.9, tau=2)
    expected = {k: v.double() for k, v in model.state_dict().items()}
    for update in range(1, 6):
        model(torch.randn(4, 1, 3, 3))
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p))
        ema.update()
        d = 0.9 * (1 - math.exp(-update / 2))
        for k, v in model.state_dict().items():
            expected[k] = expected[k] * d + v.double() * (1 - d)
    for k, v in ema.model.state_dict().items():
        if v.is_floating_point():
            torch.testing.assert_close(v.double(), expected[k], rtol=1e-5, atol=1e-6)
    assert ema.model[1].num_batches_tracked == 5
    assert not ema.model.training
    assert not any(p.requires_grad for p in ema.model.parameters())


# -- anchors ------------------------------------------------------------------------------------


def test_fitted_anchors_recall_what_the_boxes_need():
    rng = np.random.default_rng(0)
    kinds = np.array([[10, 12], [40, 20], [15, 90], [200, 150], [300, 310], [64, 64]], float)
    wh = kinds[rng.integers(6, size=600)] * rng.uniform(0.9, 1.1, (600, 2))
    anchors, fit = fit_anchors(wh, 6, seed=1, generations=100)
    assert fit.recall == 1
    assert fit.closeness > 0.9
    assert fit == measure(wh, anchors)
    assert (np.diff(anchors.prod(1)) >= 0).all()
    again, _ = fit_anchors(wh, 6, seed=1, generations=100)
    assert (anchors == again).all()
    levels = by_level(anchors, 3)
    assert [len(level) for level in levels] == [2, 2, 2]
    assert measure(wh, np.ones((3, 2))).recall == 0
    assert "best possible recall 1.0000" in str(fit)


def test_too_few_boxes_for_anchors():
    with pytest.raises(DatasetError, match="9 anchors"):
        fit_anchors(np.full((5, 2), 30.0), 9)


@pytest.mark.parametrize(
    ("load", "given", "expected"),
    [
        (9e9, {}, {"OMP_WAIT_POLICY": "PASSIVE"}),
        (0.0, {}, {"GOMP_SPINCOUNT": "2000"}),
        (9e9, {"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
    ],
    ids=["busy", "alone", "user's own"],
)
def test_idle_threads_sleep_on_a_busy_machine(monkeypatch, load, given, expected):
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0, 0))
    names = "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"
    kept = {name: value for name, value in os.environ.items() if name not in names}
    monkeypatch.setattr(os, "environ", kept | given)
    patient_threads()
    assert {name: value for name, value in os.environ.items() if name in names} == expected


# -- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "lion"}, "sgd, adam, adamw"),
        ({"epochs": 0}, "epochs must be a positive integer, got 0"),
        ({"lr_final": 2}, "between 0 and 1"),
        ({"label_smoothing": 1.5}, "label_smoothing"),
        ({"weights": "a", "backbone": "b"}, "exclude"),
        ({"rectangular": True, "mosaic": 1.0}, "excludes mosaic"),
        ({"learning_rate": 1}, "unknown settings learning_rate"),
        ({"epochs": "many"}, "epochs must be a positive integer, got 'many'"),
        ({"loss": {"mosaic": 1}}, "unknown settings mosaic"),
        ({"fliplr": 1.5}, "fliplr"),
    ],
)
def test_bad_settings_are_named(changes, message):
    with pytest.raises(SettingError, match=message):
        TrainSettings().changed(changes)


def test_settings_survive_json():
    values = TrainSettings(
        data="d", classes=("a", "b"), cache=None,
        schedule=ScheduleSettings(lr=0.02), augmentation=AugmentationSettings(hsv_h=0.1),
    )  # fmt: skip
    assert TrainSettings.from_json(values.to_json()) == values
    with pytest.raises(SettingError, match="not valid JSON"):
        TrainSettings.from_json("{")


@pytest.mark.parametrize(
    ("images", "epochs", "nominal"), [(292, 120, 16), (118_287, 300, 64), (3137, 100, 16)]
)
def test_short_runs_update_more_often(images, epochs, nominal):
    assert TrainSettings(epochs=epochs).images_per_update(images) == nominal
    assert TrainSettings(nominal_batch=7).images_per_update(images) == 7


def test_the_ema_suits_the_length_of_the_run():
    assert TrainSettings().ema(550_000) == (0.9999, 2000)
    decay, tau = TrainSettings().ema(2000)
    assert decay == pytest.approx(0.99)
    assert tau == pytest.approx(100)
    assert TrainSettings().changed({"ema_decay": 0.5, "ema_tau": 7}).ema(2000) == (0.5, 7)


def test_two_stages():
    ramp = TrainSettings(
        epochs=100, loss=LossSettings(hard_epochs=10, ramp_epochs=4, iou_ratio=0.8)
    )
    assert [ramp.iou_ratio_at(e) for e in (0, 9)] == [0, 0]
    assert ramp.iou_ratio_at(10) == pytest.approx(0.16)
    assert ramp.iou_ratio_at(14) == ramp.iou_ratio_at(99) == pytest.approx(0.8)
    switch = TrainSettings(epochs=100, loss=LossSettings(hard_epochs=10, ramp_epochs=0))
    assert [switch.iou_ratio_at(e) for e in (9, 10)] == [0, 1]


def test_augmentation_defaults_depend_on_the_start():
    assert TrainSettings().augmenting() == Augmentation()
    assert TrainSettings(weights="x").augmenting() == Augmentation.fine_tuning()
    assert (
        TrainSettings(weights="x", augmentation=AugmentationSettings(mixup=0.0)).augmenting().mixup
        == 0
    )
    assert TrainSettings(rectangular=True).augmenting().mosaic == 0
    assert TrainSettings(epochs=50).mosaic_epochs == 45
    assert TrainSettings().changed({"epochs": 50, "close_mosaic": 0}).mosaic_epochs == 50


def test_the_command_has_every_setting_and_shows_its_default():
    options = {
        name: next(a for a in get_args(hint) if hasattr(a, "show_default"))
        for name, hint in get_type_hints(train_command, include_extras=True).items()
        if name not in ("return", "data", "context")
    }
    groups = (TrainSettings, ScheduleSettings, LossSettings, AugmentationSettings)
    fields = {f.name: f for kind in groups for f in dataclasses.fields(kind)}
    for name in ("data", "schedule", "loss", "augmentation"):
        del fields[name]
    assert set(fields) == set(options) - {"resume", "config"}
    parameters = inspect.signature(train_command).parameters
    assert all(p.default is None for name, p in parameters.items() if name != "context")
    for name, field in fields.items():
        shown = options[name].show_default
        if isinstance(field.default, bool) or field.default is None:
            continue  # shown in words
        assert shown.rpartition("recipe authors: ")[2] == str(field.default), name
