"""The optimizer and its three parameter groups."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from train.schedule import Rates
from yolov4sdk.errors import SettingError

OPTIMIZERS = ("sgd", "adam", "adamw")
_DECAY_BATCH = 64  # the nominal batch that the published decay is meant for
_BETA2 = 0.999  # Adam's usual second beta
_WEIGHTS, _NORMS, _BIASES = range(3)


def parameter_groups(model: nn.Module) -> tuple[list[nn.Parameter], ...]:
    """Split the trainable parameters into convolution weights, norm weights and biases.

    Decay pulls weights towards zero. A norm's scale or a bias has no reason to be there, so only
    the first group decays.
    """
    groups: tuple[list[nn.Parameter], ...] = ([], [], [])
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            if name == "bias":
                groups[_BIASES].append(parameter)
            else:
                # A convolution or linear weight has axes; a norm's scale is a plain vector.
                groups[_WEIGHTS if parameter.ndim > 1 else _NORMS].append(parameter)
    return groups


def make_optimizer(
    model: nn.Module, name: str, lr: float, momentum: float, weight_decay: float
) -> Optimizer:
    """SGD with Nesterov momentum, Adam or AdamW over the three groups.

    Args:
        model: its parameters with requires_grad are trained.
        name: "sgd", "adam" or "adamw".
        lr: learning rate; `set_rates` replaces it at every update.
        momentum: of SGD, or the first beta of Adam.
        weight_decay: of convolution weights, already scaled (see `scaled_decay`).

    Raises:
        SettingError: for another name, or when every parameter is frozen.
    """
    weights, norms, biases = parameter_groups(model)
    groups: list[dict[str, Any]] = [
        {"params": weights, "weight_decay": weight_decay},
        {"params": norms, "weight_decay": 0.0},
        {"params": biases, "weight_decay": 0.0},
    ]
    if not any(group["params"] for group in groups):
        raise SettingError("every parameter is frozen; freeze fewer layers")
    # fused: one pass over memory per update instead of one per operation
    if name == "sgd":
        optimizer = SGD(groups, lr=lr, momentum=momentum, nesterov=True, fused=_can_fuse(model))
        # torch's fused SGD takes the first momentum from unset memory where fp16's scaler skips
        # the first update; from zeros it is the same first step.
        for parameter in (p for group in groups for p in group["params"]):
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return optimizer
    if name in ("adam", "adamw"):
        kind = Adam if name == "adam" else AdamW
        return kind(groups, lr=lr, betas=(momentum, _BETA2), fused=_can_fuse(model))
    raise SettingError(f"optimizer is {name!r}; expected one of {', '.join(OPTIMIZERS)}")


def _can_fuse(model: nn.Module) -> bool:
    return next(model.parameters()).device.type in ("cpu", "cuda")


def scaled_decay(weight_decay: float, batch: int, accumulate: int) -> float:
    """Decay for the images that are really accumulated, given the one for updates of 64.

    The loss is summed over images, so gradients grow with their number and the decay must too.
    """
    return weight_decay * batch * accumulate / _DECAY_BATCH


def set_rates(optimizer: Optimizer, rates: Rates) -> None:
    """Write learning rates and momentum into the optimizer's groups."""
    for index, group in enumerate(optimizer.param_groups):
        group["lr"] = rates.bias_lr if index == _BIASES else rates.lr
        if "momentum" in group:
            group["momentum"] = rates.momentum
        else:
            group["betas"] = (rates.momentum, group["betas"][1])


def clip_gradients(model: nn.Module, limit: float) -> float:
    """Scale the gradients down to a total norm of `limit`; returns the norm before.

    Gradients that are not finite are left as they are, for the caller to see.
    """
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
    total = float(norm)
    if limit < total < math.inf:
        torch._foreach_mul_(gradients, limit / total)
    return total
