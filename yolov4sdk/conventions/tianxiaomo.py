"""pytorch-YOLOv4 (Tianxiaomo) and its Darknet converter: corners in fractions of the canvas."""

from __future__ import annotations

from typing import Final

from ..contract.contract import InputContract, OutputContract, OutputTensor, Resize
from .base import Convention
from .declared import decode

INPUT: Final = InputContract(name="input", resize=Resize("stretch"))

CONVENTIONS: Final = (
    Convention(
        "tianxiaomo", "YOLOv4 by pytorch-YOLOv4: boxes [B, N, 1, 4] and confs",
        "pytorch-YOLOv4: demo_pytorch2onnx.py, tool/utils.py",
        OutputContract(
            "tianxiaomo",
            (OutputTensor("boxes", "boxes", axes="BN1C"), OutputTensor("scores", "confs")), 80,
            unit="fraction",
        ),
        decode, INPUT,
    ),
)  # fmt: skip
