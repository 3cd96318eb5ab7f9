"""A network in float16: the graph states its own precision, as strongly typed engines want it."""

from __future__ import annotations

import torch

from yolov4sdk.errors import ExportError
from yolov4sdk.models import Model


def halve(model: Model) -> Model:
    """Turn a folded network's weights into float16, in place, and return it.

    The head's anchors stay float32, because the decoding does.

    Raises:
        ExportError: a weight is too large for float16; the message names it.
    """
    largest = torch.finfo(torch.float16).max
    for name, weight in [*model.named_parameters(), *model.named_buffers()]:
        if weight.abs().max() > largest:
            raise ExportError(
                f"{name} holds {float(weight.abs().max()):.3g}, past the {largest:.5g} of float16; "
                "export with precision fp32"
            )
    detect = model.detect
    anchors, anchor_grid = detect.anchors, detect.anchor_grid
    model.half()
    detect.anchors, detect.anchor_grid = anchors, anchor_grid
    return model
