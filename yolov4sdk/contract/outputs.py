"""Candidates of a batch: what every graph gives once its convention is applied."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Outputs(NamedTuple):
    """Candidates of a batch: what every graph gives once its convention is applied.

    Attributes:
        boxes: float32 [B, N, 4], xyxy in input pixels.
        scores: float32 [B, N, C], objectness x class; of a reduced graph [B, K].
        class_ids: None; of a reduced graph int64 [B, K].
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64] | None = None
