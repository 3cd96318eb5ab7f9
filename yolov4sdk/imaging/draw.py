"""Boxes, names and scores drawn on images, and images written to files."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import SettingError
from ..system.files import atomic_write
from ..system.outputs import Writing
from .glyphs import Picture, drawn_by_opencv, picture
from .labels import place_labels
from .palette import PALETTE as PALETTE
from .palette import Color, ink, palette


@dataclass(frozen=True)
class Style:
    """How boxes are drawn.

    Attributes:
        width: of the lines in pixels; None grows with the image.
        letters: height of capital letters in pixels; None grows with the image.
        colors: BGR by class id, used again from the start when they end; None is `palette`.
        label: what a label says, some of "id" (of a track), "name" and "score", in this order.
            Without any there are no labels.

    Raises:
        SettingError: a number that is not positive, or another part of a label.
    """

    width: int | None = None
    letters: int | None = None
    colors: Sequence[Color] | None = None
    label: Sequence[str] = ("id", "name", "score")

    def __post_init__(self) -> None:
        for name in ("width", "letters"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingError(f"{name} must be at least 1 pixel, got {value}")
        if unknown := [part for part in self.label if part not in ("id", "name", "score")]:
            raise SettingError(f"a label has id, name and score, got {unknown[0]!r}")
        if self.colors is not None and not len(self.colors):
            raise SettingError("colors is empty; give at least one, or None")


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


def draw(
    image: NDArray[np.uint8], detections: Boxes, style: Style | None = None
) -> NDArray[np.uint8]:
    """A copy of the image with each box, its name and its score.

    Labels are placed so that they hide neither one another nor small boxes, the best first.

    Args:
        image: uint8 BGR [H, W, 3].
        detections: boxes in pixels of this image.
        style: how they are drawn.

    Returns:
        uint8 BGR [H, W, 3].
    """
    style = style or Style()
    canvas = image.copy()
    # Lines and letters grow with the image, so that they read alike at every size.
    width = style.width or max(1, min(12, round(sum(image.shape[:2]) / 750)))
    colors = style.colors or palette(len(detections.names))
    boxes = np.rint(np.asarray(detections.xyxy, np.float64)).astype(np.int64)
    chosen = [colors[int(c) % len(colors)] for c in detections.class_ids]
    # Worst first: the best box ends on top. Labels are above all boxes.
    for i in reversed(range(len(detections))):
        x1, y1, x2, y2 = boxes[i].tolist()
        cv2.rectangle(canvas, (x1, y1), (x2, y2), chosen[i], width)
    if not style.label:
        return canvas
    font = _Font(width, style.letters)
    texts = [_text(detections, i, style.label) for i in range(len(detections))]
    sizes = np.array([font.size(text) for text in texts], np.int64).reshape(-1, 2)
    corners = place_labels(sizes, boxes, (image.shape[0], image.shape[1]))
    for i in reversed(range(len(detections))):
        font.write(canvas, texts[i], (int(corners[i, 0]), int(corners[i, 1])), chosen[i])
    return canvas


def _text(detections: Boxes, i: int, parts: Sequence[str]) -> str:
    tracks = detections.track_ids
    said = {
        "id": "" if tracks is None else f"#{tracks[i]}",
        "name": detections.names[int(detections.class_ids[i])],
        "score": f"{detections.scores[i]:.2f}",
    }
    return " ".join(filter(None, (said[part] for part in parts)))


class _Font:
    """Letters on a filled ground.

    Args:
        width: of the lines in pixels, with which letters grow.
        letters: height of a capital letter in pixels, in place of that.
    """

    def __init__(self, width: int, letters: int | None = None) -> None:
        self._face, self._scale = cv2.FONT_HERSHEY_SIMPLEX, 0.35 + 0.15 * width
        self._stroke = max(1, width // 2)
        if letters is not None:
            self._scale = cv2.getFontScaleFromHeight(self._face, letters)
            self._stroke = max(1, letters // 12)

    def size(self, text: str) -> tuple[int, int]:
        """Width and height of the ground in pixels."""
        if shaped := self._shaped(text):
            return shaped.mask.shape[1], shaped.mask.shape[0]
        (width, height), baseline = cv2.getTextSize(text, self._face, self._scale, self._stroke)
        return width, height + baseline

    def write(
        self, canvas: NDArray[np.uint8], text: str, corner: tuple[int, int], color: Color
    ) -> None:
        """Draw a label whose left upper corner this is."""
        if shaped := self._shaped(text):
            _paste(canvas, shaped, corner, color)
            return
        (width, height), baseline = cv2.getTextSize(text, self._face, self._scale, self._stroke)
        (x, y), bottom = corner, corner[1] + height + baseline
        # up to the last pixel: the next label may begin behind it
        cv2.rectangle(canvas, (x, y), (x + width - 1, bottom - 1), color, cv2.FILLED)
        place, stroke = (x, y + height), self._stroke
        cv2.putText(canvas, text, place, self._face, self._scale, ink(color), stroke, cv2.LINE_AA)

    def _shaped(self, text: str) -> Picture | None:
        """The picture of a text that OpenCV does not draw right."""
        if drawn_by_opencv(text):
            return None
        return picture(text, _capitals(self._face, self._scale, self._stroke))


@functools.cache
def _capitals(face: int, scale: float, stroke: int) -> int:
    """Height of OpenCV's capital letters in pixels."""
    (width, height), below = cv2.getTextSize("H", face, scale, stroke)
    canvas = np.zeros((2 * (height + below), 2 * width), np.uint8)
    cv2.putText(canvas, "H", (width // 2, height + below), face, scale, 255, stroke)
    return max(1, int((canvas > 127).any(1).sum()))


def _paste(canvas: NDArray[np.uint8], text: Picture, corner: tuple[int, int], color: Color) -> None:
    """Lay a line of text on its ground, the part of it that is inside of the canvas."""
    height, width = text.mask.shape
    ground = np.full((height, width, 3), color, np.float32)
    ground += text.mask[..., None] * (np.array(ink(color), np.float32) - ground)
    ground += text.colored[..., None] * (text.colors - ground)
    (x, y), (bottom, right) = corner, canvas.shape[:2]
    room = canvas[max(0, y) : min(bottom, y + height), max(0, x) : min(right, x + width)]
    part = ground[max(0, -y) :, max(0, -x) :][: room.shape[0], : room.shape[1]]
    room[:] = np.rint(part)


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
    font = _Font(thickness)
    width, height = font.size(text)
    top = y1 - height if y1 >= height else y1
    font.write(canvas, text, (max(0, min(x1, canvas.shape[1] - width)), top), color)


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
