"""The size and the orientation of an image file from its header."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, NamedTuple

from yolov4sdk.errors import ImageDecodeError, ImageNotFoundError
from yolov4sdk.imaging.images import read_image
from yolov4sdk.imaging.jpeg import HEAD, jpeg_header
from yolov4sdk.imaging.orientation import orientation as find_orientation
from yolov4sdk.imaging.preprocess import Size


class Header(NamedTuple):
    """Of an image file.

    Attributes:
        size: height and width in pixels as `read_image` gives them: upright.
        orientation: EXIF's, 1 (as stored) to 8; 5 to 8 swap the sides. 1 where it is not known.
    """

    size: Size
    orientation: int = 1


def image_size(path: Path) -> Size:
    """Height and width in pixels as `images.read_image` gives them; see `image_header`."""
    return image_header(path).size


def image_header(path: Path) -> Header:
    """Size and orientation of an image file.

    JPEG and PNG are not decoded; that a file was cut off is noticed by its missing end. The
    orientation is read from JPEG, PNG, WebP, TIFF, AVIF and HEIF.

    Raises:
        ImageNotFoundError: no such file.
        ImageDecodeError: the file is not an image, or a broken one.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
            size, orientation, end = None, 1, b""
            if head[:2] == b"\xff\xd8":
                size, orientation = jpeg_header(head)
                end = b"\xff\xd9"
            elif head[:8] == b"\x89PNG\r\n\x1a\n" and head[12:16] == b"IHDR" and len(head) >= 24:
                # Rare PNGs carry EXIF; those are decoded below to learn their size upright.
                width, height = struct.unpack(">II", head[16:24])
                size = None if b"eXIf" in head + _tail(file) else (height, width)
                end = b"IEND"
            if size is not None and not _has_end(file, end):
                raise ImageDecodeError(f"{path} is cut off: its end marker is missing")
            if size is None:
                file.seek(0)
                orientation = find_orientation(file.read())
    except FileNotFoundError:
        raise ImageNotFoundError(f"no image at {path}") from None
    except OSError as error:
        raise ImageDecodeError(f"{path} cannot be read: {error.strerror}") from error
    if size is None or min(size) < 1:
        image = read_image(path)
        size = (image.shape[0], image.shape[1])
    return Header(size, orientation)


def _tail(file: Any) -> bytes:
    """The last bytes of a file: PNG lets EXIF follow the pixels."""
    file.seek(max(0, file.seek(0, 2) - HEAD))
    tail: bytes = file.read()
    return tail


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
