"""Where the labels of boxes go, so that they hide neither one another nor small boxes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

_LABEL, _BOX = 10, 1  # how bad it is to hide a cell of them
_SMALL: Final = 2.0
"""Times a label's area: boxes below would be hidden by one."""
_STEPS: Final = 6
"""Heights of a label by which it may leave its box."""
_CELLS: Final = 4
"""Of the map of what is taken, in a label's height."""


def place_labels(
    sizes: NDArray[np.int64], boxes: NDArray[np.int64], image: tuple[int, int]
) -> NDArray[np.int64]:
    """Corners of labels, chosen one after the other.

    A label goes above its box where that is free; else to the first of some places along the box,
    inside it and near it that hides nothing; else to the one that hides least.

    Args:
        sizes: int [N, 2], width and height of each label in pixels, the most important first.
        boxes: int [N, 4], x1, y1, x2, y2 in pixels.
        image: height and width.

    Returns:
        int [N, 2], left and top of each label, inside the image where it has room.
    """
    corners = np.zeros((len(sizes), 2), np.int64)
    if not len(sizes):
        return corners
    cell = max(1, int(sizes[:, 1].min()) // _CELLS)
    labels, small = _Map(image, cell), _Map(image, cell)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for box in boxes[areas < _SMALL * sizes.prod(1)].tolist():
        small.add(*box)
    for i, ((width, height), box) in enumerate(zip(sizes.tolist(), boxes.tolist(), strict=True)):
        right, bottom = max(0, image[1] - width), max(0, image[0] - height)
        best, chosen = -1, (0, 0, 0, 0)
        for x, y in _places(width, height, *box):
            x, y = min(max(x, 0), right), min(max(y, 0), bottom)
            place = (x, y, x + width, y + height)
            hidden = _LABEL * labels.count(*place)
            if best < 0 or hidden < best:  # a box only decides between places of few labels
                hidden += _BOX * small.count(*place)
            if best < 0 or hidden < best:
                best, chosen = hidden, place
            if not hidden:
                break
        corners[i] = chosen[:2]
        labels.add(*chosen)
    return corners


class _Map:
    """Which cells of an image are taken: a bit each, a number for each row."""

    def __init__(self, image: tuple[int, int], cell: int) -> None:
        self._cell = cell
        self._rows = [0] * (image[0] // cell + 1)

    def add(self, x1: int, y1: int, x2: int, y2: int) -> None:
        """Take the cells that a rectangle touches."""
        rows, mask = self._touched(x1, y1, x2, y2)
        self._rows[rows] = [row | mask for row in self._rows[rows]]

    def count(self, x1: int, y1: int, x2: int, y2: int) -> int:
        """Taken cells that a rectangle touches."""
        rows, mask = self._touched(x1, y1, x2, y2)
        count = 0
        for row in self._rows[rows]:
            if row & mask:
                count += (row & mask).bit_count()
        return count

    def _touched(self, x1: int, y1: int, x2: int, y2: int) -> tuple[slice, int]:
        """Rows, and the bits of the columns."""
        cell = self._cell
        left, right = max(0, x1) // cell, -(-max(0, x2) // cell)
        rows = slice(max(0, y1) // cell, -(-max(0, y2) // cell))
        return rows, ((1 << right) - 1) >> left << left


def _places(
    width: int, height: int, x1: int, y1: int, x2: int, y2: int
) -> Iterator[tuple[int, int]]:
    """Left and top of a label about a box, the best first."""
    if y1 >= height:
        yield x1, y1 - height
        yield x2 - width, y1 - height
    yield from ((x1, y2), (x2 - width, y2), (x2, y1), (x1 - width, y1))
    yield from ((x2, y2 - height), (x1 - width, y2 - height))
    yield from ((x1, y1), (x2 - width, y1), (x1, y2 - height), (x2 - width, y2 - height))
    middle = (y1 + y2 - height) // 2
    for step in range(_STEPS + 1):
        for y in (middle - step * height, middle + step * height):
            yield from ((x, y) for x in (x1, x2 - width, x1 - width, x2, (x1 + x2 - width) // 2))
