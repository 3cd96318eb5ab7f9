"""Augmentation of images with boxes, driven by an explicit random generator.

Every function takes and returns a `Sample` and the generator it draws from; no global random
state is read, so a sample depends only on its inputs and on the generator's seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, TypeAlias

import cv2
import numpy as np

from yolov4sdk.imaging.preprocess import PADDING, letterbox, place
from yolov4sdk.system.option import about, check

Array: TypeAlias = np.ndarray[Any, Any]

MIN_SIDE = 2.0  # pixels; spec: a box of 2 px or less on a side is dropped
MIN_AREA_LEFT = 0.2  # spec: at most 20 % of the area left is dropped
MAX_ASPECT = 20.0  # spec: an aspect ratio of 20 or more is dropped

_MAX_TILT = 0.5  # of the depth at the picture's corners; at 1 the picture would fold


@dataclass(frozen=True)
class Augmentation:
    """What is done to a training image, and how strongly.

    The defaults are the authors' for training from scratch (spec); `fine_tuning()` has theirs for
    fine-tuning and `none()` switches everything off. A perspective of 0.001 is much; it is weakened
    where a large picture would fold. Changes of hue are parts of the half circle.
    """

    mosaic: float = field(
        default=1.0, metadata=about("Probability of a mosaic of four images.", low=0, high=1)
    )
    mixup: float = field(
        default=0.0, metadata=about("Probability, of two mosaics blended.", low=0, high=1)
    )
    mixup_beta: float = field(
        default=8.0, metadata=about("Both betas of the blend.", low=0.001, high=1e6)
    )
    degrees: float = field(default=0.0, metadata=about("Largest rotation.", low=0, high=180))
    translate: float = field(
        default=0.5, metadata=about("Largest shift, share of the size.", low=0, high=1)
    )
    # A zoom of 0 would leave no picture.
    scale: float = field(default=0.5, metadata=about("Zoom by 1 +- this.", low=0, high=0.999))
    shear: float = field(default=0.0, metadata=about("Largest shear, degrees.", low=0, high=80))
    perspective: float = field(
        default=0.0, metadata=about("Largest coefficient, per pixel.", low=0, high=0.01)
    )
    hsv_h: float = field(default=0.015, metadata=about("Hue.", low=0, high=1))
    hsv_s: float = field(default=0.7, metadata=about("Saturation.", low=0, high=1))
    hsv_v: float = field(default=0.4, metadata=about("Brightness.", low=0, high=1))
    fliplr: float = field(
        default=0.5, metadata=about("Probability of left-right mirroring.", low=0, high=1)
    )
    flipud: float = field(
        default=0.0, metadata=about("Probability of up-down mirroring.", low=0, high=1)
    )

    def __post_init__(self) -> None:
        check(self)

    @classmethod
    def fine_tuning(cls) -> Augmentation:
        """The authors' settings for fine-tuning (spec)."""
        return cls(scale=0.8, mixup=0.2)

    @classmethod
    def none(cls) -> Augmentation:
        """No augmentation: the letterboxed images as they are."""
        return cls(**{entry.name: 0.0 for entry in fields(cls)} | {"mixup_beta": 8.0})

    def without_mosaic(self) -> Augmentation:
        """The same with mosaic (and with it mixup) off, as for a run's last epochs."""
        return replace(self, mosaic=0.0, mixup=0.0)


@dataclass
class Sample:
    """An image and its boxes while they are augmented.

    Attributes:
        image: uint8 BGR [H, W, 3].
        boxes: float64 [N, 4] xyxy, pixels of `image`.
        classes: int64 [N].
        visible: float64 [N], the part of each box's area that earlier crops have left, 0 to 1.
        scores: float64 [N], how sure each label is; 0 is a box that is not to be judged.
    """

    image: Array
    boxes: Array
    classes: Array
    visible: Array
    scores: Array

    @classmethod
    def of(cls, image: Array, boxes: Array, classes: Array, scores: Array | None = None) -> Sample:
        """A sample whose boxes are whole, and certain where no scores are given."""
        boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        whole = np.ones(len(boxes))
        sure = whole if scores is None else np.asarray(scores, dtype=np.float64)
        return cls(image, boxes, np.asarray(classes, dtype=np.int64), whole, sure)

    def select(self, keep: Array) -> Sample:
        """The same image with the boxes of this mask or these indices."""
        return Sample(
            self.image,
            self.boxes[keep],
            self.classes[keep],
            self.visible[keep],
            self.scores[keep],
        )


def augment(
    load: Callable[[int], Sample],
    index: int,
    count: int,
    canvas: tuple[int, int],
    settings: Augmentation,
    rng: np.random.Generator,
) -> Sample:
    """The whole pipeline for one training image.

    Args:
        load: gives the image of an index, resized so that it fits on `canvas`.
        index: the image.
        count: the number of images, from which mosaic draws the others.
        canvas: height and width of the result.
        settings: what to do.
        rng: the only source of randomness.

    Returns:
        A sample with an image of size `canvas` (it may share memory with nothing but itself) and
        boxes that passed the box filter.
    """
    if settings.mosaic > 0 and rng.random() < settings.mosaic:
        sample = _warped_mosaic(load, index, count, canvas, settings, rng)
        if settings.mixup > 0 and rng.random() < settings.mixup:
            other = _warped_mosaic(load, int(rng.integers(count)), count, canvas, settings, rng)
            sample = mixup(sample, other, settings.mixup_beta, rng)
    else:
        sample = random_perspective(place_centred(load(index), canvas), canvas, settings, rng)
    for step in STEPS:
        sample = step(sample, settings, rng)
    return sample


def _warped_mosaic(
    load: Callable[[int], Sample],
    index: int,
    count: int,
    canvas: tuple[int, int],
    settings: Augmentation,
    rng: np.random.Generator,
) -> Sample:
    indices = [index, *rng.integers(count, size=3).tolist()]
    return random_perspective(
        mosaic([load(i) for i in indices], canvas, rng), canvas, settings, rng
    )


def place_centred(sample: Sample, canvas: tuple[int, int]) -> Sample:
    """The image in the middle of a grey canvas (height, width), which must not be smaller."""
    size = sample.image.shape[0], sample.image.shape[1]
    plan = place(size, size, canvas)
    top, left = plan.pad
    boxes = np.add(sample.boxes, (left, top, left, top))
    return replace(sample, image=letterbox(sample.image, plan), boxes=boxes)


def mosaic(samples: Sequence[Sample], canvas: tuple[int, int], rng: np.random.Generator) -> Sample:
    """Four images around a random centre, on a picture of twice the canvas's sides.

    Each image touches the centre with one corner and is cropped at the picture's border; boxes
    are clipped with it. The centre lies in the picture's middle half, so every image shows.
    """
    height, width = 2 * canvas[0], 2 * canvas[1]
    cy = int(rng.integers(canvas[0] // 2, height - canvas[0] // 2 + 1))
    cx = int(rng.integers(canvas[1] // 2, width - canvas[1] // 2 + 1))
    image = np.full((height, width, 3), PADDING, np.uint8)
    parts = []
    for corner, sample in enumerate(samples):
        h, w = sample.image.shape[:2]
        top = cy - h if corner < 2 else cy  # 0 and 1 above the centre, 2 and 3 below it
        left = cx - w if corner % 2 == 0 else cx
        y1, y2 = max(top, 0), min(top + h, height)
        x1, x2 = max(left, 0), min(left + w, width)
        image[y1:y2, x1:x2] = sample.image[y1 - top : y2 - top, x1 - left : x2 - left]
        moved = replace(sample, boxes=np.add(sample.boxes, (left, top, left, top)))
        parts.append(_clipped(moved, (x1, y1, x2, y2)))
    return _joined(image, parts)


def mixup(a: Sample, b: Sample, beta: float, rng: np.random.Generator) -> Sample:
    """A blend of two pictures of one size with a weight from Beta(beta, beta); all boxes stay."""
    weight = float(rng.beta(beta, beta))
    image = cv2.addWeighted(a.image, weight, b.image, 1.0 - weight, 0.0)
    return _joined(image, [a, b])


def random_perspective(
    sample: Sample, canvas: tuple[int, int], settings: Augmentation, rng: np.random.Generator
) -> Sample:
    """Rotate, zoom, shear, tilt and shift the picture onto a canvas; filter the boxes.

    Without any of these the middle of the picture is cut out. A box becomes the smallest upright
    box around its four moved corners.
    """
    source = sample.image.shape[:2]
    matrix = perspective_matrix(source, canvas, settings, rng)
    if source == canvas and np.array_equal(matrix, np.eye(3)):
        return box_filter(sample, canvas)
    size, fill = (canvas[1], canvas[0]), (PADDING, PADDING, PADDING)
    # Boxes count from the pixels' edges, OpenCV's warps from their centres.
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    pixels = np.linalg.inv(half) @ matrix @ half
    if settings.perspective:
        image = cv2.warpPerspective(sample.image, pixels, size, borderValue=fill)
    else:
        image = cv2.warpAffine(sample.image, pixels[:2], size, borderValue=fill)
    boxes = warp_boxes(sample.boxes, matrix)
    return box_filter(replace(sample, image=image, boxes=boxes), canvas)


def perspective_matrix(
    source: tuple[int, int],
    canvas: tuple[int, int],
    settings: Augmentation,
    rng: np.random.Generator,
) -> Array:
    """A random 3 x 3 matrix from pixels of a picture of size `source` to pixels of `canvas`.

    Coordinates are those of boxes: 0 is the left edge of the first pixel. All draws are made
    whatever the settings, so that a change of one strength leaves the others' draws alone.
    """
    draws = rng.uniform(-1.0, 1.0, size=8)
    px, py = draws[0:2] * settings.perspective
    tilted = abs(px) * source[1] / 2 + abs(py) * source[0] / 2
    px, py = np.array([px, py]) * min(1.0, _MAX_TILT / max(tilted, 1e-12))
    angle = np.radians(draws[2] * settings.degrees)
    zoom = 1.0 + draws[3] * settings.scale
    shear_x, shear_y = np.tan(np.radians(draws[4:6] * settings.shear))
    shift_x, shift_y = draws[6:8] * settings.translate

    to_origin = np.array([[1, 0, -source[1] / 2], [0, 1, -source[0] / 2], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, 1, 0], [px, py, 1]])
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    shear = np.array([[1, shear_x, 0], [shear_y, 1, 0], [0, 0, 1]])
    to_canvas = np.array(
        [[1, 0, (0.5 + shift_x) * canvas[1]], [0, 1, (0.5 + shift_y) * canvas[0]], [0, 0, 1]]
    )
    matrix: Array = to_canvas @ shear @ turn @ tilt @ to_origin
    return matrix


def warp_boxes(boxes: Array, matrix: Array) -> Array:
    """The smallest upright boxes (float64 [N, 4] xyxy) around the moved corners of `boxes`."""
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)  # [N, 4 corners, xy]
    points = corners @ matrix[:, :2].T + matrix[:, 2]  # [N, 4, 3] homogeneous
    points = points[..., :2] / points[..., 2:]
    return np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1).reshape(-1, 4)


def box_filter(sample: Sample, canvas: tuple[int, int]) -> Sample:
    """Clip the boxes to the canvas and drop those of which too little is left (spec).

    Dropped: 2 px or less on a side, at most 20 % of the area left (crops of earlier steps
    count), an aspect ratio of 20 or more.
    """
    sample = _clipped(sample, (0, 0, canvas[1], canvas[0]))
    w, h = (sample.boxes[:, 2:] - sample.boxes[:, :2]).T
    aspect = np.maximum(w, h) / np.maximum(np.minimum(w, h), 1e-9)
    keep = (w > MIN_SIDE) & (h > MIN_SIDE)
    keep &= (sample.visible > MIN_AREA_LEFT) & (aspect < MAX_ASPECT)
    return sample.select(keep)


def hsv_jitter(image: Array, settings: Augmentation, rng: np.random.Generator) -> None:
    """Change hue, saturation and value of a BGR image in place, each by a random factor."""
    gains = 1.0 + rng.uniform(-1.0, 1.0, size=3) * (settings.hsv_h, settings.hsv_s, settings.hsv_v)
    if (gains == 1.0).all():
        return
    levels = np.arange(256, dtype=np.float64)
    # OpenCV's 8-bit hue counts half degrees, 0 to 179, and is a circle.
    tables = np.stack(
        [(levels * gains[0]) % 180, np.minimum(levels * gains[1], 255), levels * gains[2]], axis=-1
    )
    table = np.clip(tables, 0, 255).astype(np.uint8).reshape(1, 256, 3)
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    cv2.cvtColor(cv2.LUT(hsv, table), cv2.COLOR_HSV2BGR, dst=image)


def random_flips(sample: Sample, settings: Augmentation, rng: np.random.Generator) -> Sample:
    """Mirror the picture left to right and top to bottom with the settings' probabilities."""
    lr, ud = rng.random(2) < (settings.fliplr, settings.flipud)
    if not lr and not ud:
        return sample
    height, width = sample.image.shape[:2]
    x1, y1, x2, y2 = sample.boxes.T
    if lr:
        x1, x2 = width - x2, width - x1
    if ud:
        y1, y2 = height - y2, height - y1
    image = cv2.flip(sample.image, -1 if lr and ud else 1 if lr else 0)
    return replace(sample, image=image, boxes=np.stack([x1, y1, x2, y2], axis=1))


def _clipped(sample: Sample, window: tuple[int, int, int, int]) -> Sample:
    """Boxes cut at a window (xyxy); `visible` shrinks with them, and what is outside goes."""
    low, high = np.array(window[:2] * 2, float), np.array(window[2:] * 2, float)
    boxes = np.clip(sample.boxes, low, high)
    before = np.prod(sample.boxes[:, 2:] - sample.boxes[:, :2], axis=1)
    after = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    visible = sample.visible * after / np.maximum(before, 1e-9)
    cut = replace(sample, boxes=boxes, visible=visible)
    return cut if (after > 0).all() else cut.select(after > 0)


def _joined(image: Array, parts: Sequence[Sample]) -> Sample:
    return Sample(
        image,
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.classes for part in parts]),
        np.concatenate([part.visible for part in parts]),
        np.concatenate([part.scores for part in parts]),
    )


def _jittered(sample: Sample, settings: Augmentation, rng: np.random.Generator) -> Sample:
    hsv_jitter(sample.image, settings, rng)
    return sample


Step = Callable[[Sample, Augmentation, np.random.Generator], Sample]
"""Changes a sample on its canvas, or gives another; its strength stands in `Augmentation`."""
STEPS: Final[list[Step]] = [_jittered, random_flips]
"""What follows mosaic and perspective, in order."""
