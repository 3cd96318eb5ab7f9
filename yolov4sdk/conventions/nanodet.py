"""NanoDet-Plus: class scores, then distributions of the distances to the four sides."""

from __future__ import annotations

from typing import Final

from ..contract.contract import InputContract, OutputContract, OutputTensor, Resize
from .base import Convention
from .declared import decode
from .mmdeploy import MEAN, STD

INPUT: Final = InputContract(
    name="data", color="BGR", scale=1.0, mean=MEAN, std=STD, resize=Resize("stretch"),
    size=(416, 416),
)  # fmt: skip

CONVENTIONS: Final = (
    Convention(
        "nanodet-plus", "NanoDet-Plus: [1, N, C + 32], strides 8 to 64",
        "nanodet: export_onnx.py, nanodet_plus_head.py",
        OutputContract(
            "nanodet-plus",
            (OutputTensor("packed", position=0, columns=("scores", "box")),), 80, box="dfl",
            grid=((8, 1), (16, 1), (32, 1), (64, 1)), bins=8,
        ),
        decode, INPUT,
    ),
)  # fmt: skip
