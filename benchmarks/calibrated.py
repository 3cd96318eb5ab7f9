"""Full-size networks with random weights whose activations have the spread of trained ones."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from yolov4sdk.imaging.preprocess import to_input
from yolov4sdk.imaging.synthetic import drawn_image
from yolov4sdk.measure.verify import canvas_batch
from yolov4sdk.models import Model, build_model


def calibrated(name: str, size: tuple[int, int]) -> Model:
    """A model with random weights, every batch normalisation measured on drawn pictures."""
    torch.manual_seed(0)
    model = build_model(name).train()
    small = (max(size[0] // 2, 256), max(size[1] // 2, 256))
    pictures = canvas_batch([drawn_image(small, seed) for seed in range(4)], small)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model(torch.from_numpy(np.asarray(to_input(pictures, "float_nchw", bgr=True))))
    for norm in norms:
        assert norm.running_var is not None
        norm.running_var.clamp_(min=0.01)
    return model.eval()
