"""A tiny network whose answers depend on the picture, without any training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yolov4sdk.models import Model


def make_tiny(names: Sequence[str], size: int = 160, seed: int = 0) -> Model:
    """YOLOv4-CSP at an eighth of the width, random, its scores spread over 0..1.

    Batch normalisation is calibrated on colored squares; left as initialised, the activations fade
    out and every cell scores the same. Variances have a floor, so that rounding is not amplified.
    """
    import torch
    import yaml
    from torch import nn

    from yolov4sdk.models import build_model
    from yolov4sdk.models.blocks import BN_MOMENTUM
    from yolov4sdk.models.definition import FOLDER

    data = yaml.safe_load((FOLDER / "yolov4-csp.yaml").read_text())
    data |= {"depth_multiple": 0.2, "width_multiple": 0.125, "nc": len(names), "input_size": size}
    data["anchors"] = [[4, 5, 8, 12, 16, 10], [12, 25, 25, 18, 24, 48], [48, 36, 64, 80, 100, 90]]
    torch.manual_seed(seed)
    model = build_model(data, names=names).train()
    for conv in model.detect.m:
        assert isinstance(conv, nn.Conv2d) and conv.bias is not None
        nn.init.normal_(conv.weight, 0, 0.3)
        nn.init.zeros_(conv.bias)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model(nn.functional.interpolate(torch.rand(8, 3, 12, 12), size=size, mode="nearest"))
    for norm in norms:
        norm.momentum = BN_MOMENTUM
        assert norm.running_var is not None
        norm.running_var.clamp_(min=0.1)
    return model.eval()


def make_micro(names: Sequence[str]) -> Model:
    """Five convolutions and a head: the smallest network with all three levels."""
    import torch

    from yolov4sdk.models import build_model

    torch.manual_seed(0)
    convs = [[-1, 1, "Conv", [8, 3, 2]] for _ in range(5)]
    return build_model(
        {
            "nc": len(names),
            "depth_multiple": 1.0,
            "width_multiple": 1.0,
            "input_size": 64,
            "anchors": [[4, 5], [12, 25], [48, 36]],
            "backbone": convs,
            "head": [[[2, 3, 4], 1, "Detect", ["nc", "anchors"]]],
        },
        names=names,
    ).eval()
