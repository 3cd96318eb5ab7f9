"""Anonymise: what is inside boxes made unrecognisable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from ..detections import Detections
from ..errors import SettingError, TensorError

How = Literal["blur", "pixelate"]

CELLS: Final = 8
"""What is left of a box: its mean colors on a grid of this many cells along the longer side."""


def anonymise(
    image: NDArray[np.uint8],
    detections: Detections,
    classes: Sequence[str | int] | None = None,
    *,
    how: How = "blur",
    margin: float = 0.1,
) -> NDArray[np.uint8]:
    """A copy of the image in which the boxes of some classes cannot be recognised.

    Each box is reduced to at most 8 x 8 mean colors first, so that no filter brings more back;
    "blur" then smooths them. What the detector does not find stays visible.

    Args:
        image: uint8 BGR [H, W, 3].
        detections: boxes in pixels of this image.
        classes: names or ids; None is all.
        how: "blur" or "pixelate".
        margin: each box is widened by this part of its size on every side, 0 to 1.

    Raises:
        SettingError: another way, or a margin outside its range.
        TensorError: detections of an image of another size.
        UnknownClassError: a class that the detections do not have.
    """
    if how not in get_args(How):
        raise SettingError(f"how must be one of {get_args(How)}, got {how!r}")
    if not 0 <= margin <= 1:
        raise SettingError(f"margin must be between 0 and 1, got {margin!r}")
    height, width = image.shape[:2]
    if (height, width) != detections.image_size:
        raise TensorError(
            f"the image is {height, width} (height, width), these detections belong to one of "
            f"{detections.image_size}"
        )
    result = image.copy()
    for x1, y1, x2, y2 in detections.filter(classes).xyxy.tolist():
        dx, dy = margin * (x2 - x1), margin * (y2 - y1)
        left, top = max(0, int(x1 - dx)), max(0, int(y1 - dy))
        right, bottom = min(width, int(x2 + dx) + 1), min(height, int(y2 + dy) + 1)
        if right > left and bottom > top:
            inside = result[top:bottom, left:right]
            inside[:] = _obscured(inside, how)
    return result


def _obscured(part: NDArray[np.uint8], how: How) -> NDArray[np.uint8]:
    height, width = part.shape[:2]
    cell = max(height, width) / CELLS
    grid = (max(1, min(width, round(width / cell))), max(1, min(height, round(height / cell))))
    cells = cv2.resize(part, grid, interpolation=cv2.INTER_AREA)
    if how == "pixelate":
        return np.asarray(cv2.resize(cells, (width, height), interpolation=cv2.INTER_NEAREST))
    return np.asarray(cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC))
