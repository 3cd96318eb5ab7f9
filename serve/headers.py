"""Format and size of an image from its first bytes, without decoding: cheap, and never wrong to
the decoder's loss, which checks the size again before it takes memory.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from importlib.util import find_spec
from typing import Final, NamedTuple

from PIL import features

from yolov4sdk.imaging.jpeg import stored_size

from .problems import Problem

_SCAN: Final = 1 << 20  # a size stands in the first MiB, behind metadata of sane length


class Format(NamedTuple):
    """A form of image file that is accepted. Of several frames the first is used.

    Attributes:
        name: Pillow's.
        media: its media type, for the page and the OpenAPI document.
        suffixes: of file names, for the page.
    """

    name: str
    media: str
    suffixes: tuple[str, ...]


def formats() -> tuple[Format, ...]:
    """What is accepted here: HEIC and AVIF where their readers are installed."""
    found = [
        Format("JPEG", "image/jpeg", (".jpg", ".jpeg")), Format("PNG", "image/png", (".png",)),
        Format("WEBP", "image/webp", (".webp",)), Format("BMP", "image/bmp", (".bmp",)),
        Format("GIF", "image/gif", (".gif",)), Format("TIFF", "image/tiff", (".tif", ".tiff")),
    ]  # fmt: skip
    if features.check("avif"):
        found.append(Format("AVIF", "image/avif", (".avif",)))
    if find_spec("pillow_heif"):
        found.append(Format("HEIF", "image/heic", (".heic", ".heif")))
    return tuple(found)


ACCEPTED: Final = formats()
"""The one list of formats: messages, the page, the document and the decoders read it."""
FORMATS: Final = tuple(one.name for one in ACCEPTED)


class Header(NamedTuple):
    """What a file claims to be; (height, width) in pixels."""

    format: str
    height: int
    width: int


def read_header(data: bytes, max_pixels: int) -> Header:
    """The header of an encoded image.

    Raises:
        Problem: 415 not one of FORMATS, 422 no size in it, no pixels, or too many.
    """
    kind, size = _format(data)
    if kind is None:
        raise Problem(
            415, "Not an image", f"expected a file of {', '.join(FORMATS)}; its first bytes are not"
        )
    try:
        # the directory of a TIFF file may stand at its end
        height, width = size(data if kind == "TIFF" else data[:_SCAN])
    except (struct.error, IndexError, ValueError):
        raise Problem(
            422, "Undecodable image", f"the {kind} file is broken: its header holds no size"
        ) from None
    check_pixels(height, width, max_pixels)
    return Header(kind, height, width)


def check_pixels(height: int, width: int, max_pixels: int) -> None:
    """Raise Problem 422 for an image without pixels, or with too many."""
    if height < 1 or width < 1:
        raise Problem(422, "Empty image", f"the image is {width} x {height} pixels")
    if height * width > max_pixels:
        raise Problem(
            422,
            "Too many pixels",
            f"the image is {width} x {height} pixels; at most {max_pixels:,} are taken",
        )


def _format(data: bytes) -> tuple[str | None, Callable[[bytes], tuple[int, int]]]:
    if data[:3] == b"\xff\xd8\xff":
        return "JPEG", _jpeg
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG", _png
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP", _webp
    if data[:2] == b"BM":
        return "BMP", _bmp
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF", _gif
    if data[:4] in (b"II*\0", b"MM\0*"):
        return "TIFF", _tiff
    if data[4:8] == b"ftyp":
        brands = data[8 : min(64, int.from_bytes(data[:4]))]
        kind = "AVIF" if b"avif" in brands or b"avis" in brands else "HEIF"
        if kind in FORMATS:
            return kind, _heif
    return None, _png


def _png(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 16)
    return height, width


def _gif(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return height, width


def _bmp(data: bytes) -> tuple[int, int]:
    (length,) = struct.unpack_from("<I", data, 14)
    if length == 12:  # OS/2
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)  # a negative height: top row first
    return abs(height), width


def _webp(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return height & 0x3FFF, width & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        if len(data) >= 30:
            return height, width
    raise ValueError("no size")


def _jpeg(data: bytes) -> tuple[int, int]:
    size = stored_size(data)
    if size is None:
        raise ValueError("no size")
    return size


def _tiff(data: bytes) -> tuple[int, int]:
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, start)
    found: dict[int, int] = {}
    for position in range(start + 2, start + 2 + 12 * min(count, 512), 12):
        tag, kind = struct.unpack_from(order + "HH", data, position)
        if tag in (256, 257):  # width, height
            found[tag] = struct.unpack_from(
                order + ("H" if kind == 3 else "I"), data, position + 8
            )[0]
    if len(found) < 2:
        raise ValueError("no size")
    return found[257], found[256]


def _heif(data: bytes) -> tuple[int, int]:
    """The largest of the sizes that the items of an AVIF or HEIC file have (its `ispe` boxes)."""
    sizes: list[tuple[int, int]] = []
    position = data.find(b"ispe")
    while position >= 0 and len(sizes) < 1024:
        width, height = struct.unpack_from(">II", data, position + 8)
        sizes.append((height, width))
        position = data.find(b"ispe", position + 4)
    if not sizes:
        raise ValueError("no size")
    return max(sizes, key=math.prod)
