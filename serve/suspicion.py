"""Which images may cost far more than they cost to send, by what their bytes say before decoding.

A photograph takes at least some bytes a pixel; a few bytes that claim 50 million pixels take
seconds to decode all the same. Such files are not refused for it, as a drawing or a blank page may
be one: they wait in a queue of their own for one process of low priority that rests between them.
"""

from __future__ import annotations

import math
import time
from typing import Final

from .headers import Header

PIXELS_PER_BYTE: Final = 64
"""Of photographs at most: JPEG files of the lowest quality, and flat ones, have some 70."""
FREE_PIXELS: Final = 1_000_000
"""So many cost little, whatever they were sent as."""
EMPTY: Final = 2000
"""Pixels a byte that only a picture of nothing has: such files are refused. Flat color has 344 at
most as PNG."""
EMPTY_PIXELS: Final = 4_000_000
"""Pixels above which that is asked."""
SCANS: Final = 16
"""Of a progressive JPEG file; encoders write 10 at most, and each costs a pass over the pixels."""
TEXT: Final = 1 << 16
"""Bytes of a PNG file's text; packed, they may unpack to a thousand times as many."""
CHUNKS: Final = 5000
"""Of a PNG file; of 8 kB each, as libpng writes them, they hold 40 MB."""
REMEMBERED: Final = 60
"""Seconds for which files like one that took long are suspicious."""
COSTLY: Final = 0.6
COSTLY_BYTE: Final = 1e-6
"""Seconds of processor time, and those a byte, that are long."""

Kind = tuple[str, int, int]


class Suspicion:
    """Judges files, and remembers those that took long."""

    def __init__(self) -> None:
        self._costly: dict[Kind, float] = {}

    def suspicious(self, header: Header, data: bytes) -> bool:
        """Whether a file may cost far more than it should."""
        pixels = header.height * header.width
        return (
            (pixels > FREE_PIXELS and pixels > PIXELS_PER_BYTE * len(data))
            or self._costly.get(_kind(header, data), 0) > time.monotonic()
            or _tricky(header.format, data)
        )

    def took(self, header: Header, data: bytes, seconds: float) -> None:
        """Remember a file whose decoding took long, or had to be stopped (infinity)."""
        if seconds > max(COSTLY, COSTLY_BYTE * len(data)):
            now = time.monotonic()
            self._costly = {kind: end for kind, end in self._costly.items() if end > now}
            self._costly[_kind(header, data)] = now + REMEMBERED


def empty(header: Header, data: bytes) -> bool:
    """Whether a file has so few bytes that nothing can be seen in it."""
    pixels = header.height * header.width
    return pixels > EMPTY_PIXELS and pixels > EMPTY * len(data)


def seconds_for(data: bytes, most: float) -> float:
    """Processor time that decoding a file may take: photographs take half of it at most."""
    return min(most, 0.5 + 2e-6 * len(data))


def _kind(header: Header, data: bytes) -> Kind:
    """Files of one format, about the same number of pixels and of bytes."""
    pixels = header.height * header.width
    return header.format, int(math.log2(pixels)), int(2 * math.log2(len(data)))


def _tricky(form: str, data: bytes) -> bool:
    if form == "JPEG":
        return data.count(b"\xff\xda") > SCANS
    if form == "BMP":  # packed, which Pillow unpacks pixel by pixel
        return data[30:34] not in (b"\0\0\0\0", b"\3\0\0\0")
    if form == "PNG":
        return _text_bytes(data) > TEXT
    return False


def _text_bytes(data: bytes) -> int:
    """Bytes of the chunks of text and of color profiles; very many chunks count as text."""
    position, text = 8, 0
    for _ in range(CHUNKS):
        head = data[position : position + 8]
        if len(head) < 8 or text > TEXT:
            return text
        length = int.from_bytes(head[:4])
        if head[4:] in (b"zTXt", b"iTXt", b"tEXt", b"iCCP"):
            text += length
        position += 12 + length
    return TEXT + 1
