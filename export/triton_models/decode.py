"""The first step of the ensemble: an encoded image -> letterboxed pixels and their geometry."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from yolov4sdk.contract.spec import STEP_KEY, ModelSpec
from yolov4sdk.errors import ImageError
from yolov4sdk.imaging.images import decode
from yolov4sdk.pipeline import Pipeline


class TritonPythonModel:
    """image [B, 1] bytes -> images [B, 3, H, W] and geometry [B, 8] int32 (a `Letterbox`)."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the spec from the configuration."""
        parameters = json.loads(args["model_config"])["parameters"]
        spec = ModelSpec.from_json(parameters[STEP_KEY]["string_value"]).decoded()
        self.pipeline = Pipeline(spec.contract)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Each request by itself: an image that is broken fails its own request."""
        return [self._respond(request) for request in requests]

    def _respond(self, request: Any) -> Any:
        encoded = pb_utils.get_input_tensor_by_name(request, "image").as_numpy().ravel()
        images, plans = [], []
        geometry = np.empty((len(encoded), 8), np.int32)
        try:
            for i, data in enumerate(encoded):
                image = decode(bytes(data), f"image {i} of the request")
                plan = self.pipeline.plan((image.shape[0], image.shape[1]))
                images.append(image)
                plans.append(plan)
                geometry[i] = (*plan.source, *plan.resized, *plan.pad, *plan.canvas)
        except ImageError as error:
            wrong = pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
            return pb_utils.InferenceResponse(error=wrong)
        tensor = pb_utils.Tensor("images", self.pipeline.prepare(images, plans).copy())
        return pb_utils.InferenceResponse([tensor, pb_utils.Tensor("geometry", geometry)])
