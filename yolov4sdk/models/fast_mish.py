"""Mish with one exponential, for PyTorch on a CPU.

PyTorch's CPU kernels take three transcendental functions forward and three backward, a third of a
training step of the small models and a quarter of yolov4-csp's detection. With s = sigmoid(x) and
q = 1 - s,

    tanh(softplus(x)) = t = s (1 + q) / (1 + q^2),   mish(x) = x t,
    mish'(x) = t + x s (1 - t^2),

which is exact algebra and needs one. The derivative is computed forward, while everything is in
the cache, and kept in place of the input: the memory is that of the built-in function.

bfloat16 has 65,536 values, so function and derivative are looked up in two tables of 128 KiB, which
were computed in float32 and rounded once: less than half of the arithmetic's time.
Source: Mish 1908.08681.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SMALL = 1 << 14  # elements; below, the calls take longer than the arithmetic
_CHUNK = 1 << 16  # elements a thread; measured: shorter pays more calls, longer leaves the cache
_FEW_THREADS = 2  # up to so many, `index_select` on one is faster than `take` on all of them


def _mish_chunk(x: Tensor, one: Tensor, scratch: Tensor, out: Tensor, slope: Tensor | None) -> None:
    """Write mish(x) into `out` and its derivative into `slope`; all are flat float32."""
    s, t, w = scratch[:, : x.numel()]
    torch.sigmoid(x, out=s)
    torch.sub(one, s, out=t)
    torch.addcmul(one, t, t, out=w)
    t.add_(one).mul_(s).div_(w)
    if slope is not None:
        torch.addcmul(one, t, t, value=-1, out=w)
        torch.addcmul(t, w.mul_(s), x, out=slope)
    torch.mul(t, x, out=out)


def _flat(x: Tensor) -> Tensor:
    """A dense tensor's memory as one row, whatever its layout."""
    return x.as_strided((x.numel(),), (1,), x.storage_offset())


def _mish(x: Tensor, out: Tensor, slope: Tensor | None) -> None:
    """Write mish(x) into `out`, which may be `x`, and its derivative into `slope`; float32."""
    chunk = _CHUNK * torch.get_num_threads()
    scratch = torch.empty(3, min(chunk, x.numel()))
    one = torch.ones(())
    rows, outs = torch.split(_flat(x), chunk), torch.split(_flat(out), chunk)
    slopes = [None] * len(rows) if slope is None else torch.split(_flat(slope), chunk)
    for row, target, derivative in zip(rows, outs, slopes, strict=True):
        _mish_chunk(row, one, scratch, target, derivative)


@cache
def _tables() -> tuple[Tensor, Tensor]:
    """Mish and its derivative of every bfloat16, in the order of their bits as unsigned numbers."""
    bits = torch.arange(1 << 16, dtype=torch.int32)
    x = (bits << 16).view(torch.float32)  # a bfloat16 is the upper half of a float32
    out, slope = torch.empty_like(x), torch.empty_like(x)
    _mish(x, out, slope)
    return out.bfloat16(), slope.bfloat16()


def _look_up(table: Tensor, x: Tensor, out: Tensor) -> None:
    """Write the entries of bfloat16 `x` into `out`, which may be `x`."""
    few = torch.get_num_threads() <= _FEW_THREADS
    chunk = _CHUNK * torch.get_num_threads()
    scratch = torch.empty(min(chunk, x.numel()), dtype=torch.int32 if few else torch.int64)
    bits = _flat(x).view(torch.uint16)
    for row, target in zip(torch.split(bits, chunk), torch.split(_flat(out), chunk), strict=True):
        index = scratch[: row.numel()].copy_(row)
        if few:
            torch.index_select(table, 0, index, out=target)
        else:
            torch.take(table, index, out=target)


class _Mish(torch.autograd.Function):
    """Keeps the derivative (float32), or the input whose derivative the table has (bfloat16)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        out = torch.empty_like(x)
        if x.dtype == torch.bfloat16:
            _look_up(_tables()[0], x, out)
            ctx.save_for_backward(x)
        else:
            slope = torch.empty_like(x)
            _mish(x, out, slope)
            ctx.save_for_backward(slope)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (kept,) = ctx.saved_tensors
        if kept.dtype != torch.bfloat16:
            return torch.mul(grad, kept)
        slope = torch.empty_like(kept)
        _look_up(_tables()[1], kept, slope)
        return slope.mul_(grad)


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
        if x.dtype == torch.bfloat16:
            _look_up(_tables()[0], x, out)
        else:
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
