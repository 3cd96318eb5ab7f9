"""Images to calibrate with, in the form in which the network gets them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from yolov4sdk.contract.spec import ModelSpec
from yolov4sdk.datasets import find_images
from yolov4sdk.errors import SettingError
from yolov4sdk.imaging.images import read_image
from yolov4sdk.imaging.preprocess import to_input
from yolov4sdk.measure.verify import canvas_batch

from .options import CALIBRATION_IMAGES

HELD_OUT: Final = 16
"""As many as are kept back at most, to choose among calibration methods."""


@dataclass(frozen=True)
class CalibrationSet:
    """Image files for one graph; they are read and letterboxed when they are asked for.

    Attributes:
        spec: of the graph: its size, batch and form of input.
        images: to collect ranges with.
        held_out: others, to compare the results on; the same ones where there is only one image.
    """

    spec: ModelSpec
    images: tuple[Path, ...]
    held_out: tuple[Path, ...]

    @classmethod
    def of(
        cls, source: str | Path, split: str, spec: ModelSpec, count: int = CALIBRATION_IMAGES
    ) -> CalibrationSet:
        """Choose `count` images of a folder, a glob or a data set, the same ones every time.

        Raises:
            SettingError: there are none; says what was looked for.
            DatasetError: a data set that cannot be read.
        """
        try:
            found = find_images(source, split)
        except FileNotFoundError as error:
            raise SettingError(
                f"INT8 needs images to calibrate with, of the kind that the model will see: {error}"
            ) from error
        order = np.random.default_rng(0).permutation(len(found))
        kept_back = min(HELD_OUT, max(1, len(found) // 5)) if len(found) > 1 else 0
        held_out = [found[i] for i in order[:kept_back]]
        images = [found[i] for i in order[kept_back : kept_back + count]]
        return cls(spec, tuple(images), tuple(held_out or images))

    def __len__(self) -> int:
        """Number of runs of the graph."""
        return -(-len(self.images) // (self.spec.batch or 1))

    def batch(self, index: int) -> NDArray[Any]:
        """One input of the graph; a batch that is not full is filled up with its last image."""
        size = self.spec.batch or 1
        paths = self.images[index * size : (index + 1) * size]
        paths += paths[-1:] * (size - len(paths))
        taken = self.spec.contract.input
        canvases = canvas_batch([read_image(path) for path in paths], taken.size, taken.resize)
        return to_input(canvases, taken, bgr=True)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self.batch(index) for index in range(len(self)))
