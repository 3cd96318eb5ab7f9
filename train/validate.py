"""Validation during training: the EMA under the evaluation that `yolov4sdk val` uses."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from yolov4sdk.datasets import DetectionDataset
from yolov4sdk.measure.evaluation import EvaluationResult, evaluate
from yolov4sdk.models import Model


def validate(
    model: Model,
    dataset: DetectionDataset,
    size: int,
    batch: int,
    device: torch.device,
    rectangular: bool = True,
) -> EvaluationResult:
    """Evaluate a model under the authors' protocol (see `evaluate`).

    Args:
        model: in evaluation mode, on `device`.
        dataset: at least one image, with the model's classes.
        size: the long side in pixels.
        batch: images at a time.
        device: where to run.
        rectangular: the protocol's canvases; False is square ones of `size`.
    """

    @torch.inference_mode()
    def infer(images: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
        inputs = torch.from_numpy(images).to(device, memory_format=torch.channels_last)
        boxes, scores = model(inputs)
        return boxes.cpu().numpy(), scores.cpu().numpy()

    return evaluate(
        infer,
        dataset,
        size=size,
        rectangular=rectangular,
        batch=batch,
        stride=model.spec.max_stride,
    )
