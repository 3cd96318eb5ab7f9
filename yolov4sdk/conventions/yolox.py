"""YOLOX (arXiv 2107.08430): the official ONNX forms, and LibreYOLO's of the same network.

Objectness and classes are sigmoid already; `yolox-raw` leaves centre and size relative to
the cells.
The two forms have the same names and shapes: nothing in the file tells them apart.
"""

from __future__ import annotations

from typing import Final

from ..contract.contract import InputContract, OutputContract, OutputTensor, Resize
from .base import Convention
from .declared import decode

INPUT: Final = InputContract(
    name="images", color="BGR", scale=1.0,
    resize=Resize("letterbox-top-left", rounding="down"),
)  # fmt: skip
_PACKED: Final = OutputTensor("packed", position=0, columns=("box", "objectness", "scores"))


def _row(name: str, title: str, output: OutputContract) -> Convention:
    source = "YOLOX: tools/export_onnx.py, yolo_head.py, data_augment.py"
    return Convention(name, title, source, output, decode, INPUT)


CONVENTIONS: Final = (
    _row(
        "yolox", "YOLOX exported with --decode_in_inference",
        OutputContract("yolox", (_PACKED,), 80, box="cxcywh", score="objectness*class"),
    ),
    _row(
        "yolox-raw", "YOLOX as its exporter writes it by default",
        OutputContract(
            "yolox-raw", (_PACKED,), 80, box="grid-exp", score="objectness*class",
            grid=((8, 1), (16, 1), (32, 1)),
        ),
    ),
)  # fmt: skip
