"""Soft labels: boxes with scores, and boxes that are not to be judged.

A label of score s counts s: its objectness target and its parts in the losses of boxes and classes
are multiplied by it. Where a box is not to be judged (score 0), the cells inside it whose anchors
fit it get no loss for calling it an object or not.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from train.matching import ANCHOR_RATIO

_SCORE = 6  # column of a target


def split(targets: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Targets [T, 6 or 7] -> those to be learnt [N, 6], their scores [N], the others [K, 6].

    Scores and others are None where there are none.
    """
    if targets.shape[1] == _SCORE:
        return targets, None, None
    scores, rows = targets[:, _SCORE], targets[:, :_SCORE]
    learnt = scores > 0
    others = rows[~learnt]
    return rows[learnt], scores[learnt], others if len(others) else None


def judged(others: Tensor, anchors: Tensor, shape: Sequence[int]) -> Tensor:
    """Which cells of a level are judged: 0 inside the boxes that are not, else 1.

    Args:
        others: float32 [K, 6]: image, class, centre x, y, width, height, normalised.
        anchors: float32 [na, 2] in stride units.
        shape: of the level's map, [B, na, ny, nx].

    Returns:
        Float32 of that shape.
    """
    batch, _, height, width = shape
    size = others.new_tensor([width, height])
    wh = others[:, 4:6] * size
    ratio = wh[:, None] / anchors  # [K, na, 2]
    fits = torch.maximum(ratio, 1 / ratio).amax(2) < ANCHOR_RATIO  # [K, na]
    low, high = others[:, 2:4] * size - wh / 2, others[:, 2:4] * size + wh / 2
    columns = torch.arange(width, device=others.device) + 0.5
    rows = torch.arange(height, device=others.device) + 0.5
    across = (columns > low[:, :1]) & (columns < high[:, :1])  # [K, nx]
    down = (rows > low[:, 1:]) & (rows < high[:, 1:])  # [K, ny]
    inside = fits[:, :, None, None] & down[:, None, :, None] & across[:, None, None, :]
    covered = torch.zeros(*shape, device=others.device)
    covered.index_add_(0, others[:, 0].long().clamp(0, batch - 1), inside.float())
    return (covered == 0).float()
