"""Which anchor of which cell predicts which target box.

A target matches an anchor when neither side differs by more than `ANCHOR_RATIO`; it is then
predicted by the cell of its centre and by the nearest neighbour in x and in y, because a decoded
centre may leave its cell by half a cell (Scaled-YOLOv4, arXiv 2011.08036).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

ANCHOR_RATIO = 4.0  # a decoded side lies in 0..4 times its anchor: more could not be reached
_HALF_CELL = 0.5  # how far a decoded centre can leave its cell
# The cell of the centre, then its left, upper, right and lower neighbour, as (dx, dy).
_STEPS = ((0, 0), (-1, 0), (0, -1), (1, 0), (0, 1))


@dataclass(frozen=True)
class LevelMatches:
    """The matches of one level, M of them, ordered by target.

    Attributes:
        target: int64 [M], the target's row.
        image, anchor, row, column, target_class: int64 [M].
        box: float32 [M, 4], centre x, y relative to the cell, width, height; stride units.
        anchor_wh: float32 [M, 2], the matched anchor in stride units.
    """

    target: Tensor
    image: Tensor
    anchor: Tensor
    row: Tensor
    column: Tensor
    target_class: Tensor
    box: Tensor
    anchor_wh: Tensor

    def __len__(self) -> int:
        return self.image.shape[0]

    def to(self, device: torch.device) -> LevelMatches:
        """The same on a device, without waiting for what it computes."""
        moved = (getattr(self, f.name).to(device, non_blocking=True) for f in fields(self))
        return LevelMatches(*moved)

    def last_of_cells(self, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The cells that are matched and the last match of each.

        Args:
            shape: of the level's map, [B, na, ny, nx].

        Returns:
            int64 [K] indices into the flattened map, and int64 [K] into the matches.
        """
        _, anchors, height, width = shape
        cell = ((self.image * anchors + self.anchor) * height + self.row) * width + self.column
        order = torch.arange(len(self), device=cell.device)
        last = torch.zeros(math.prod(shape), dtype=torch.int64, device=cell.device)
        last.scatter_reduce_(0, cell, order, "amax")
        (winners,) = (last[cell] == order).nonzero(as_tuple=True)
        return cell[winners], winners


def match_level(targets: Tensor, anchors: Tensor, size_hw: tuple[int, int]) -> LevelMatches:
    """Match the targets of a batch to one level.

    Args:
        targets: float32 [T, 6]: image, class, centre x, y, width, height; normalised to 0..1.
        anchors: float32 [na, 2], widths and heights in stride units.
        size_hw: height and width of the level's map in cells.

    Returns:
        The matches, in the order of the targets. A cell outside the map is left out; boxes with
        a side of zero or a non-finite one match nothing.
    """
    height, width = size_hw
    size = targets.new_tensor([width, height])
    centre, wh = targets[:, 2:4] * size, targets[:, 4:6] * size  # [T, 2] in cells

    ratio = wh[:, None] / anchors[None]  # [T, na, 2]
    fits = torch.maximum(ratio, 1 / ratio).amax(2) < ANCHOR_RATIO  # NaN compares false
    fits &= (torch.isfinite(targets).all(1) & (wh > 0).all(1))[:, None]

    centre = torch.nan_to_num(centre).clamp(-2, max(height, width) + 2)
    cell = centre.floor()
    low = (centre - cell < _HALF_CELL) & (centre > 1)  # [T, 2] left, upper
    rest = size - centre
    high = (rest - rest.floor() < _HALF_CELL) & (rest > 1)  # right, lower
    near = torch.cat([torch.ones_like(low[:, :1]), low, high], 1)  # [T, 5]

    steps = targets.new_tensor(_STEPS)
    cells = cell[:, None] + steps  # [T, 5, 2] as x, y
    near &= ((cells >= 0) & (cells < size)).all(2)

    target, anchor, step = (fits[:, :, None] & near[:, None, :]).nonzero(as_tuple=True)
    corner = cells[target, step]  # [M, 2]
    return LevelMatches(
        target=target,
        image=targets[target, 0].long(),
        anchor=anchor,
        row=corner[:, 1].long(),
        column=corner[:, 0].long(),
        target_class=targets[target, 1].long(),
        box=torch.cat([centre[target] - corner, wh[target]], 1),
        anchor_wh=anchors[anchor],
    )


def match(
    targets: Tensor, anchors: Tensor, sizes_hw: Sequence[tuple[int, int]]
) -> list[LevelMatches]:
    """Match the targets to every level; `anchors` is [levels, na, 2] in stride units."""
    return [
        match_level(targets, level, size) for level, size in zip(anchors, sizes_hw, strict=True)
    ]
