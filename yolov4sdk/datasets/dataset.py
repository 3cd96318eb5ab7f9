"""The one value type that every label reader returns, and its report."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from yolov4sdk.errors import DatasetError, UnknownClassError

Boxes: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]

_SHOWN = 20  # file names kept per kind of trouble; the counts are always whole


@dataclass
class DatasetReport:
    """What was found, repaired and dropped while reading. Boxes are counted after cleaning."""

    images: int = 0
    boxes: int = 0
    background: int = 0
    """Images without a box (their label file is empty, missing, or all of it was dropped)."""
    missing_labels: int = 0
    missing_images: int = 0
    corrupt_images: int = 0
    inverted: int = 0
    """Boxes whose corners were swapped or whose size was negative; repaired."""
    clipped: int = 0
    """Boxes that reached past the image; repaired."""
    degenerate: int = 0
    """Boxes dropped: not finite, or under 2 px on a side after clipping."""
    duplicates: int = 0
    """Boxes dropped: the same class and coordinates as another box of the image."""
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
    def troubles(self) -> dict[str, int]:
        """The counters of repaired and dropped things that are not zero."""
        kinds = (
            "missing_images",
            "corrupt_images",
            "missing_labels",
            "inverted",
            "clipped",
            "degenerate",
            "duplicates",
            "ignored",
        )
        return {kind: getattr(self, kind) for kind in kinds if getattr(self, kind)}

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values that `json` can write."""
        return asdict(self)

    def summary(self) -> str:
        """One line: "292 images (2 background), 3941 boxes; 2 degenerate"."""
        line = f"{self.images} images ({self.background} background), {self.boxes} boxes"
        troubles = ", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in self.troubles.items())
        return f"{line}; {troubles}" if troubles else line


@dataclass(frozen=True)
class DetectionDataset:
    """Images with their boxes, read and cleaned.

    Attributes:
        names: class names; a class id is the index into them.
        images: image files, in the order of the source.
        sizes: int32 [len(images), 2], height and width in pixels (after EXIF orientation).
        boxes: per image float32 [N, 5]: class id, cx, cy, w, h, normalised by the image's size.
        ignored: the same for crowd (COCO) and difficult (VOC) boxes, which are neither trained on
            nor counted for or against a detector.
        report: what was repaired and dropped.
        split: the split's name ("train").
        source: the file or folder it was read from.
    """

    names: tuple[str, ...]
    images: list[Path]
    sizes: np.ndarray[Any, np.dtype[np.int32]]
    boxes: list[Boxes]
    ignored: list[Boxes]
    report: DatasetReport
    split: str
    source: Path

    def __len__(self) -> int:
        return len(self.images)

    @property
    def nc(self) -> int:
        """The number of classes."""
        return len(self.names)

    def class_counts(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """int64 [nc]: boxes of each class."""
        ids = [boxes[:, 0].astype(np.int64) for boxes in self.boxes]
        flat = np.concatenate(ids) if ids else np.zeros(0, np.int64)
        return np.bincount(flat, minlength=self.nc).astype(np.int64)

    def boxes_xyxy(self, index: int) -> tuple[Boxes, np.ndarray[Any, np.dtype[np.int64]]]:
        """Boxes of one image: float32 [N, 4] xyxy in its own pixels, and int64 [N] class ids."""
        return to_pixels(self.boxes[index], self.sizes[index])

    def ignored_xyxy(self, index: int) -> tuple[Boxes, np.ndarray[Any, np.dtype[np.int64]]]:
        """As `boxes_xyxy`, of the ignored boxes."""
        return to_pixels(self.ignored[index], self.sizes[index])

    def subset(self, indices: Sequence[int]) -> DetectionDataset:
        """The images at these indices, in this order."""
        return self._with(
            images=[self.images[i] for i in indices],
            sizes=self.sizes[np.asarray(indices, dtype=np.int64)],
            boxes=[self.boxes[i] for i in indices],
            ignored=[self.ignored[i] for i in indices],
        )

    def keep_classes(self, classes: Sequence[int | str]) -> DetectionDataset:
        """The same images with only the boxes of these classes (ids or names); ids stay.

        Raises:
            UnknownClassError: a class that the data set does not have.
        """
        wanted = []
        for entry in classes:
            known = entry in self.names if isinstance(entry, str) else 0 <= entry < self.nc
            if not known:
                raise UnknownClassError(
                    f"class {entry!r} is not in the data set; it has {_listed(self.names)}"
                )
            wanted.append(self.names.index(entry) if isinstance(entry, str) else int(entry))

        def kept(rows: list[Boxes]) -> list[Boxes]:
            return [boxes[np.isin(boxes[:, 0], wanted)] for boxes in rows]

        return self._with(boxes=kept(self.boxes), ignored=kept(self.ignored))

    def with_names(self, names: Sequence[str]) -> DetectionDataset:
        """The same data set with class ids that follow another order of names (a model's).

        Raises:
            DatasetError: a class that has boxes is not among `names`.
        """
        names = tuple(names)
        if names == self.names:
            return self
        used = {int(c) for rows in (*self.boxes, *self.ignored) for c in np.unique(rows[:, 0])}
        lacking = [self.names[c] for c in sorted(used) if self.names[c] not in names]
        if lacking:
            raise DatasetError(
                f"the data set labels {_listed(lacking)}, which is not among the classes asked for "
                f"({_listed(names)}); name the classes alike or filter them with keep_classes"
            )
        table = np.array([names.index(n) if n in names else -1 for n in self.names], np.float32)

        def renamed(rows: list[Boxes]) -> list[Boxes]:
            return [
                np.column_stack([table[boxes[:, 0].astype(np.int64)], boxes[:, 1:]]).astype(
                    np.float32
                )
                for boxes in rows
            ]

        return replace(self, names=names)._with(
            boxes=renamed(self.boxes), ignored=renamed(self.ignored)
        )

    def sha256(self) -> str:
        """A hash of names, file names, sizes and boxes: two runs with one hash saw one data set.

        The pixels are not part of it.
        """
        digest = hashlib.sha256(repr(self.names).encode())
        for path, size, boxes in zip(self.images, self.sizes, self.boxes, strict=True):
            digest.update(path.name.encode() + size.tobytes() + boxes.tobytes())
        return digest.hexdigest()

    def _with(self, **changes: Any) -> DetectionDataset:
        """A changed copy whose report counts what is in it."""
        changed = replace(self, **changes)
        report = replace(changed.report)
        tally(changed, report)
        return replace(changed, report=report)


def tally(dataset: DetectionDataset, report: DatasetReport) -> None:
    """Write the counts of images, boxes and classes of `dataset` into `report`."""
    counts = dataset.class_counts()
    report.images = len(dataset)
    report.boxes = int(counts.sum())
    report.background = sum(len(boxes) == 0 for boxes in dataset.boxes)
    report.class_counts = {n: int(c) for n, c in zip(dataset.names, counts, strict=True)}


def to_pixels(
    boxes: Boxes, size: np.ndarray[Any, np.dtype[np.int32]]
) -> tuple[Boxes, np.ndarray[Any, np.dtype[np.int64]]]:
    """Normalised (class, cx, cy, w, h) rows as xyxy pixels of an image of `size` (h, w) and ids."""
    height, width = float(size[0]), float(size[1])
    rows = boxes.astype(np.float64)
    centre, half = rows[:, 1:3], rows[:, 3:5] / 2
    xyxy = np.concatenate([centre - half, centre + half], axis=1) * (width, height, width, height)
    return xyxy.astype(np.float32), boxes[:, 0].astype(np.int64)


def check_splits(train: DetectionDataset, val: DetectionDataset) -> None:
    """See that a validation split is fit to judge a training split.

    Raises:
        DatasetError: the class names differ, or images are in both.
    """
    if train.names != val.names:
        raise DatasetError(
            f"the classes of {train.split} ({_listed(train.names)}) and {val.split} "
            f"({_listed(val.names)}) differ; read the second with names=<those of the first>"
        )
    shared = {p.resolve() for p in train.images} & {p.resolve() for p in val.images}
    if shared:
        example = min(shared)
        raise DatasetError(
            f"{len(shared)} of {len(train)} training images are validation images too (such as "
            f"{example}): the figures would be worthless; give the splits separate folders"
        )


def _listed(names: Sequence[str], limit: int = 12) -> str:
    """Names in one line, cut after `limit`."""
    text = ", ".join(names[:limit]) or "no classes"
    return f"{text} and {len(names) - limit} more" if len(names) > limit else text
