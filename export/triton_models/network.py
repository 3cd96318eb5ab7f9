"""The network in Triton's Python backend: images -> boxes, scores (and class ids)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from yolov4sdk.backends import load_backend
from yolov4sdk.errors import YOLOv4Error


class TritonPythonModel:
    """One instance: a backend of the SDK on the device that Triton assigned."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the file beside this one."""
        folder = Path(args["model_repository"]) / args["model_version"]
        gpu = args["model_instance_kind"] == "GPU"
        device = f"cuda:{args['model_instance_device_id']}" if gpu else "cpu"
        parameters = json.loads(args["model_config"])["parameters"]
        threads = int(parameters.get("threads", {}).get("string_value", 0)) or None
        self.backend = load_backend(folder / "model.onnx", device=device, threads=threads)
        self.spec = self.backend.spec

    def execute(self, requests: list[Any]) -> list[Any]:
        """Requests of one size run together; a wrong one fails by itself."""
        name = self.spec.contract.input.name
        inputs = [pb_utils.get_input_tensor_by_name(r, name).as_numpy() for r in requests]
        responses: list[Any] = [None] * len(requests)
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for i, images in enumerate(inputs):
            by_shape.setdefault(images.shape[1:], []).append(i)
        for group in by_shape.values():
            try:
                outputs = self.backend.infer(np.concatenate([inputs[i] for i in group]))
            except YOLOv4Error as error:
                for i in group:
                    responses[i] = pb_utils.InferenceResponse(
                        error=pb_utils.TritonError(str(error))
                    )
                continue
            start = 0
            for i in group:
                rows = slice(start, start + len(inputs[i]))
                start = rows.stop
                tensors = [
                    pb_utils.Tensor(name, np.ascontiguousarray(values[rows]))
                    for name, values in outputs._asdict().items()
                    if values is not None
                ]
                responses[i] = pb_utils.InferenceResponse(tensors)
        return responses

    def finalize(self) -> None:
        """Give the runtime's memory back."""
        self.backend.close()
