"""Letterbox and its exact inverse, and the step from pixels to the network's input.

The only implementation: detection, evaluation, export checks and training use it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from ..contract.spec import InputForm, check_size
from ..errors import EmptyImageError

PADDING: Final = 114
"""Grey of the border, as in training."""

Size = tuple[int, int]
"""(height, width) in pixels."""


@dataclass(frozen=True)
class Letterbox:
    """Where an image lies in the network's canvas. All sizes are (height, width) in pixels.

    Attributes:
        source: size of the image.
        resized: size of its copy inside the canvas, at least 1 x 1.
        pad: rows above and columns left of the copy; integers, computed once here.
        canvas: size of the network's input.
    """

    source: Size
    resized: Size
    pad: Size
    canvas: Size

    def to_source(self, xyxy: NDArray[np.floating]) -> NDArray[np.float32]:
        """Boxes from canvas to image pixels, clipped to the image. [N, 4] xyxy both ways."""
        scale_y, scale_x = self.source[0] / self.resized[0], self.source[1] / self.resized[1]
        top, left = self.pad
        boxes = (xyxy.astype(np.float64) - (left, top, left, top)) * (
            scale_x, scale_y, scale_x, scale_y,
        )  # fmt: skip
        height, width = self.source
        return np.clip(boxes, 0, (width, height, width, height)).astype(np.float32)

    def to_canvas(self, xyxy: NDArray[np.floating]) -> NDArray[np.float32]:
        """Boxes from image to canvas pixels. [N, 4] xyxy both ways."""
        scale_y, scale_x = self.resized[0] / self.source[0], self.resized[1] / self.source[1]
        top, left = self.pad
        boxes = xyxy.astype(np.float64) * (scale_x, scale_y, scale_x, scale_y)
        return np.add(boxes, (left, top, left, top)).astype(np.float32)


def letterbox_plan(
    source: Size, size: Size, *, rectangular: bool = False, stride: int = 32
) -> Letterbox:
    """Fit an image into a canvas with its aspect kept, centred.

    Args:
        source: (height, width) of the image.
        size: (height, width) of the canvas, multiples of the stride.
        rectangular: shrink the canvas to the smallest multiples of `stride` that hold the
            resized image; otherwise it is `size` exactly.
        stride: the network's largest stride.

    Raises:
        EmptyImageError: an image without pixels.
        InputSizeError: `size` does not fit the stride.
    """
    if min(source) < 1:
        raise EmptyImageError(f"the image is {source[0]} x {source[1]} pixels; nothing to detect")
    check_size(size, stride)
    scale = min(size[0] / source[0], size[1] / source[1])
    resized = (max(1, round(source[0] * scale)), max(1, round(source[1] * scale)))
    canvas = size
    if rectangular:
        canvas = (-(-resized[0] // stride) * stride, -(-resized[1] // stride) * stride)
    return place(source, resized, canvas)


def place(source: Size, resized: Size, canvas: Size) -> Letterbox:
    """Centre a copy of size `resized` in `canvas`; an odd rest goes below and right."""
    pad = ((canvas[0] - resized[0]) // 2, (canvas[1] - resized[1]) // 2)
    return Letterbox(source, resized, pad, canvas)


def letterbox(
    image: NDArray[np.uint8],
    plan: Letterbox,
    out: NDArray[np.uint8] | None = None,
    area: bool = False,
) -> NDArray[np.uint8]:
    """Resize an image into its place and pad the rest with grey.

    Args:
        image: uint8 [H, W, 3], any colour order; its size is `plan.source`, or less: the same
            image decoded at a fraction.
        plan: from `letterbox_plan`.
        out: uint8 [canvas height, canvas width, 3] to write into, for example a row of a batch.
        area: average over pixels when shrinking (the evaluation protocol of the authors),
            otherwise bilinear.

    Returns:
        The canvas, `out` if given; the colour order is the image's.
    """
    if out is None:
        out = np.empty((*plan.canvas, 3), np.uint8)
    (top, left), (height, width) = plan.pad, plan.resized
    out[:top], out[top + height :] = PADDING, PADDING
    out[top : top + height, :left], out[top : top + height, left + width :] = PADDING, PADDING
    inside = out[top : top + height, left : left + width]
    if plan.resized == image.shape[:2]:
        inside[:] = image
        return out
    shrinking = height < image.shape[0]
    interpolation = cv2.INTER_AREA if area and shrinking else cv2.INTER_LINEAR
    written = cv2.resize(image, (width, height), dst=inside, interpolation=interpolation)
    if not np.shares_memory(written, inside):  # OpenCV makes a new array for a layout it dislikes
        inside[:] = written
    return out


def to_input(
    canvas: NDArray[np.uint8],
    form: InputForm,
    *,
    bgr: bool,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.generic]:
    """A batch of canvases in the form a graph takes.

    Args:
        canvas: uint8 [B, H, W, 3].
        form: "float_nchw" gives float32 RGB [B, 3, H, W] in 0..1, "uint8_nhwc" uint8 RGB.
        bgr: the canvases are BGR and their channels are swapped.
        out: float32 [B, 3, H, W] to write into, for "float_nchw".
    """
    if form == "uint8_nhwc":
        if not bgr:
            return canvas
        swapped = np.empty(canvas.shape, np.uint8)
        for image, row in zip(canvas, swapped, strict=True):
            cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=row)
        return swapped
    batch, height, width, _ = canvas.shape
    result = np.empty((batch, 3, height, width), np.float32) if out is None else out
    for image, planes in zip(canvas, result, strict=True):
        channels = cv2.split(image)  # contiguous planes: the multiplication below is vectorised
        for plane, channel in zip(planes, channels[::-1] if bgr else channels, strict=True):
            np.multiply(channel, np.float32(1 / 255), out=plane)
    return result
