"""Folding of batch normalisation into the convolutions before it, for inference."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from .blocks import SPPCSP, BottleneckCSP, BottleneckCSP2, Conv
from .model import Model


class Affine(nn.Module):
    """A channel-wise x * scale + shift: the part of a joint BN that no convolution can take."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale.view(1, -1, 1, 1))
        self.register_buffer("shift", shift.view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same shape."""
        return x * self.scale + self.shift


def fold(model: Model) -> Model:
    """A copy for inference without batch normalisation.

    Each Conv's BN goes into its convolution. A joint BN goes into the plain convolutions that
    feed its halves: both in BottleneckCSP; in BottleneckCSP2 and SPPCSP only the `cv2` half, where
    the other half follows an activation and keeps a channel-wise multiply-add.

    Args:
        model: in any mode, folded or not; it is not changed.

    Returns:
        The folded model in evaluation mode, with gradients off.
    """
    folded = copy.deepcopy(model).eval().requires_grad_(False)
    for module in folded.modules():
        if isinstance(getattr(module, "bn", None), nn.Identity):
            continue  # it is folded already
        if isinstance(module, Conv) and isinstance(module.bn, nn.BatchNorm2d):
            scale, shift = _scale_shift(module.bn)
            module.conv = _fold_conv(module.conv, scale, shift)
            module.bn = nn.Identity()
        elif isinstance(module, BottleneckCSP):
            scale, shift = _scale_shift(module.bn)
            half = len(scale) // 2
            module.cv3 = _fold_conv(module.cv3, scale[:half], shift[:half])
            module.cv2 = _fold_conv(module.cv2, scale[half:], shift[half:])
            module.bn = nn.Identity()
        elif isinstance(module, BottleneckCSP2 | SPPCSP):
            scale, shift = _scale_shift(module.bn)
            half = len(scale) // 2
            module.cv2 = _fold_conv(module.cv2, scale[half:], shift[half:])
            _append_affine(module, Affine(scale[:half], shift[:half]))
            module.bn = nn.Identity()
    return folded


def _append_affine(module: BottleneckCSP2 | SPPCSP, affine: Affine) -> None:
    """Put the first half's multiply-add where that half ends, before the concatenation."""
    if isinstance(module, BottleneckCSP2):
        module.m.append(affine)
    else:
        module.cv6 = nn.Sequential(module.cv6, affine)  # type: ignore[assignment]


def _scale_shift(bn: nn.Module) -> tuple[Tensor, Tensor]:
    """A BatchNorm2d as x * scale + shift, computed in float64."""
    assert isinstance(bn, nn.BatchNorm2d)
    assert bn.running_mean is not None and bn.running_var is not None
    scale = bn.weight.double() / torch.sqrt(bn.running_var.double() + bn.eps)
    shift = bn.bias.double() - bn.running_mean.double() * scale
    return scale.to(bn.weight.dtype), shift.to(bn.weight.dtype)


def _fold_conv(conv: nn.Conv2d, scale: Tensor, shift: Tensor) -> nn.Conv2d:
    """The convolution followed by x * scale + shift, as one convolution with bias."""
    folded = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        (conv.kernel_size[0], conv.kernel_size[1]),
        stride=(conv.stride[0], conv.stride[1]),
        padding=(int(conv.padding[0]), int(conv.padding[1])),
        groups=conv.groups,
        device="meta",  # its weights are set below
    )
    weight = conv.weight.detach().double() * scale.double().view(-1, 1, 1, 1)
    folded.weight = nn.Parameter(weight.to(conv.weight.dtype), requires_grad=False)
    bias = shift if conv.bias is None else shift + conv.bias.detach() * scale
    folded.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
    return folded
