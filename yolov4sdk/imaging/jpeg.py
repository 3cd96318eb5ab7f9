"""JPEG files: the size in the header, and decoding at a fraction of it."""

from __future__ import annotations

import math
import struct
from typing import Final

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from .preprocess import Size

HEAD: Final = 65536
"""Bytes of a file that nearly always hold its header: an EXIF block ends before."""
_SIZE_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # the SOFn markers
_ORIENTATION = 0x0112  # the EXIF tag; values 5 to 8 swap height and width
_REDUCED: Final = {
    8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2,
}  # fmt: skip


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
    head = data[:HEAD]
    source = jpeg_size(head) if head[:3] == b"\xff\xd8\xff" else None
    if source is None or min(source) < 1:
        return None
    scale = min(canvas[0] / source[0], canvas[1] / source[1])
    if b"Exif\0\0" in head:  # OpenCV applies the orientation; it knows halves alone
        factor = next((factor for factor in _REDUCED if factor * scale <= 1), 1)
        if factor == 1:
            return None
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), _REDUCED[factor])
        except cv2.error:
            return None
        return None if image is None else (np.asarray(image, np.uint8), source)
    if scale > 7 / 8:
        return None
    least = [math.ceil(side * scale) for side in source]
    try:
        return simplejpeg.decode_jpeg(data, "BGR", min_height=least[0], min_width=least[1]), source
    except ValueError:
        return None


def jpeg_size(head: bytes) -> Size | None:
    """Height and width after EXIF orientation; None when the head (HEAD bytes) does not say."""
    return jpeg_header(head)[0]


def jpeg_header(head: bytes) -> tuple[Size | None, int]:
    """Height and width (None when the head does not say) after EXIF orientation, and that."""
    position, orientation = 2, 1
    while position + 9 <= len(head):
        if head[position] != 0xFF:
            break
        marker = head[position + 1]
        if marker == 0xFF:  # padding
            position += 1
            continue
        (length,) = struct.unpack_from(">H", head, position + 2)
        if marker in _SIZE_MARKERS:
            height, width = struct.unpack_from(">HH", head, position + 5)
            return ((width, height) if orientation >= 5 else (height, width)), orientation
        if marker == 0xE1 and head[position + 4 : position + 10] == b"Exif\0\0":
            orientation = exif_orientation(head[position + 10 : position + 2 + length])
        position += 2 + length
    return None, orientation


def exif_orientation(tiff: bytes) -> int:
    """The orientation (1 to 8) in an EXIF block; 1 when there is none or it is broken."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 10:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        for entry in range(count):
            tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, start + 2 + 12 * entry)
            if tag == _ORIENTATION:
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
