"""mmdetection's models by mmdeploy: `dets` with a score in the fifth column, and `labels`."""

from __future__ import annotations

from typing import Final

from ..contract.contract import InputContract, OutputContract, OutputTensor, Resize
from .base import Convention
from .declared import decode

MEAN: Final = (103.53, 116.28, 123.675)
STD: Final = (57.375, 57.12, 58.395)
INPUT: Final = InputContract(
    name="input", color="BGR", scale=1.0, mean=MEAN, std=STD,
    resize=Resize("letterbox-top-left"),
)  # fmt: skip

CONVENTIONS: Final = (
    Convention(
        "mmdeploy", "RTMDet and other mmdetection models by mmdeploy",
        "mmdeploy: configs/mmdet/_base_/base_static.py",
        OutputContract(
            "mmdeploy",
            (
                OutputTensor("packed", "dets", columns=("box", "score")),
                OutputTensor("labels", "labels", axes="BN"),
            ),
            80, selection="given", suppression="in graph", unused="zeros",
        ),
        decode, INPUT,
    ),
)  # fmt: skip
