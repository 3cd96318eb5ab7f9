"""Images of a folder-per-class set, and batches of crops of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from yolov4sdk.errors import DatasetError
from yolov4sdk.imaging.images import SUFFIXES, read_image

_LEAST_AREA = 0.35  # of the image in a random crop


@dataclass(frozen=True)
class ImageFolder:
    """Images of a folder that has one folder a class.

    Attributes:
        classes: the folders' names, sorted.
        images: uint8 RGB, the short side `size`, any aspect.
        labels: index into `classes`.
    """

    classes: tuple[str, ...]
    images: list[np.ndarray[Any, np.dtype[np.uint8]]]
    labels: list[int]


def read_folder(folder: Path, size: int, classes: Sequence[str] | None = None) -> ImageFolder:
    """Read and shrink all images of a folder-per-class set.

    Raises:
        DatasetError: no folder, no classes, an unknown class or a class without images.
    """
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}; expected one folder of images a class")
    names = tuple(sorted(p.name for p in folder.iterdir() if p.is_dir()))
    if len(names) < 2:
        raise DatasetError(f"{folder} has {len(names)} class folders; expected two or more")
    if classes is not None and not set(names) <= set(classes):
        raise DatasetError(f"{folder} has classes that train lacks: {set(names) - set(classes)}")
    order = tuple(classes or names)
    images, labels = [], []
    for name in names:
        files = sorted(p for p in (folder / name).iterdir() if p.suffix.lower() in SUFFIXES)
        if not files:
            raise DatasetError(f"the class folder {folder / name} has no images")
        for file in files:
            images.append(_shrink(read_image(file)[..., ::-1], size))
            labels.append(order.index(name))
    return ImageFolder(order, images, labels)


def _shrink(image: np.ndarray[Any, Any], size: int) -> np.ndarray[Any, Any]:
    """The short side to `size`, by area when it shrinks."""
    scale = size / min(image.shape[:2])
    shape = (max(size, round(image.shape[1] * scale)), max(size, round(image.shape[0] * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(image), shape, interpolation=method))


def crop(
    image: np.ndarray[Any, Any], size: int, rng: np.random.Generator | None
) -> np.ndarray[Any, Any]:
    """A square of `size`: random area, place and mirroring with `rng`, else the centre."""
    height, width = image.shape[:2]
    if rng is None:
        top, left = (height - size) // 2, (width - size) // 2
        return np.asarray(image[top : top + size, left : left + size])
    side = int(min(height, width) * math.sqrt(rng.uniform(_LEAST_AREA, 1)))
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    part = cv2.resize(image[top : top + side, left : left + side], (size, size))
    return np.asarray(part[:, ::-1] if rng.random() < 0.5 else part)


def batch_of(
    data: ImageFolder, indices: Sequence[int], size: int, key: tuple[int, ...] | None
) -> tuple[Tensor, Tensor]:
    """Images float32 [B, 3, size, size] in 0..1 and labels int64 [B]; `key` seeds the crops."""
    pictures = [
        crop(data.images[i], size, None if key is None else np.random.default_rng([*key, i]))
        for i in indices
    ]
    stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    images = stacked.to(torch.float32, memory_format=torch.channels_last).div_(255)
    return images, torch.tensor([data.labels[i] for i in indices])
