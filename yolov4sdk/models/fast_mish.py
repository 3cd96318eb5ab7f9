"""Mish with one exponential, for PyTorch on a CPU.

PyTorch's CPU kernels take three transcendental functions forward and three backward, a third of a
training step of the small models and a quarter of yolov4-csp's detection. With s = sigmoid(x) and
q = 1 - s,

    tanh(softplus(x)) = t = s (1 + q) / (1 + q^2),   mish(x) = x t,
    mish'(x) = t + x s (1 - t^2),

which is exact algebra and needs one. The derivative is computed forward, while everything is in
the cache, and kept in place of the input: the memory is that of the built-in function. bfloat16 is
computed in float32 and rounded once; forward and backward together take a quarter of the time of
PyTorch's own bfloat16 kernels.
Source: Mish 1908.08681.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SMALL = 1 << 17  # elements; below, the calls take longer than the arithmetic
_CHUNK = 1 << 18  # elements a thread; measured: shorter pays more calls, longer leaves the cache


def _mish_chunk(x: Tensor, one: Tensor, scratch: Tensor, out: Tensor, slope: Tensor | None) -> None:
    """Write mish(x) into `out` and its derivative into `slope`; all are flat."""
    wide, s, t, w = scratch[:, : x.numel()]
    if x.dtype != torch.float32:
        x = wide.copy_(x)
    torch.sigmoid(x, out=s)
    torch.sub(one, s, out=t)
    torch.addcmul(one, t, t, out=w)
    t.add_(one).mul_(s).div_(w)
    if slope is not None:
        torch.addcmul(one, t, t, value=-1, out=w)
        slope.copy_(torch.addcmul(t, w.mul_(s), x, out=w))
    if out.dtype == torch.float32:
        torch.mul(t, x, out=out)
    else:
        out.copy_(t.mul_(x))


def _flat(x: Tensor) -> Tensor:
    """A dense tensor's memory as one row, whatever its layout."""
    return x.as_strided((x.numel(),), (1,), x.storage_offset())


def _mish(x: Tensor, out: Tensor, slope: Tensor | None) -> None:
    """Write mish(x) into `out`, which may be `x`, and its derivative into `slope`."""
    chunk = _CHUNK * torch.get_num_threads()
    scratch = torch.empty(4, min(chunk, x.numel()))
    one = torch.ones(())
    rows, outs = torch.split(_flat(x), chunk), torch.split(_flat(out), chunk)
    slopes = [None] * len(rows) if slope is None else torch.split(_flat(slope), chunk)
    for row, target, derivative in zip(rows, outs, slopes, strict=True):
        _mish_chunk(row, one, scratch, target, derivative)


class _Mish(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        out, slope = torch.empty_like(x), torch.empty_like(x)
        _mish(x, out, slope)
        ctx.save_for_backward(slope)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensors
        product: Tensor = grad * slope
        return product


def _is_dense(x: Tensor) -> bool:
    return x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)


class FastMish(nn.Module):
    """Mish, any float tensor; the quick form for images on a CPU, else PyTorch's.

    Args:
        inplace: the result may take the place of the input, as `nn.Mish(inplace=True)` does.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape and layout."""
        quick = x.dtype in (torch.float32, torch.bfloat16) and x.ndim == 4 and x.numel() >= _SMALL
        learns = torch.is_grad_enabled() and x.requires_grad
        if x.device.type != "cpu" or not quick:
            return F.mish(x, inplace=self.inplace and not learns)  # in place it would copy x first
        if not _is_dense(x):
            x = x.contiguous()
        if learns:
            out: Tensor = _Mish.apply(x)  # type: ignore[no-untyped-call]
            return out
        out = x if self.inplace else torch.empty_like(x)
        _mish(x, out, None)
        return out


def use_fast_mish(model: nn.Module) -> int:
    """Replace every `nn.Mish` inside `model`; weights and their names stay. Returns how many."""
    count = 0
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.Mish):
                setattr(module, name, FastMish(child.inplace))
                count += 1
    return count
