"""Does tiled inference find in large images what the detector finds in small ones?

    python -m benchmarks.tiling MODEL DATA --split test --size 320 --tile 640 --overlap 0.4

Pastes the images of a data set into canvases of 4000 x 3000 pixels, detects there by tiles, and
prints COCO's AP beside the AP of the same images one by one; the detector and its thresholds are
the same. A false positive anywhere in a canvas counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from yolov4sdk import Detections, Detector
from yolov4sdk.datasets import DetectionDataset, load_dataset
from yolov4sdk.imaging.images import read_image
from yolov4sdk.imaging.preprocess import PADDING
from yolov4sdk.measure.metrics import CocoMetrics, Prediction, coco_metrics
from yolov4sdk.results.tiling import Tiling, windows

CANVAS: Final = (3000, 4000)  # height, width
GAP: Final = 16  # pixels between pasted images, at least
PROTOCOL: Final[dict[str, Any]] = {"conf": 0.01, "iou": 0.65, "multi_label": True}
MAX_DET: Final = 100  # of an original; a canvas gets this for each image in it


@dataclass(frozen=True)
class Canvases:
    """Large images, uint8 BGR, and their labels."""

    images: list[NDArray[np.uint8]]
    labels: DetectionDataset
    cells: int


def paste(dataset: DetectionDataset, seed: int = 0) -> Canvases:
    """Each image at a random place inside its cell of a grid."""
    tallest, widest = (int(n) for n in dataset.sizes.max(axis=0))
    rows, columns = CANVAS[0] // (tallest + GAP), CANVAS[1] // (widest + GAP)
    cell = CANVAS[0] // rows, CANVAS[1] // columns
    generator = np.random.default_rng(seed)
    images: list[NDArray[np.uint8]] = []
    boxes: list[list[NDArray[np.float64]]] = []
    for i, path in enumerate(dataset.images):
        row, column = divmod(i % (rows * columns), columns)
        if row == column == 0:
            images.append(np.full((*CANVAS, 3), PADDING, np.uint8))
            boxes.append([])
        pixels = read_image(path)
        height, width = pixels.shape[:2]
        top = row * cell[0] + int(generator.integers(cell[0] - height - GAP + 1))
        left = column * cell[1] + int(generator.integers(cell[1] - width - GAP + 1))
        images[-1][top : top + height, left : left + width] = pixels
        rows_i = dataset.boxes[i].astype(np.float64)
        rows_i[:, 1:] *= (width, height, width, height)
        rows_i[:, 1:3] += (left, top)
        rows_i[:, 1:] /= (CANVAS[1], CANVAS[0]) * 2
        boxes[-1].append(rows_i)
    labels = replace(
        dataset,
        images=[Path(f"canvas{i}") for i in range(len(images))],
        sizes=np.array([CANVAS] * len(images), np.int32),
        boxes=[np.concatenate(parts).astype(np.float32) for parts in boxes],
        ignored=[np.zeros((0, 5), np.float32)] * len(images),
    )
    return Canvases(images, labels, rows * columns)


def measure(dataset: DetectionDataset, found: Iterable[Detections], max_det: int) -> CocoMetrics:
    """COCO's figures of detections that come in the data set's order."""
    predictions = [Prediction(d.xyxy, d.scores, d.class_ids) for d in found]
    return coco_metrics(dataset, predictions, max_det)


def show(title: str, result: CocoMetrics, base: CocoMetrics, seconds: float) -> None:
    """One line of figures."""
    classes = " ".join(f"{value:.3f}" for value in result.class_ap)
    print(
        f"{title:<34} AP {result.ap:.4f} ({100 * (result.ap - base.ap):+.2f} points)  "
        f"AP50 {result.ap50:.4f}  classes {classes}  {seconds:.1f} s"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--size", type=int, help="network input; default: the model's")
    parser.add_argument("--tile", type=int, default=640)
    parser.add_argument("--overlap", type=float, default=0.4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    with Detector(args.model, size=args.size, max_det=MAX_DET, **PROTOCOL) as detector:
        dataset = load_dataset(args.data, args.split, names=detector.names)
        started = time.perf_counter()
        found = [detector(path) for path in dataset.images]
        seconds = time.perf_counter() - started
        # Labels that COCO ignores are left out of the canvases, so here as well.
        base = measure(replace(dataset, ignored=[b[:0] for b in dataset.ignored]), found, MAX_DET)
        show(f"{len(dataset)} originals", base, base, seconds)

        canvases = paste(dataset, args.seed)
        count = canvases.cells * MAX_DET
        tiles_each = len(windows(CANVAS, Tiling(args.tile, args.overlap)))
        print(
            f"{len(canvases.images)} canvases of {CANVAS[1]} x {CANVAS[0]}, tiles of {args.tile} "
            f"px, {args.overlap:.0%} overlap, {tiles_each} tiles"
        )
        for full in (True, False):
            for merge in ("nms", "wbf"):
                tiles = Tiling(args.tile, args.overlap, full_image=full, merge=merge)
                started = time.perf_counter()
                found = [detector(im, tiles=tiles, max_det=count) for im in canvases.images]
                seconds = time.perf_counter() - started
                title = f"{merge}, {'tiles and full image' if full else 'tiles alone'}"
                show(title, measure(canvases.labels, found, count), base, seconds)
        started = time.perf_counter()
        found = [detector(im, max_det=count) for im in canvases.images]
        seconds = time.perf_counter() - started
        show("without tiles", measure(canvases.labels, found, count), base, seconds)


if __name__ == "__main__":
    main()
