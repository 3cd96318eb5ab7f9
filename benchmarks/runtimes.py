"""One run of an ONNX or OpenVINO file without the SDK around it, as the benchmarks time it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from yolov4sdk.system.cpu import available_cpus

Run = Callable[[], Any]


def ort_run(path: Path, images: np.ndarray) -> Run:
    """ONNX Runtime with its default optimisations, told the batch before it plans."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_cpus()
    options.add_free_dimension_override_by_name("batch", len(images))
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"images": images})


def openvino_run(core: Any, path: Path, images: np.ndarray, precision: str) -> Run:
    """OpenVINO for the least latency in a stated precision, told the batch before it compiles."""
    graph = core.read_model(path)
    graph.reshape({graph.inputs[0].get_any_name(): list(images.shape)})
    hints = {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": available_cpus(),
    }
    request = core.compile_model(graph, "CPU", hints).create_infer_request()
    return lambda: request.infer({0: images}, share_inputs=True)
