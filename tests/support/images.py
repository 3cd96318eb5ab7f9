"""Good, broken and hostile images for the checks."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image

from .service import PHOTOGRAPH

KINDS = ("JPEG", "PNG", "WEBP", "BMP")


def seeds() -> dict[str, bytes]:
    """A small photograph in each format."""
    with Image.open(PHOTOGRAPH) as photograph:
        small = photograph.convert("RGB").resize((160, 120))
    return {kind: _save(small, kind) for kind in KINDS}


def mutated(count: int, seed: int = 0) -> Iterator[bytes]:
    """Files with flipped bytes, wild headers, missing, doubled and swapped pieces."""
    chance, files = random.Random(seed), list(seeds().values())
    for number in range(count):
        data = bytearray(files[number % len(files)])
        for _ in range(chance.randint(1, 8)):
            _mutate(data, chance)
        yield bytes(data)


def _mutate(data: bytearray, chance: random.Random) -> None:
    if len(data) < 16:
        return
    place = chance.randrange(chance.choice((64, len(data)))) % len(data)
    length = chance.randint(1, 64)
    match chance.randrange(6):
        case 0:
            data[place] ^= 1 << chance.randrange(8)
        case 1:
            data[place : place + 4] = chance.randbytes(4)
        case 2:
            data[place : place + 4] = struct.pack(
                ">I", chance.choice((0, 1, 0x7FFFFFFF, 2**32 - 1))
            )
        case 3:
            del data[place:]
        case 4:
            del data[place : place + length]
        case 5:
            data[place:place] = data[place : place + length]


def png_bomb(side: int) -> bytes:
    """A whole, valid PNG of side x side black pixels, one bit each: a kilobyte a megapixel."""
    packer, row = zlib.compressobj(9), bytes(1 + -(-side // 8))
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", packed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def lying_jpeg(side: int) -> bytes:
    """A JPEG of 8 x 8 pixels whose header claims side x side."""
    data = bytearray(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = struct.pack(">HH", side, side)
    return bytes(data)


def scan_bomb(side: int = 4000, repeats: int = 100) -> bytes:
    """A progressive JPEG whose scans are repeated: each is small, and takes a walk over all pixels.

    It is within every limit of bytes and pixels, and takes a decoder many seconds.
    """
    data = _save(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    first = data.index(b"\xff\xda")
    second = data.index(b"\xff\xda", first + 2)
    tables = (
        data.rindex(b"\xff\xc4", first, second) if b"\xff\xc4" in data[first:second] else second
    )
    end = data.rindex(b"\xff\xd9")
    return data[:tables] + data[tables:end] * repeats + data[end:]


def animated(kind: str) -> bytes:
    """Three frames: the photograph, then black."""
    with Image.open(PHOTOGRAPH) as photograph:
        frames = [
            photograph.convert("RGB").resize((160, 120)),
            *(Image.new("RGB", (160, 120)),) * 2,
        ]
    return _save(frames[0], kind, save_all=True, append_images=frames[1:])


def _save(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()
