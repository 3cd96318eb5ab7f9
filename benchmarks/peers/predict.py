"""ultralytics' predict on an ONNX file beside our Detector on one of like size.

    python predict.py export MODEL SIZE FOLDER
    python predict.py run THEIRS.onnx OURS.onnx IMAGE SIZE ROUNDS

The last line is JSON. Both run ONNX Runtime on the CPU, batch 1, with the same thresholds.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

os.environ.update(YOLO_AUTOINSTALL="false", YOLO_OFFLINE="true", YOLO_VERBOSE="false")
IOU, MOST, CANDIDATES = 0.45, 300, 100


def export(model: str, size: int, folder: Path) -> dict[str, Any]:
    """Write FOLDER/MODEL.onnx with random weights."""
    import ultralytics

    os.chdir(folder)
    written = ultralytics.YOLO(f"{model}.yaml").export(format="onnx", imgsz=size, device="cpu")
    path = folder / f"{model}.onnx"
    if Path(written).resolve() != path.resolve():
        shutil.move(written, path)
    return {"file": str(path)}


class Timed:
    """A backend that tells how long its last run took."""

    def __init__(self, backend: Any) -> None:
        self.backend, self.seconds = backend, 0.0
        self.outputs: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def infer(self, batch: Any) -> Any:
        """As the backend's."""
        started = time.perf_counter()
        self.outputs = self.backend.infer(batch)
        self.seconds = time.perf_counter() - started
        return self.outputs


def threshold(scores: Any) -> float:
    """The confidence that CANDIDATES rows of [N, classes] exceed: random weights have no idea."""
    best = scores.max(axis=1)
    best.partition(len(best) - CANDIDATES)
    return float(best[-CANDIDATES])


def run(theirs: str, ours: str, image: str, size: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of each round of both, in turn."""
    import numpy as np
    import onnxruntime
    import ultralytics

    from yolov4sdk import Detector
    from yolov4sdk.backends import load_backend
    from yolov4sdk.images import read_image
    from yolov4sdk.postprocess import nms
    from yolov4sdk.preprocess import letterbox, letterbox_plan, to_input

    backend = Timed(load_backend(ours, "onnxruntime", "cpu"))
    pixels = read_image(image)
    plan = letterbox_plan(pixels.shape[:2], (size, size))
    canvas = np.empty((1, size, size, 3), np.uint8)
    ready = np.empty((1, 3, size, size), np.float32)
    to_input(letterbox(pixels, plan, canvas[0])[None], "float_nchw", bgr=True, out=ready)
    conf = threshold(backend.infer(ready).scores[0])
    detector = Detector(backend, conf=conf, iou=IOU, max_det=MOST)
    session = onnxruntime.InferenceSession(theirs, providers=["CPUExecutionProvider"])
    (rows,) = session.run(None, {"images": ready})  # [1, 4 + classes, N]
    their_conf = threshold(np.ascontiguousarray(rows[0, 4:].T))
    del session
    peer = ultralytics.YOLO(theirs, task="detect")
    options = {"imgsz": size, "conf": their_conf, "iou": IOU, "max_det": MOST, "device": "cpu"}
    names = ("preprocess", "network", "postprocess", "whole")
    found: dict[str, dict[str, list[float]]] = {
        who: {name: [] for name in names} for who in ("ours", "peer")
    }
    for counted in range(-2, rounds):
        started = time.perf_counter()
        result = peer.predict(image, verbose=False, **options)[0]
        whole = time.perf_counter() - started
        speed = result.speed
        values: dict[str, tuple[float, ...]] = {
            "peer": (speed["preprocess"], speed["inference"], speed["postprocess"], 1e3 * whole)
        }
        started = time.perf_counter()
        detector(image)
        whole, network = time.perf_counter() - started, backend.seconds
        started = time.perf_counter()
        letterbox(pixels, plan, canvas[0])
        to_input(canvas, "float_nchw", bgr=True, out=ready)
        before = time.perf_counter() - started
        started = time.perf_counter()
        boxes, _, _ = nms(
            backend.outputs.boxes[0], backend.outputs.scores[0], conf=conf, iou=IOU, max_det=MOST
        )
        plan.to_source(boxes)
        after = time.perf_counter() - started
        values["ours"] = tuple(1e3 * s for s in (before, network, after, whole))
        if counted >= 0:
            for who, ms in values.items():
                for name, value in zip(names, ms, strict=True):
                    found[who][name].append(value)
    return {**found, "version": ultralytics.__version__}


if __name__ == "__main__":
    if sys.argv[1] == "export":
        answer = export(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
    else:
        theirs, ours, image = sys.argv[2:5]
        answer = run(theirs, ours, image, int(sys.argv[5]), int(sys.argv[6]))
    print(json.dumps(answer))
