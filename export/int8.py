"""INT8 by post-training quantisation: methods compared, the best one judged by mAP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from yolov4sdk.backends import Backend, load_backend
from yolov4sdk.datasets import DetectionDataset, load_dataset
from yolov4sdk.errors import VerificationError
from yolov4sdk.evaluation import evaluate
from yolov4sdk.spec import ModelSpec
from yolov4sdk.verify import Agreement, compare_artefacts

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


def quantiser(engine: str) -> ModuleType:
    """The module that quantises an engine's files.

    Raises:
        MissingExtraError: its library is not installed.
    """
    return import_module(f".{MODULES[engine]}", __package__)


def prepare(
    engine: str, int8: Int8Options, spec: ModelSpec
) -> Callable[[Path, Path], tuple[tuple[Path, ...], Quantisation, tuple[Path, ...]]]:
    """Find images, labels and libraries, so that what is missing is told before any work.

    Args:
        engine: "onnx" or "openvino".
        int8: the options.
        spec: of the file that will be written.

    Returns:
        quantise(float file, folder) -> the files written into the folder (named as the float
        file), how they were made, and the held-out images.

    Raises:
        SettingError: there are no images.
        DatasetError: a data set cannot be read, or has classes that the model does not know.
        MissingExtraError: the quantiser is not installed.
    """
    module = quantiser(engine)
    calibration = CalibrationSet.of(int8.calibration, int8.split, spec)
    labelled = None
    if int8.val_data is not None:
        labelled = load_dataset(int8.val_data, int8.val_split).with_names(spec.names)

    def quantise(source: Path, folder: Path) -> tuple[tuple[Path, ...], Quantisation, Any]:
        options = {"qdq": int8.qdq} if engine == "onnx" else {}
        written: dict[str, tuple[Path, ...]] = {}
        candidates: dict[str, Agreement] = {}
        for method in module.METHODS:
            target = folder / method / source.name
            target.parent.mkdir(parents=True)
            files = module.quantise(source, target, calibration, method, spec, **options)
            written[method] = files
            (candidates[method],) = compare_artefacts([source, files[-1]], calibration.held_out)
        best = min(candidates, key=lambda name: badness(candidates[name]))
        before, after = (
            (None, None)
            if labelled is None
            else judge(source, written[best][-1], labelled, int8.max_drop)
        )
        made = Quantisation(best, candidates, len(calibration.images), before, after)
        return written[best], made, calibration.held_out

    return quantise


def badness(found: Agreement) -> tuple[float, float]:
    """Lower is better: lost and added detections first, then the scores. NaN is worst."""
    broken = not found.scores_mean < float("inf")
    return (float("inf") if broken else 1 - found.matched, found.scores_mean)


def judge(
    source: Path, quantised: Path, dataset: DetectionDataset, max_drop: float
) -> tuple[float, float]:
    """AP50-95 of both files in points of 100.

    Raises:
        VerificationError: more than `max_drop` points are lost.
    """
    with load_backend(source, device="cpu") as backend:
        before = average_precision(backend, dataset)
    with load_backend(quantised, device="cpu") as backend:
        after = average_precision(backend, dataset)
    if not before - after <= max_drop:
        raise VerificationError(
            f"{quantised.name}: INT8 takes AP50-95 from {before:.2f} to {after:.2f} on "
            f"{len(dataset)} images, a loss of {before - after:.2f} where {max_drop:g} is allowed. "
            "The file was not kept. Calibrate with more images of the kind that it will see, or "
            "allow more with --max-drop"
        )
    return before, after


def average_precision(backend: Backend, dataset: DetectionDataset) -> float:
    """AP50-95 in points of 100, on square canvases, which every graph takes."""
    return 100 * evaluate(backend, dataset, rectangular=False, batch=4).ap
