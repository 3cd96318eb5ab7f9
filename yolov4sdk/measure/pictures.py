"""Grids of pictures with boxes: samples of a data set, and detections beside the labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from yolov4sdk.datasets import DetectionDataset
from yolov4sdk.imaging.draw import PALETTE, draw_box, write_image
from yolov4sdk.imaging.images import read_image
from yolov4sdk.imaging.preprocess import letterbox, letterbox_plan
from yolov4sdk.measure.metrics import CONFUSION_CONF, Prediction

Pixels = NDArray[np.uint8]

TILE: Final = 320  # pixels of a picture in a grid
_CAPTION: Final = 32  # pixels of the line below a grid
_LABELLED: Final = (255, 255, 255)  # BGR of boxes that people drew


def plot_samples(
    dataset: DetectionDataset,
    path: Path,
    count: int = 16,
    seed: int = 0,
) -> None:
    """A grid of `count` images drawn at random, with their boxes and class names."""
    tiles = []
    for index in _chosen(dataset, count, seed):
        xyxy, ids = dataset.boxes_xyxy(index)
        texts = [dataset.names[c] for c in ids]
        tiles.append(tile(read_image(dataset.images[index]), xyxy, texts, colors_of(ids)))
    write_image(path, grid(tiles))


def plot_predictions(
    dataset: DetectionDataset,
    predictions: Sequence[Prediction],
    path: Path,
    count: int = 12,
    seed: int = 0,
    conf: float = CONFUSION_CONF,
) -> None:
    """Images drawn at random, twice each: with what was found above a score, and as labelled."""
    chosen = _chosen(dataset, count, seed)
    tiles = [t for index in chosen for t in comparison(dataset, predictions, index, conf)]
    caption = f"left: found with a score above {conf:g}; right, in white: labelled"
    pairs = 2 if len(chosen) > 4 else 1
    canvas = grid(tiles, 2 * pairs, caption)
    if pairs > 1:
        canvas[:, 2 * TILE - 3 : 2 * TILE + 3] = 255
    write_image(path, canvas)


def comparison(
    dataset: DetectionDataset, predictions: Sequence[Prediction], index: int, conf: float
) -> tuple[Pixels, Pixels]:
    """One image with its detections above a score, and with its labels, "(name)" if ignored."""
    image = read_image(dataset.images[index])
    xyxy, scores, ids = predictions[index]
    kept = scores > conf
    texts = [f"{dataset.names[c]} {s:.2f}" for c, s in zip(ids[kept], scores[kept], strict=True)]
    found = tile(image, xyxy[kept], texts, colors_of(ids[kept]))
    truth, labels = dataset.boxes_xyxy(index)
    ignored, kinds = dataset.ignored_xyxy(index)
    titles = [dataset.names[c] for c in labels] + [f"({dataset.names[c]})" for c in kinds]
    both = np.concatenate([truth, ignored])
    return found, tile(image, both, titles, [_LABELLED] * len(titles))


def tile(
    image: Pixels,
    xyxy: NDArray[Any],
    texts: Sequence[str],
    colors: Sequence[tuple[int, int, int]],
    side: int = TILE,
) -> Pixels:
    """The image letterboxed to a square, with boxes drawn after the resize so that lines stay."""
    plan = letterbox_plan((image.shape[0], image.shape[1]), (side, side), stride=1)
    canvas = letterbox(image, plan, area=True)
    boxes = plan.to_canvas(np.asarray(xyxy, np.float64).reshape(-1, 4))
    for box, text, color in zip(boxes.tolist(), texts, colors, strict=True):
        draw_box(canvas, box, text, color)
    return canvas


def colors_of(ids: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """BGR of each class id."""
    return [PALETTE[c % len(PALETTE)] for c in ids.tolist()]


def grid(tiles: Sequence[Pixels], columns: int | None = None, caption: str = "") -> Pixels:
    """Square tiles in rows (as many as columns, unless said), with a line of text below them."""
    side = len(tiles[0])
    columns = columns or math.ceil(math.sqrt(len(tiles)))
    rows = -(-len(tiles) // columns)
    below = _CAPTION if caption else 0
    canvas = np.full((rows * side + below, columns * side, 3), 255, np.uint8)
    for i, pixels in enumerate(tiles):
        y, x = (i // columns) * side, (i % columns) * side
        canvas[y : y + side, x : x + side] = pixels
    if caption:
        at = (8, rows * side + 21)
        cv2.putText(canvas, caption, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return canvas


def _chosen(dataset: DetectionDataset, count: int, seed: int) -> list[int]:
    chosen: list[int] = np.random.default_rng(seed).permutation(len(dataset))[:count].tolist()
    return chosen
