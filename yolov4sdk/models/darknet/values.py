"""Values as Darknet's files hold them, of graphs that were imported and of our own alike."""

from __future__ import annotations

from torch import nn

from ...errors import ExportError
from .modules import BN_EPS
from .weights import LayerWeights


def conv_values(conv: nn.Conv2d, norm: nn.Module, part: slice = slice(None)) -> LayerWeights:
    """Values of a convolution with its own batch normalisation or a part of a joint one.

    Args:
        conv: without bias where there is a normalisation.
        norm: BatchNorm2d; an Identity where the convolution has a bias.
        part: of the normalisation's channels.
    """
    weight = conv.weight.detach()
    if not isinstance(norm, nn.BatchNorm2d):
        if conv.bias is None:
            raise ExportError(
                "a convolution without bias and normalisation is not one of Darknet's"
            )
        return LayerWeights(weight, conv.bias.detach())
    mean, variance = norm.running_mean, norm.running_var
    if conv.bias is not None or mean is None or variance is None:
        raise ExportError("Darknet has no normalised convolution with a bias of its own")
    scale = norm.weight.detach()[part]
    if norm.eps != BN_EPS:  # the scale takes the difference, exact for any variance
        ratio = (variance[part].double() + BN_EPS) / (variance[part].double() + norm.eps)
        scale = (scale.double() * ratio.sqrt()).to(scale.dtype)
    return LayerWeights(weight, norm.bias.detach()[part], scale, mean[part], variance[part])


def anchor_text(pairs: list[tuple[float, float]]) -> str:
    """Pairs as Darknet writes them."""
    return ",  ".join(f"{w:.9g},{h:.9g}" for w, h in pairs)
