"""OpenVINO Model API's form of Geti and OTX: `boxes` with a score in the fifth column, `labels`."""

from __future__ import annotations

from typing import Final

from ..contract.contract import InputContract, OutputContract, OutputTensor, Resize
from .base import Convention
from .declared import decode

INPUT: Final = InputContract(resize=Resize("stretch"), multiple=1)

CONVENTIONS: Final = (
    Convention(
        "modelapi", "OpenVINO Model API: boxes [1, K, 5] and labels", "model_api 0.4.7: ssd.py",
        OutputContract(
            "modelapi",
            (
                OutputTensor("packed", "boxes", columns=("box", "score")),
                OutputTensor("labels", "labels", axes="BN"),
            ),
            80, selection="given", suppression="in graph", unused="zeros",
        ),
        decode, INPUT,
    ),
)  # fmt: skip
