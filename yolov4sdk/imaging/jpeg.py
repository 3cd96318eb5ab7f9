"""JPEG files: the size in the header, and decoding at a fraction of it."""

from __future__ import annotations

import math
import struct
from typing import Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from .exif import exif_orientation, upright
from .preprocess import Size

HEAD: Final = 65536
"""Bytes of a file that nearly always hold its whole header."""
_SIZE_MARKERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # the SOFn markers
_START_OF_SCAN: Final = 0xDA


def decode_scaled(data: bytes, canvas: Size) -> tuple[NDArray[np.uint8], Size] | None:
    """Decode a JPEG that is larger than a canvas at the least fraction that fills it.

    The inverse cosine transform gives fewer pixels of each block, each the mean of those it
    stands for: a small image in a fraction of the time, and less aliased than one that is
    resized bilinearly.

    Args:
        data: of a file.
        canvas: that the image is to be fitted into, with its aspect kept.

    Returns:
        Pixels uint8 BGR [H, W, 3], upright, and the size of the whole image. None where there is
        nothing to gain, and for anything that is not a sound JPEG.
    """
    source, orientation = jpeg_header(data) if data[:3] == b"\xff\xd8\xff" else (None, 1)
    if source is None or min(source) < 1:
        return None
    scale = min(canvas[0] / source[0], canvas[1] / source[1])
    if scale > 7 / 8:
        return None
    stored = source[::-1] if orientation >= 5 else source
    least = [math.ceil(side * scale) for side in stored]
    try:
        pixels = simplejpeg.decode_jpeg(data, "BGR", min_height=least[0], min_width=least[1])
    except ValueError:
        return None
    return upright(pixels, orientation), source


def jpeg_size(head: bytes) -> Size | None:
    """Height and width after EXIF orientation; None when the head (HEAD bytes) does not say."""
    return jpeg_header(head)[0]


def jpeg_header(head: bytes) -> tuple[Size | None, int]:
    """Height and width after EXIF orientation, and that; of a whole file, or of its first bytes.

    The size is None where the head ends before the image data do begin.
    """
    position, orientation, size = 2, 1, None
    while position + 4 <= len(head):
        if head[position] != 0xFF:
            break
        marker = head[position + 1]
        if marker == 0xFF:  # padding
            position += 1
            continue
        if marker == _START_OF_SCAN:
            swapped = size is not None and orientation >= 5
            return (size[::-1] if swapped and size else size), orientation
        (length,) = struct.unpack_from(">H", head, position + 2)
        if marker in _SIZE_MARKERS and position + 9 <= len(head):
            size = struct.unpack_from(">HH", head, position + 5)
        elif marker == 0xE1 and head[position + 4 : position + 10] == b"Exif\0\0":
            orientation = exif_orientation(head[position + 10 : position + 2 + length])
        position += 2 + length
    return None, orientation
