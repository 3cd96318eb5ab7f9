"""Pictures of a data set, of training batches and of an evaluation's result.

Every function writes one PNG or JPEG file, whole or not at all. No window is opened and no global
state of matplotlib is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from yolov4sdk.datasets import DetectionDataset
from yolov4sdk.errors import MissingExtraError
from yolov4sdk.imaging.draw import PALETTE, write_image
from yolov4sdk.imaging.images import read_image
from yolov4sdk.imaging.preprocess import letterbox, letterbox_plan
from yolov4sdk.measure.evaluation import EvaluationResult
from yolov4sdk.measure.metrics import Prediction
from yolov4sdk.system.files import atomic_write

if TYPE_CHECKING:
    from train.loader import Batch

Pixels = NDArray[np.uint8]

TILE = 320  # pixels of a picture in a grid
_MANY = 30  # classes; above this their names would not be readable


def plot_labels(dataset: DetectionDataset, path: Path) -> None:
    """Boxes of each class, boxes an image, where their centres lie, and how large they are.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = _figure(12, 9)
    axes = figure.subplots(2, 2)
    rows = np.concatenate(dataset.boxes)
    counts = dataset.class_counts()
    axes[0, 0].bar(range(dataset.nc), counts, color="tab:blue")
    if dataset.nc <= _MANY:
        axes[0, 0].set_xticks(range(dataset.nc), dataset.names, rotation=60, ha="right")
    axes[0, 0].set(title="boxes of each class", ylabel="boxes")
    per_image = [len(boxes) for boxes in dataset.boxes]
    axes[0, 1].hist(per_image, bins=min(max(per_image) + 1, 50), color="tab:blue")
    axes[0, 1].set(title="boxes of an image", xlabel="boxes", ylabel="images")
    axes[1, 0].hist2d(rows[:, 1], rows[:, 2], bins=50, range=[[0, 1], [0, 1]], cmap="Blues")
    axes[1, 0].set(title="centres", xlabel="x / width", ylabel="y / height")
    axes[1, 1].hist2d(rows[:, 3], rows[:, 4], bins=50, range=[[0, 1], [0, 1]], cmap="Blues")
    axes[1, 1].set(title="sizes", xlabel="w / width", ylabel="h / height")
    axes[1, 0].invert_yaxis()
    figure.suptitle(f"{dataset.split}: {dataset.report.summary()}")
    _save(figure, path)


def plot_samples(dataset: DetectionDataset, path: Path, count: int = 16, seed: int = 0) -> None:
    """A grid of `count` images drawn at random, with their boxes and class names."""
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(dataset))[:count].tolist()
    tiles = []
    for index in chosen:
        xyxy, ids = dataset.boxes_xyxy(index)
        texts = [dataset.names[c] for c in ids]
        tiles.append(_tile(read_image(dataset.images[index]), xyxy, ids, texts))
    write_image(path, _grid(tiles))


def plot_predictions(
    dataset: DetectionDataset,
    predictions: Sequence[Prediction],
    path: Path,
    count: int = 16,
    seed: int = 0,
    conf: float = 0.25,
) -> None:
    """A grid of images drawn at random with what was found in them above a confidence."""
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(dataset))[:count].tolist()
    tiles = []
    for index in chosen:
        xyxy, scores, ids = predictions[index]
        kept = scores > conf
        texts = [
            f"{dataset.names[c]} {s:.2f}" for c, s in zip(ids[kept], scores[kept], strict=True)
        ]
        tiles.append(_tile(read_image(dataset.images[index]), xyxy[kept], ids[kept], texts))
    write_image(path, _grid(tiles))


def plot_batch(batch: Batch, names: Sequence[str], path: Path, count: int = 16) -> None:
    """A grid of a training batch's pictures as the network gets them, with their targets."""
    targets = batch.targets.numpy()
    tiles = []
    for i, image in enumerate(batch.images.numpy()[:count]):
        height, width = image.shape[1:]
        rows = targets[targets[:, 0] == i]
        half = rows[:, 4:6] / 2
        xyxy = np.concatenate([rows[:, 2:4] - half, rows[:, 2:4] + half], axis=1)
        ids = rows[:, 1].astype(np.int64)
        pixels = np.ascontiguousarray(image[::-1].transpose(1, 2, 0))  # RGB planes -> BGR
        texts = [names[c] for c in ids]
        tiles.append(_tile(pixels, xyxy * (width, height, width, height), ids, texts))
    write_image(path, _grid(tiles))


def plot_evaluation(result: EvaluationResult, folder: Path) -> list[Path]:
    """Precision over recall, F1 over confidence, and the confusion matrix: three files.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    paths = [folder / "pr.png", folder / "f1.png", folder / "confusion.png"]
    recall = np.linspace(0, 1, result.coco.precision.shape[1])
    _plot_curves(
        result, recall, result.coco.precision, result.coco.class_ap50,
        ("recall", "precision at IoU 0.5", "AP50"), paths[0],
    )  # fmt: skip
    curves = result.curves
    _plot_curves(
        result, curves.confidence, curves.f1, curves.f1[:, curves.best],
        ("confidence", "F1 at IoU 0.5", f"F1 at {curves.confidence[curves.best]:.2f}"), paths[1],
    )  # fmt: skip
    _plot_confusion(result, paths[2])
    return paths


def _plot_curves(
    result: EvaluationResult,
    x: NDArray[np.float64],
    rows: NDArray[np.float64],
    figures: NDArray[np.float64],
    labels: tuple[str, str, str],
    path: Path,
) -> None:
    """One line a class and a thick one for their mean; `figures` stand in the legend."""
    figure = _figure(9, 6)
    axes = figure.subplots()
    known = np.flatnonzero(~np.isnan(rows[:, 0]))
    for c in known:
        label = f"{result.names[c]} {figures[c]:.3f}" if len(known) <= _MANY else None
        axes.plot(x, rows[c], linewidth=1, label=label)
    if len(known):
        mean = f"all {figures[known].mean():.3f}"
        axes.plot(x, rows[known].mean(axis=0), linewidth=3, color="black", label=mean)
        axes.legend(title=labels[2], bbox_to_anchor=(1.02, 1), loc="upper left")
    axes.set(xlabel=labels[0], ylabel=labels[1], xlim=(0, 1), ylim=(0, 1.02))
    _save(figure, path)


def _plot_confusion(result: EvaluationResult, path: Path) -> None:
    """Rows (labels) as parts of their sum; the counts stand in the cells where they can be read."""
    matrix = result.confusion
    parts = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = min(6 + 0.3 * len(matrix), 24)
    figure = _figure(side, side * 0.85)
    axes = figure.subplots()
    image = axes.imshow(parts, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="part of the row")
    if len(matrix) <= _MANY:
        ticks = range(len(matrix))
        axes.set_xticks(ticks, [*result.names, "missed"], rotation=60, ha="right")
        axes.set_yticks(ticks, [*result.names, "background"])
        for (row, column), number in np.ndenumerate(matrix):
            colour = "white" if parts[row, column] > 0.5 else "black"
            axes.text(column, row, str(number), ha="center", va="center", color=colour)
    axes.set(xlabel="detected", ylabel="labelled")
    _save(figure, path)


def _tile(
    image: Pixels, xyxy: NDArray[Any], ids: NDArray[np.int64], texts: Sequence[str]
) -> Pixels:
    """The image letterboxed to a tile, with boxes drawn after the resize so that lines stay."""
    plan = letterbox_plan((image.shape[0], image.shape[1]), (TILE, TILE), stride=1)
    tile = letterbox(image, plan, area=True)
    boxes = plan.to_canvas(np.asarray(xyxy, np.float64).reshape(-1, 4)).round().astype(int)
    for (x1, y1, x2, y2), class_id, text in zip(boxes.tolist(), ids.tolist(), texts, strict=True):
        colour = PALETTE[class_id % len(PALETTE)]
        cv2.rectangle(tile, (x1, y1), (x2, y2), colour, 1)
        at = (x1 + 2, max(y1 + 10, 10))
        for stroke, shade in ((3, (0, 0, 0)), (1, (255, 255, 255))):  # a rim keeps it readable
            cv2.putText(tile, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, shade, stroke, cv2.LINE_AA)
    return tile


def _grid(tiles: Sequence[Pixels]) -> Pixels:
    columns = int(np.ceil(np.sqrt(len(tiles))))
    rows = -(-len(tiles) // columns)
    canvas = np.full((rows * TILE, columns * TILE, 3), 255, np.uint8)
    for i, tile in enumerate(tiles):
        y, x = (i // columns) * TILE, (i % columns) * TILE
        canvas[y : y + TILE, x : x + TILE] = tile
    return canvas


def _figure(width: float, height: float) -> Any:
    """A matplotlib figure of this size in inches, apart from pyplot's global list."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("Plotting", "plot", "matplotlib") from None
    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Any, path: Path) -> None:
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110)
