"""Darknet's layers as modules of torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..blocks import BN_MOMENTUM, Conv
from .layers import (
    AveragePool,
    Convolution,
    DarknetLayer,
    GlobalAverage,
    Head,
    MaxPool,
    Nothing,
    Reorg,
    Route,
    Scale,
    Shortcut,
    Upsample,
)
from .reorg import reorg, reorg_mixed

BN_EPS: Final = 1e-6
"""What Darknet adds to the variance under the root."""
SHORTCUT_EPS: Final = 1e-4
"""What it adds to the sum of a shortcut's normalised weights."""

_ACTIVATIONS: Final[Mapping[str, Callable[[], nn.Module]]] = {
    "linear": nn.Identity,
    "leaky": lambda: nn.LeakyReLU(0.1, inplace=True),
    "mish": lambda: nn.Mish(inplace=True),
    "swish": lambda: nn.SiLU(inplace=True),
    "logistic": nn.Sigmoid,
    "relu": lambda: nn.ReLU(inplace=True),
    "relu6": lambda: nn.ReLU6(inplace=True),
    "hard_mish": lambda: HardMish(),
}


class DarknetConv(Conv):
    """Convolution with groups, batch normalisation or bias, and any of Darknet's activations."""

    def __init__(self, layer: Convolution) -> None:
        nn.Module.__init__(self)  # Conv's own makes other submodules
        self.conv: nn.Conv2d = nn.Conv2d(
            layer.c_in,
            layer.channels,
            layer.size,
            layer.step,
            layer.padding,
            groups=layer.groups,
            bias=not layer.batch_normalize,
        )
        self.bn: nn.Module = nn.Identity()
        if layer.batch_normalize:
            self.bn = nn.BatchNorm2d(layer.channels, eps=BN_EPS, momentum=BN_MOMENTUM)
        self.act: nn.Module = _ACTIVATIONS[layer.activation]()


class DarknetMaxPool(nn.Module):
    """Max-pooling with Darknet's padding: where it is odd, one cell more right and below."""

    def __init__(self, layer: MaxPool) -> None:
        super().__init__()
        before = layer.padding // 2
        after = layer.padding - before
        # Of maps that the stride divides, windows end at size - padding <= stride: cells behind
        # the map are only reached where windows overlap.
        self.margin: tuple[int, int] = (0, 0)
        if after > before and layer.size > layer.step:
            self.margin, before = (before, after), 0
        self.pool: nn.MaxPool2d = nn.MaxPool2d(layer.size, layer.step, before)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H / stride, W / stride]."""
        if any(self.margin):
            x = F.pad(x, self.margin * 2, value=-torch.inf)
        pooled: Tensor = self.pool(x)
        return pooled


class DarknetRoute(nn.Module):
    """Concatenation of a part of each map's channels."""

    def __init__(self, layer: Route) -> None:
        super().__init__()
        self.groups: int
        self.group_id: int
        self.groups, self.group_id = layer.groups, layer.group_id

    def forward(self, *maps: Tensor) -> Tensor:
        """n maps [B, C_i, H, W] -> [B, sum of C_i / groups, H, W]."""
        parts = [x.chunk(self.groups, dim=1)[self.group_id] if self.groups > 1 else x for x in maps]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


class DarknetShortcut(nn.Module):
    """Sum, weighted or not, and activation; of other maps the channels that the first has too."""

    def __init__(self, layer: Shortcut) -> None:
        super().__init__()
        self.act: nn.Module = _ACTIVATIONS[layer.activation]()
        self.normalization: str = layer.normalization
        self.weight: nn.Parameter | None = None
        if layer.weights:
            self.weight = nn.Parameter(torch.ones(len(layer.sources), layer.weights))

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        """Maps [B, C_i, H, W] -> [B, C_0, H, W]."""
        scales = self._scales()
        total = first if scales is None else first * scales[0]
        for index, other in enumerate(others, 1):
            more = total.shape[1] - other.shape[1]
            if more < 0:
                other = other[:, :more]
            elif more > 0:
                other = F.pad(other, (0, 0, 0, 0, 0, more))
            total = total + (other if scales is None else other * scales[index])
        out: Tensor = self.act(total)
        return out

    def _scales(self) -> Tensor | None:
        """What each source is multiplied by, [sources, 1 or C, 1, 1]."""
        if self.weight is None:
            return None
        weight: Tensor = self.weight
        if self.normalization == "relu":
            weight = weight.relu()
        elif self.normalization == "softmax":
            weight = (weight - weight.amax(dim=0)).exp()
        if self.normalization != "none":
            weight = weight / (weight.sum(dim=0) + SHORTCUT_EPS)
        return weight[:, :, None, None]


class DarknetAveragePool(nn.Module):
    """The mean of the cells of a window that are inside the map; windows do not overlap."""

    def __init__(self, layer: AveragePool) -> None:
        super().__init__()
        before = layer.padding // 2
        self.pool: nn.AvgPool2d = nn.AvgPool2d(
            layer.size, layer.step, before, count_include_pad=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H / stride, W / stride]."""
        pooled: Tensor = self.pool(x)
        return pooled


class DarknetGlobalAverage(nn.Module):
    """The mean of each channel."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, 1, 1]."""
        return x.mean((2, 3), keepdim=True)


class DarknetScale(nn.Module):
    """A map times what scales it, and an activation."""

    def __init__(self, layer: Scale) -> None:
        super().__init__()
        self.act: nn.Module = _ACTIVATIONS[layer.activation]()

    def forward(self, scale: Tensor, x: Tensor) -> Tensor:
        """Scale [B, C or 1, H or 1, W or 1] and map [B, C, H, W] -> [B, C, H, W]."""
        out: Tensor = self.act(scale * x)
        return out


class DarknetReorg(nn.Module):
    """Cells to channels; see `reorg`."""

    def __init__(self, layer: Reorg) -> None:
        super().__init__()
        self.step: int
        self.mixed: bool
        self.step, self.mixed = layer.step, layer.mixed

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C step^2, H / step, W / step]."""
        return (reorg_mixed if self.mixed else reorg)(x, self.step)


class HardMish(nn.Module):
    """x above 0, x^2 / 2 + x from -2 to 0, 0 below."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        low = x.clamp(-2, 0)
        return x.clamp(min=0) + low * (low / 2 + 1)


_MODULES: Final[Mapping[type[DarknetLayer], Callable[[Any], nn.Module]]] = {
    Convolution: DarknetConv,
    MaxPool: DarknetMaxPool,
    AveragePool: DarknetAveragePool,
    GlobalAverage: lambda _: DarknetGlobalAverage(),
    Route: DarknetRoute,
    Shortcut: DarknetShortcut,
    Scale: DarknetScale,
    Reorg: DarknetReorg,
    Upsample: lambda layer: nn.Upsample(scale_factor=float(layer.factor), mode="nearest"),
    Nothing: lambda _: nn.Identity(),
    Head: lambda _: nn.Identity(),
}


def module_of(layer: DarknetLayer) -> nn.Module:
    """The module of a layer; a head is an identity, its decoding is in `DarknetDetect`."""
    return _MODULES[type(layer)](layer)
