"""Size and cost of a model: parameters and floating-point operations."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .build import build_model
from .model import Model


def count_parameters(model: nn.Module) -> int:
    """Number of parameters; buffers do not count."""
    return sum(parameter.numel() for parameter in model.parameters())


def gflops(model: Model, size: tuple[int, int]) -> float:
    """Billions of operations of the convolutions (2 x multiply-add) for one image.

    Args:
        model: on the meta device, so that nothing is computed.
        size: (height, width) in pixels.
    """
    total = 0

    def count(module: nn.Module, _: Any, out: torch.Tensor) -> None:
        nonlocal total
        weight = module.weight
        assert isinstance(weight, torch.Tensor)
        total += 2 * weight.numel() * out.shape[-2] * out.shape[-1]

    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    hooks = [m.register_forward_hook(count) for m in convolutions]
    try:
        with torch.no_grad():
            model.eval().raw(torch.empty(1, 3, *size, device="meta"))
    finally:
        for hook in hooks:
            hook.remove()
    return total / 1e9


def summary(name: str) -> dict[str, Any]:
    """Name, parameters, GFLOPs at the model's own size, size, strides and anchors per level."""
    with torch.device("meta"):
        model = build_model(name)
    size = model.spec.input_size
    return {
        "name": name,
        "parameters": count_parameters(model),
        "gflops": round(gflops(model, size), 1),
        "size": size[0],
        "strides": list(model.spec.strides),
        "anchors_per_level": model.detect.na,
    }
