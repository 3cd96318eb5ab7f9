"""Precision and threads of a run are those whose steps were the fastest at its start."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from train import fastest as module
from train.distributed import World
from train.fastest import fastest
from train.settings import TrainSettings
from yolov4sdk.models import Model, build_model

CPU = torch.device("cpu")
SETTINGS = TrainSettings(size=64, amp="auto", threads=1)


@pytest.fixture(scope="module")
def model() -> Model:
    return build_model("yolov4-csp-n", ("a", "b"))


def choice(monkeypatch, model, times, settings=SETTINGS, busy=False, units=True):
    """The settings and what was said, where the steps took `times`."""
    said: list[str] = []
    monkeypatch.setattr(module, "_seconds", lambda _m, _x, way: times[way])
    monkeypatch.setattr(module, "has_bf16", lambda _: units)
    monkeypatch.setattr(module, "is_busy", lambda: busy)
    return fastest(settings, model, CPU, World(), said.append), said


@pytest.mark.parametrize(("seconds", "expected"), [(0.5, "bf16"), (0.95, "off"), (2.0, "off")])
def test_bf16_where_it_saves_a_tenth(monkeypatch, model, seconds, expected):
    found, said = choice(monkeypatch, model, {("off", 1): 1.0, ("bf16", 1): seconds})
    assert found == replace(SETTINGS, amp=expected)
    assert len(said) == 1 and "float32" in said[0] and f"{seconds:.2f} s" in said[0]


def test_nothing_is_measured_without_units_or_with_a_given_precision(monkeypatch, model):
    assert choice(monkeypatch, model, {}, units=False) == (replace(SETTINGS, amp="off"), [])
    given = replace(SETTINGS, amp="bf16")
    assert choice(monkeypatch, model, {}, given) == (given, [])


def test_one_thread_where_several_wait_for_one_another(monkeypatch, model):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        times = {("off", 2): 3.0, ("off", 1): 1.0}
        free = replace(SETTINGS, amp="off", threads=None)
        assert choice(monkeypatch, model, times, free) == (free, [])  # nothing else runs
        found, said = choice(monkeypatch, model, times, free, busy=True)
        assert found.threads == 1 and torch.get_num_threads() == 1
        assert "3.00 s" in said[0]
    finally:
        torch.set_num_threads(before)


def test_measuring_leaves_model_and_random_state(monkeypatch, model):
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    monkeypatch.setattr(module, "has_bf16", lambda _: True)
    said: list[str] = []
    assert fastest(SETTINGS, model, CPU, World(), said.append).amp in ("off", "bf16")
    assert len(said) == 1
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(weights[n], t) for n, t in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
