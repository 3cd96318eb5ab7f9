"""PaddleDetection's PP-YOLOE and PicoDet by paddle2onnx, with and without suppression.

Graphs that divide by `scale_factor` get ones, so that boxes stay in pixels of the input.
"""

from __future__ import annotations

from typing import Final

from ..contract.contract import ExtraInput, InputContract, OutputContract, OutputTensor, Resize
from .base import Convention
from .declared import decode

_STRETCH: Final = Resize("stretch", interpolation="cubic")
INPUT: Final = InputContract(
    name="image", resize=_STRETCH, extra=(ExtraInput("scale_factor", "scale"),)
)
BARE: Final = InputContract(name="image", resize=_STRETCH)
_SOURCE: Final = "PaddleDetection: deploy/third_engine/onnx, ppyoloe_head.py"

CONVENTIONS: Final = (
    Convention(
        "paddle", "PP-YOLOE and PicoDet, suppressed in the graph: [M, 6], one image", _SOURCE,
        OutputContract(
            "paddle",
            (OutputTensor("packed", position=0, axes="NC", columns=("label", "score", "box")),),
            80, selection="given", suppression="in graph", unused="negative",
        ),
        decode, INPUT,
    ),
    Convention(
        "ppyoloe", "PP-YOLOE exported with exclude_nms: boxes and [B, C, N] scores", _SOURCE,
        OutputContract(
            "ppyoloe",
            (
                OutputTensor("boxes", position=0),
                OutputTensor("scores", position=1, axes="BCN"),
            ),
            80,
        ),
        decode, INPUT,
    ),
    Convention(
        "ppyoloe-joined", "PP-YOLOE exported with exclude_post_process: [B, N, 4 + C]", _SOURCE,
        OutputContract(
            "ppyoloe-joined",
            (OutputTensor("packed", position=0, columns=("box", "scores")),), 80,
        ),
        decode, BARE,
    ),
)  # fmt: skip
