"""JPEG files: the size in the header, and decoding at a fraction of it."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from .exif import exif_orientation, upright
from .preprocess import Size

HEAD: Final = 65536
"""Bytes of a file that nearly always hold its whole header."""
_SIZE_MARKERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # the SOFn markers
_END_OF_IMAGE: Final = 0xD9
_START_OF_SCAN: Final = 0xDA
_STEPS: Final = 10_000
"""Markers before the size, padding included; with more it is not a picture."""


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


def jpeg_header(head: bytes) -> tuple[Size | None, int]:
    """Height and width after EXIF orientation, and that; of a whole file, or of its first bytes.

    The size is None where the head ends before the image data do begin.
    """
    orientation, size = 1, None
    for marker, start, end in _segments(head):
        if marker == _START_OF_SCAN:
            swapped = size is not None and orientation >= 5
            return (size[::-1] if swapped and size else size), orientation
        if marker in _SIZE_MARKERS and start + 5 <= len(head):
            size = struct.unpack_from(">HH", head, start + 1)
        elif marker == 0xE1 and head[start : start + 6] == b"Exif\0\0":
            orientation = exif_orientation(head[start + 6 : end])
    return None, orientation


def stored_size(head: bytes) -> Size | None:
    """Height and width of the pixels as they are stored; None where the head does not say."""
    for marker, start, _ in _segments(head):
        if marker in _SIZE_MARKERS and start + 5 <= len(head):
            height, width = struct.unpack_from(">HH", head, start + 1)
            return height, width
    return None


def _segments(head: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, first byte, end) of each segment up to the start of the scan or the image's end.

    What lies between segments is skipped, as libjpeg does (ITU-T T.81, B.1.1).
    """
    position = 2
    for _ in range(_STEPS):
        position = head.find(b"\xff", position)
        if position < 0 or position + 4 > len(head):
            return
        marker = head[position + 1]
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:  # no length follows
            position += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", head, position + 2)
        end = position + 2 + max(2, length)
        yield marker, position + 4, end
        if marker in (_END_OF_IMAGE, _START_OF_SCAN):
            return
        position = end
