"""The one path from images to boxes in their pixels.

plan -> prepare (letterbox, normalise) -> run (the network) -> finish (choose, back to the image)
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .contract.contract import GraphContract
from .contract.outputs import Outputs
from .errors import SettingError
from .imaging.preprocess import (
    LETTERBOX,
    Letterbox,
    Size,
    letterbox,
    letterbox_plan,
    place,
    to_input,
)
from .results.postprocess import Kept
from .results.thresholds import Thresholds


class Pipeline:
    """What lies between images and boxes, as a graph's contract says. Several threads may use one.

    Args:
        contract: of the graph.
        backend: whose `infer` runs it, or that function itself; None where another process does.
        size: (height, width) of the canvas; None is the graph's own.
        rectangular: canvases shrink to the smallest multiple of the stride that holds the image.
        average: shrink by averaging over pixels (the evaluation protocol of the authors), where
            the contract has our own letterbox.
        gpu_letterbox: the backend resizes and pads; TensorRT only.

    Raises:
        SettingError: a size that a fixed graph does not take, or "rect" canvases for it.
        InputSizeError: a size that does not fit the strides.
    """

    def __init__(
        self,
        contract: GraphContract,
        backend: Any = None,
        *,
        size: int | Size | None = None,
        rectangular: bool = False,
        average: bool = False,
        gpu_letterbox: bool = False,
    ) -> None:
        self.contract = contract
        self.size: Size = network_size(contract, size)
        if rectangular and not contract.input.dynamic:
            raise SettingError('shape="rect" needs a graph exported with `--dynamic`')
        self.rectangular = rectangular
        self.backend = backend
        if gpu_letterbox and not hasattr(backend, "infer_images"):
            raise SettingError(f"gpu_letterbox needs TensorRT, not {backend.name}")
        self._on_device = gpu_letterbox
        self._resize = contract.input.resize
        if average and self._resize == LETTERBOX:
            self._resize = replace(self._resize, antialias=True)
        self._scratch = _Scratch()

    def on(self, backend: Any) -> Pipeline:
        """The same with another backend of the same contract."""
        other = copy(self)
        other.backend = backend
        return other

    def plan(self, source: Size, size: Size | None = None) -> Letterbox:
        """Where an image of (height, width) lies in its canvas, or in one of another size."""
        return letterbox_plan(
            source, size or self.size, rectangular=self.rectangular, resize=self._resize,
            stride=self.contract.input.multiple,
        )  # fmt: skip

    def move(self, plan: Letterbox, canvas: Size) -> Letterbox:
        """The same copy of an image in another canvas, large enough for it."""
        return place(plan.source, plan.resized, canvas, self._resize)

    def fill(self, image: NDArray[np.uint8], plan: Letterbox, out: NDArray[np.uint8]) -> None:
        """Letterbox an image into a canvas uint8 [H, W, 3]."""
        letterbox(image, plan, out, resize=self._resize)

    def prepare(
        self, images: Sequence[NDArray[np.uint8]], plans: Sequence[Letterbox]
    ) -> NDArray[Any]:
        """The network's input for images uint8 BGR [H, W, 3]; their plans have one canvas."""
        canvases = self._scratch.array("canvas", (len(images), *plans[0].canvas, 3), np.uint8)
        for image, plan, row in zip(images, plans, canvases, strict=True):
            self.fill(image, plan, row)
        return self.input(canvases)

    def input(self, canvases: NDArray[np.uint8]) -> NDArray[Any]:
        """The network's input for canvases uint8 BGR [n, H, W, 3]; it is valid until the next call.

        The rows that n images lack of a fixed batch are empty.
        """
        taken, count = self.contract.input, len(canvases)
        rows = max(self.contract.batch or count, count)
        height, width = canvases.shape[1:3]
        out = self._scratch.array("input", taken.shape(rows, (height, width)), taken.dtype)
        to_input(canvases, taken, bgr=True, out=out[:count])
        out[count:] = 0
        return out

    def run(self, batch: NDArray[Any]) -> Outputs:
        """The network's candidates for an input; those of rows that were filled up mean nothing."""
        return Outputs(*getattr(self.backend, "infer", self.backend)(batch))

    def detect(self, images: Sequence[NDArray[np.uint8]], plans: Sequence[Letterbox]) -> Outputs:
        """`prepare` and `run`, on the device where the letterbox is made there."""
        if self._on_device:
            return Outputs(*self.backend.infer_images(images, plans, bgr=True))
        return self.run(self.prepare(images, plans))

    def detect_all(
        self, images: Iterable[tuple[NDArray[np.uint8], Size]], thresholds: Thresholds, batch: int
    ) -> list[tuple[Kept, Letterbox]]:
        """What each image shows, in their order; images of one canvas size run together.

        Args:
            images: uint8 BGR [H, W, 3] and (height, width) of the whole image: the pixels may be
                those of a JPEG decoded at a fraction.
            thresholds: resolved.
            batch: images of a run at most.
        """
        found: dict[int, tuple[Kept, Letterbox]] = {}
        waiting: dict[Size, list[tuple[int, NDArray[np.uint8], Letterbox]]] = {}

        def run(canvas: Size) -> None:
            indices, pictures, plans = zip(*waiting.pop(canvas), strict=True)
            outputs = self.detect(pictures, plans)
            for row, (i, plan) in enumerate(zip(indices, plans, strict=True)):
                found[i] = self.finish(outputs, row, plan, thresholds), plan

        for i, (image, source) in enumerate(images):
            plan = self.plan(source)
            group = waiting.setdefault(plan.canvas, [])
            group.append((i, image, plan))
            if len(group) == batch:
                run(plan.canvas)
        for canvas in list(waiting):
            run(canvas)
        return [found[i] for i in range(len(found))]

    def finish(self, outputs: Outputs, row: int, plan: Letterbox, thresholds: Thresholds) -> Kept:
        """What one row of the outputs shows, in pixels of its image.

        Args:
            outputs: of `run`.
            row: of the image in the batch.
            plan: how it was letterboxed.
            thresholds: resolved.

        Returns:
            xyxy [M, 4], scores [M] and class ids [M], best first.
        """
        boxes, scores, class_ids = thresholds.choose(outputs, row, self.contract.output)
        return plan.to_source(boxes), scores, class_ids


def network_size(contract: GraphContract, size: int | Size | None) -> Size:
    """(height, width) of the canvas; one number is both sides, None the graph's own.

    Raises:
        SettingError: another size than a fixed graph's.
        InputSizeError: a size that does not fit the strides.
    """
    taken = contract.input
    if size is None:
        return taken.size
    chosen = taken.check_size((size, size) if isinstance(size, int) else size)
    if not taken.dynamic and chosen != taken.size:
        raise SettingError(
            f"this graph takes {taken.size} (height, width) only, got {chosen}; "
            "export with `--dynamic` for other sizes"
        )
    return chosen


class _Scratch(threading.local):
    """Arrays that a thread uses again: fresh memory costs a page fault every 4 KB."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[Any]] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """An array of this shape with any content."""
        found = self._arrays.get(name)
        if found is None or found.shape != shape:
            found = self._arrays[name] = np.empty(shape, dtype)
        return found
