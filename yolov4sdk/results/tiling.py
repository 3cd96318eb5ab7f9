"""Tiled inference: small objects in large images, found in overlapping parts at full resolution."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..detections import Detections
from ..errors import SettingError
from .postprocess import Boxes, Kept, box_iou, suppress

BORDER: Final = 0.01
"""A box that ends nearer to a tile's border than this part of the tile is cut by it."""
COVERED: Final = 0.7
"""A cut box of which a whole box of its class covers more than this part is dropped."""

Merge = Literal["nms", "wbf"]
Window = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels of the image; x2 and y2 are the first ones outside."""


@dataclass(frozen=True)
class Tiling:
    """How an image is cut into tiles and how their boxes become one answer.

    Attributes:
        size: of a tile in pixels of the image: (height, width), or one number for both. The
            network sees each tile at its own input size, so equal sizes keep every pixel.
        overlap: of neighbouring tiles, at least, as a part of the tile; 0 <= overlap < 1.
            Objects smaller than the overlap are whole in some tile.
        full_image: detect in the image as a whole too, for the objects larger than a tile.
        merge: "nms" keeps the best box of an object; "wbf" averages its boxes, weighted by
            their scores (weighted box fusion), and keeps the best score.

    Raises:
        SettingError: a value outside its range.
    """

    size: int | tuple[int, int] = 640
    overlap: float = 0.25
    full_image: bool = True
    merge: Merge = "nms"

    def __post_init__(self) -> None:
        sides = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        if len(sides) != 2 or not all(isinstance(n, int) and n >= 1 for n in sides):
            raise SettingError(
                f"a tile's size is a number of pixels or (height, width), got {self.size!r}"
            )
        if not 0 <= self.overlap < 1:
            raise SettingError(
                f"overlap is a part of the tile, 0 to less than 1, got {self.overlap!r}"
            )
        if self.merge not in get_args(Merge):
            raise SettingError(f"merge must be one of {get_args(Merge)}, got {self.merge!r}")

    @property
    def sides(self) -> tuple[int, int]:
        """(height, width) of a tile in pixels."""
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)


def check_tiling(tiles: Any, stride: int) -> Tiling | None:
    """What a user gives for `tiles` as a Tiling: one, a tile's size, or None for none.

    Raises:
        SettingError: something else, or tiles smaller than the network's stride.
    """
    if tiles is None:
        return None
    if isinstance(tiles, int | tuple) and not isinstance(tiles, bool):
        tiles = Tiling(tiles)
    if not isinstance(tiles, Tiling):
        raise SettingError(f"tiles must be a Tiling, a size in pixels or None, got {tiles!r}")
    if min(tiles.sides) < stride:
        raise SettingError(
            f"tiles of {tiles.sides} (height, width) are smaller than the network's stride of "
            f"{stride} pixels; use larger ones"
        )
    return tiles


def windows(image_size: tuple[int, int], tiling: Tiling) -> list[Window]:
    """The tiles of an image, row by row: all of one size, evenly spread, the last at the edge.

    Args:
        image_size: (height, width). A side no longer than the tile's gets one tile of its length.
    """
    (height, width), (tile_height, tile_width) = image_size, tiling.sides
    return [
        (x, y, min(x + tile_width, width), min(y + tile_height, height))
        for y in _starts(height, tile_height, tiling.overlap)
        for x in _starts(width, tile_width, tiling.overlap)
    ]


def _starts(length: int, tile: int, overlap: float) -> list[int]:
    if length <= tile:
        return [0]
    step = max(1, math.floor(tile * (1 - overlap)))
    last = math.ceil((length - tile) / step)
    return [round(i * (length - tile) / last) for i in range(last + 1)]


def detect_tiled(
    detect: Callable[[list[NDArray[np.uint8]]], list[Detections]],
    image: NDArray[np.uint8],
    tiling: Tiling,
    *,
    iou: float,
    max_det: int,
    agnostic: bool = False,
) -> Detections:
    """Detect in every tile and merge.

    Args:
        detect: from a list of images, uint8 BGR [h, w, 3], to the detections of each.
        image: uint8 BGR [H, W, 3]; tiles are views of it, not copies.
        iou: overlap above which two boxes are one object.
        max_det: boxes kept of the whole image.
        agnostic: boxes of different classes are merged too.
    """
    size = (image.shape[0], image.shape[1])
    places = windows(size, tiling)
    if len(places) > 1 and tiling.full_image:
        places.append((0, 0, size[1], size[0]))
    found = detect([image[y1:y2, x1:x2] for x1, y1, x2, y2 in places])
    if len(places) == 1:
        return found[0]
    shifted = [
        part.xyxy + np.array(place[:2] * 2, np.float32)
        for part, place in zip(found, places, strict=True)
    ]
    marks = [cut_boxes(b, place, size, tiling) for b, place in zip(shifted, places, strict=True)]
    xyxy, cut, repeated = np.concatenate(shifted), *map(np.concatenate, zip(*marks, strict=True))
    scores = np.concatenate([part.scores for part in found])
    ids = np.concatenate([part.class_ids for part in found])
    alive = ~(repeated | _covered(xyxy, None if agnostic else ids, cut))
    merge = suppress if tiling.merge == "nms" else fuse
    kept = merge(
        xyxy[alive], scores[alive], ids[alive], iou=iou, max_det=max_det, agnostic=agnostic
    )
    return Detections(*kept, found[0].names, size)


def cut_boxes(
    xyxy: Boxes, place: Window, image_size: tuple[int, int], tiling: Tiling
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which boxes of a tile are parts of objects that reach beyond it.

    Args:
        xyxy: float32 [N, 4] in pixels of the image.
        place: the tile.
        image_size: (height, width); the image's own border cuts nothing.

    Returns:
        bool [N]: the box ends at a border with a neighbour. bool [N]: moreover it is no longer
        than the overlap there. Then the whole object lies in the neighbour, which finds it: what
        is cut at both sides of an overlap is longer than it.
    """
    sides = np.array(tiling.sides[::-1], np.float32)  # width, height, as boxes have them
    margin = BORDER * sides
    first, last = np.array(place[:2], np.float32), np.array(place[2:], np.float32)
    low: NDArray[np.bool_] = (xyxy[:, :2] < first + margin) & (first > 0)
    high: NDArray[np.bool_] = (xyxy[:, 2:] > last - margin) & (last < np.array(image_size[::-1]))
    cut = low | high  # [N, 2]: across x, across y
    short = xyxy[:, 2:] - xyxy[:, :2] <= tiling.overlap * sides - 2 * margin
    return np.any(cut, axis=1), np.any(cut & short, axis=1)


def _covered(
    xyxy: Boxes, ids: NDArray[np.int64] | None, cut: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """bool [N]: cut boxes that lie in a whole box of their class."""
    covered = np.zeros(len(xyxy), bool)
    whole = np.flatnonzero(~cut)
    for i in np.flatnonzero(cut):
        low = np.maximum(xyxy[whole, :2], xyxy[i, :2])
        high = np.minimum(xyxy[whole, 2:], xyxy[i, 2:])
        shared = np.maximum(high - low, 0).prod(axis=1)
        inside = shared > COVERED * (xyxy[i, 2:] - xyxy[i, :2]).prod()
        if ids is not None:
            inside &= ids[whole] == ids[i]
        covered[i] = inside.any()
    return covered


def fuse(
    boxes: Boxes,
    scores: NDArray[np.float32],
    class_ids: NDArray[np.int64],
    *,
    iou: float = 0.55,
    max_det: int = 300,
    agnostic: bool = False,
) -> Kept:
    """Weighted box fusion: the boxes of one object become their mean, weighted by the scores.

    Best first, each box joins the fused box of its class that it overlaps most, if by more than
    `iou`, or begins a new one. The object gets its best score and that box's class: how many
    tiles show an object says nothing about it, so scores are not lowered for few boxes.

    Args:
        boxes: float32 [K, 4], xyxy.
        scores: float32 [K].
        class_ids: int64 [K].
        iou, max_det, agnostic: see `postprocess.nms`.

    Returns:
        Boxes [M, 4], scores [M], class ids [M], best first.
    """
    order = np.argsort(-scores, kind="stable")
    fused = np.empty((len(order), 4), np.float32)
    weights = np.zeros(len(order))
    leaders: list[int] = []  # the best box of each cluster
    for i in order:
        count = len(leaders)
        overlap = box_iou(boxes[i : i + 1], fused[:count])[0]
        if not agnostic:
            overlap = np.where(class_ids[leaders] == class_ids[i], overlap, 0)
        into = int(overlap.argmax()) if count else 0
        if count == 0 or overlap[into] <= iou:
            into = count
            fused[into] = boxes[i]
            leaders.append(i)
        else:
            part = scores[i] / (weights[into] + scores[i])
            fused[into] += part * (boxes[i] - fused[into])
        weights[into] += scores[i]
    kept = np.array(leaders[:max_det], np.int64)
    return fused[: len(kept)], scores[kept], class_ids[kept]
