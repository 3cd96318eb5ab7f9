"""The size that a label file gives against the size of the image: which pixels boxes are in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from yolov4sdk.datasets.headers import Header
from yolov4sdk.datasets.raw import RawImage
from yolov4sdk.datasets.report import DatasetReport
from yolov4sdk.imaging.preprocess import Size

_SLIP: Final = 1.1
"""Boxes that reach this far past the written size show that it is wrong; less is a slip of hand."""


def to_upright(entry: RawImage, header: Header, report: DatasetReport) -> RawImage | None:
    """The entry with boxes in the pixels of the upright image; None where these are not known.

    Labels that give the image's size: boxes drawn on the stored pixels of an image that EXIF turns
    are turned, those in the pixels of a larger or smaller copy are scaled. A written size that the
    boxes themselves contradict does not count. Any other size is that of another image.
    """
    written, where = entry.size, entry.label or entry.path
    if written is None or min(written) < 1:
        if entry.boxes and header.orientation != 1:
            report.count("unclear_turns", entry.path)
        return entry
    upright, swapped = header.size, header.orientation >= 5
    if written == upright:
        if entry.boxes and header.orientation != 1 and (not swapped or upright[0] == upright[1]):
            report.count("unclear_turns", entry.path)
        return entry
    example = (
        f"{where} ({written[1]} x {written[0]} in the label, {upright[1]} x {upright[0]} in "
        f"{entry.path.name})"
    )
    if _beyond(entry.boxes, written, _SLIP) and not _beyond(entry.boxes, upright, 1.0):
        report.count("size_slips", example)
        return entry
    if _proportional(written, upright):
        report.count("rescaled", example, len(entry.boxes))
        return _scaled(entry, written, upright)
    stored = (upright[1], upright[0])
    if swapped and _proportional(written, stored):
        report.count("turned", example, len(entry.boxes))
        scaled = _scaled(entry, written, stored)
        return replace(scaled, boxes=_turned(scaled.boxes, stored, header.orientation))
    report.count("wrong_sizes", example)
    return None


def _beyond(boxes: Sequence[Sequence[float]], size: Size, factor: float) -> bool:
    """Whether a finite corner lies past `factor` times the size, by more than a pixel."""
    corners = np.array(boxes, np.float64).reshape(-1, 5)[:, 1:].reshape(-1, 2)
    corners = corners[np.isfinite(corners).all(axis=1)]
    return bool((corners > np.array([size[1], size[0]]) * factor + 1).any())


def _proportional(first: Size, second: Size) -> bool:
    """Whether one size is the other, resized and rounded."""
    scale = max(second) / max(first)
    return abs(min(first) * scale - min(second)) <= max(1.0, scale) and (
        (first[0] < first[1]) == (second[0] < second[1]) or abs(second[0] - second[1]) <= 1
    )


def _scaled(entry: RawImage, source: Size, target: Size) -> RawImage:
    """The entry with boxes (and areas) of an image of one size in pixels of the other."""
    y, x = target[0] / source[0], target[1] / source[1]
    boxes = [[c, x1 * x, y1 * y, x2 * x, y2 * y] for c, x1, y1, x2, y2 in entry.boxes]
    return replace(entry, boxes=boxes, areas=[area * x * y for area in entry.areas])


def _turned(boxes: Sequence[Sequence[float]], stored: Size, orientation: int) -> list[list[float]]:
    """Boxes on the stored pixels of an image of EXIF orientation 5 to 8 -> on the upright image.

    The four that swap width and height (EXIF 2.32, table 6): 5 transposed, 6 turned clockwise,
    7 transposed across the other diagonal, 8 turned counter-clockwise.
    """
    height, width = stored
    rows: NDArray[np.float64] = np.array(boxes, np.float64).reshape(-1, 5)
    x, y = rows[:, [1, 3]], rows[:, [2, 4]]
    across = height - y if orientation in (6, 7) else y
    down = width - x if orientation in (7, 8) else x
    low = np.column_stack([across[:, 0], down[:, 0]])
    high = np.column_stack([across[:, 1], down[:, 1]])
    if orientation in (6, 7):
        low[:, 0], high[:, 0] = high[:, 0].copy(), low[:, 0].copy()
    if orientation in (7, 8):
        low[:, 1], high[:, 1] = high[:, 1].copy(), low[:, 1].copy()
    result: list[list[float]] = np.column_stack([rows[:, 0], low, high]).tolist()
    return result
