"""EXIF orientation: what the tag says, and images turned upright by it."""

from __future__ import annotations

import struct
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

ORIENTATION: Final = 0x0112
"""The tag; its values 5 to 8 swap height and width."""
_SHORT, _LONG = 3, 4  # types of a value
_TURNS: Final = {
    3: cv2.ROTATE_180,
    6: cv2.ROTATE_90_CLOCKWISE,
    8: cv2.ROTATE_90_COUNTERCLOCKWISE,
}
_FLIPS: Final = {2: 1, 4: 0}  # about the vertical and the horizontal axis


def upright(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """An image as it is to be seen.

    Args:
        image: uint8 [H, W, C], as stored.
        orientation: 1 (as stored) to 8, EXIF 2.32, 4.6.4 A.

    Returns:
        uint8 [H, W, C], or [W, H, C] for 5 to 8; C-contiguous.
    """
    if orientation in _TURNS:
        image = np.asarray(cv2.rotate(image, _TURNS[orientation]), np.uint8)
    elif orientation in _FLIPS:
        image = np.asarray(cv2.flip(image, _FLIPS[orientation]), np.uint8)
    elif orientation == 5:
        image = np.asarray(cv2.transpose(image), np.uint8)
    elif orientation == 7:
        image = np.asarray(cv2.rotate(cv2.transpose(image), cv2.ROTATE_180), np.uint8)
    return np.ascontiguousarray(image)


def exif_orientation(tiff: bytes) -> int:
    """The orientation (1 to 8) in an EXIF block or a TIFF file; 1 when it says none."""
    return orientation_entry(tiff)[0]


def orientation_entry(tiff: bytes) -> tuple[int, int, str]:
    """The orientation, the place of its value (0 where there is none) and the value's format."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    try:
        if order is None:
            return 1, 0, ""
        big = struct.unpack_from(order + "H", tiff, 2) == (43,)  # BigTIFF: wider offsets
        (start,) = struct.unpack_from(order + ("Q" if big else "I"), tiff, 8 if big else 4)
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), tiff, start)
        size, value_at = (20, 12) if big else (12, 8)
        first = start + (8 if big else 2)
        for position in range(first, first + size * min(count, 4096), size):
            tag, kind = struct.unpack_from(order + "HH", tiff, position)
            if tag == ORIENTATION and kind in (_SHORT, _LONG):
                form = order + ("H" if kind == _SHORT else "I")
                (value,) = struct.unpack_from(form, tiff, position + value_at)
                return (value, position + value_at, form) if 1 <= value <= 8 else (1, 0, "")
    except struct.error:  # it is cut off
        pass
    return 1, 0, ""
