"""One image of any kind to pixels: uint8 BGR [H, W, 3], upright.

Every way in ends here, so that color order, bit depth and EXIF orientation are the same for a
path, bytes, an array, a PIL image and a tensor. The rules: transparency is dropped, grey becomes
three equal channels, 16-bit values are divided by 256 (nothing is stretched to the values that an
image happens to have; PNM is scaled by the maximum that its header states), EXIF orientation is
applied. Of a file with several images the first is
read; of a TIFF with two bands the first one, as grey; with more, the first three as R, G and B.

HEIC needs the extra `heif`; TIFF of more than four bands or of float pixels the extra `tiff`.
"""

from __future__ import annotations

import io
import math
import sys
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from ..errors import (
    EmptyImageError,
    ImageDecodeError,
    ImageError,
    ImageFormatError,
    ImageNotFoundError,
    ImageTooLargeError,
    MissingExtraError,
    NonFiniteImageError,
    SettingError,
)
from .exif import upright
from .jpeg import decode_scaled
from .orientation import TIFF, orientation, unturned_tiff
from .pnm import pnm_maximum
from .preprocess import Size

Color = Literal["BGR", "RGB"]
Pixels = NDArray[np.uint8]

SUFFIXES: Final = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".png", ".webp", ".bmp", ".dib",
    ".tif", ".tiff", ".pbm", ".pgm", ".ppm", ".avif", ".heic", ".heif",
}  # fmt: skip
PIXELS: Final = 1 << 30
"""Values of a TIFF of many bands at most; OpenCV's own limit of pixels is the same."""
URL_BYTES: Final = 50_000_000
URL_SECONDS: Final = 10


def read_image(source: Any, color: Color = "BGR", allow_urls: bool = False) -> Pixels:
    """Decode or convert one image.

    Args:
        source: a path; a URL, when allowed; encoded bytes; an array [H, W], [H, W, 1 to 4] of
            uint8, uint16 or float in 0..1; a PIL image; a torch tensor [3, H, W] or [1, H, W],
            RGB, uint8 or float in 0..1.
        color: channel order of arrays.
        allow_urls: whether a string that starts with http:// or https:// is fetched.

    Returns:
        uint8 BGR [H, W, 3], C-contiguous.

    Raises:
        ImageError: its subclasses say what is wrong with the image.
        SettingError: a URL that is not allowed, or an unknown color order.
    """
    check_color(color)
    if (encoded := _encoded(source, allow_urls)) is not None:
        return decode(*encoded)
    if isinstance(source, np.ndarray):
        return from_array(source, color)
    # Looked up, not imported: who passes one of these has imported its library.
    if (pil := sys.modules.get("PIL.Image")) and isinstance(source, pil.Image):
        return _from_pil(source)
    if (torch := sys.modules.get("torch")) and isinstance(source, torch.Tensor):
        return _from_tensor(source)
    raise ImageFormatError(
        f"cannot read an image from {type(source).__name__}; expected a path, bytes, a NumPy "
        "array, a PIL image or a torch tensor"
    )


def read_scaled(
    source: Any, canvas: Size, color: Color = "BGR", allow_urls: bool = False
) -> tuple[Pixels, Size]:
    """As `read_image`, but a JPEG larger than `canvas` is decoded at a fraction of its size.

    Returns:
        Pixels, and (height, width) of the whole image.
    """
    check_color(color)
    if (encoded := _encoded(source, allow_urls)) is None:
        image = read_image(source, color)
    elif (scaled := decode_scaled(encoded[0], canvas)) is not None:
        return scaled
    else:
        image = decode(*encoded)
    return image, (image.shape[0], image.shape[1])


def check_color(color: str) -> None:
    """Refuse an order of channels that does not exist (SettingError)."""
    if color not in ("BGR", "RGB"):
        raise SettingError(f'color must be "BGR" or "RGB", got {color!r}')


def _encoded(source: Any, allow_urls: bool) -> tuple[bytes, str] | None:
    """The bytes of what is to be decoded, and its name in messages; None where there is none."""
    if isinstance(source, str) and source.lower().startswith(("http://", "https://")):
        if not allow_urls:
            raise SettingError(
                f"{public_url(source)} is a URL and fetching is off; pass allow_urls=True to "
                "Detector"
            )
        return _fetch(source), public_url(source)
    if isinstance(source, str | Path):
        return _read(Path(source)), str(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source), "the bytes"
    return None


def decode(data: bytes, name: str = "the bytes") -> Pixels:
    """Decode a file's bytes to uint8 BGR [H, W, 3], upright.

    Raises:
        ImageDecodeError: no image, or a broken one.
        ImageTooLargeError: more pixels than OpenCV's limit (OPENCV_IO_MAX_IMAGE_PIXELS).
    """
    if not data:
        raise ImageDecodeError(f"{name}: empty, no image in it")
    turned = orientation(data)
    image = _decode_jpeg(data) if data[:3] == b"\xff\xd8\xff" else None
    if image is None:
        image = _decode_opencv(data, name)
    if image is not None:
        return upright(image, turned)
    if data[4:8] == b"ftyp":
        return _decode_heif(data, name)
    if data[:4] in TIFF:
        return upright(_decode_tiff(data, name), turned)
    raise ImageDecodeError(
        f"{name}: not an image, or a broken one; JPEG, PNG, WebP, BMP, TIFF, AVIF, HEIC and PNM "
        "are read"
    )


def _decode_jpeg(data: bytes) -> Pixels | None:
    """As OpenCV gives it, in less than half the time; None for CMYK and broken files."""
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(data, "BGR")
    except ValueError:
        return None
    return pixels


def _decode_opencv(data: bytes, name: str) -> Pixels | None:
    """As stored, uint8 BGR [H, W, 3]; None for what OpenCV does not read."""
    if data[:4] in TIFF:
        data = unturned_tiff(data)
    maximum = pnm_maximum(data)
    depth = cv2.IMREAD_ANYDEPTH if maximum else 0
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION | depth
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if "pixels" in str(error).lower():
            raise ImageTooLargeError(f"{name}: more pixels than OpenCV's limit") from error
        raise ImageDecodeError(f"{name}: not decodable ({error.err or error})") from error
    if image is not None and maximum:
        image = np.rint(np.minimum(image, maximum) * (255 / maximum))
    return None if image is None else _contiguous(image)


def _decode_heif(data: bytes, name: str) -> Pixels:
    """HEIC and AVIF by Pillow. That a package is missing fails the image, not the whole run."""
    missing = MissingExtraError("Reading HEIC", "heif", "pillow-heif")
    try:
        from PIL import Image
    except ImportError as error:
        raise ImageDecodeError(f"{name}: {missing}") from error
    reason = "a broken HEIC or AVIF image, or another file"
    try:
        import pillow_heif
    except ImportError:  # Pillow itself may know AVIF
        reason = f"not decodable. {missing}"
    else:
        pillow_heif.register_heif_opener()
    try:
        return _from_pil(Image.open(io.BytesIO(data)))
    except Image.DecompressionBombError as error:
        raise ImageTooLargeError(f"{name}: {error}") from error
    except OSError as error:
        raise ImageDecodeError(f"{name}: {reason}") from error


def _decode_tiff(data: bytes, name: str) -> Pixels:
    """TIFF that OpenCV does not read: many bands, or float pixels in 0..1."""
    try:
        import tifffile
    except ImportError as error:
        missing = MissingExtraError("Reading TIFF of many bands or floats", "tiff", "tifffile")
        raise ImageDecodeError(f"{name}: broken, or of a rare kind. {missing}") from error
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages[0]
            large = math.prod(page.shape) > PIXELS
            array, axes = np.zeros(0) if large else page.asarray(), page.axes
    except Exception as error:  # whatever its parsers run into; damaged files come here too
        raise ImageDecodeError(f"{name}: a broken TIFF ({error})") from error
    if large:
        raise ImageTooLargeError(f"{name}: a TIFF of the shape {page.shape}, more than {PIXELS:,}")
    if axes == "SYX":  # planes after one another
        array = np.moveaxis(array, 0, -1)
    elif axes not in ("YX", "YXS"):
        raise ImageFormatError(f"{name}: a TIFF with the axes {axes}; bands of an image are read")
    try:
        return from_array(array[..., :3] if array.ndim == 3 else array, "RGB")
    except ImageError as error:
        raise type(error)(f"{name}: {error}") from error


def from_array(array: NDArray[Any], color: Color = "BGR") -> Pixels:
    """An array of one image to uint8 BGR [H, W, 3].

    Args:
        array: [H, W] or [H, W, C]; C = 1 grey, 2 grey and alpha, 3 color, 4 color and alpha;
            uint8, uint16, bool, or float in 0..1.
        color: channel order for C = 3 and 4.
    """
    if array.ndim not in (2, 3) or (array.ndim == 3 and not 1 <= array.shape[2] <= 4):
        raise ImageFormatError(
            f"expected an image array [H, W] or [H, W, C] with 1 to 4 channels, got the shape "
            f"{array.shape}; a list of images is given as a Python list"
        )
    if 0 in array.shape[:2]:
        raise EmptyImageError(f"the image has the shape {array.shape}: no pixels")
    array = _to_uint8(array)
    if array.ndim == 2:
        array = array[:, :, None]
    channels = array.shape[2]
    if channels <= 2:
        return np.repeat(array[:, :, :1], 3, axis=2)
    array = array[:, :, :3] if color == "BGR" else array[:, :, 2::-1]
    return _contiguous(array)


def _to_uint8(array: NDArray[Any]) -> Pixels:
    if array.dtype == np.uint8:
        return np.asarray(array, np.uint8)
    if array.dtype == np.uint16:
        return _contiguous(np.right_shift(array, 8))
    if array.dtype == bool:
        return array.astype(np.uint8) * np.uint8(255)
    if np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all():
            raise NonFiniteImageError("the image has NaN or infinite pixels; fix its source")
        low, high = float(array.min()), float(array.max())
        if low < 0 or high > 1:
            raise ImageFormatError(
                f"float images are expected in 0..1, this one reaches from {low:.3g} to "
                f"{high:.3g}; divide by 255 or pass uint8"
            )
        return _contiguous(np.rint(array * 255))
    raise ImageFormatError(
        f"expected pixels of uint8, uint16, bool or float in 0..1, got {array.dtype}"
    )


def _from_pil(image: Any) -> Pixels:
    from PIL import ImageOps

    if 0 in image.size:
        raise EmptyImageError(f"the PIL image is {image.size[0]} x {image.size[1]} pixels")
    try:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):  # 16-bit grey, also where Pillow widens it to 32
            return from_array(np.asarray(image).astype(np.uint16))
        if image.mode == "F":
            return from_array(np.asarray(image))
        return from_array(np.asarray(image.convert("RGB")), "RGB")
    except (OSError, SyntaxError, ValueError) as error:  # a lazily loaded file may be broken
        raise ImageDecodeError(f"the PIL image cannot be read: {error}") from error


def _from_tensor(tensor: Any) -> Pixels:
    if tensor.ndim != 3 or tensor.shape[0] not in (1, 3):
        raise ImageFormatError(
            f"expected an image tensor [3, H, W] (RGB) or [1, H, W], got {tuple(tensor.shape)}; "
            "a batch is given as a list of tensors"
        )
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point():
        tensor = tensor.float()
    return from_array(tensor.permute(1, 2, 0).numpy(), "RGB")


def _contiguous(array: NDArray[Any]) -> Pixels:
    return np.ascontiguousarray(array, np.uint8)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ImageNotFoundError(f"no image at {path}") from error
    except OSError as error:
        raise ImageDecodeError(f"{path} cannot be read: {error.strerror}") from error


def is_image_url(text: str) -> bool:
    """Whether a source is the address of an image, by its suffix, and not of a video."""
    try:
        parts = urlsplit(text)
    except ValueError:  # brackets that are not an IPv6 address: a glob
        return False
    suffix = Path(parts.path).suffix.lower()
    return parts.scheme.lower() in ("http", "https") and suffix in SUFFIXES


def public_url(url: str) -> str:
    """An address as it may be shown: without password and query."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def _fetch(url: str) -> bytes:
    from base64 import b64encode
    from http.client import HTTPException
    from urllib.error import URLError
    from urllib.parse import unquote
    from urllib.request import Request, urlopen

    parts = urlsplit(url)
    headers = {"User-Agent": "yolov4sdk"}
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    try:
        with urlopen(Request(address, headers=headers), timeout=URL_SECONDS) as response:
            data: bytes = response.read(URL_BYTES + 1)
    except (URLError, OSError, ValueError, HTTPException) as error:
        raise ImageNotFoundError(f"no image at {public_url(url)}: {error}") from error
    if len(data) > URL_BYTES:
        raise ImageTooLargeError(f"{public_url(url)} is larger than {URL_BYTES:,} bytes")
    return data
