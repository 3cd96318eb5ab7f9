"""Training images resized to the training size, kept in memory or on disk if asked for."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from yolov4sdk.errors import SettingError
from yolov4sdk.imaging.images import read_image
from yolov4sdk.system.files import atomic_write

Image = np.ndarray[Any, np.dtype[np.uint8]]
CacheKind = Literal["ram", "disk"]


def resized_shape(source: tuple[int, int], size: int) -> tuple[int, int]:
    """Height and width after the long side was resized to `size`, each at least 1."""
    scale = size / max(source)
    return max(1, round(source[0] * scale)), max(1, round(source[1] * scale))


def resize_long_side(image: Image, size: int) -> Image:
    """The image with its long side resized to `size` (bilinear, spec)."""
    height, width = resized_shape((image.shape[0], image.shape[1]), size)
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


class ImageStore:
    """Images by index, BGR uint8, long side resized to `size`.

    "ram" reads all of them at once, before workers are forked, so that they share the memory.
    "disk" writes each as a .npy file the first time it is read; the name holds the image's path,
    size and time of change, so a changed image is read anew.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        size: int,
        cache: CacheKind | None = None,
        folder: Path | None = None,
    ) -> None:
        """
        Args:
            paths: the image files.
            size: the length of the long side, pixels.
            cache: where resized images are kept; None reads the files each time.
            folder: where "disk" writes; None is `yolov4sdk/images` in $XDG_CACHE_HOME or ~/.cache.

        Raises:
            SettingError: an unknown kind of cache.
            ImageError: an image cannot be read ("ram" reads them here).
        """
        if cache not in (None, "ram", "disk"):
            raise SettingError(f"cache must be 'ram', 'disk' or None, got {cache!r}")
        self._paths = list(paths)
        self._size = size
        self._folder = (folder or _default_folder()) if cache == "disk" else None
        self._images: list[Image] | None = None
        if cache == "ram":
            with ThreadPoolExecutor(os.cpu_count() or 1) as pool:  # OpenCV decodes without the GIL
                self._images = list(pool.map(self._read, range(len(paths))))

    def __getitem__(self, index: int) -> Image:
        """The image; not to be written to.

        Raises:
            ImageError: the file is gone or broken.
            SettingError: the cache cannot be written (a full disk).
        """
        if self._images is not None:
            return self._images[index]
        return self._read(index) if self._folder is None else self._from_disk(index, self._folder)

    @property
    def nbytes(self) -> int:
        """Bytes held in memory."""
        return sum(image.nbytes for image in self._images or ())

    def _read(self, index: int) -> Image:
        return resize_long_side(read_image(self._paths[index]), self._size)

    def _from_disk(self, index: int, folder: Path) -> Image:
        path = self._paths[index].absolute()
        state = path.stat()
        key = f"{path}|{state.st_size}|{state.st_mtime_ns}|{self._size}"
        file = folder / f"{hashlib.sha256(os.fsencode(key)).hexdigest()[:32]}.npy"
        try:
            return np.asarray(np.load(file, allow_pickle=False), np.uint8)
        except (OSError, ValueError, EOFError):  # not there yet, or damaged: make it
            image = self._read(index)
        try:
            with atomic_write(file) as temporary:
                np.save(temporary, image)
        except OSError as error:
            raise SettingError(
                f"the image cache in {folder} cannot be written ({error}); give another folder, "
                "or train with the cache in RAM or without one"
            ) from error
        return image


def _default_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "yolov4sdk" / "images"
