"""The forms in which YOLO exports come: [B, 4 + C, N], [B, N, 5 + C], and packed rows of six.

Facts: the exported files themselves (names, shapes, metadata), and the documents of their makers.
"""

from __future__ import annotations

from typing import Final

from ..contract.contract import InputContract, OutputContract, OutputTensor
from .base import Convention
from .declared import decode

INPUT: Final = InputContract()
SIX: Final = OutputTensor("packed", position=0, columns=("box", "score", "label"))
_SEVEN_CLASS_FIRST: Final = OutputTensor(
    "packed", position=0, axes="NC", columns=("image", "box", "label", "score")
)


def _row(name: str, title: str, output: OutputContract) -> Convention:
    return Convention(name, title, "exported files", output, decode, INPUT)


def _rows(columns: tuple[str, ...], axes: str) -> tuple[OutputTensor, ...]:
    return (OutputTensor("packed", position=0, axes=axes, columns=columns),)  # type: ignore[arg-type]


CONVENTIONS: Final = (
    _row(
        "yolov8", "[B, 4 + C, N]: YOLOv8, v9, 11, 12, and 10 and 26 by default",
        OutputContract("yolov8", _rows(("box", "scores"), "BCN"), 80, box="cxcywh"),
    ),
    _row(
        "yolov5", "[B, N, 5 + C]: YOLOv5, and YOLOv7 exported with --grid",
        OutputContract(
            "yolov5", _rows(("box", "objectness", "scores"), "BNC"), 80, box="cxcywh",
            score="objectness*class",
        ),
    ),
    _row(
        "yolov7-one-class", "[B, N, 6]: YOLOv7 of one class, whose objectness is the score",
        OutputContract(
            "yolov7-one-class", _rows(("box", "objectness", "scores"), "BNC"), 1, box="cxcywh",
            score="objectness",
        ),
    ),
    _row(
        "yolo-end2end", "[B, K, 6] without suppression: YOLOv10 and YOLO26, end to end",
        OutputContract("yolo-end2end", (SIX,), 80, selection="given", suppression="none"),
    ),
    _row(
        "yolo-nms", "[B, K, 6], suppressed in the graph; unused rows are zeros",
        OutputContract(
            "yolo-nms", (SIX,), 80, selection="given", suppression="in graph", unused="zeros"
        ),
    ),
    _row(
        "deepstream", "[B, N, 6], the best class a row, not suppressed: DeepStream-Yolo",
        OutputContract("deepstream", (SIX,), 80, selection="given"),
    ),
    _row(
        "yolov7-flat", "[D, 7] with the class before the score: YOLOv7 --end2end --max-wh",
        OutputContract(
            "yolov7-flat", (_SEVEN_CLASS_FIRST,), 80, selection="given", suppression="in graph",
            unused="negative",
        ),
    ),
    _row(
        "efficientnms", "num_dets, det_boxes, det_scores, det_classes, as EfficientNMS names them",
        OutputContract(
            "efficientnms",
            (
                OutputTensor("count", "num_dets", axes="BN"), OutputTensor("boxes", "det_boxes"),
                OutputTensor("scores", "det_scores", axes="BN"),
                OutputTensor("labels", "det_classes", axes="BN"),
            ),
            80, selection="given", suppression="in graph", unused="count",
        ),
    ),
)  # fmt: skip
