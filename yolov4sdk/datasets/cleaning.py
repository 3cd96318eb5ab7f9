"""Boxes and images as the label files give them -> a clean `DetectionDataset`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from yolov4sdk.datasets.dataset import Boxes, DatasetReport, DetectionDataset, tally
from yolov4sdk.datasets.headers import image_size
from yolov4sdk.errors import DatasetError, ImageDecodeError, ImageNotFoundError

MIN_SIDE = 2.0  # pixels; a smaller box is a slip of the mouse, and no stride-8 cell can learn it
_EDGE = 1e-3  # pixels past the border that are rounding in the label's digits, not an error


@dataclass
class RawImage:
    """One image as a label file describes it.

    Attributes:
        path: the image file.
        boxes: rows (class id, x1, y1, x2, y2), in pixels or normalised by the image's size.
        normalised: which of the two.
        ignored: for every row whether it is a crowd or difficult box.
        label: where the boxes stand, for messages.
    """

    path: Path
    boxes: Sequence[Sequence[float]] = ()
    normalised: bool = False
    ignored: Sequence[bool] = ()
    label: Path | None = None


def assemble(
    raw: Iterable[RawImage],
    names: Sequence[str],
    *,
    split: str,
    source: Path,
    report: DatasetReport,
) -> DetectionDataset:
    """Read the sizes of the images, clean their boxes and count what was done.

    Raises:
        DatasetError: no image could be read, or not one box is left.
    """
    entries = _without_repeats(raw, report)
    images: list[Path] = []
    sizes: list[tuple[int, int]] = []
    boxes: list[Boxes] = []
    ignored: list[Boxes] = []
    for entry, size in _measured(entries, report):
        rows, crowd = clean_boxes(entry, size, report)
        images.append(entry.path)
        sizes.append(size)
        boxes.append(rows)
        ignored.append(crowd)
    if not images:
        raise DatasetError(
            f"{source}: split {split!r} has no readable image ({len(entries)} listed, "
            f"{report.missing_images} missing, {report.corrupt_images} corrupt)"
            + _first(report, "missing_images", "corrupt_images")
        )
    dataset = DetectionDataset(
        names=tuple(names),
        images=images,
        sizes=np.array(sizes, dtype=np.int32).reshape(-1, 2),
        boxes=boxes,
        ignored=ignored,
        report=report,
        split=split,
        source=source,
    )
    tally(dataset, report)
    if report.boxes == 0:
        raise DatasetError(
            f"{source}: split {split!r} has {len(images)} images and no labels at all "
            f"({report.missing_labels} label files missing, {report.degenerate} boxes dropped)"
            + _first(report, "missing_labels", "degenerate")
        )
    return dataset


def clean_boxes(
    entry: RawImage, size: tuple[int, int], report: DatasetReport
) -> tuple[Boxes, Boxes]:
    """Repair, drop and normalise the boxes of one image.

    Corners are put in order, boxes clipped to the image, those under 2 px on a side and repeats
    of one class and box dropped; `report` counts each.

    Args:
        entry: the image's boxes.
        size: its height and width in pixels.
        report: gets the counts.

    Returns:
        Float32 [N, 5] and [M, 5] rows (class, cx, cy, w, h), normalised: the boxes, and the crowd
        or difficult ones.
    """
    where = entry.label or entry.path
    rows = np.array(entry.boxes, dtype=np.float64).reshape(-1, 5)
    crowd = np.array(entry.ignored, dtype=bool) if len(entry.ignored) else np.zeros(len(rows), bool)
    height, width = size
    scale = np.array([width, height, width, height], dtype=np.float64)
    xyxy = rows[:, 1:] * scale if entry.normalised else rows[:, 1:]

    finite = np.isfinite(xyxy).all(axis=1)
    ordered = np.concatenate(
        [np.minimum(xyxy[:, :2], xyxy[:, 2:]), np.maximum(xyxy[:, :2], xyxy[:, 2:])], axis=1
    )
    inverted = finite & (ordered != xyxy).any(axis=1)
    clipped = np.clip(ordered, 0.0, scale)
    reached_out = finite & (np.abs(clipped - ordered) > _EDGE).any(axis=1)
    large = finite & (clipped[:, 2:] - clipped[:, :2] >= MIN_SIDE - _EDGE).all(axis=1)
    report.count("inverted", where, int((inverted & large).sum()))
    report.count("clipped", where, int((reached_out & large).sum()))
    report.count("degenerate", where, int((~large).sum()))

    keep = np.flatnonzero(large)
    keyed = np.column_stack([rows[keep, 0], crowd[keep], clipped[keep]])
    _, first = np.unique(keyed, axis=0, return_index=True)
    report.count("duplicates", where, len(keep) - len(first))
    keep = keep[np.sort(first)]
    report.count("ignored", where, int(crowd[keep].sum()))

    corners = clipped[keep] / scale
    centre, extent = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
    clean = np.column_stack([rows[keep, 0], centre, extent]).astype(np.float32)
    return clean[~crowd[keep]], clean[crowd[keep]]


def _without_repeats(raw: Iterable[RawImage], report: DatasetReport) -> list[RawImage]:
    entries: dict[Path, RawImage] = {}
    repeats = 0
    for entry in raw:
        repeats += entry.path in entries
        entries.setdefault(entry.path, entry)
    if repeats:
        report.notes.append(f"{repeats} images are listed more than once; each is used once")
    return list(entries.values())


def _measured(
    entries: list[RawImage], report: DatasetReport
) -> list[tuple[RawImage, tuple[int, int]]]:
    """The entries whose image is there and sound, with its (height, width)."""

    def measure(entry: RawImage) -> tuple[int, int] | ImageNotFoundError | ImageDecodeError:
        try:
            return image_size(entry.path)
        except (ImageNotFoundError, ImageDecodeError) as error:
            return error

    sound: list[tuple[RawImage, tuple[int, int]]] = []
    with ThreadPoolExecutor(4) as pool:  # reading, not computing: threads hide a slow disk
        for entry, size in zip(entries, pool.map(measure, entries, chunksize=64), strict=True):
            if isinstance(size, ImageNotFoundError):
                report.count("missing_images", entry.path)
            elif isinstance(size, ImageDecodeError):
                report.count("corrupt_images", entry.path)
            else:
                sound.append((entry, size))
    return sound


def _first(report: DatasetReport, *kinds: str) -> str:
    """ "; first: <file>" for the first kind of trouble that has one."""
    for kind in kinds:
        if report.files.get(kind):
            return f"; first: {report.files[kind][0]}"
    return ""
