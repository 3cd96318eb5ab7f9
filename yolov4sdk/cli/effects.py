"""What `detect` does with detections before it writes them: blur, regions and tracks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..detections import Detections, resolve_classes
from ..errors import SettingError
from ..imaging.draw import draw
from ..imaging.images import read_image
from ..results.anonymise import How, anonymise
from ..results.regions import Regions
from ..results.tracking import Tracker, Trails
from .options import parse_classes, parse_points

MASK_THRESHOLD: Final = 128


class Effects:
    """The options of one run; one object for each video, since tracks belong to it.

    Args:
        names: of the model's classes.
        reported: the classes that `--classes` lets through, None is all.
        region, ignore: polygons "x,y x,y x,y" in pixels.
        ignore_mask: an image whose bright parts are ignored.
        blur, pixelate: class names or ids, comma-separated.
        track: whether to track.
        boxes: whether boxes are drawn.
        rate: frames a second, where it is known.
    """

    def __init__(
        self,
        names: Sequence[str],
        reported: Sequence[str | int] | None = None,
        *,
        region: Sequence[str] = (),
        ignore: Sequence[str] = (),
        ignore_mask: Path | None = None,
        blur: str | None = None,
        pixelate: str | None = None,
        track: bool = False,
        boxes: bool = True,
        rate: float = 30.0,
    ) -> None:
        ways: tuple[tuple[How, str | None], ...] = (("blur", blur), ("pixelate", pixelate))
        self._hidden = [
            (how, resolve_classes(parse_classes(text) or (), names)) for how, text in ways if text
        ]
        if reported is not None:
            hidden = {i for _, ids in self._hidden for i in ids}
            if lacking := hidden - set(resolve_classes(reported, names)):
                raise SettingError(
                    f"--classes leaves out {', '.join(names[i] for i in sorted(lacking))}, which "
                    "--blur or --pixelate is to hide; add it there"
                )
        mask = None
        if ignore_mask is not None:
            mask = read_image(ignore_mask)[..., 1] >= MASK_THRESHOLD
        self._regions = Regions(
            [parse_points(text) for text in region], [parse_points(text) for text in ignore], mask
        )
        self._tracker = Tracker(rate) if track else None
        self._trails = Trails() if track else None
        self._boxes = boxes

    def __call__(
        self, image: NDArray[np.uint8], detections: Detections, time: float | None = None
    ) -> tuple[NDArray[np.uint8], Detections]:
        """The image to show and the detections to report.

        What is to be hidden is hidden wherever it is, also outside of regions and tracks.
        """
        for how, ids in self._hidden:
            image = anonymise(image, detections, ids, how=how)
        detections = self._regions(detections)
        if self._tracker is not None:
            detections = self._tracker.update(detections, time)
        return image, detections

    @property
    def tracks(self) -> bool:
        """Whether detections get track ids."""
        return self._tracker is not None

    def draw(self, image: NDArray[np.uint8], detections: Detections) -> NDArray[np.uint8]:
        """A copy of the image with boxes and, of tracked ones, trails."""
        if self._trails is not None:
            image = self._trails.draw(image.copy(), detections)
        return draw(image, detections) if self._boxes else image
