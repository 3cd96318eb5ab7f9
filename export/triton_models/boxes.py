"""The last step of the ensemble: what the network gave -> final boxes in pixels of the image."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from yolov4sdk.contract.spec import STEP_KEY, ModelSpec
from yolov4sdk.conventions import Outputs
from yolov4sdk.imaging.preprocess import Letterbox
from yolov4sdk.pipeline import Pipeline
from yolov4sdk.results.thresholds import Thresholds

OUTPUTS = ("boxes", "scores", "class_ids", "count")


class TritonPythonModel:
    """NMS and the way back; rows behind `count` are unused: score 0, class id -1."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the spec and the thresholds from the configuration."""
        parameters = json.loads(args["model_config"])["parameters"]
        texts = {name: value["string_value"] for name, value in parameters.items()}
        spec = ModelSpec.from_json(texts[STEP_KEY]).decoded()
        output = spec.contract.output
        iou = None if output.suppressed else float(texts["iou"])
        self.max_det = int(texts["max_det"])
        chosen = Thresholds(conf=float(texts["conf"]), iou=iou, max_det=self.max_det)
        self.thresholds = chosen.resolved(spec.names, output)
        self.pipeline = Pipeline(spec.contract)

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response a request, of as many rows as its images."""
        return [self._respond(request) for request in requests]

    def _respond(self, request: Any) -> Any:
        def tensor(name: str) -> Any:
            found = pb_utils.get_input_tensor_by_name(request, name)
            return None if found is None else found.as_numpy()

        outputs = Outputs(tensor("raw_boxes"), tensor("raw_scores"), tensor("raw_ids"))
        geometry = tensor("geometry")
        batch = len(geometry)
        boxes = np.zeros((batch, self.max_det, 4), np.float32)
        scores = np.zeros((batch, self.max_det), np.float32)
        class_ids = np.full((batch, self.max_det), -1, np.int64)
        count = np.zeros((batch, 1), np.int32)
        for i in range(batch):
            sizes = geometry[i].reshape(4, 2).tolist()
            plan = Letterbox(*((height, width) for height, width in sizes))
            kept = self.pipeline.finish(outputs, i, plan, self.thresholds)
            n = count[i, 0] = len(kept[1])
            boxes[i, :n], scores[i, :n], class_ids[i, :n] = kept
        values = (boxes, scores, class_ids, count)
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, value) for name, value in zip(OUTPUTS, values, strict=True)]
        )
