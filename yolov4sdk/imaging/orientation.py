"""How an image file is to be turned, whatever its format."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from .exif import exif_orientation, orientation_entry
from .jpeg import jpeg_header

TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_WHOLE: Final = b"Exif\0\0"
# (quarter turns counter-clockwise, axis of a mirror after them) as EXIF has it; axis 0 exchanges
# top and bottom, 1 left and right (ISO/IEC 23008-12, 6.5.10 and 6.5.12, as libavif reads it).
_TRANSFORMS: Final = {
    (0, None): 1, (1, None): 8, (2, None): 3, (3, None): 6,
    (0, 0): 4, (1, 0): 5, (2, 0): 2, (3, 0): 7,
    (0, 1): 2, (1, 1): 7, (2, 1): 4, (3, 1): 5,
}  # fmt: skip


def orientation(data: bytes) -> int:
    """EXIF's orientation, 1 (as stored) to 8, of a whole file.

    It is read from the EXIF block of JPEG, PNG and WebP, the tag of TIFF, and what stands for it
    in AVIF and HEIF: there the EXIF block says nothing. 1 for other formats and broken files.
    """
    if data[:3] == b"\xff\xd8\xff":
        return jpeg_header(data)[1]
    if data[:4] in TIFF:
        return exif_orientation(data)
    if data[4:8] == b"ftyp":
        return _heif(data)
    block = b""
    if data[:8] == _PNG:
        block = next((body for kind, body in _png_chunks(data) if kind == b"eXIf"), b"")
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        block = next((body for kind, body in _riff_chunks(data) if kind == b"EXIF"), b"")
    return exif_orientation(block.removeprefix(_WHOLE))


def unturned_tiff(data: bytes) -> bytes:
    """A TIFF whose orientation says "as stored": its decoders turn some kinds wrongly."""
    turned, place, form = orientation_entry(data)
    if turned == 1:
        return data
    copy = bytearray(data)
    struct.pack_into(form, copy, place, 1)
    return bytes(copy)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 8
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        yield data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        position += 12 + length


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 12
    while position + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, position + 4)
        yield data[position : position + 4], data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of the boxes of an ISO base media file (ISO/IEC 14496-12, 4.2)."""
    position = 0
    while position + 8 <= len(data):
        (size,) = struct.unpack_from(">I", data, position)
        start = position + 8
        if size == 1 and position + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, start)
            start += 8
        end = position + size if size else len(data)
        if end < start:
            return
        yield data[position + 4 : position + 8], data[start:end]
        position = end


def _heif(data: bytes) -> int:
    """From the properties `irot` and `imir` of the primary image."""
    try:
        meta = next((body[4:] for kind, body in _boxes(data) if kind == b"meta"), b"")
        parts = dict(_boxes(meta))
        version = parts[b"pitm"][0]
        (primary,) = struct.unpack_from(">I" if version else ">H", parts[b"pitm"], 4)
        inner = dict(_boxes(parts[b"iprp"]))
        properties = list(_boxes(inner[b"ipco"]))
        turns, axis = 0, None
        for index in _associated(inner[b"ipma"], primary):
            kind, body = properties[index - 1]
            if kind == b"irot":
                turns = body[0] & 3
            elif kind == b"imir":
                axis = body[0] & 1
        return _TRANSFORMS[turns, axis]
    except (KeyError, IndexError, struct.error):  # no such property, or a broken file
        return 1


def _associated(ipma: bytes, item: int) -> list[int]:
    """The numbers, from 1, of an item's properties (ISO/IEC 23008-12, 9.3.1)."""
    wide_ids, wide_numbers = ipma[0] >= 1, bool(ipma[3] & 1)
    (entries,) = struct.unpack_from(">I", ipma, 4)
    position = 8
    for _ in range(entries):
        (number,) = struct.unpack_from(">I" if wide_ids else ">H", ipma, position)
        position += 4 if wide_ids else 2
        count = ipma[position]
        form = f">{count}{'H' if wide_numbers else 'B'}"
        found = struct.unpack_from(form, ipma, position + 1)
        position += 1 + struct.calcsize(form)
        if number == item:  # the highest bit says that the property is essential
            return [value & (0x7FFF if wide_numbers else 0x7F) for value in found]
    return []
