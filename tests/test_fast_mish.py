"""Mish with one exponential equals PyTorch's, and leaves a detector what it was."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from yolov4sdk.models import build_model, fast_mish
from yolov4sdk.models.fast_mish import FastMish, use_fast_mish


@pytest.fixture(scope="module", autouse=True)
def quick_for_every_size() -> Iterator[None]:
    """Without it tensors as small as these take PyTorch's function."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast_mish, "_SMALL", 1)
        yield


def test_small_tensors_take_pytorchs_function(monkeypatch):
    x = torch.linspace(-9, 9, 360).view(1, 3, 10, 12)
    monkeypatch.setattr(fast_mish, "_SMALL", x.numel() + 1)
    assert torch.equal(FastMish()(x), F.mish(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_in_place_only_without_gradients(dtype):
    x = torch.linspace(-9, 9, 360).view(1, 3, 10, 12).to(dtype)
    wanted = FastMish()(x)
    leaf = x.clone().requires_grad_()
    assert torch.equal(FastMish(inplace=True)(leaf), wanted)
    assert torch.equal(leaf, x)
    assert FastMish(inplace=True)(x) is x
    assert torch.equal(x, wanted)


@settings(deadline=None)
@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=50), st.booleans())
def test_fast_mish_equals_mish(values, channels_last):
    x = torch.tensor(values).view(1, -1, 1, 1).repeat(2, 1, 3, 2)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    grads = []
    for function in (FastMish(), F.mish):
        leaf = x.clone().requires_grad_()
        out = function(leaf)
        out.sin().sum().backward()
        grads.append((out, leaf.grad))
    for mine, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
        assert mine.stride() == x.stride()
    with torch.no_grad():
        torch.testing.assert_close(FastMish()(x), F.mish(x), rtol=1e-5, atol=1e-6)


def test_fast_mish_in_bfloat16_is_rounded_once():
    x = torch.linspace(-30, 30, 3000).view(2, 3, 20, 25).bfloat16().requires_grad_()
    exact = x.detach().double().requires_grad_()
    mine, wanted = FastMish()(x), F.mish(exact)
    mine.sum().backward()
    wanted.sum().backward()
    for value, reference in ((mine, wanted), (x.grad, exact.grad)):
        assert value.dtype == torch.bfloat16
        torch.testing.assert_close(value.double(), reference, rtol=2**-8, atol=1e-6)


@pytest.mark.parametrize(
    "x",
    [
        torch.randn(2, 3),
        torch.randn(2, 3, 4, 5, dtype=torch.float64),
        torch.randn(2, 6, 4, 5)[:, ::2],
        torch.zeros(0, 3, 4, 4),
    ],
    ids=["2-D", "double", "not dense", "empty"],
)
def test_fast_mish_takes_any_tensor(x):
    torch.testing.assert_close(FastMish()(x), F.mish(x))


def test_a_detector_with_fast_mish_is_the_same_detector():
    torch.manual_seed(0)
    detector = build_model("yolov4-csp-n", ("a", "b")).eval()
    fast = copy.deepcopy(detector)
    assert use_fast_mish(fast) > 50
    assert not any(isinstance(m, nn.Mish) for m in fast.modules())
    assert fast.state_dict().keys() == detector.state_dict().keys()
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for mine, theirs in zip(fast.raw(x), detector.raw(x), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)
