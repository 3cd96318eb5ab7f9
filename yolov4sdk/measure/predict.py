"""What a model finds in a data set's images, in batches, under the authors' protocol."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contract.contract import GraphContract, float_input, own_output
from ..contract.outputs import Outputs
from ..datasets import DetectionDataset
from ..errors import SettingError
from ..imaging.images import read_image, read_scaled
from ..imaging.preprocess import Letterbox
from ..pipeline import Pipeline
from ..results.thresholds import Thresholds
from .classes import SharedClasses
from .metrics import Prediction

USUAL_SIZE = 640
"""Long side in pixels, where nothing says another."""


def function_contract(size: int | None, stride: int) -> GraphContract:
    """Of a function from float32 batches to all boxes and scores."""
    side = math.ceil((size or USUAL_SIZE) / stride) * stride
    return GraphContract(
        float_input(size=(side, side), multiple=stride), own_output("full", classes=1)
    )


@dataclass(frozen=True)
class Canvases:
    """Where the images of a batch are put.

    Attributes:
        pipeline: of the graph; the protocol's canvases are of another size than its own.
        size: the long side in pixels, or a fixed (height, width).
        rectangular: canvases are as small as a batch allows.
    """

    pipeline: Pipeline
    size: int | tuple[int, int]
    rectangular: bool

    @classmethod
    def of(cls, pipeline: Pipeline, size: int | None, rectangular: bool) -> Canvases:
        """Checked; `size` None is the graph's own.

        Raises:
            SettingError: a size that the graph does not take.
        """
        taken = pipeline.contract.input
        if not taken.dynamic:
            if size not in (None, *taken.size):
                raise SettingError(
                    f"the graph has the fixed size {taken.size}; size {size} needs one with "
                    "dynamic size"
                )
            return cls(pipeline, taken.size, False)
        size, stride = size or max(taken.size), taken.multiple
        if size < stride or size % stride:
            low = max(size // stride, 1) * stride
            raise SettingError(
                f"size {size} is not a multiple of the stride {stride}; "
                f"{low} and {low + stride} are"
            )
        return cls(pipeline, size, rectangular and taken.resize.policy != "stretch")

    def plans(self, sizes: NDArray[np.int32]) -> list[Letterbox]:
        """One plan for each image (height, width) of a batch; all have one canvas."""
        long = self.size
        square = long if isinstance(long, tuple) else (long, long)
        sources = [(int(h), int(w)) for h, w in sizes]
        plans = [self.pipeline.plan(source, square) for source in sources]
        if isinstance(long, tuple) or not self.rectangular:
            return plans
        tallest, widest = np.array([[long * n / max(s) for n in s] for s in sources]).max(axis=0)
        canvas = (self._padded(tallest), self._padded(widest))
        return [self.pipeline.move(plan, canvas) for plan in plans]

    def _padded(self, side: float) -> int:
        """The authors' rule: half a stride more than needed, rounded up to a stride."""
        stride = self.pipeline.contract.input.multiple
        return math.ceil(side / stride + 0.5) * stride


def predict(
    canvases: Canvases,
    dataset: DetectionDataset,
    thresholds: Thresholds,
    batch: int,
    scaled_decode: bool,
    shared: SharedClasses | None,
    progress: Callable[[int, int], None] | None,
) -> tuple[list[Prediction], dict[str, float]]:
    """Predictions in the data set's order, and the seconds that the parts of the work took.

    Args:
        canvases: where the images are put.
        dataset: the images.
        thresholds: resolved.
        batch: images of a batch.
        scaled_decode: decode large JPEGs at a fraction of their size.
        shared: the classes that are measured; None is all.
        progress: called with (images done, all images) after each batch.
    """
    found: dict[int, Prediction] = {}
    seconds = {"load": 0.0, "infer": 0.0, "nms": 0.0}
    pipeline = canvases.pipeline
    clock = time.perf_counter()
    for indices, plans, pixels in _batches(dataset, canvases, batch, scaled_decode):
        begin = time.perf_counter()
        outputs = pipeline.run(pipeline.input(pixels))
        middle = time.perf_counter()
        for row, (index, plan) in enumerate(zip(indices, plans, strict=True)):
            kept = pipeline.finish(_row(outputs, row, shared), 0, plan, thresholds)
            found[index] = Prediction(*kept)
        seconds["load"] += begin - clock
        seconds["infer"] += middle - begin
        if progress is not None:
            progress(len(found), len(dataset))
        clock = time.perf_counter()
        seconds["nms"] += clock - middle
    return [found[index] for index in range(len(dataset))], seconds


def _batches(
    dataset: DetectionDataset, canvases: Canvases, batch: int, scaled: bool
) -> Iterator[tuple[list[int], list[Letterbox], NDArray[np.uint8]]]:
    """Indices, plans and BGR canvases uint8 [B, H, W, 3]; read one batch ahead in threads."""
    order = np.argsort(dataset.sizes[:, 0] / dataset.sizes[:, 1], kind="stable").tolist()
    parts = [order[i : i + batch] for i in range(0, len(order), batch)]

    def fill(index: int, plan: Letterbox, out: NDArray[np.uint8]) -> None:
        path = dataset.images[index]
        image = read_scaled(path, plan.resized)[0] if scaled else read_image(path)
        canvases.pipeline.fill(image, plan, out)

    with ThreadPoolExecutor(2) as pool:

        def start(indices: list[int]) -> tuple[list[Letterbox], NDArray[np.uint8], list[Any]]:
            plans = canvases.plans(dataset.sizes[indices])
            pixels = np.empty((len(indices), *plans[0].canvas, 3), np.uint8)
            rows = zip(indices, plans, pixels, strict=True)
            return plans, pixels, [pool.submit(fill, *row) for row in rows]

        started = start(parts[0])
        for number, indices in enumerate(parts):
            plans, pixels, jobs = started
            if number + 1 < len(parts):
                started = start(parts[number + 1])
            for job in jobs:
                job.result()
            yield indices, plans, pixels


def _row(outputs: Outputs, row: int, shared: SharedClasses | None) -> Outputs:
    """One image of a batch, in the classes that are measured."""
    if shared is not None and not shared.same:
        boxes, scores, ids = shared.select(outputs, row)
        return Outputs(boxes[None], scores[None], None if ids is None else ids[None])
    one = slice(row, row + 1)
    boxes, scores, class_ids = outputs
    return Outputs(boxes[one], scores[one], None if class_ids is None else class_ids[one])
