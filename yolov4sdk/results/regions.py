"""Regions of interest: which detections count, by where they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, get_args

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..detections import Detections
from ..errors import SettingError

Anchor = Literal["centre", "bottom"]

_SHAPE: Final = "a polygon is three or more points (x, y)"


class Regions:
    """Keeps the boxes whose anchor point lies in a region and in no ignored area.

    Args:
        include: polygons, each [P, 2] points (x, y) in pixels; none is the whole image.
        ignore: polygons to leave out.
        mask: bool or uint8 [H, W] of the image's size; boxes where it is not zero are left out.
        anchor: the point of a box that counts: its "centre", or the middle of its "bottom" side,
            where an object stands.
        normalised: points are fractions of the image's width and height.

    Raises:
        SettingError: a polygon of fewer than three points or without area, points that are not
            finite numbers (or, normalised, not in 0..1), or a mask of another shape.
    """

    def __init__(
        self,
        include: Sequence[ArrayLike] = (),
        ignore: Sequence[ArrayLike] = (),
        mask: NDArray[Any] | None = None,
        *,
        anchor: Anchor = "centre",
        normalised: bool = False,
    ) -> None:
        if anchor not in get_args(Anchor):
            raise SettingError(f"anchor must be one of {get_args(Anchor)}, got {anchor!r}")
        if mask is not None and (mask.ndim != 2 or mask.dtype not in (np.uint8, bool)):
            raise SettingError(f"a mask is bool or uint8 [H, W], got {mask.dtype} {mask.shape}")
        self._include = [_polygon(points, normalised) for points in include]
        self._ignore = [_polygon(points, normalised) for points in ignore]
        self._mask, self._anchor, self._normalised = mask, anchor, normalised

    def __call__(self, detections: Detections) -> Detections:
        """The detections that count; border points of a region are inside.

        Raises:
            SettingError: the mask is not of the image's size.
        """
        return detections[self.inside(detections)]

    def inside(self, detections: Detections) -> NDArray[np.bool_]:
        """bool [N]: which boxes count."""
        height, width = detections.image_size
        x1, y1, x2, y2 = detections.xyxy.T
        y = (y1 + y2) / 2 if self._anchor == "centre" else y2
        points = np.stack(((x1 + x2) / 2, y), axis=1).astype(np.float32)  # [N, 2]
        scale = np.array((width, height) if self._normalised else (1, 1), np.float32)
        kept = np.ones(len(points), bool)
        if self._include:
            kept = _in_any(points, [polygon * scale for polygon in self._include])
        kept &= ~_in_any(points, [polygon * scale for polygon in self._ignore])
        if self._mask is not None:
            if self._mask.shape != (height, width):
                raise SettingError(
                    f"the mask is {self._mask.shape} (height, width), the image {height, width}"
                )
            columns, rows = np.minimum(points.astype(np.int64), (width - 1, height - 1)).T
            kept &= self._mask[rows, columns] == 0
        return kept


def _polygon(points: ArrayLike, normalised: bool) -> NDArray[np.float32]:
    try:
        polygon = np.asarray(points, np.float32)
    except (TypeError, ValueError) as error:
        raise SettingError(f"{_SHAPE}, got {points!r}") from error
    if polygon.ndim != 2 or polygon.shape[1] != 2 or len(polygon) < 3:
        raise SettingError(f"{_SHAPE}, got the shape {polygon.shape}: {polygon.tolist()}")
    if not np.isfinite(polygon).all():
        raise SettingError(f"{_SHAPE} that are finite, got {polygon.tolist()}")
    if normalised and not ((polygon >= 0) & (polygon <= 1)).all():
        raise SettingError(f"normalised points lie in 0..1, got {polygon.tolist()}")
    if cv2.contourArea(polygon) == 0:
        raise SettingError(f"the polygon {polygon.tolist()} has no area")
    return polygon


def _in_any(
    points: NDArray[np.float32], polygons: Sequence[NDArray[np.float32]]
) -> NDArray[np.bool_]:
    return np.array(
        [
            any(cv2.pointPolygonTest(p, (float(x), float(y)), False) >= 0 for p in polygons)
            for x, y in points
        ],
        bool,
    )
