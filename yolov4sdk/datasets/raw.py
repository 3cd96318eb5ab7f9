"""One image as a label file describes it, before anything is checked or repaired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from yolov4sdk.imaging.preprocess import Size


@dataclass
class RawImage:
    """One image as a label file describes it.

    Attributes:
        path: the image file.
        boxes: rows (class id, x1, y1, x2, y2), in pixels or normalised by the image's size.
        normalised: which of the two.
        ignored: for every row whether it is a crowd or difficult box, or one not to be judged.
        label: where the boxes stand, for messages.
        size: height and width that the label gives the image; None where it does not.
        areas: for every row the object's area in square pixels, NaN where it is not given.
        id: the image's, of a COCO file.
        scores: for every row how sure its label is, 0 to 1; empty where all are certain.
    """

    path: Path
    boxes: Sequence[Sequence[float]] = ()
    normalised: bool = False
    ignored: Sequence[bool] = ()
    label: Path | None = None
    size: Size | None = None
    areas: Sequence[float] = ()
    id: int | str | None = None
    scores: Sequence[float] = ()

    def joined(self, other: RawImage) -> RawImage:
        """This entry with the boxes of another entry of the same image."""
        crowds = [list(entry.ignored) or [False] * len(entry.boxes) for entry in (self, other)]
        return RawImage(
            self.path, [*self.boxes, *other.boxes], self.normalised, crowds[0] + crowds[1],
            self.label, self.size, [*self.areas, *other.areas], self.id,
        )  # fmt: skip
