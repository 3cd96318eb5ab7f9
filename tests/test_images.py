"""One image through every way in: equal pixels, whatever its kind."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from yolov4sdk import errors
from yolov4sdk.imaging.images import decode, read_image, read_scaled


@pytest.fixture(scope="module")
def pixels(photos_dir: Path) -> np.ndarray:
    """The reference: BGR as OpenCV reads a lossless file."""
    return cv2.imread(str(photos_dir / "chelsea.png"))


def rgb(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels[..., ::-1])


def tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(rgb(pixels)).permute(2, 0, 1)


# For each way: from the file and its pixels to what is read, and the options.
WAYS = {
    "str": (lambda path, px: str(path), {}),
    "path": (lambda path, px: path, {}),
    "bytes": (lambda path, px: path.read_bytes(), {}),
    "memoryview": (lambda path, px: memoryview(path.read_bytes()), {}),
    "bgr": (lambda path, px: px, {}),
    "bgr strided": (lambda path, px: px.copy(order="F"), {}),
    "rgb": (lambda path, px: rgb(px), {"color": "RGB"}),
    "bgra": (lambda path, px: np.dstack((px, px[..., 0])), {}),
    "rgba": (lambda path, px: np.dstack((rgb(px), px[..., 0])), {"color": "RGB"}),
    "uint16": (lambda path, px: px.astype(np.uint16) * 256, {}),
    "float": (lambda path, px: px / 255, {}),
    "float32": (lambda path, px: (px / 255).astype(np.float32), {}),
    "pil": (lambda path, px: Image.open(path), {}),
    "pil rgba": (lambda path, px: Image.fromarray(rgb(px)).convert("RGBA"), {}),
    "tensor": (lambda path, px: tensor(px), {}),
    "tensor float": (lambda path, px: tensor(px).float() / 255, {}),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_the_same_pixels(way: str, photos_dir: Path, pixels: np.ndarray) -> None:
    make, options = WAYS[way]
    result = read_image(make(photos_dir / "chelsea.png", pixels), **options)
    assert result.dtype == np.uint8 and result.flags.c_contiguous
    assert np.array_equal(result, pixels)


@pytest.mark.parametrize("name", ["dog.jpg", "person.jpg", "horses.jpg", "astronaut.jpg"])
def test_jpeg_equals_opencv_and_pillow(name: str, photos_dir: Path) -> None:
    path = photos_dir / name
    expected = cv2.imread(str(path))
    assert np.array_equal(read_image(path), expected)
    assert np.array_equal(read_image(Image.open(path)), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation(orientation: int, form: str, photos_dir: Path) -> None:
    image = Image.open(photos_dir / "dog.jpg").resize((96, 64))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    options = {"lossless": True} if form == "WEBP" else {}
    image.save(file, form, exif=exif, **options)
    upright = read_image(file.getvalue())
    assert upright.shape[:2] == ((64, 96) if orientation < 5 else (96, 64))
    assert np.array_equal(upright, read_image(Image.open(io.BytesIO(file.getvalue()))))
    plain = io.BytesIO()
    image.save(plain, form, **options)
    stored = read_image(plain.getvalue())
    transforms = {
        1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
        5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).swapaxes(0, 1), 8: lambda a: np.rot90(a, 1),
    }  # fmt: skip
    assert np.array_equal(upright, transforms[orientation](stored))


@pytest.mark.parametrize("orientation", [None, 1, 6])
@pytest.mark.parametrize("least", [320, 130, 64, 40])
def test_a_fraction_of_a_jpeg(orientation: int | None, least: int, photos_dir: Path) -> None:
    with Image.open(photos_dir / "dog.jpg") as dog:  # 768 x 576
        file, exif = io.BytesIO(), Image.Exif()
        if orientation:
            exif[0x0112] = orientation
        dog.save(file, "JPEG", exif=exif if orientation else b"", quality=95)
    whole = read_image(file.getvalue())
    scaled, size = read_scaled(file.getvalue(), (least, least))
    assert size == whole.shape[:2] == ((768, 576) if orientation == 6 else (576, 768))
    assert scaled.dtype == np.uint8 and scaled.flags.c_contiguous
    most = max(2 * least, 96) if orientation else least + 96  # halves; eighths of 768
    assert least <= max(scaled.shape[:2]) <= most
    expected = cv2.resize(whole, scaled.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(scaled.astype(int) - expected).mean() < 3


def test_nothing_else_is_decoded_at_a_fraction(photos_dir: Path, pixels: np.ndarray) -> None:
    dog = (photos_dir / "dog.jpg").read_bytes()
    for source, canvas in (
        (photos_dir / "chelsea.png", (64, 64)), (pixels, (64, 64)), (dog, (700, 700)),
        (dog, (2000, 2000)),
    ):  # fmt: skip
        image, size = read_scaled(source, canvas)
        assert np.array_equal(image, read_image(source)) and size == image.shape[:2]
    with pytest.raises(errors.ImageDecodeError):
        read_scaled(dog[:2000], (64, 64))
    with pytest.raises(errors.SettingError, match="color"):
        read_scaled(dog, (64, 64), "GBR")  # type: ignore[arg-type]


def encoded(image: Image.Image, form: str) -> bytes:
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


def test_grey_16_bit_and_palette(pixels: np.ndarray) -> None:
    grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    expected = np.repeat(grey[..., None], 3, axis=2)
    deep = grey.astype(np.uint16) * 256 + 7
    for source in (
        grey, grey[..., None], deep, np.dstack((grey, grey)),
        Image.fromarray(grey), Image.fromarray(deep),
        encoded(Image.fromarray(grey), "PNG"), encoded(Image.fromarray(deep), "PNG"),
        encoded(Image.fromarray(grey).convert("LA"), "PNG"),
    ):  # fmt: skip
        assert np.array_equal(read_image(source), expected)
    palette = Image.fromarray(pixels[..., ::-1]).quantize(64)
    expected = np.asarray(palette.convert("RGB"))[..., ::-1]
    assert np.array_equal(read_image(palette), expected)
    assert np.array_equal(read_image(encoded(palette, "PNG")), expected)


def test_16_bit_color_file(pixels: np.ndarray) -> None:
    _, data = cv2.imencode(".png", pixels.astype(np.uint16) * 256 + 77)
    assert np.array_equal(read_image(data.tobytes()), pixels)


def test_cmyk_jpeg(pixels: np.ndarray) -> None:
    image = Image.fromarray(pixels[..., ::-1]).convert("CMYK")
    data = encoded(image, "JPEG")
    result, direct = read_image(data).astype(int), read_image(image).astype(int)
    assert np.abs(result - pixels).mean() < 4 and np.abs(direct - pixels).mean() < 4


def test_bool_mask() -> None:
    assert read_image(np.array([[True, False]])).tolist() == [[[255] * 3, [0] * 3]]


def nan_image() -> np.ndarray:
    image = np.zeros((4, 4, 3))
    image[0, 0, 0] = np.nan
    return image


BAD = {
    "missing": ("no/such.jpg", errors.ImageNotFoundError, "no image at"),
    "folder": (".", errors.ImageDecodeError, "cannot be read"),
    "empty bytes": (b"", errors.ImageDecodeError, "empty"),
    "text": (b"this is no image", errors.ImageDecodeError, "not an image"),
    "cut JPEG head": (b"\xff\xd8\xff\xe0\x00", errors.ImageDecodeError, "not an image"),
    "no height": (np.zeros((0, 5, 3), np.uint8), errors.EmptyImageError, "no pixels"),
    "no pixels in a tensor": (torch.zeros(3, 4, 0), errors.EmptyImageError, "no pixels"),
    "five channels": (np.zeros((4, 4, 5), np.uint8), errors.ImageFormatError, r"\(4, 4, 5\)"),
    "a batch": (np.zeros((2, 4, 4, 3), np.uint8), errors.ImageFormatError, "Python list"),
    "int64": (np.zeros((4, 4, 3), np.int64), errors.ImageFormatError, "int64"),
    "0 to 255 floats": (np.full((4, 4), 255.0), errors.ImageFormatError, "divide by 255"),
    "NaN": (nan_image(), errors.NonFiniteImageError, "NaN"),
    "HWC tensor": (torch.zeros(4, 4, 3), errors.ImageFormatError, r"\[3, H, W\]"),
    "number": (7, errors.ImageFormatError, "int"),
    "URL": ("https://example.org/a.jpg", errors.SettingError, "allow_urls"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_images(case: str) -> None:
    source, kind, message = BAD[case]
    with pytest.raises(kind, match=message):
        read_image(source)


def test_damaged_files_never_crash(photos_dir: Path) -> None:
    """Cut and flipped bytes give pixels or our error, nothing else."""
    rng = np.random.default_rng(0)
    for name in ("dog.jpg", "chelsea.png"):
        data = (photos_dir / name).read_bytes()
        for _ in range(40):
            broken = bytearray(data[: rng.integers(1, len(data))])
            for at in rng.integers(0, len(broken), 5):
                broken[at] ^= int(rng.integers(1, 256))
            with contextlib.suppress(errors.ImageError):
                assert decode(bytes(broken)).ndim == 3


def test_url_when_allowed(photos_dir: Path) -> None:
    import threading
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(photos_dir)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        base = f"http://127.0.0.1:{server.server_port}"
        image = read_image(f"{base}/dog.jpg", allow_urls=True)
        assert np.array_equal(image, read_image(photos_dir / "dog.jpg"))
        with pytest.raises(errors.ImageNotFoundError, match="404"):
            read_image(f"{base}/none.jpg", allow_urls=True)
    finally:
        server.shutdown()
        server.server_close()
