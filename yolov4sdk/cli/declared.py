"""The options of every command that detects: what runs, what is reported, how images are seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..backends import TABLE
from ..results.thresholds import Thresholds
from ..system.option import about
from .options import parse_classes, parse_conf


@dataclass(frozen=True)
class Running:
    """Where a model runs."""

    backend: str | None = field(
        default=None, metadata=about(f"{', '.join(TABLE)}.", offered=tuple(TABLE))
    )
    device: str = field(default="auto", metadata=about("auto, cpu, cuda, cuda:1, ..."))
    precision: str | None = field(
        default=None, metadata=about("fp32, bf16 or fp16.", offered=("fp32", "bf16", "fp16"))
    )
    size: int | None = field(
        default=None,
        metadata=about("Long side of the network input.", shown="the model's"),
    )


@dataclass(frozen=True)
class Reporting(Thresholds):
    """Which detections are reported."""

    conf: Any = field(
        default=0.25,
        metadata=about("Least score, also by class: 0.3,person=0.4.", parse=parse_conf),
    )
    classes: Sequence[str | int] | None = field(
        default=None, metadata=about("Names or ids: person,dog,2.", parse=parse_classes)
    )


@dataclass(frozen=True)
class Looking:
    """How images are seen."""

    tiles: int | None = field(
        default=None,
        metadata=about("Detect small objects in tiles of this many pixels.", names=("--tile",)),
    )
    tta: bool = field(
        default=False, metadata=about("Ask about larger and mirrored images too (slow).")
    )
    batch: int = field(default=8, metadata=about("Images a run."))
