"""The size of an image file from its header alone."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from yolov4sdk.errors import ImageDecodeError, ImageNotFoundError
from yolov4sdk.images import read_image

_HEAD = 65536  # bytes; an EXIF block ends before 64 KiB, so one read nearly always does
_SIZE_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # the JPEG SOFn markers
_ORIENTATION = 0x0112  # the EXIF tag; values 5 to 8 swap height and width


def image_size(path: Path) -> tuple[int, int]:
    """Height and width in pixels as `images.read_image` gives them, from the header where possible.

    JPEG and PNG are not decoded; that a file was cut off is noticed by its missing end.

    Raises:
        ImageNotFoundError: no such file.
        ImageDecodeError: the file is no image, or a broken one.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            size = None
            if head[:2] == b"\xff\xd8":
                size = _jpeg_size(head)
                end = b"\xff\xd9"
            elif head[:8] == b"\x89PNG\r\n\x1a\n" and head[12:16] == b"IHDR" and len(head) >= 24:
                # Rare PNGs carry EXIF; those are decoded below to learn their orientation.
                width, height = struct.unpack(">II", head[16:24])
                size = None if b"eXIf" in head else (height, width)
                end = b"IEND"
            if size is not None and not _has_end(file, end):
                raise ImageDecodeError(f"{path} is cut off: its end marker is missing")
    except FileNotFoundError:
        raise ImageNotFoundError(f"no image at {path}") from None
    except OSError as error:
        raise ImageDecodeError(f"{path} cannot be read: {error}") from error
    if size is None or min(size) < 1:
        image = read_image(path)
        size = (image.shape[0], image.shape[1])
    return size


def _has_end(file: Any, end: bytes) -> bool:
    """Whether the end marker is in the file's last bytes, or (trailing data) anywhere late."""
    file.seek(0, 2)
    length = file.tell()
    file.seek(max(0, length - 32))
    if end in file.read():
        return True
    file.seek(0)
    data = file.read()
    # The last start-of-scan marker keeps the end of an embedded thumbnail from counting.
    return bool(data.find(end, max(0, data.rfind(b"\xff\xda"))) >= 0)


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    """Height and width after EXIF orientation; None when the head does not hold them."""
    position, swapped = 2, False
    while position + 9 <= len(head):
        if head[position] != 0xFF:
            return None
        marker = head[position + 1]
        if marker == 0xFF:  # padding
            position += 1
            continue
        (length,) = struct.unpack_from(">H", head, position + 2)
        if marker in _SIZE_MARKERS:
            height, width = struct.unpack_from(">HH", head, position + 5)
            return (width, height) if swapped else (height, width)
        if marker == 0xE1 and head[position + 4 : position + 10] == b"Exif\0\0":
            swapped = _exif_orientation(head[position + 10 : position + 2 + length]) >= 5
        position += 2 + length
    return None


def _exif_orientation(tiff: bytes) -> int:
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
                return int(value)
    except struct.error:
        pass
    return 1
