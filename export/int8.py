"""INT8 by post-training quantisation: methods compared, the best one judged by mAP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from yolov4sdk.backends import Backend, load_backend
from yolov4sdk.contract.spec import ModelSpec
from yolov4sdk.datasets import DetectionDataset, load_dataset
from yolov4sdk.errors import VerificationError
from yolov4sdk.measure.classes import parse_map, share_classes
from yolov4sdk.measure.evaluation import evaluate
from yolov4sdk.measure.verify import Agreement, compare_artefacts

from .calibration import CalibrationSet
from .options import Int8Options

MODULES: Final = {"onnx": "int8_onnx", "openvino": "int8_openvino"}


@dataclass(frozen=True)
class Quantisation:
    """How a file was quantised.

    Attributes:
        method: of finding the ranges, the best of `candidates`.
        candidates: each method's agreement with the float file on the held-out images.
        calibrated_on: number of images the ranges were collected on.
        ap_before, ap_after: AP50-95 of the float and of the quantised file, in points of 100;
            None where no labelled data was given.
    """

    method: str
    candidates: dict[str, Agreement]
    calibrated_on: int
    ap_before: float | None = None
    ap_after: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "method": self.method,
            "candidates": {name: found.to_dict() for name, found in self.candidates.items()},
            "calibrated_on": self.calibrated_on,
            "ap_before": self.ap_before,
            "ap_after": self.ap_after,
        }


def library(engine: str) -> ModuleType:
    """The module that quantises an engine's files.

    Raises:
        MissingExtraError: its library is not installed.
    """
    return import_module(f".{MODULES[engine]}", __package__)


class Quantiser:
    """Quantises one float file; what it needs is looked for when it is made, before any work.

    Args:
        engine: "onnx" or "openvino".
        int8: the options.
        spec: of the file that will be written.

    Raises:
        SettingError: there are no images to calibrate with.
        DatasetError: a data set cannot be read, or has classes that the model does not know.
        MissingExtraError: the library is not installed.
    """

    def __init__(self, engine: str, int8: Int8Options, spec: ModelSpec) -> None:
        self._module = library(engine)
        self._options = {"qdq": int8.qdq} if engine == "onnx" else {}
        self._spec, self._max_drop = spec, int8.max_drop
        self.calibration = CalibrationSet.of(
            int8.calibration, int8.split, spec, int8.calibration_images
        )
        self._labelled: DetectionDataset | None = None
        self._class_map = parse_map(int8.class_map)
        if int8.val_data is not None:
            self._labelled = load_dataset(int8.val_data, int8.val_split)
            share_classes(spec.names, self._labelled, self._class_map)  # refused now, not later

    def write(self, source: Path, folder: Path) -> tuple[tuple[Path, ...], Quantisation]:
        """Try every method and keep the best.

        Args:
            source: the float file.
            folder: gets a folder for each method, with files named as the source is.

        Returns:
            The best method's files, the main one last, and how they were made.

        Raises:
            ExportError: the library refused the file.
            VerificationError: more AP than allowed is lost.
        """
        written: dict[str, tuple[Path, ...]] = {}
        candidates: dict[str, Agreement] = {}
        images = self.calibration.held_out
        for method in self._module.METHODS:
            target = folder / method / source.name
            target.parent.mkdir(parents=True)
            written[method] = self._module.quantise(
                source, target, self.calibration, method, self._spec, **self._options
            )
            (candidates[method],) = compare_artefacts([source, written[method][-1]], images)
        best = min(candidates, key=lambda name: badness(candidates[name]))
        made = Quantisation(best, candidates, len(self.calibration.images))
        if self._labelled is not None:
            before, after = judge(
                source, written[best][-1], self._labelled, self._max_drop, self._class_map
            )
            made = replace(made, ap_before=before, ap_after=after)
        return written[best], made


def badness(found: Agreement) -> tuple[float, float]:
    """Lower is better: lost and added detections first, then the scores. NaN is worst."""
    broken = not found.scores_mean < float("inf")
    return (float("inf") if broken else 1 - found.matched, found.scores_mean)


def judge(
    source: Path,
    quantised: Path,
    dataset: DetectionDataset,
    max_drop: float,
    class_map: Mapping[str, str] | None = None,
) -> tuple[float, float]:
    """AP50-95 of both files in points of 100.

    Raises:
        VerificationError: more than `max_drop` points are lost.
    """
    with load_backend(source, device="cpu") as backend:
        before = average_precision(backend, dataset, class_map)
    with load_backend(quantised, device="cpu") as backend:
        after = average_precision(backend, dataset, class_map)
    if not before - after <= max_drop:
        raise VerificationError(
            f"{quantised.name}: INT8 takes AP50-95 from {before:.2f} to {after:.2f} on "
            f"{len(dataset)} images, a loss of {before - after:.2f} where {max_drop:g} is allowed. "
            "The file was not kept. Calibrate with more images of the kind that it will see, or "
            "allow more with --max-drop"
        )
    return before, after


def average_precision(
    backend: Backend, dataset: DetectionDataset, class_map: Mapping[str, str] | None = None
) -> float:
    """AP50-95 in points of 100, on square canvases, which every graph takes."""
    return 100 * evaluate(backend, dataset, rectangular=False, batch=4, class_map=class_map).ap
