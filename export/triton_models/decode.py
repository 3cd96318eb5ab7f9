"""The first step of the ensemble: an encoded image -> letterboxed pixels and their geometry."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from yolov4sdk.contract.spec import METADATA_KEY, ModelSpec
from yolov4sdk.errors import ImageError
from yolov4sdk.imaging.images import decode
from yolov4sdk.imaging.preprocess import letterbox, letterbox_plan, to_input


class TritonPythonModel:
    """image [B, 1] bytes -> images [B, 3, H, W] and geometry [B, 8] int32 (a `Letterbox`)."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the spec from the configuration."""
        parameters = json.loads(args["model_config"])["parameters"]
        self.spec = ModelSpec.from_json(parameters[METADATA_KEY]["string_value"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Each request alone: an image that is broken fails its own request."""
        return [self._respond(request) for request in requests]

    def _respond(self, request: Any) -> Any:
        encoded = pb_utils.get_input_tensor_by_name(request, "image").as_numpy().ravel()
        canvases = np.empty((len(encoded), *self.spec.input_size, 3), np.uint8)
        geometry = np.empty((len(encoded), 8), np.int32)
        try:
            for i, data in enumerate(encoded):
                image = decode(bytes(data), f"image {i} of the request")
                source = (image.shape[0], image.shape[1])
                plan = letterbox_plan(source, self.spec.input_size, stride=self.spec.max_stride)
                letterbox(image, plan, canvases[i])
                geometry[i] = (*plan.source, *plan.resized, *plan.pad, *plan.canvas)
        except ImageError as error:
            wrong = pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
            return pb_utils.InferenceResponse(error=wrong)
        images = to_input(canvases, self.spec.contract.input, bgr=True)
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor("images", images), pb_utils.Tensor("geometry", geometry)]
        )
