"""What reading a data set found, repaired and left out; no box goes uncounted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

_SHOWN: Final = 20  # examples kept per kind of trouble; the counts are always whole
_NAMED: Final = 3  # examples in a note

_SENTENCES: Final = {
    "wrong_sizes": "images left out: their label gives the size of another image",
    "rescaled": "boxes scaled from the size in the label to that of the image",
    "turned": "boxes turned with the image, as its EXIF orientation says",
    "size_slips": (
        "images have another size in their label; their boxes fit the image and are kept"
    ),
    "unclear_turns": (
        "images are turned by EXIF and their labels do not say whether the boxes are too; they are "
        "taken as drawn on the upright image"
    ),
    "without_image": "boxes left out: their image is missing, broken or not in the data set",
}
"""Kinds that need more than their name; `{count} {sentence}, such as {examples}`."""


@dataclass
class DatasetReport:
    """What was found, repaired and dropped while reading. Boxes are counted after cleaning.

    `written` = `boxes` + `ignored` + `dropped`, always.
    """

    images: int = 0
    boxes: int = 0
    written: int = 0
    """Boxes in the label files, as they are written."""
    background: int = 0
    """Images without a box (their label file is empty, missing, or all of it was dropped)."""
    missing_labels: int = 0
    missing_images: int = 0
    corrupt_images: int = 0
    wrong_sizes: int = 0
    """Images left out: the size in their label is not theirs, nor in proportion to it."""
    size_slips: int = 0
    """Images whose label gives another size, but whose boxes fit only the image; kept."""
    unclear_turns: int = 0
    """Images with an EXIF orientation and labels that do not say on which view boxes lie."""
    turned: int = 0
    """Boxes drawn on the stored pixels, turned by the image's EXIF orientation; repaired."""
    rescaled: int = 0
    """Boxes in the pixels of a larger or smaller copy of the image; repaired."""
    inverted: int = 0
    """Boxes whose corners were swapped or whose size was negative; repaired."""
    clipped: int = 0
    """Boxes that reached past the image; repaired."""
    degenerate: int = 0
    """Boxes dropped: not finite, or under 2 px on a side after clipping."""
    duplicates: int = 0
    """Boxes dropped: the same class and coordinates as another box of the image."""
    without_image: int = 0
    """Boxes dropped: their image is missing, corrupt, of a wrong size, or not listed."""
    ignored: int = 0
    """Crowd (COCO) and difficult (VOC) boxes: not trained on, not counted in evaluation."""
    class_counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    files: dict[str, list[str]] = field(default_factory=dict)
    """For each kind of trouble the first files that have it."""

    def count(self, kind: str, where: Path | str, number: int = 1) -> None:
        """Add `number` to the counter `kind` and remember the file."""
        if number:
            setattr(self, kind, getattr(self, kind) + number)
            shown = self.files.setdefault(kind, [])
            if len(shown) < _SHOWN and str(where) not in shown:
                shown.append(str(where))

    @property
    def dropped(self) -> int:
        """Boxes that are written but not read."""
        return self.degenerate + self.duplicates + self.without_image

    @property
    def troubles(self) -> dict[str, int]:
        """The counters of repaired and dropped things that are not zero."""
        kinds = (
            "missing_images", "corrupt_images", "wrong_sizes", "size_slips", "unclear_turns",
            "missing_labels", "turned", "rescaled", "inverted", "clipped", "degenerate",
            "duplicates", "without_image", "ignored",
        )  # fmt: skip
        return {kind: getattr(self, kind) for kind in kinds if getattr(self, kind)}

    def explain(self) -> None:
        """Add the notes on troubles whose name does not say enough, with examples."""
        for kind, sentence in _SENTENCES.items():
            if count := getattr(self, kind):
                self.notes.append(f"{count} {sentence}, {such_as(self.files[kind])}")

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values that `json` can write."""
        return asdict(self)

    def summary(self) -> str:
        """One line: "292 images (2 background), 3941 boxes; 2 degenerate"."""
        line = f"{self.images} images ({self.background} background), {self.boxes} boxes"
        troubles = ", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in self.troubles.items())
        return f"{line}; {troubles}" if troubles else line


def such_as(examples: Sequence[object]) -> str:
    """ "such as a, b, c": the first examples of a note."""
    return "such as " + ", ".join(str(example) for example in examples[:_NAMED])
