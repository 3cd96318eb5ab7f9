"""The one value type that every label reader returns."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from yolov4sdk.datasets.report import DatasetReport
from yolov4sdk.errors import DatasetError
from yolov4sdk.system.classes import resolve_classes
from yolov4sdk.system.text import some_of

Boxes: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]


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
        areas: per image float32 [N], the area of each object in square pixels as COCO files give
            it (that of its mask), NaN where it is not given; empty for other forms. AP by size
            goes by it.
        image_ids: the ids that a COCO file gives its images; empty for other forms.
        category_ids: the ids that a COCO file gives its classes, by name.
        scores: per image float32 [N], how sure the label of each box is, above 0 to 1 (a model's
            score: a soft target in training); empty where all are certain.
    """

    names: tuple[str, ...]
    images: list[Path]
    sizes: np.ndarray[Any, np.dtype[np.int32]]
    boxes: list[Boxes]
    ignored: list[Boxes]
    report: DatasetReport
    split: str
    source: Path
    areas: list[np.ndarray[Any, np.dtype[np.float32]]] = field(default_factory=list)
    image_ids: list[int | str] = field(default_factory=list)
    category_ids: dict[str, int] = field(default_factory=dict)
    scores: list[np.ndarray[Any, np.dtype[np.float32]]] = field(default_factory=list)

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
            areas=[self.areas[i] for i in indices] if self.areas else [],
            image_ids=[self.image_ids[i] for i in indices] if self.image_ids else [],
            scores=[self.scores[i] for i in indices] if self.scores else [],
        )

    def keep_classes(self, classes: Sequence[int | str]) -> DetectionDataset:
        """The same images with only the boxes of these classes (ids or names); ids stay.

        Raises:
            UnknownClassError: a class that the data set does not have.
        """
        wanted = resolve_classes(classes, self.names, "the data set")
        kept = [np.isin(rows[:, 0], wanted) for rows in self.boxes]
        return self._with(
            boxes=[rows[keep] for rows, keep in zip(self.boxes, kept, strict=True)],
            ignored=[rows[np.isin(rows[:, 0], wanted)] for rows in self.ignored],
            areas=[areas[keep] for areas, keep in zip(self.areas, kept, strict=False)],
            scores=[scores[keep] for scores, keep in zip(self.scores, kept, strict=False)],
        )

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
                f"({_listed(names)}); name the classes alike, map them (`val --map`), or leave "
                "them out with keep_classes"
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
            digest.update(os.fsencode(path.name) + size.tobytes() + boxes.tobytes())
        for scores, ignored in zip(self.scores, self.ignored, strict=False):
            digest.update(scores.tobytes() + ignored.tobytes())
        return digest.hexdigest()

    def _with(self, **changes: Any) -> DetectionDataset:
        """A changed copy whose report counts the images and boxes in it."""
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


def _listed(names: Sequence[str]) -> str:
    return some_of(names, 12) or "no classes"
