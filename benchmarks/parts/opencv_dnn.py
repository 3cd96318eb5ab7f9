"""OpenCV's own inference with our ONNX file, against ONNX Runtime and OpenVINO."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import openvino

from yolov4sdk.measure.timing import median_ratio

from ..runtimes import openvino_run, ort_run
from ..suite.models import RAW, exported, prepared
from ..suite.result import Cell, Options, Result, Table, Target
from .network import per_run, pictures

CASES = (("yolov4-csp-n", 320), ("yolov4-csp", 640))


def measure(options: Options) -> Result:
    """The same float32 graph of batch 1 in each; the answers are compared."""
    rows: list[list[Cell]] = []
    result = Result()
    for model, size in CASES[:1] if options.quick else CASES:
        files = prepared(model, size, options.cache)
        # OpenCV reads no graph of any batch.
        fixed = exported(files["torch"], replace(RAW, size=(size, size)), "batch1.onnx")
        if options.prepare:
            continue
        images = pictures(size, 1)
        opencv = opencv_run(fixed, images)
        runs = {
            "OpenCV dnn": opencv,
            "ONNX Runtime": ort_run(fixed, images),
            "OpenVINO fp32": openvino_run(openvino.Core(), files["openvino"], images, "f32"),
        }
        apart = max(
            float(np.abs(a - b).max())
            for a, b in zip(
                sorted(opencv(), key=np.size), sorted(runs["ONNX Runtime"](), key=np.size),
                strict=True,
            )
        )  # fmt: skip
        times = per_run(runs, options)
        for name, seconds in times.items():
            ratio = median_ratio(seconds, times["OpenCV dnn"])
            error = apart if name == "OpenCV dnn" else None
            rows.append([f"{model} {size}", name, statistics.median(seconds), ratio, error])
        key, what = f"opencv-{model}", f"{model} {size}, OpenCV dnn's time to ONNX Runtime's"
        value = median_ratio(times["OpenCV dnn"], times["ONNX Runtime"])
        result.targets.append(Target(key, what, value, 1.0, at_least=True))
    columns = {
        "model": "", "runtime": "", "median s": ".4f", "of OpenCV dnn": ".3f",
        "largest difference to ONNX Runtime": ".1e",
    }  # fmt: skip
    result.tables.append(Table("", columns, rows))
    return result


def opencv_run(path: Path, images: np.ndarray) -> Callable[[], list[np.ndarray]]:
    """One inference; returns both outputs."""
    network = cv2.dnn.readNetFromONNX(str(path))
    names = network.getUnconnectedOutLayersNames()

    def run() -> list[np.ndarray]:
        network.setInput(images)
        return [np.asarray(out) for out in network.forward(names)]

    return run
