"""What the Detector costs beside the network: `python -m benchmarks.overhead`.

A 1280 x 720 JPEG goes through everything but the network (a backend gives recorded outputs at
once): decoding, letterbox, conversion to the input, NMS and the way back to image pixels. Each
part is timed alone as well.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from yolov4sdk import Detector
from yolov4sdk.backends import Outputs
from yolov4sdk.backends.base import ContextManager
from yolov4sdk.contract.names import COCO
from yolov4sdk.contract.spec import ModelSpec
from yolov4sdk.imaging.images import decode
from yolov4sdk.imaging.preprocess import letterbox, letterbox_plan, to_input
from yolov4sdk.measure.timing import alternate, machine
from yolov4sdk.results.postprocess import nms

PHOTOGRAPH = Path(__file__).parent.parent / "examples" / "images" / "dog.jpg"
SIZE = (640, 640)


class Recorded(ContextManager):
    """A backend that gives the same outputs at once."""

    name, device, precision = "recorded", "cpu", "fp32"

    def __init__(self, outputs: Outputs, dynamic: bool) -> None:
        self.outputs = outputs
        anchors = (((10.0, 10.0),),) * 3
        self.spec = ModelSpec(
            "yolov4-csp", COCO, (8, 16, 32), anchors, input_size=SIZE, dynamic_size=dynamic
        )

    def infer(self, batch: np.ndarray) -> Outputs:
        """The recorded outputs."""
        return self.outputs

    def close(self) -> None:
        """Nothing to give back."""


def outputs(objects: int, size: tuple[int, int]) -> Outputs:
    """As a trained network gives them: near zero everywhere, some twenty boxes on each object."""
    rng = np.random.default_rng(0)
    cells = sum(3 * (size[0] // stride) * (size[1] // stride) for stride in (8, 16, 32))
    boxes = rng.uniform(0, 600, (1, cells, 4)).astype(np.float32)
    boxes[..., 2:] = boxes[..., :2] + rng.uniform(8, 40, (1, cells, 2))
    scores = (rng.random((1, cells, 80), np.float32) ** 20) * np.float32(0.1)
    for rows in rng.permutation(cells)[: objects * 20].reshape(objects, 20):
        left, top, width, height = rng.uniform(20, 300, 4)
        corner = np.array([left, top, left + width, top + height])
        boxes[0, rows] = corner + rng.normal(0, 3, (20, 4))
        scores[0, rows, rng.integers(80)] = rng.uniform(0.2, 0.95, 20)
    return Outputs(boxes, scores)


def parts(data: bytes, rectangular: bool) -> dict[str, Callable[[], Any]]:
    """The whole and each part of it, as functions without arguments."""
    image = decode(data)
    plan = letterbox_plan((image.shape[0], image.shape[1]), SIZE, rectangular=rectangular)
    result = outputs(10, plan.canvas)
    canvas = letterbox(image, plan)[None]
    kept = nms(result.boxes[0], result.scores[0])
    detector = Detector(Recorded(result, dynamic=rectangular))
    return {
        "Detector without the network": lambda: detector(data),
        "decode": lambda: decode(data),
        "letterbox": lambda: letterbox(image, plan, canvas[0]),
        "to the network's input": lambda: to_input(canvas, "float_nchw", bgr=True),
        "NMS": lambda: nms(result.boxes[0], result.scores[0]),
        "back to image pixels": lambda: plan.to_source(kept[0]),
    }


def main() -> None:
    """Print a Markdown table of medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    args = parser.parse_args()
    photograph = cv2.resize(cv2.imread(str(PHOTOGRAPH)), (1280, 720))
    data = cv2.imencode(".jpg", photograph, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    print(f"{machine()}; 1280 x 720 JPEG of {len(data) // 1000} KB, 80 classes,")
    print(f"{args.rounds} alternating rounds; medians in ms\n")
    square = alternate(parts(data, rectangular=False), args.rounds)
    rectangular = alternate(parts(data, rectangular=True), args.rounds)
    print("| part | graph of 640 x 640 | dynamic graph (canvas 384 x 640) |\n|---|---|---|")
    for name in square:
        medians = (1e3 * statistics.median(times[name]) for times in (square, rectangular))
        print(f"| {name} |", " | ".join(f"{ms:.2f}" for ms in medians), "|")


if __name__ == "__main__":
    main()
