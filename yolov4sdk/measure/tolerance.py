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


MULTIPLE: Final = 8.0
"""How many times the source's own rounding an exported file may differ from it at most."""
MEAN_MULTIPLE: Final = 8.0
"""The same of a mean, which varies less."""
FLOORS: Final = {
    "fp32": Tolerance(boxes_max=5e-6, boxes_mean=1e-6, scores_max=1e-6, matched=0.95),
    "fp16": Tolerance(boxes_max=1e-3, boxes_mean=1e-4, scores_max=5e-4, matched=0.9),
    "bf16": Tolerance(boxes_max=8e-3, boxes_mean=8e-4, scores_max=4e-3, matched=0.8),
}
"""What is allowed at least, however quiet the source is: kernels for exp and sigmoid differ."""


def measured(precision: str, rounding: Agreement) -> Tolerance:
    """What an export may differ from its source by.

    Args:
        precision: of the file, a key of `FLOORS`.
        rounding: of the source, computed in that precision, against itself in float64.

    Returns:
        A small multiple of the rounding, but at least the floor. So a badly conditioned network is
        exported as well as a quiet one, and a wrong file of the quiet one is found.
    """
    floor = FLOORS[precision]
    return Tolerance(
        boxes_max=max(floor.boxes_max, MULTIPLE * rounding.boxes_max),
        boxes_mean=max(floor.boxes_mean, MEAN_MULTIPLE * rounding.boxes_mean),
        scores_max=max(floor.scores_max, MULTIPLE * rounding.scores_max),
        matched=min(floor.matched, 1 - MULTIPLE * (1 - rounding.matched)),
    )


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
