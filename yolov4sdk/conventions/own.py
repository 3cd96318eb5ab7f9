"""The outputs that `yolov4sdk export` writes: decoded boxes in input pixels, and scores.

"full" has every box with a score for each class, "best" only the best boxes, "topk" the best boxes
with one class each (as earlier versions wrote them), and "nms" what suppression inside the graph
left.
"""

from __future__ import annotations

from typing import Final

from ..contract.contract import GraphContract, Size, float_input, own_output
from .base import Convention, Outputs, Tensors


def candidates(tensors: Tensors, contract: GraphContract, size: Size) -> Outputs:
    """The tensors are candidates already."""
    return Outputs(tensors["boxes"], tensors["scores"], tensors.get("labels"))


CONVENTIONS: Final = tuple(
    Convention(
        name, title, "docs/export.md, Outputs", own_output(name, classes=80), candidates,
        float_input(),
    )
    for name, title in (
        ("full", "yolov4sdk, all boxes and scores"),
        ("best", "yolov4sdk, the best boxes and all their scores"),
        ("topk", "yolov4sdk, the best boxes with one class"),
        ("nms", "yolov4sdk, suppressed in the graph"),
    )
)  # fmt: skip
