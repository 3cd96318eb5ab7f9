"""EXIF orientation and stated maxima: honoured in every format, on every path."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from yolov4sdk.datasets.headers import image_header
from yolov4sdk.imaging.images import decode, read_image, read_scaled
from yolov4sdk.imaging.orientation import orientation

SIZE = (48, 96)  # (height, width)


def picture(size: tuple[int, int] = SIZE) -> Image.Image:
    """Smooth, and different in every corner."""
    height, width = size
    y, x = np.mgrid[0:1:height * 1j, 0:1:width * 1j]  # fmt: skip
    return Image.fromarray((np.stack((x, y, 1 - x * y), -1) * 255).astype(np.uint8))


def exif(value: int) -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = value
    return block


def by_pillow(form: str, **options: Any) -> Callable[[int], bytes]:
    def write(value: int) -> bytes:
        if form == "HEIF":
            pytest.importorskip("pillow_heif").register_heif_opener()
        stream = io.BytesIO()
        picture().save(stream, form, exif=exif(value), **options)
        return stream.getvalue()

    return write


def late_jpeg(value: int) -> bytes:
    """EXIF behind 120 KB of other blocks."""
    stream = io.BytesIO()
    picture().save(stream, "JPEG", quality=95)
    data, block = stream.getvalue(), exif(value).tobytes()
    filler = (b"\xff\xed" + struct.pack(">H", 60002) + bytes(60000)) * 2
    return data[:2] + filler + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]


def late_png(value: int) -> bytes:
    """EXIF behind the pixels."""
    stream = io.BytesIO()
    picture().save(stream, "PNG")
    data, block = stream.getvalue(), b"eXIf" + exif(value).tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(block) - 4) + block + struct.pack(">I", zlib.crc32(block))
    return data[:-12] + chunk + data[-12:]


def tiff(**options: Any) -> Callable[[int], bytes]:
    def write(value: int) -> bytes:
        stream = io.BytesIO()
        array = np.asarray(picture())
        if options.get("dtype") == "float":
            array = (array / 255).astype(np.float32)
        given = {key: item for key, item in options.items() if key != "dtype"}
        tags = [(274, 3, 1, value, True)]
        tifffile.imwrite(stream, array, photometric="rgb", extratags=tags, **given)
        return stream.getvalue()

    return write


WRITERS: dict[str, Callable[[int], bytes]] = {
    "jpeg": by_pillow("JPEG", quality=95),
    "jpeg, late": late_jpeg,
    "png": by_pillow("PNG"),
    "png, late": late_png,
    "webp": by_pillow("WEBP", lossless=True),
    "avif": by_pillow("AVIF", quality=95, speed=10),
    "heif": by_pillow("HEIF", quality=95),
    "tiff": by_pillow("TIFF"),
    "tiff, tiles": tiff(tile=(32, 32)),
    "tiff, big": tiff(bigtiff=True, byteorder=">"),
    "tiff, float": tiff(dtype="float"),
}


def turned(value: int) -> np.ndarray:
    """What Pillow makes of it, BGR."""
    stream = io.BytesIO()
    picture().save(stream, "PNG", exif=exif(value))
    return np.asarray(ImageOps.exif_transpose(Image.open(stream)))[..., ::-1].astype(int)


@pytest.mark.parametrize("name", WRITERS)
def test_all_orientations(name: str, tmp_path: Path) -> None:
    path = tmp_path / "image"
    for value in range(1, 9):
        data = WRITERS[name](value)
        # pillow-heif writes EXIF without HEIF's own property: the image is as stored then
        right = turned(1 if name == "heif" else value)
        got = decode(data)
        assert got.shape == right.shape, value
        assert np.abs(got - right).mean() < 4, value
        path.write_bytes(data)
        header = image_header(path)
        assert header.size == read_scaled(path, (24, 24))[1] == right.shape[:2]
        assert orientation(data) == header.orientation == (1 if name == "heif" else value)
        if "tiff" not in name:  # Pillow lacks some of its kinds
            assert np.abs(read_image(Image.open(io.BytesIO(data))) - right).mean() < 4


def test_scaled_jpegs_are_upright(tmp_path: Path) -> None:
    large = picture((400, 800))
    for value in range(1, 9):
        large.save(tmp_path / "a.jpg", quality=95, exif=exif(value))
        pixels, size = read_scaled(tmp_path / "a.jpg", (100, 100))
        upright = read_image(tmp_path / "a.jpg")
        assert size == upright.shape[:2] and pixels.shape[0] * 8 == size[0]
        assert np.abs(pixels.astype(int) - upright[4::8, 4::8]).mean() < 4


@pytest.mark.parametrize(
    "data", [b"\xff\xd8\xff\xe1", b"II*\0\xff\xff\xff\xff", b"\0\0\0\x18ftypavif"]
)
def test_what_is_cut_off_has_no_orientation(data: bytes) -> None:
    assert orientation(data) == orientation(data + bytes(40)) == 1


@pytest.mark.parametrize("maximum", [1, 100, 255, 1023, 65535])
@pytest.mark.parametrize("kind", [2, 3, 5, 6, 7])
def test_pnm_is_scaled_by_its_maximum(kind: int, maximum: int) -> None:
    if (kind, maximum) == (7, 1):
        pytest.skip("OpenCV reads a PAM of two values as black")
    values = [0, maximum // 4, maximum // 2, maximum]
    all_values = [v for v in values for _ in range(3 if kind in (3, 6) else 1)]
    if kind in (2, 3):
        body = " ".join(map(str, all_values)).encode() + b"\n"
    else:
        body = np.array(all_values, ">u2" if maximum > 255 else "u1").tobytes()
    head = b"P%d\n# a remark of 8 bits, 255\n4 1\n%d\n" % (kind, maximum)
    if kind == 7:
        head = b"P7\nWIDTH 4\nHEIGHT 1\nDEPTH 1\nMAXVAL %d\nTUPLTYPE GRAYSCALE\nENDHDR\n" % maximum
    right = [255 * value / maximum for value in values]
    assert np.abs(decode(head + body)[0, :, 0] - right).max() <= 1
