"""How far an artefact may differ from another one before it counts as wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from .verify import Agreement


@dataclass(frozen=True)
class Tolerance:
    """How far an artefact may differ; the fields are those of `Agreement`."""

    boxes_max: float = math.inf
    boxes_mean: float = math.inf
    scores_max: float = math.inf
    matched: float = 0.0


TOLERANCES: Final = {
    "fp32": Tolerance(boxes_max=1e-3, boxes_mean=1e-4, scores_max=1e-3, matched=0.95),
    # In float16 boxes of the background may move by pixels, and of nearly equal boxes another one
    # may survive the suppression, most of all on noise and with random weights.
    "fp16": Tolerance(boxes_mean=1e-2, scores_max=0.03, matched=0.8),
    # bfloat16 is eight times coarser than float16: only gross errors are caught.
    "bf16": Tolerance(boxes_mean=0.1, scores_max=0.5, matched=0.3),
    # Eight bits are judged by mAP; this only catches a graph that is broken. How many detections
    # match depends on the images: of many that lie close together, others survive.
    "int8": Tolerance(boxes_mean=0.1),
}
"""By the lower precision of the two."""


def lowest_precision(*precisions: str) -> str:
    """The one with the widest tolerance; an unknown one counts as fp32."""
    order = list(TOLERANCES)
    return max((p for p in precisions if p in TOLERANCES), key=order.index, default="fp32")


def complaints(found: Agreement, tolerance: Tolerance, max_det: int = 300) -> list[str]:
    """What is past the tolerance, in words; empty when all is within. NaN never is.

    One detection more or less is always allowed: it may lie on a threshold. Where `max_det` cut
    them off, the choice among nearly equal scores says nothing.
    """
    said = [
        f"{what} {getattr(found, field):.3g}, allowed {getattr(tolerance, field):g}"
        for field, what in (
            ("boxes_max", "largest error of the boxes"),
            ("boxes_mean", "mean error of the boxes"),
            ("scores_max", "largest error of the scores"),
        )
        if not getattr(found, field) <= getattr(tolerance, field)
    ]
    cut = found.detections >= max_det * found.images
    if not cut and found.unmatched > max(1, (1 - tolerance.matched) * found.detections):
        said.append(f"{found.matched:.1%} of the detections match, {tolerance.matched:.0%} must")
    return said
