"""The last step of the ensemble: what the network gave -> final boxes in pixels of the image."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from yolov4sdk.imaging.preprocess import Letterbox
from yolov4sdk.results.postprocess import nms, suppress

OUTPUTS = ("boxes", "scores", "class_ids", "count")


class TritonPythonModel:
    """NMS and the way back; rows behind `count` are unused: score 0, class id -1."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the thresholds from the configuration."""
        parameters = json.loads(args["model_config"])["parameters"]

        def value(name: str) -> float:
            return float(parameters[name]["string_value"])

        self.max_det = int(value("max_det"))
        self.options: dict[str, Any] = {
            "conf": value("conf"), "iou": value("iou"), "max_det": self.max_det,
        }  # fmt: skip

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response a request, of as many rows as its images."""
        return [self._respond(request) for request in requests]

    def _respond(self, request: Any) -> Any:
        def tensor(name: str) -> Any:
            found = pb_utils.get_input_tensor_by_name(request, name)
            return None if found is None else found.as_numpy()

        raw_boxes, raw_scores, raw_ids = (
            tensor("raw_boxes"),
            tensor("raw_scores"),
            tensor("raw_ids"),
        )
        geometry = tensor("geometry")
        batch = len(geometry)
        boxes = np.zeros((batch, self.max_det, 4), np.float32)
        scores = np.zeros((batch, self.max_det), np.float32)
        class_ids = np.full((batch, self.max_det), -1, np.int64)
        count = np.zeros((batch, 1), np.int32)
        for i in range(batch):
            sizes = geometry[i].reshape(4, 2).tolist()
            plan = Letterbox(*((height, width) for height, width in sizes))
            if raw_ids is None:
                xyxy, kept, ids = nms(raw_boxes[i], raw_scores[i], **self.options)
            else:
                xyxy, kept, ids = suppress(raw_boxes[i], raw_scores[i], raw_ids[i], **self.options)
            n = count[i, 0] = len(kept)
            boxes[i, :n], scores[i, :n], class_ids[i, :n] = plan.to_source(xyxy), kept, ids
        values = (boxes, scores, class_ids, count)
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, value) for name, value in zip(OUTPUTS, values, strict=True)]
        )
