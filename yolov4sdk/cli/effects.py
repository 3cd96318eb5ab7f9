"""What `detect` does with detections before it writes them: blur, regions and tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..detections import Detections
from ..errors import SettingError
from ..imaging.draw import draw
from ..imaging.images import read_image
from ..results.anonymise import How, anonymise
from ..results.regions import Regions
from ..results.tracking import Tracker, Trails
from ..system.classes import resolve_classes
from ..system.option import about
from .options import parse_classes, parse_points

MASK_THRESHOLD: Final = 128


@dataclass(frozen=True)
class EffectOptions:
    """What is done to each image and its detections."""

    track: bool = field(
        default=False, metadata=about("Ids over frames, trails; images are frames in order.")
    )
    region: tuple[str, ...] = field(
        default=(), metadata=about('Only in this polygon: "x,y x,y x,y"; repeatable.')
    )
    ignore: tuple[str, ...] = field(default=(), metadata=about("Not in this polygon; repeatable."))
    ignore_mask: Path | None = field(
        default=None, metadata=about("Not in the bright parts of this image.")
    )
    blur: str | None = field(default=None, metadata=about("Classes to blur: person,car."))
    pixelate: str | None = field(default=None, metadata=about("Classes to pixelate."))
    boxes: bool = field(default=True, metadata=about("Draw boxes on the images."))


class Effects:
    """The options of one run; one object for each video, since tracks belong to it.

    Args:
        names: of the model's classes.
        options: what is wanted.
        reported: the classes that `--classes` lets through, None is all.
        rate: frames a second, where it is known.
    """

    def __init__(
        self,
        names: Sequence[str],
        options: EffectOptions,
        reported: Sequence[str | int] | None = None,
        *,
        rate: float = 30.0,
    ) -> None:
        ways: tuple[tuple[How, str | None], ...] = (
            ("blur", options.blur),
            ("pixelate", options.pixelate),
        )
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
        if options.ignore_mask is not None:
            mask = read_image(options.ignore_mask)[..., 1] >= MASK_THRESHOLD
        self._regions = Regions(
            [parse_points(text) for text in options.region],
            [parse_points(text) for text in options.ignore],
            mask,
        )
        self._tracker = Tracker(rate) if options.track else None
        self._trails = Trails() if options.track else None
        self._boxes = options.boxes

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
