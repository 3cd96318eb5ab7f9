"""YOLO-NAS: the forms of super-gradients' `export()`, and the bare network's two tensors.

The network sees RGB; the long side becomes 636 pixels in a canvas of 640.
"""

from __future__ import annotations

from typing import Final

from ..contract.contract import InputContract, OutputContract, OutputTensor, Resize
from .base import Convention
from .declared import decode

_RESIZE: Final = Resize("letterbox", margin=4)
INPUT: Final = InputContract(name="input", dtype="uint8", scale=1.0, resize=_RESIZE)
RAW: Final = InputContract(name="input", resize=_RESIZE)
_SOURCE: Final = "super-gradients: documentation/source/models_export.md, processing.py"

CONVENTIONS: Final = (
    Convention(
        "yolonas", "YOLO-NAS exported in the batch format", _SOURCE,
        OutputContract(
            "yolonas",
            (
                OutputTensor("count", position=0, axes="BN"), OutputTensor("boxes", position=1),
                OutputTensor("scores", position=2, axes="BN"),
                OutputTensor("labels", position=3, axes="BN"),
            ),
            80, selection="given", suppression="in graph", unused="count",
        ),
        decode, INPUT,
    ),
    Convention(
        "yolonas-flat", "YOLO-NAS in the flat format: [D, 7] with the score before the class",
        _SOURCE,
        OutputContract(
            "yolonas-flat",
            (
                OutputTensor(
                    "packed", position=0, axes="NC", columns=("image", "box", "score", "label")
                ),
            ),
            80, selection="given", suppression="in graph", unused="negative",
        ),
        decode, INPUT,
    ),
    Convention(
        "yolonas-raw", "YOLO-NAS without post-processing: boxes and scores", _SOURCE,
        OutputContract(
            "yolonas-raw",
            (OutputTensor("boxes", position=0), OutputTensor("scores", position=1)), 80,
        ),
        decode, RAW,
    ),
)  # fmt: skip
