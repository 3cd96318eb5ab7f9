"""Boxes and images as the label files give them -> a clean `DetectionDataset`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolov4sdk.datasets.dataset import Boxes, DetectionDataset, tally
from yolov4sdk.datasets.headers import Header, image_header
from yolov4sdk.datasets.raw import RawImage
from yolov4sdk.datasets.report import DatasetReport, such_as
from yolov4sdk.datasets.sizes import to_upright
from yolov4sdk.errors import DatasetError, ImageDecodeError, ImageNotFoundError

MIN_SIDE = 2.0  # pixels; a smaller box is a slip of the mouse, and no stride-8 cell can learn it
_EDGE = 1e-3  # pixels past the border that are rounding in the label's digits, not an error


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
    report.written += sum(len(entry.boxes) for entry in entries)
    kept: list[RawImage] = []
    sizes: list[tuple[int, int]] = []
    rows: list[tuple[Boxes, Boxes, NDArray[np.float32], NDArray[np.float32]]] = []
    for entry, header in _measured(entries, report):
        upright = to_upright(entry, header, report)
        if upright is None:
            report.count("without_image", entry.label or entry.path, len(entry.boxes))
            continue
        rows.append(clean_boxes(upright, header.size, report))
        kept.append(entry)
        sizes.append(header.size)
    report.explain()
    if not kept:
        raise DatasetError(
            f"{source}: split {split!r} has no readable image ({len(entries)} listed, "
            f"{report.missing_images} missing, {report.corrupt_images} corrupt"
            + (
                f", {report.wrong_sizes} of another size than their label says)"
                if report.wrong_sizes
                else ")"
            )
            + _first(report, "wrong_sizes", "missing_images", "corrupt_images")
        )
    dataset = DetectionDataset(
        names=tuple(names),
        images=[entry.path for entry in kept],
        sizes=np.array(sizes, dtype=np.int32).reshape(-1, 2),
        boxes=[boxes for boxes, *_ in rows],
        ignored=[crowd for _, crowd, *_ in rows],
        report=report,
        split=split,
        source=source,
        areas=[areas for *_, areas, _ in rows] if any(entry.areas for entry in kept) else [],
        image_ids=[entry.id for entry in kept if entry.id is not None],
        scores=[scores for *_, scores in rows] if _uncertain(kept) else [],
    )
    tally(dataset, report)
    if report.boxes == 0:
        raise DatasetError(
            f"{source}: split {split!r} has {len(kept)} images and no labels at all "
            f"({report.missing_labels} label files missing, {report.dropped} boxes dropped)"
            + _first(report, "missing_labels", "degenerate", "without_image")
        )
    return dataset


def clean_boxes(
    entry: RawImage, size: tuple[int, int], report: DatasetReport
) -> tuple[Boxes, Boxes, NDArray[np.float32], NDArray[np.float32]]:
    """Repair, drop and normalise the boxes of one image.

    Corners are put in order, boxes clipped to the image, those under 2 px on a side and repeats
    of one class and box dropped; `report` counts each.

    Args:
        entry: the image's boxes.
        size: its height and width in pixels.
        report: gets the counts.

    Returns:
        Float32 [N, 5] and [M, 5] rows (class, cx, cy, w, h), normalised: the boxes, and the crowd
        or difficult ones; float32 [N] of the boxes: areas (NaN where not given) and scores.
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
    areas = np.array(entry.areas, np.float32) if entry.areas else np.full(len(rows), np.nan)
    counted = ~crowd[keep]
    scores = np.array(entry.scores, np.float32) if entry.scores else np.ones(len(rows), np.float32)
    areas, scores = areas[keep][counted].astype(np.float32), scores[keep][counted]
    return clean[counted], clean[~counted], areas, scores


def _uncertain(entries: Sequence[RawImage]) -> bool:
    """Whether some label is less than certain."""
    return any(score < 1 for entry in entries for score in entry.scores)


def _without_repeats(raw: Iterable[RawImage], report: DatasetReport) -> list[RawImage]:
    """One entry an image: the same labels are read once, different ones put together."""
    entries: dict[Path, RawImage] = {}
    labels: dict[Path, set[Path | None]] = {}
    repeats: list[Path] = []
    for entry in raw:
        known = entries.get(entry.path)
        if known is None:
            entries[entry.path] = entry
            labels[entry.path] = {entry.label}
            continue
        repeats.append(entry.path)
        if entry.label not in labels[entry.path]:
            labels[entry.path].add(entry.label)
            entries[entry.path] = known.joined(entry)
    if repeats:
        report.notes.append(
            f"{len(repeats)} images are listed more than once; each is used once, with all its "
            f"boxes ({such_as(repeats)})"
        )
    return list(entries.values())


def _measured(entries: list[RawImage], report: DatasetReport) -> list[tuple[RawImage, Header]]:
    """The entries whose image is there and sound, with its header."""

    def measure(entry: RawImage) -> Header | ImageNotFoundError | ImageDecodeError:
        try:
            return image_header(entry.path)
        except (ImageNotFoundError, ImageDecodeError) as error:
            return error

    sound: list[tuple[RawImage, Header]] = []
    with ThreadPoolExecutor(4) as pool:  # reading, not computing: threads hide a slow disk
        for entry, header in zip(entries, pool.map(measure, entries, chunksize=64), strict=True):
            if isinstance(header, Header):
                sound.append((entry, header))
                continue
            missing = isinstance(header, ImageNotFoundError)
            report.count("missing_images" if missing else "corrupt_images", entry.path)
            report.count("without_image", entry.label or entry.path, len(entry.boxes))
    return sound


def _first(report: DatasetReport, *kinds: str) -> str:
    """ "; first: <file>" for the first kind of trouble that has one."""
    for kind in kinds:
        if report.files.get(kind):
            return f"; first: {report.files[kind][0]}"
    return ""
