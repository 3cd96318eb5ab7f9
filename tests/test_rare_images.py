"""HEIC, AVIF and the rarer kinds of TIFF by the one decoder."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, features

from yolov4sdk.errors import ImageDecodeError, ImageError, ImageTooLargeError
from yolov4sdk.imaging.images import decode, from_array, read_image
from yolov4sdk.imaging.sources import expand


@pytest.fixture
def photo(photos_dir: Path) -> np.ndarray:
    """uint8 BGR, small: encoding HEIC is slow."""
    return cv2.resize(cv2.imread(str(photos_dir / "dog.jpg")), (96, 64))


def heif(pixels: np.ndarray, **options: object) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    file = io.BytesIO()
    image = pillow_heif.from_bytes("RGB", pixels.shape[1::-1], pixels[..., ::-1].tobytes())
    image.save(file, quality=90, **options)
    return file.getvalue()


def test_heic_is_read(photo: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "photo.HEIC"
    path.write_bytes(heif(photo))
    assert expand([tmp_path]) == [path]
    difference = np.abs(read_image(path).astype(int) - photo)
    assert difference.mean() < 6


def test_heic_is_turned_upright(photo: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    turned = decode(heif(photo, exif=exif.tobytes()))
    assert turned.shape[:2] == photo.shape[1::-1]
    assert np.abs(turned.astype(int) - cv2.rotate(photo, cv2.ROTATE_90_CLOCKWISE)).mean() < 6


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif_is_read(photo: np.ndarray) -> None:
    file = io.BytesIO()
    Image.fromarray(photo[..., ::-1]).save(file, "AVIF", quality=90)
    assert np.abs(decode(file.getvalue()).astype(int) - photo).mean() < 6


def test_a_broken_heic(photo: np.ndarray) -> None:
    data = heif(photo)
    with pytest.raises(ImageDecodeError, match=r"shot\.heic"):
        decode(data[:40], "shot.heic")
    with pytest.raises(ImageDecodeError):  # the pixels themselves are cut off
        decode(data[: len(data) // 2], "shot.heic")


@pytest.mark.parametrize("missing", ["PIL", "pillow_heif"])
def test_heic_without_the_package(
    missing: str, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = heif(photo)
    monkeypatch.setitem(sys.modules, missing, None)
    if missing == "pillow_heif":  # registered by the other tests
        monkeypatch.setattr(Image, "ID", [i for i in Image.ID if i != "HEIF"])
        monkeypatch.setattr(Image, "OPEN", {k: v for k, v in Image.OPEN.items() if k != "HEIF"})
    with pytest.raises(ImageDecodeError, match=r'pip install "yolov4sdk\[heif\]"'):
        decode(data)


def tiff(array: np.ndarray, **options: object) -> bytes:
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
    file = io.BytesIO()
    options.setdefault("photometric", "minisblack")
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_tiff_bands(dtype: type, bands: int, planar: str) -> None:
    """The rule: one or two bands are grey and more; of others the first three are R, G, B."""
    rng = np.random.default_rng(bands)
    whole = rng.integers(0, 256, (21, 30, bands))
    scale = {np.uint8: 1, np.uint16: 256, np.float32: 1 / 255}[dtype]
    array = (whole * scale).astype(dtype)
    if bands == 1:
        data = tiff(array[..., 0])
    else:
        stored = array if planar == "contig" else np.moveaxis(array, -1, 0)
        rgb = "rgb" if bands in (3, 4) else "minisblack"
        data = tiff(stored, planarconfig=planar, photometric=rgb)
    expected = np.repeat(whole[..., :1], 3, 2) if bands <= 2 else whole[..., 2::-1]
    if dtype != np.float32 and bands == 4:
        return  # the fourth band is alpha, and libtiff multiplies the colors by it
    rounding = int(dtype == np.uint16)  # libtiff divides by 257
    assert np.abs(decode(data).astype(int) - expected).max() <= rounding


def test_sixteen_bits_are_not_stretched() -> None:
    """A dark image stays dark: twelve bits in sixteen are a sixteenth as bright."""
    dark = np.full((8, 8), 4095, np.uint16)
    assert np.isin(decode(tiff(dark)), (15, 16)).all() and (from_array(dark) == 15).all()


@pytest.mark.parametrize("compression", ["deflate", "lzw"])
def test_compressed_tiff(compression: str) -> None:
    pytest.importorskip("imagecodecs", reason="imagecodecs is not installed")
    array = np.random.default_rng(0).integers(0, 256, (21, 30, 6)).astype(np.uint8)
    data = tiff(array, compression=compression, planarconfig="contig")
    assert (decode(data) == array[..., 2::-1]).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tiff(np.full((8, 8, 5), 7, np.float32)), "0..1"),
        (lambda: tiff(np.full((8, 8, 5), np.nan, np.float32)), "NaN"),
        (lambda: tiff(np.full((8, 8, 5), 7, np.uint32)), "got uint32"),
        (lambda: tiff(np.zeros((8, 8, 5), np.uint8))[:60], "broken"),
    ],
)
def test_tiff_that_cannot_be_used(make: object, words: str) -> None:
    with pytest.raises(ImageError, match=words) as caught:
        decode(make(), "map.tif")  # type: ignore[operator]
    assert "map.tif" in str(caught.value)


def test_tiff_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    data = tiff(np.zeros((8, 8, 5), np.uint8), planarconfig="contig")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(ImageDecodeError, match=r'pip install "yolov4sdk\[tiff\]"'):
        decode(data)


def test_a_huge_tiff_is_refused_before_it_is_read() -> None:
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
    file = io.BytesIO(tiff(np.zeros((8, 8, 5), np.uint8), planarconfig="contig"))
    with tifffile.TiffFile(file, mode="r+b") as made:
        made.pages[0].tags["ImageWidth"].overwrite(1 << 30)
    with pytest.raises(ImageTooLargeError):
        decode(file.getvalue())
