"""The accuracy of anything that detects: any backend on any artefact, or a model in training.

result = evaluate(load_backend("model.onnx"), load_dataset("data.yaml", "val"), size=640)
result.ap, result.ap50
print_result(result)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from yolov4sdk.backends.base import Backend
from yolov4sdk.datasets import DetectionDataset
from yolov4sdk.errors import DatasetError, SettingError
from yolov4sdk.measure.classes import share_classes
from yolov4sdk.measure.metrics import (
    CocoMetrics,
    Curves,
    Ints,
    Prediction,
    coco_metrics,
    confidence_curves,
    confusion_matrix,
)
from yolov4sdk.measure.predict import Canvases, function_contract, predict
from yolov4sdk.pipeline import Pipeline
from yolov4sdk.results.thresholds import Thresholds

if TYPE_CHECKING:
    from rich.console import Console

    from yolov4sdk.contract.spec import ModelSpec

IOU: Final = 0.65
"""The authors' overlap."""
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
    iou: float | None = None,
    max_det: int = 300,
    batch: int = 16,
    stride: int = 32,
    scaled_decode: bool = False,
    class_map: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> EvaluationResult:
    """Detect in every image of a data set and compare with its labels.

    The defaults are the protocol of the authors: images sorted by aspect ratio, the long
    side resized to `size` (by area when it shrinks), a batch's canvas half a stride larger than
    needed, many labels a box, detections at very low confidence. A graph of fixed size gets
    square letterboxes of its size.

    Args:
        infer: a backend, or a function from a float32 batch to boxes and scores (`Infer`).
        dataset: images and labels; its classes go by name, in the order of the backend's.
        size: the long side, pixels; None is the backend's input size, 640 for a function.
        rectangular: smallest canvases; False is square ones.
        conf: detections score more than this.
        iou: overlap above which NMS drops the lesser box; None is 0.65. A graph that suppresses
            boxes itself takes none.
        max_det: detections kept of an image.
        batch: images of a batch; a graph with a fixed batch gets that.
        stride: the network's largest stride; a backend's own is taken when it has a spec.
        scaled_decode: as `Detector`'s, to see what it costs here.
        class_map: the backend's name of a class -> the data set's, where they differ. Classes that
            the data set does not have are ignored, and named in the result's notes.
        progress: called with (images done, all images) after each batch.

    Raises:
        SettingError: a threshold or size outside its range, or without effect on the graph.
        DatasetError: there are no images, or they show a class that the backend does not know.
        ImageError: an image cannot be read.
        MissingExtraError: faster-coco-eval is not installed.
    """
    if not len(dataset):
        raise DatasetError("there are no images to evaluate on")
    spec: ModelSpec | None = getattr(infer, "spec", None)
    shared = None
    if spec is not None:
        shared, dataset = share_classes(spec.names, dataset, class_map)
    elif class_map:
        raise SettingError("class_map needs a backend, whose classes have names")
    contract = spec.contract if spec is not None else function_contract(size, stride)
    if iou is None and not contract.output.suppressed:
        iou = IOU
    per_class = contract.output.per_class
    thresholds = Thresholds(conf, iou, max_det, multi_label=per_class).resolved((), contract.output)
    canvases = Canvases.of(Pipeline(contract, infer, average=True), size, rectangular)
    batch = contract.batch or batch
    if batch < 1:
        raise SettingError(f"batch must be at least 1, got {batch}")
    predictions, seconds = predict(
        canvases, dataset, thresholds, batch, scaled_decode, shared, progress
    )
    settings = {
        "size": canvases.size, "rectangular": canvases.rectangular, "conf": conf, "iou": iou,
        "max_det": max_det, "batch": batch, "scaled_decode": scaled_decode,
    }  # fmt: skip
    notes = shared.notes() if shared is not None else []
    return _measured(dataset, predictions, settings, seconds, notes)


def _measured(
    dataset: DetectionDataset,
    predictions: list[Prediction],
    settings: dict[str, Any],
    seconds: dict[str, float],
    notes: list[str],
) -> EvaluationResult:
    return EvaluationResult(
        names=dataset.names,
        images=len(dataset),
        boxes=dataset.report.boxes,
        coco=coco_metrics(dataset, predictions),
        curves=confidence_curves(dataset, predictions),
        confusion=confusion_matrix(dataset, predictions),
        predictions=predictions,
        settings=settings,
        seconds=seconds,
        dataset=dataset,
        notes=notes,
    )


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
