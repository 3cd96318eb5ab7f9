"""LibreYOLO's own exports, which say in their metadata what they are."""

from __future__ import annotations

from typing import Final

from ..contract.contract import InputContract, OutputContract, OutputTensor
from .base import Convention
from .declared import decode

_SOURCE: Final = "libreyolo 1.6, exported"
CONVENTIONS: Final = (
    Convention(
        "libreyolo", "LibreYOLO's YOLO 1 to 9: [B, 4 + C, N] with corners", _SOURCE,
        OutputContract(
            "libreyolo",
            (OutputTensor("packed", position=0, axes="BCN", columns=("box", "scores")),), 80,
        ),
        decode, InputContract(),
    ),
    Convention(
        "libreyolo-rows", "LibreYOLO's RTMDet and PicoDet: [B, N, 4 + C] with corners", _SOURCE,
        OutputContract(
            "libreyolo-rows", (OutputTensor("packed", position=0, columns=("box", "scores")),), 80
        ),
        decode, InputContract(),
    ),
)  # fmt: skip
