"""A file for a consumer, decoded by the consumer's rules, against the model's own detections."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from yolov4sdk.backends.onnxruntime_backend import OnnxRuntimeBackend
from yolov4sdk.contract.spec import ModelSpec
from yolov4sdk.errors import VerificationError
from yolov4sdk.imaging.preprocess import to_input
from yolov4sdk.measure.verify import MATCH_IOU
from yolov4sdk.results.postprocess import box_iou, nms, suppress

from ..check import real_image
from ..plain_graph import PlainGraph
from .base import Consumer, Rows, Wanted

BOX_ERROR: Final = 0.01
"""Pixels: centre and size and back cost digits."""
SCORE_ERROR: Final = 1e-4
"""Runtimes differ in the last bits of exp; OpenVINO is compared with ONNX Runtime."""


@dataclass(frozen=True)
class Agreement:
    """How well a file agrees with its model, on a photograph in the network's size.

    Attributes:
        candidates: boxes above the threshold that were compared: before suppression, or after it
            where the graph suppresses.
        box_error: largest difference of a coordinate, in pixels of the input.
        score_error: of a score.
        detections: after the consumer's suppression.
        own: detections of the model itself with the same thresholds.
        unmatched: of the larger number, those without a partner on the other side.
    """

    candidates: int
    box_error: float
    score_error: float
    detections: int
    own: int
    unmatched: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Own:
    """The model as it is, on a photograph of the network's size.

    Attributes:
        canvas: uint8 BGR [1, H, W, 3].
        rows: boxes that it gives, of any score.
        best: the highest score.
    """

    def __init__(self, source: Path, spec: ModelSpec) -> None:
        height, width = spec.input_size
        photo, _ = real_image(spec.input_size)
        self.canvas = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)[None]
        self._output = spec.contract.output
        with OnnxRuntimeBackend(source, "cpu") as backend:
            self._found = backend.infer(to_input(self.canvas, spec.contract.input, bgr=True))
        self.rows = int(self._found.boxes.shape[1])
        self.best = float(self._found.scores.max(initial=0))

    def above(self, conf: float, iou: float | None, max_det: int) -> Rows:
        """Boxes that score more than `conf`, best first; suppressed unless `iou` is None."""
        boxes, scores, ids = self._found
        options: dict[str, Any] = {
            "conf": conf, "iou": None if self._output.suppressed else iou, "max_det": max_det,
            "agnostic": self._output.suppression == "agnostic",
        }  # fmt: skip
        if ids is None:
            return nms(boxes[0], scores[0], **options)
        return suppress(boxes[0], scores[0], ids[0], **options)


def check(path: Path, row: Consumer, wanted: Wanted, own: Own) -> Agreement:
    """Decode a written file by the consumer's rules and compare.

    Raises:
        VerificationError: other boxes, scores or classes than the model's own.
    """
    raw = _run(path, to_input(own.canvas, wanted.taken, bgr=True))
    # Where nothing is sure, unsure boxes are compared; a graph that suppresses has left them out.
    conf = row.conf if row.suppressed else min(row.conf, own.best / 2)
    found = row.read(raw, replace(wanted, conf=conf))
    limits = (row.iou, row.max_det) if row.suppressed else (None, max(own.rows, 1))
    expected = own.above(conf, *limits)
    box_error, score_error = _errors(expected, found)
    if not (box_error <= BOX_ERROR and score_error <= SCORE_ERROR):
        raise VerificationError(
            f"{path.name}, decoded by the rules of {row.title}, does not say what the model says: "
            f"{len(found[1])} boxes for {len(expected[1])} above {conf:.3g}, largest error "
            f"{box_error:.3g} px and {score_error:.3g} in scores; nothing was kept"
        )
    final = row.suppress(row.read(raw, wanted), wanted)
    ours = own.above(row.conf, row.iou, row.max_det)
    return Agreement(
        len(found[1]), box_error, score_error, len(final[1]), len(ours[1]), _unmatched(ours, final)
    )


def _run(path: Path, batch: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """All outputs by name, in the file's order."""
    if path.suffix == ".xml":
        from yolov4sdk.system.openvino_runtime import openvino_core

        with openvino_core() as core:
            exact = {"INFERENCE_PRECISION_HINT": "f32"}
            request = core.compile_model(path, "CPU", exact).create_infer_request()
            request.infer({0: batch})
            outputs = request.model_outputs
            return {
                output.get_any_name(): request.get_output_tensor(i).data.copy()
                for i, output in enumerate(outputs)
            }
    with PlainGraph(path.read_bytes(), optimised=True) as graph:
        return graph.named(batch)


def _errors(expected: Rows, found: Rows) -> tuple[float, float]:
    """Largest differences, each row beside the nearest of its class; infinite for other counts."""
    if len(expected[1]) != len(found[1]):
        return math.inf, math.inf
    box_error = score_error = 0.0
    free = np.ones(len(found[1]), bool)
    for box, score, label in zip(*expected, strict=True):
        away = np.abs(found[0] - box).max(axis=1)
        away[~free | (found[2] != label) | (np.abs(found[1] - score) > SCORE_ERROR)] = math.inf
        nearest = int(away.argmin())
        free[nearest] = False
        box_error = max(box_error, float(away[nearest]))
        score_error = max(score_error, float(abs(found[1][nearest] - score)))
    return box_error, score_error


def _unmatched(ours: Rows, theirs: Rows) -> int:
    overlap = box_iou(ours[0], theirs[0])
    same = (overlap > MATCH_IOU) & (ours[2][:, None] == theirs[2])
    return max(len(ours[1]), len(theirs[1])) - int(same.any(axis=1).sum())
