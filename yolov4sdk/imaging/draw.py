"""Boxes, names and scores drawn on images, and images written to files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import SettingError
from ..system.files import atomic_write
from ..system.outputs import Writing

# BGR. Distinct on photographs and for most kinds of colour blindness (Okabe and Ito, 2008).
PALETTE: Final = (
    (0, 159, 230), (233, 180, 86), (115, 158, 0), (66, 228, 240),
    (178, 114, 0), (0, 94, 213), (167, 121, 204), (60, 60, 220),
)  # fmt: skip


class Boxes(Protocol):
    """What is drawn of `yolov4sdk.Detections`."""

    @property
    def xyxy(self) -> NDArray[np.float32]:
        """[N, 4] in pixels of the image."""
        ...

    @property
    def scores(self) -> NDArray[np.float32]:
        """[N]."""
        ...

    @property
    def class_ids(self) -> NDArray[np.int64]:
        """[N], indices into `names`."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Class names."""
        ...

    @property
    def track_ids(self) -> NDArray[np.int64] | None:
        """[N], or None where nothing was tracked."""
        ...

    def __len__(self) -> int: ...


def draw(image: NDArray[np.uint8], detections: Boxes) -> NDArray[np.uint8]:
    """A copy of the image with each box, its name and its score.

    Args:
        image: uint8 BGR [H, W, 3].
        detections: boxes in pixels of this image.

    Returns:
        uint8 BGR [H, W, 3].
    """
    canvas = image.copy()
    # Lines and letters grow with the image, so that they read alike at every size.
    thickness = max(1, round(sum(image.shape[:2]) / 900))
    # Worst first: the best box ends on top.
    for i in reversed(range(len(detections))):
        class_id = int(detections.class_ids[i])
        color = PALETTE[class_id % len(PALETTE)]
        label = f"{detections.names[class_id]} {detections.scores[i]:.2f}"
        if detections.track_ids is not None:
            label = f"#{detections.track_ids[i]} {label}"
        draw_box(canvas, detections.xyxy[i].tolist(), label, color, thickness)
    return canvas


def draw_box(
    canvas: NDArray[np.uint8],
    corners: Sequence[float],
    text: str,
    color: tuple[int, int, int],
    thickness: int = 1,
) -> None:
    """One box and its label, drawn into the image.

    Args:
        canvas: uint8 BGR [H, W, 3].
        corners: x1, y1, x2, y2 in its pixels.
        text: of the label.
        color: BGR, of the box and the ground of the label.
        thickness: of the lines in pixels; letters grow with it.
    """
    x1, y1, x2, y2 = (round(float(v)) for v in corners)
    cv2.rectangle(canvas, (x1, y1), (x2, y2), color, thickness)
    _label(canvas, text, (x1, y1), color, thickness)


def _label(
    canvas: NDArray[np.uint8],
    text: str,
    corner: tuple[int, int],
    color: tuple[int, int, int],
    thickness: int,
) -> None:
    """Text on a filled ground above the corner, or below it at the upper edge."""
    font, scale, stroke = cv2.FONT_HERSHEY_SIMPLEX, 0.35 + 0.15 * thickness, max(1, thickness // 2)
    (width, height), baseline = cv2.getTextSize(text, font, scale, stroke)
    x, y = corner
    x = max(0, min(x, canvas.shape[1] - width))
    top = y - height - baseline if y - height - baseline >= 0 else y
    cv2.rectangle(canvas, (x, top), (x + width, top + height + baseline), color, cv2.FILLED)
    bright = 0.114 * color[0] + 0.587 * color[1] + 0.299 * color[2] > 140
    ink = (0, 0, 0) if bright else (255, 255, 255)
    cv2.putText(canvas, text, (x, top + height), font, scale, ink, stroke, cv2.LINE_AA)


def write_image(
    path: str | Path, image: NDArray[np.uint8], writing: Writing = atomic_write
) -> Path:
    """Write an image whole or not at all; the suffix sets the format.

    Args:
        path: its folder is made when missing.
        image: uint8 BGR [H, W, 3].
        writing: what puts the file in its place.

    Raises:
        SettingError: a suffix that OpenCV does not write.
    """
    path = Path(path)
    try:
        good, data = cv2.imencode(path.suffix, image)
    except cv2.error:
        good = False
    if not good:
        raise SettingError(
            f"cannot write {path.name}: {path.suffix!r} is not written; use .jpg, .png or .webp"
        )
    with writing(path) as temporary:
        temporary.write_bytes(data.tobytes())
    return path
