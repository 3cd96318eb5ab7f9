"""The accuracy of anything that detects: any backend on any artefact, or a model in training.

result = evaluate(load_backend("model.onnx"), load_dataset("data.yaml", "val"), size=640)
result.ap, result.ap50
print_result(result)
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from yolov4sdk.backends.base import Backend, Outputs
from yolov4sdk.contract.contract import float_input
from yolov4sdk.datasets import DetectionDataset
from yolov4sdk.errors import DatasetError, SettingError
from yolov4sdk.imaging.images import read_image, read_scaled
from yolov4sdk.imaging.preprocess import Letterbox, letterbox, letterbox_plan, place, to_input
from yolov4sdk.measure.classes import SharedClasses, share_classes
from yolov4sdk.measure.metrics import (
    CocoMetrics,
    Curves,
    Ints,
    Prediction,
    coco_metrics,
    confidence_curves,
    confusion_matrix,
)
from yolov4sdk.results.postprocess import check_thresholds, nms, suppress

if TYPE_CHECKING:
    from rich.console import Console

    from yolov4sdk.contract.spec import ModelSpec

Infer: TypeAlias = Callable[[NDArray[np.float32]], tuple[NDArray[Any], NDArray[Any]]]
"""float32 RGB [B, 3, H, W] in 0..1 -> boxes [B, N, 4] xyxy in its pixels, scores [B, N, C]."""


@dataclass(frozen=True)
class EvaluationResult:
    """What an evaluation measured.

    Attributes:
        names: the classes.
        images, boxes: how much it was measured on.
        coco: COCO's figures.
        curves: precision, recall and F1 over the confidence, at IoU 0.5.
        confusion: int64 [C + 1, C + 1], see `metrics.confusion_matrix`.
        predictions: what was found, for each image in the data set's order.
        settings: size, thresholds and so on.
        seconds: spent on reading and resizing ("load", as far as it was waited for), on the
            network ("infer") and on NMS ("nms").
        dataset: what it was measured on, with the classes of `names`.
        notes: on what was left out.
    """

    names: tuple[str, ...]
    images: int
    boxes: int
    coco: CocoMetrics
    curves: Curves
    confusion: Ints
    predictions: list[Prediction] = field(repr=False)
    settings: dict[str, Any]
    seconds: dict[str, float]
    dataset: DetectionDataset = field(repr=False)
    notes: list[str] = field(default_factory=list)

    @property
    def ap(self) -> float:
        """AP at IoU 0.50 to 0.95, 0 to 1."""
        return self.coco.ap

    @property
    def ap50(self) -> float:
        """AP at IoU 0.50, 0 to 1."""
        return self.coco.ap50

    def per_class(self) -> list[dict[str, Any]]:
        """One row a class: name, labels, AP by IoU and size; precision, recall, best F1."""
        best = self.curves.best
        columns = {
            "ap": self.coco.class_ap,
            "ap50": self.coco.class_ap50,
            "ap75": self.coco.class_ap75,
            "ap_small": self.coco.class_sizes[:, 0],
            "ap_medium": self.coco.class_sizes[:, 1],
            "ap_large": self.coco.class_sizes[:, 2],
            "precision": self.curves.precision[:, best],
            "recall": self.curves.recall[:, best],
            "f1": self.curves.f1[:, best],
        }
        labels = self.confusion[:-1].sum(axis=1)
        return [
            {"name": name, "labels": int(labels[c])}
            | {key: float(values[c]) for key, values in columns.items()}
            for c, name in enumerate(self.names)
        ]

    def to_dict(self) -> dict[str, Any]:
        """All figures as plain values for JSON; what could not be measured is None."""
        coco = self.coco
        keys = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar100")
        return {
            "images": self.images,
            "boxes": self.boxes,
            **{key: _known(getattr(coco, key)) for key in keys},
            "best_confidence": float(self.curves.confidence[self.curves.best]),
            "classes": [{k: _known(v) for k, v in row.items()} for row in self.per_class()],
            "confusion": self.confusion.tolist(),
            "settings": self.settings,
            "seconds": self.seconds,
            "notes": self.notes,
        }


def evaluate(
    infer: Infer | Backend,
    dataset: DetectionDataset,
    *,
    size: int | None = None,
    rectangular: bool = True,
    conf: float = 0.001,
    iou: float = 0.65,
    max_det: int = 300,
    batch: int = 16,
    stride: int = 32,
    scaled_decode: bool = False,
    class_map: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> EvaluationResult:
    """Detect in every image of a data set and compare with its labels.

    The defaults are the protocol of the authors (spec): images sorted by aspect ratio, the long
    side resized to `size` (by area when it shrinks), a batch's canvas half a stride larger than
    needed, many labels a box, detections at very low confidence. A graph of fixed size gets
    square letterboxes of its size.

    Args:
        infer: a backend, or a function from a float32 batch to boxes and scores (`Infer`).
        dataset: images and labels; its classes go by name, in the order of the backend's.
        size: the long side, pixels; None is the backend's input size, 640 for a function.
        rectangular: smallest canvases; False is square ones.
        conf: detections score more than this.
        iou: overlap above which NMS drops the lesser box.
        max_det: detections kept of an image.
        batch: images of a batch; a graph with a fixed batch gets that.
        stride: the network's largest stride; a backend's own is taken when it has a spec.
        scaled_decode: as `Detector`'s, to see what it costs here.
        class_map: the backend's name of a class -> the data set's, where they differ. Classes that
            the data set does not have are ignored, and named in the result's notes.
        progress: called with (images done, all images) after each batch.

    Raises:
        SettingError: a threshold or size outside its range.
        DatasetError: there are no images, or they show a class that the backend does not know.
        ImageError: an image cannot be read.
        MissingExtraError: faster-coco-eval is not installed.
    """
    check_thresholds(conf, iou, max_det)
    if not len(dataset):
        raise DatasetError("there are no images to evaluate on")
    spec: ModelSpec | None = getattr(infer, "spec", None)
    shared = None
    if spec is not None:
        shared, dataset = share_classes(spec.names, dataset, class_map)
    elif class_map:
        raise SettingError("class_map needs a backend, whose classes have names")
    canvases = _Canvases.of(spec, size, rectangular, stride)
    fixed_batch = spec.batch if spec is not None else None
    batch = fixed_batch or batch
    if batch < 1:
        raise SettingError(f"batch must be at least 1, got {batch}")
    run = _Runner(infer, spec, conf, iou, max_det, fixed_batch, shared)
    batches = _batches(dataset, canvases, batch, scaled_decode)
    predictions, seconds = _detect(run, batches, len(dataset), progress)
    return EvaluationResult(
        names=dataset.names,
        images=len(dataset),
        boxes=dataset.report.boxes,
        coco=coco_metrics(dataset, predictions),
        curves=confidence_curves(dataset, predictions),
        confusion=confusion_matrix(dataset, predictions),
        predictions=predictions,
        settings={
            "size": canvases.size,
            "rectangular": canvases.rectangular,
            "conf": conf,
            "iou": iou,
            "max_det": max_det,
            "batch": batch,
            "scaled_decode": scaled_decode,
        },
        seconds=seconds,
        dataset=dataset,
        notes=shared.notes() if shared is not None else [],
    )


def _detect(
    run: _Runner,
    batches: Iterable[tuple[list[int], list[Letterbox], NDArray[np.uint8]]],
    count: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[list[Prediction], dict[str, float]]:
    """Predictions in the data set's order, and the seconds that the parts of the work took."""
    found: dict[int, Prediction] = {}
    seconds = {"load": 0.0, "infer": 0.0, "nms": 0.0}
    clock = time.perf_counter()
    for indices, plans, pixels in batches:
        seconds["load"] += time.perf_counter() - clock
        found.update(zip(indices, run(pixels, plans, seconds), strict=True))
        if progress is not None:
            progress(len(found), count)
        clock = time.perf_counter()
    return [found[index] for index in range(count)], seconds


@dataclass(frozen=True)
class _Canvases:
    """Where the images of a batch are put. `size` is the long side, or a fixed (height, width)."""

    size: int | tuple[int, int]
    rectangular: bool
    stride: int

    @classmethod
    def of(
        cls, spec: ModelSpec | None, size: int | None, rectangular: bool, stride: int
    ) -> _Canvases:
        if spec is None:
            size = size or 640
        else:
            stride = spec.max_stride
            if not spec.dynamic_size:
                if size not in (None, *spec.input_size):
                    raise SettingError(
                        f"the graph has the fixed size {spec.input_size}; size {size} needs one "
                        "with dynamic size"
                    )
                return cls(spec.input_size, False, stride)
            size = size or max(spec.input_size)
        if size < stride or size % stride:
            low = max(size // stride, 1) * stride
            raise SettingError(
                f"size {size} is no multiple of the stride {stride}; {low} and {low + stride} are"
            )
        return cls(size, rectangular, stride)

    def plans(self, sizes: NDArray[np.int32]) -> list[Letterbox]:
        """One plan for each image (height, width) of a batch; all have one canvas."""
        sources = [(int(h), int(w)) for h, w in sizes]
        if isinstance(self.size, tuple):
            return [letterbox_plan(s, self.size, stride=self.stride) for s in sources]
        if not self.rectangular:
            square = (self.size, self.size)
            return [letterbox_plan(s, square, stride=self.stride) for s in sources]
        long = self.size
        plans = [letterbox_plan(s, (long, long), stride=self.stride) for s in sources]
        tallest, widest = np.array([[long * n / max(s) for n in s] for s in sources]).max(axis=0)
        canvas = (self._padded(tallest), self._padded(widest))
        return [place(plan.source, plan.resized, canvas) for plan in plans]

    def _padded(self, side: float) -> int:
        """The authors' rule (spec): half a stride more than needed, rounded up to a stride."""
        return math.ceil(side / self.stride + 0.5) * self.stride


def _batches(
    dataset: DetectionDataset, canvases: _Canvases, batch: int, scaled: bool
) -> Iterator[tuple[list[int], list[Letterbox], NDArray[np.uint8]]]:
    """Indices, plans and BGR canvases uint8 [B, H, W, 3]; read one batch ahead in threads."""
    order = np.argsort(dataset.sizes[:, 0] / dataset.sizes[:, 1], kind="stable").tolist()
    parts = [order[i : i + batch] for i in range(0, len(order), batch)]

    def fill(index: int, plan: Letterbox, out: NDArray[np.uint8]) -> None:
        path = dataset.images[index]
        image = read_scaled(path, plan.resized)[0] if scaled else read_image(path)
        letterbox(image, plan, out=out, area=True)

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


class _Runner:
    """From canvases to predictions in the images' own pixels."""

    def __init__(
        self,
        infer: Infer | Backend,
        spec: ModelSpec | None,
        conf: float,
        iou: float,
        max_det: int,
        fixed_batch: int | None,
        shared: SharedClasses | None,
    ) -> None:
        self._infer: Any = getattr(infer, "infer", infer)
        self._form = spec.contract.input if spec is not None else float_input()
        # A graph that ends in NMS has done it; its boxes only need sorting.
        self._iou = 1.0 if spec is not None and spec.contract.output.suppressed else iou
        self._conf, self._max_det = conf, max_det
        self._batch = fixed_batch
        self._shared = shared

    def __call__(
        self, pixels: NDArray[np.uint8], plans: Sequence[Letterbox], seconds: dict[str, float]
    ) -> list[Prediction]:
        """One prediction for each plan; adds to seconds["infer"] and seconds["nms"]."""
        begin = time.perf_counter()
        images = to_input(pixels, self._form, bgr=True)
        if self._batch is not None and len(images) < self._batch:
            images = np.resize(images, (self._batch, *images.shape[1:]))  # repeats; cut off below
        outputs = Outputs(*self._infer(images))
        middle = time.perf_counter()
        result = []
        options: dict[str, Any] = {"conf": self._conf, "iou": self._iou, "max_det": self._max_det}
        for row, plan in enumerate(plans):
            boxes, scores, class_ids = _row(outputs, row, self._shared)
            if class_ids is None:
                kept = nms(boxes, scores, multi_label=True, **options)
            else:
                kept = suppress(boxes, scores, class_ids, **options)
            result.append(Prediction(plan.to_source(kept[0]), kept[1], kept[2]))
        seconds["infer"] += middle - begin
        seconds["nms"] += time.perf_counter() - middle
        return result


def _row(outputs: Outputs, row: int, shared: SharedClasses | None) -> tuple[Any, Any, Any]:
    """Boxes, scores and class ids of one image of a batch, in the classes that are measured."""
    if shared is not None and not shared.same:
        return shared.select(outputs, row)
    ids = outputs.class_ids
    return outputs.boxes[row], outputs.scores[row], None if ids is None else ids[row]


def print_result(result: EvaluationResult, console: Console | None = None) -> None:
    """Print the figures as a table: all classes together first, then each."""
    from rich.console import Console
    from rich.table import Table

    coco, curves = result.coco, result.curves
    table = Table(title=f"{result.images} images, {result.boxes} boxes")
    table.add_column("class")
    for name in ("labels", "AP50-95", "AP50", "AP75", "P", "R", "F1"):
        table.add_column(name, justify="right")
    best = curves.best
    means = [
        _shown(_nanmean(values[:, best])) for values in (curves.precision, curves.recall, curves.f1)
    ]
    figures = [_shown(value) for value in (coco.ap, coco.ap50, coco.ap75)]
    table.add_row("all", str(result.boxes), *figures, *means, style="bold", end_section=True)
    for row in result.per_class():
        shown = [_shown(row[key]) for key in ("ap", "ap50", "ap75", "precision", "recall", "f1")]
        table.add_row(row["name"], str(row["labels"]), *shown)
    sizes = ", ".join(
        f"{name} {_shown(value)}"
        for name, value in (
            ("small", coco.ap_small),
            ("medium", coco.ap_medium),
            ("large", coco.ap_large),
        )
    )
    console = console or Console(markup=False)
    console.print(table)
    console.print(
        f"AP50-95 of {sizes}; AR100 {_shown(coco.ar100)}; P, R and F1 at confidence "
        f"{curves.confidence[best]:.3f}, where F1 is best"
    )


def _known(value: Any) -> Any:
    """None for NaN, which JSON does not have."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _shown(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _nanmean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
