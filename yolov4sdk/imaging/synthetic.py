"""Pictures made from a seed: for checks and timings where no photograph is at hand."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def drawn_image(size: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """A picture with the statistics of a natural one: coarse noise is strong, fine noise weak.

    Args:
        size: (height, width) in pixels.
        seed: another one gives another picture.

    Returns:
        uint8 [H, W, 3].
    """
    rng = np.random.default_rng(seed)
    height, width = size
    total = np.zeros((height, width, 3), np.float32)
    cells = 2
    while cells <= max(height, width):
        octave = rng.standard_normal((cells, cells, 3)).astype(np.float32) / cells
        total += cv2.resize(octave, (width, height), interpolation=cv2.INTER_CUBIC)
        cells *= 2
    total = (total - total.min()) / (total.max() - total.min())
    image: NDArray[np.uint8] = (total * 255).astype(np.uint8)
    return image


def noise(size: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """Uniform noise, uint8 [H, W, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
