"""Many images read ahead of the network that takes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ..errors import ImageError
from ..system.ahead import ahead
from ..system.cpu import available_cpus
from .images import Color, Pixels, read_image, read_scaled
from .preprocess import Size

_WORTH_THREADS: Final = 4
"""Images in a list from which on threads are of use (`python -m benchmarks pipeline-stages`)."""
_THREADS: Final = 4


@dataclass(frozen=True)
class Reader:
    """Images of every kind to pixels, the next of them while the network runs.

    Attributes:
        color: channel order of arrays.
        allow_urls: whether http(s) URLs are fetched.
        ahead: images that may be decoded before they are asked for.
    """

    color: Color
    allow_urls: bool
    ahead: int

    def pixels(self, image: Any) -> Pixels:
        """See `yolov4sdk.imaging.images.read_image`."""
        return read_image(image, self.color, self.allow_urls)

    def listed(self, images: Sequence[Any], canvas: Size | None) -> Iterator[tuple[Pixels, Size]]:
        """The pixels of each image and its whole size.

        Args:
            canvas: JPEGs larger than this are decoded at a fraction of their size; None: whole.
        """

        def read(image: Any) -> tuple[Pixels, Size]:
            if canvas is not None:
                return read_scaled(image, canvas, self.color, self.allow_urls)
            return whole(self.pixels(image))

        if len(images) < _WORTH_THREADS or all(isinstance(im, np.ndarray) for im in images):
            return map(read, images)
        return ahead(read, images, self.ahead, min(available_cpus(), len(images), _THREADS))

    def each(self, sources: Iterable[Any], keep: bool) -> Iterator[tuple[Any, Pixels | ImageError]]:
        """Each source and its pixels; `keep` gives the error of a broken one in their place."""

        def read(source: Any) -> tuple[Any, Pixels | ImageError]:
            try:
                return source, self.pixels(source)
            except ImageError as error:
                if not keep:
                    raise
                return source, error

        return ahead(read, sources, self.ahead, min(available_cpus(), _THREADS))


def whole(image: Pixels) -> tuple[Pixels, Size]:
    """An image and its own size."""
    return image, (image.shape[0], image.shape[1])
