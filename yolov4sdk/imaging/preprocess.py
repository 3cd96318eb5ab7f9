"""Letterbox and its exact inverse, and the step from pixels to the network's input.

The only implementation: detection, evaluation, export checks and training use it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from ..contract.contract import InputContract, Resize, check_size
from ..contract.contract import Size as Size
from ..contract.spec import InputForm, input_of
from ..errors import EmptyImageError

LETTERBOX: Final = Resize()
"""Our own models': centred, bilinear, with the grey border of training."""
PADDING: Final = LETTERBOX.pad

_INTERPOLATIONS: Final = {
    "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA,
    "nearest": cv2.INTER_NEAREST,
}  # fmt: skip


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
    source: Size,
    size: Size,
    *,
    rectangular: bool = False,
    stride: int = 32,
    resize: Resize = LETTERBOX,
) -> Letterbox:
    """Fit an image into a canvas, with its aspect kept and centred unless `resize` says otherwise.

    Args:
        source: (height, width) of the image.
        size: (height, width) of the canvas, multiples of the stride.
        rectangular: shrink the canvas to the smallest multiples of `stride` that hold the
            resized image; otherwise it is `size` exactly. Nothing to shrink is left by "stretch".
        stride: the network's largest stride.
        resize: how the image fills the canvas.

    Raises:
        EmptyImageError: an image without pixels.
        InputSizeError: `size` does not fit the stride.
    """
    if min(source) < 1:
        raise EmptyImageError(f"the image is {source[0]} x {source[1]} pixels; nothing to detect")
    check_size(size, stride)
    room = (size[0] - resize.margin, size[1] - resize.margin)
    scales = room[0] / source[0], room[1] / source[1]
    if resize.shortest is not None:
        longest = resize.longest or math.inf
        scales = (min(resize.shortest / min(source), longest / max(source)),) * 2
    elif resize.policy != "stretch":
        scales = (min(scales),) * 2
    rounded: Callable[[float], int] = round if resize.rounding == "nearest" else int
    resized = (
        max(1, rounded(source[0] * scales[0])), max(1, rounded(source[1] * scales[1])),
    )  # fmt: skip
    canvas = size
    if rectangular or resize.shortest is not None:
        height, width = (-(-(side + resize.margin) // stride) * stride for side in resized)
        canvas = (height, width)
    return place(source, resized, canvas, resize)


def place(source: Size, resized: Size, canvas: Size, resize: Resize = LETTERBOX) -> Letterbox:
    """Put a copy of size `resized` into `canvas`; an odd rest goes below and right."""
    pad = (0, 0)
    if resize.policy in ("letterbox", "stretch"):
        pad = ((canvas[0] - resized[0]) // 2, (canvas[1] - resized[1]) // 2)
    return Letterbox(source, resized, pad, canvas)


def letterbox(
    image: NDArray[np.uint8],
    plan: Letterbox,
    out: NDArray[np.uint8] | None = None,
    area: bool = False,
    resize: Resize = LETTERBOX,
) -> NDArray[np.uint8]:
    """Resize an image into its place and pad the rest with grey.

    Args:
        image: uint8 [H, W, 3], any color order; its size is `plan.source`, or less: the same
            image decoded at a fraction.
        plan: from `letterbox_plan`.
        out: uint8 [canvas height, canvas width, 3] to write into, for example a row of a batch.
        area: average over pixels when shrinking (the evaluation protocol of the authors),
            otherwise as `resize` says.
        resize: interpolation and grey.

    Returns:
        The canvas, `out` if given; the color order is the image's.
    """
    if out is None:
        out = np.empty((*plan.canvas, 3), np.uint8)
    (top, left), (height, width) = plan.pad, plan.resized
    out[:top], out[top + height :] = resize.pad, resize.pad
    out[top : top + height, :left], out[top : top + height, left + width :] = resize.pad, resize.pad
    inside = out[top : top + height, left : left + width]
    if plan.resized == image.shape[:2]:
        inside[:] = image
        return out
    shrinking = height < image.shape[0]
    averaged = shrinking and (area or resize.antialias)
    interpolation = cv2.INTER_AREA if averaged else _INTERPOLATIONS[resize.interpolation]
    written = cv2.resize(image, (width, height), dst=inside, interpolation=interpolation)
    if not np.shares_memory(written, inside):  # OpenCV makes a new array for a layout it dislikes
        inside[:] = written
    return out


def to_input(
    canvas: NDArray[np.uint8],
    form: InputForm | InputContract,
    *,
    bgr: bool,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """A batch of canvases in the form a graph takes.

    Args:
        canvas: uint8 [B, H, W, 3].
        form: what the graph takes; "float_nchw" is float32 RGB [B, 3, H, W] in 0..1, "uint8_nhwc"
            is uint8 RGB.
        bgr: the canvases are BGR, else RGB.
        out: an array of the shape and dtype of the result, to write into.
    """
    taken = input_of(form)
    swap = bgr == (taken.color == "RGB")
    scale, offset = _affine(taken)
    if taken.dtype == "uint8" and not taken.planar:
        if not swap:
            return canvas
        swapped = np.empty(canvas.shape, np.uint8) if out is None else out
        for image, row in zip(canvas, swapped, strict=True):
            cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=row)
        return swapped
    batch, height, width, _ = canvas.shape
    shape = taken.shape(batch, (height, width))
    result = np.empty(shape, taken.dtype) if out is None else out
    for image, row in zip(canvas, result, strict=True):
        channels = cv2.split(image)  # contiguous planes: the multiplication below is vectorised
        planes = row if taken.planar else np.moveaxis(row, -1, 0)
        ordered = channels[::-1] if swap else channels
        for plane, channel, factor, shift in zip(planes, ordered, scale, offset, strict=True):
            if taken.dtype != "float32":
                plane[:] = channel if taken.dtype == "uint8" else channel * factor + shift
                continue
            np.multiply(channel, factor, out=plane)
            if shift:
                plane += shift
    return result


def _affine(taken: InputContract) -> tuple[list[np.float32], list[np.float32]]:
    """(pixel * scale - mean) / std as a factor and a summand for each channel."""
    factors = [np.float32(taken.scale / std) for std in taken.std]
    return factors, [np.float32(-m / s) for m, s in zip(taken.mean, taken.std, strict=True)]
