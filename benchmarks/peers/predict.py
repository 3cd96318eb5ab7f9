"""ultralytics' predict on an ONNX file beside our Detector on some of like size.

    python predict.py export MODEL SIZE FOLDER
    python predict.py run THEIRS.onnx IMAGE SIZE ROUNDS OURS.onnx...

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
PAUSE = 0.05  # seconds, in which the threads of a run stop spinning


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
    """The confidence that CANDIDATES of the rows exceed: random weights have no idea."""
    import numpy as np

    best = scores if scores.ndim == 1 else scores.max(axis=1)
    return float(np.partition(best, -CANDIDATES)[-CANDIDATES])


class Ours:
    """One of our files, its Detector, and its stages alone."""

    def __init__(self, file: str, image: str, size: int) -> None:
        from yolov4sdk import Detector
        from yolov4sdk.backends import load_backend
        from yolov4sdk.imaging.images import read_image
        from yolov4sdk.imaging.preprocess import letterbox_plan

        self.image, self.pixels = image, read_image(image)
        self.backend = Timed(load_backend(file, "onnxruntime", "cpu"))
        self.plan = letterbox_plan(self.pixels.shape[:2], (size, size))
        self.ready: Any = None
        self.conf = threshold(self.backend.infer(self.before()).scores[0])
        self.detector = Detector(self.backend, conf=self.conf, iou=IOU, max_det=MOST)

    def before(self) -> Any:
        """Letterbox and the step to the graph's input."""
        import numpy as np

        from yolov4sdk.imaging.preprocess import letterbox, to_input

        form = self.backend.spec.input_form
        if self.ready is None:
            self.canvas = np.empty((1, *self.plan.canvas, 3), np.uint8)
            self.ready = np.empty((1, 3, *self.plan.canvas), np.float32)
        letterbox(self.pixels, self.plan, self.canvas[0])
        return to_input(self.canvas, form, bgr=True, out=self.ready)

    def after(self) -> None:
        """Suppression of the last outputs, and the way back to the image's pixels."""
        from yolov4sdk.results.postprocess import nms, suppress

        outputs = self.backend.outputs
        boxes, scores = outputs.boxes[0], outputs.scores[0]
        options: dict[str, Any] = {"conf": self.conf, "iou": IOU, "max_det": MOST}
        if outputs.class_ids is None:
            kept = nms(boxes, scores, **options)
        else:
            kept = suppress(boxes, scores, outputs.class_ids[0], **options)
        self.plan.to_source(kept[0])

    def round(self) -> tuple[float, ...]:
        """Milliseconds before, in and after the network, and of a whole call."""
        before = seconds(self.before)
        whole = seconds(lambda: self.detector(self.image))
        time.sleep(PAUSE)
        return tuple(1e3 * s for s in (before, self.backend.seconds, seconds(self.after), whole))


def seconds(run: Any) -> float:
    """Of one call."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def their_threshold(file: str, ready: Any) -> float:
    """As `threshold`, of an ONNX file that gives [1, 4 + classes, N]."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (rows,) = session.run(None, {"images": ready})
    return threshold(rows[0, 4:].T)


def run(theirs: str, image: str, size: int, rounds: int, files: list[str]) -> dict[str, Any]:
    """Milliseconds of each round of all, in turn."""
    import ultralytics

    ours = {file: Ours(file, image, size) for file in files}
    conf = their_threshold(theirs, ours[files[0]].before())
    peer = ultralytics.YOLO(theirs, task="detect")
    options = {"imgsz": size, "conf": conf, "iou": IOU, "max_det": MOST, "device": "cpu"}

    def their_round() -> tuple[float, ...]:
        started = time.perf_counter()
        speed = peer.predict(image, verbose=False, **options)[0].speed
        whole = 1e3 * (time.perf_counter() - started)
        return speed["preprocess"], speed["inference"], speed["postprocess"], whole

    runs = {"peer": their_round, **{file: one.round for file, one in ours.items()}}
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in runs}
    for counted in range(-2, rounds):
        for name, one in runs.items():
            time.sleep(PAUSE)
            values = one()
            if counted >= 0:
                found[name].append(values)
    return {**found, "version": ultralytics.__version__}


if __name__ == "__main__":
    if sys.argv[1] == "export":
        answer = export(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
    else:
        theirs, image = sys.argv[2:4]
        answer = run(theirs, image, int(sys.argv[4]), int(sys.argv[5]), sys.argv[6:])
    print(json.dumps(answer))
