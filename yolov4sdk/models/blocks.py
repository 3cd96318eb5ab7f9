"""The building blocks of Scaled-YOLOv4 (arXiv 2011.08036; CSPNet, arXiv 1911.11929).

Submodule names (`cv1`, `bn`, `m`, ...) are those of published checkpoints, so that a state_dict
loads key by key. All blocks map float [B, C_in, H, W] to [B, C_out, H', W'].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

BN_EPS = 1e-3
BN_MOMENTUM = 0.03


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """BatchNorm2d with the epsilon and momentum of the published models."""
    return nn.BatchNorm2d(channels, eps=BN_EPS, momentum=BN_MOMENTUM)


def plain_conv(c_in: int, c_out: int) -> nn.Conv2d:
    """A 1x1 convolution without bias, normalisation or activation."""
    return nn.Conv2d(c_in, c_out, 1, bias=False)


class Conv(nn.Module):
    """Convolution without bias, batch normalisation, Mish (arXiv 1908.08681)."""

    def __init__(self, c_in: int, c_out: int, k: int = 1, s: int = 1) -> None:
        super().__init__()
        self.conv: nn.Conv2d = nn.Conv2d(c_in, c_out, k, s, k // 2, bias=False)
        self.bn: nn.Module = batch_norm(c_out)
        self.act: nn.Module = nn.Mish(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[B, c_in, H, W] -> [B, c_out, ceil(H/s), ceil(W/s)]."""
        out: Tensor = self.act(self.bn(self.conv(x)))
        return out


class Bottleneck(nn.Module):
    """1x1 then 3x3 convolution, with a shortcut when the channels agree."""

    def __init__(self, c_in: int, c_out: int, shortcut: bool = True, e: float = 0.5) -> None:
        super().__init__()
        hidden = int(c_out * e)
        self.cv1: Conv = Conv(c_in, hidden, 1)
        self.cv2: Conv = Conv(hidden, c_out, 3)
        self.add: bool = shortcut and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        """[B, c_in, H, W] -> [B, c_out, H, W]."""
        y: Tensor = self.cv2(self.cv1(x))
        return x + y if self.add else y


class BottleneckCSP(nn.Module):
    """Cross-stage-partial stage of the backbone: half of the channels pass n bottlenecks."""

    def __init__(self, c_in: int, c_out: int, n: int = 1, e: float = 0.5) -> None:
        super().__init__()
        hidden = int(c_out * e)
        self.cv1: Conv = Conv(c_in, hidden, 1)
        self.cv2: nn.Conv2d = plain_conv(c_in, hidden)
        self.cv3: nn.Conv2d = plain_conv(hidden, hidden)
        self.cv4: Conv = Conv(2 * hidden, c_out, 1)
        self.bn: nn.Module = batch_norm(2 * hidden)
        self.act: nn.Module = nn.Mish(inplace=True)
        self.m: nn.Sequential = nn.Sequential(
            *(Bottleneck(hidden, hidden, e=1.0) for _ in range(n))
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, c_in, H, W] -> [B, c_out, H, W]."""
        y = torch.cat((self.cv3(self.m(self.cv1(x))), self.cv2(x)), dim=1)
        out: Tensor = self.cv4(self.act(self.bn(y)))
        return out


class BottleneckCSP2(nn.Module):
    """Cross-stage-partial stage of the neck: no shortcuts, the input is squeezed first."""

    def __init__(self, c_in: int, c_out: int, n: int = 1) -> None:
        super().__init__()
        self.cv1: Conv = Conv(c_in, c_out, 1)
        self.cv2: nn.Conv2d = plain_conv(c_out, c_out)
        self.cv3: Conv = Conv(2 * c_out, c_out, 1)
        self.bn: nn.Module = batch_norm(2 * c_out)
        self.act: nn.Module = nn.Mish(inplace=True)
        self.m: nn.Sequential = nn.Sequential(
            *(Bottleneck(c_out, c_out, shortcut=False, e=1.0) for _ in range(n))
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, c_in, H, W] -> [B, c_out, H, W]."""
        x1 = self.cv1(x)
        y = torch.cat((self.m(x1), self.cv2(x1)), dim=1)
        out: Tensor = self.cv3(self.act(self.bn(y)))
        return out


class SPPCSP(nn.Module):
    """Spatial pyramid pooling inside a cross-stage-partial block."""

    def __init__(
        self, c_in: int, c_out: int, e: float = 0.5, kernels: tuple[int, ...] = (5, 9, 13)
    ) -> None:
        super().__init__()
        hidden = int(2 * c_out * e)
        self.cv1: Conv = Conv(c_in, hidden, 1)
        self.cv2: nn.Conv2d = plain_conv(c_in, hidden)
        self.cv3: Conv = Conv(hidden, hidden, 3)
        self.cv4: Conv = Conv(hidden, hidden, 1)
        self.m: nn.ModuleList = nn.ModuleList(
            nn.MaxPool2d(k, stride=1, padding=k // 2) for k in kernels
        )
        self.cv5: Conv = Conv((1 + len(kernels)) * hidden, hidden, 1)
        self.cv6: Conv = Conv(hidden, hidden, 3)
        self.bn: nn.Module = batch_norm(2 * hidden)
        self.act: nn.Module = nn.Mish(inplace=True)
        self.cv7: Conv = Conv(2 * hidden, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, c_in, H, W] -> [B, c_out, H, W]."""
        y = torch.cat((_pooled(self, x), self.cv2(x)), dim=1)
        out: Tensor = self.cv7(self.act(self.bn(y)))
        return out


def _pooled(block: SPPCSP | DarknetSPPCSP, x: Tensor) -> Tensor:
    """The half of a block that pools."""
    x1 = block.cv4(block.cv3(block.cv1(x)))
    pooled = torch.cat([x1, *(pool(x1) for pool in block.m)], dim=1)
    out: Tensor = block.cv6(block.cv5(pooled))
    return out


class DarknetCSP2(nn.Module):
    """BottleneckCSP2 as Darknet files have it: each half is normalised and activated once.

    The other form puts a joint BN and Mish over both halves, though the first ends in a Mish
    already. No weights of that form give this function, so it is a block of its own.
    """

    def __init__(self, c_in: int, c_out: int, n: int = 1) -> None:
        super().__init__()
        self.cv1: Conv = Conv(c_in, c_out, 1)
        self.cv2: Conv = Conv(c_out, c_out, 1)
        self.cv3: Conv = Conv(2 * c_out, c_out, 1)
        self.m: nn.Sequential = nn.Sequential(
            *(Bottleneck(c_out, c_out, shortcut=False, e=1.0) for _ in range(n))
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, c_in, H, W] -> [B, c_out, H, W]."""
        x1 = self.cv1(x)
        out: Tensor = self.cv3(torch.cat((self.m(x1), self.cv2(x1)), dim=1))
        return out


class DarknetSPPCSP(nn.Module):
    """SPPCSP as Darknet files have it; it differs as DarknetCSP2 does."""

    def __init__(self, c_in: int, c_out: int, kernels: tuple[int, ...] = (5, 9, 13)) -> None:
        super().__init__()
        self.cv1: Conv = Conv(c_in, c_out, 1)
        self.cv2: Conv = Conv(c_in, c_out, 1)
        self.cv3: Conv = Conv(c_out, c_out, 3)
        self.cv4: Conv = Conv(c_out, c_out, 1)
        self.m: nn.ModuleList = nn.ModuleList(
            nn.MaxPool2d(k, stride=1, padding=k // 2) for k in kernels
        )
        self.cv5: Conv = Conv((1 + len(kernels)) * c_out, c_out, 1)
        self.cv6: Conv = Conv(c_out, c_out, 3)
        self.cv7: Conv = Conv(2 * c_out, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, c_in, H, W] -> [B, c_out, H, W]."""
        out: Tensor = self.cv7(torch.cat((_pooled(self, x), self.cv2(x)), dim=1))
        return out


class Concat(nn.Module):
    """Concatenation of several feature maps along the channels."""

    def forward(self, *maps: Tensor) -> Tensor:
        """n maps [B, C_i, H, W] -> [B, sum of C_i, H, W]."""
        return torch.cat(maps, dim=1)
