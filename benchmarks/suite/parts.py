"""The parts by name, in the order in which they run and are shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final

from .result import Options, Result


@dataclass(frozen=True)
class Part:
    """One piece of work, a few minutes long at most.

    Attributes:
        module: in `benchmarks.parts`; its `measure(options, **arguments)` gives a Result.
        peers: whether it needs the peers' environment.
        asked: runs only when it is named.
    """

    about: str
    module: str
    arguments: dict[str, Any] = field(default_factory=dict)
    peers: bool = False
    asked: bool = False

    def run(self, options: Options) -> Result:
        """Measure (or prepare) it in this process."""
        measure: Callable[..., Result] = import_module(f"benchmarks.parts.{self.module}").measure
        return measure(options, **self.arguments)


def _network(name: str, *sizes: int, batch: int = 1) -> Part:
    shown = f"{name} at {' and '.join(map(str, sizes))}, batch {batch}, in every runtime"
    return Part(shown, "network", {"model": name, "sizes": sizes, "batch": batch})


def _detector(pair: str, about: str) -> Part:
    return Part(about, "detectors", {"pair": pair}, peers=True)


PARTS: Final = {
    "start": Part("import time, and time from process start to the first detection", "start"),
    "network-n": _network("yolov4-csp-n", 320, 640),
    "network-n-batch8": _network("yolov4-csp-n", 320, 640, batch=8),
    "network-s": _network("yolov4-csp-s", 320, 640),
    "network-s-batch8": _network("yolov4-csp-s", 320, 640, batch=8),
    "network-m": _network("yolov4-csp-m", 320, 640),
    "network-m-batch8": _network("yolov4-csp-m", 320, 640, batch=8),
    "network-csp": _network("yolov4-csp", 640),
    "network-csp-batch8": _network("yolov4-csp", 640, batch=8),
    "network-p5": _network("yolov4-p5", 896),
    "network-p6": _network("yolov4-p6", 1280),
    "network-p7": _network("yolov4-p7", 1536),
    "pipeline-stages": Part("what surrounds the network, stage by stage", "stages"),
    "pipeline-csp": Part(
        "images/s of yolov4-csp from JPEGs to detections", "pipeline", {"model": "yolov4-csp"}
    ),
    "pipeline-n": Part(
        "images/s of yolov4-csp-n from JPEGs to detections", "pipeline", {"model": "yolov4-csp-n"}
    ),
    "nms": Part("suppression against OpenCV; with --slow against supervision (14 GB)", "nms"),
    "growth": Part("time and memory as sizes grow", "growth"),
    "growth-video": Part("time and memory as streams and videos grow", "growth_video"),
    "efficientdet-csp": _detector("efficientdet-csp", "EfficientDet D3 against yolov4-csp"),
    "efficientdet-p5": _detector("efficientdet-p5", "EfficientDet D5 against yolov4-p5"),
    "efficientdet-p6": _detector("efficientdet-p6", "EfficientDet D6 against yolov4-p6"),
    "efficientdet-p7": _detector("efficientdet-p7", "EfficientDet D7 against yolov4-p7"),
    "rf-detr-csp": _detector("rf-detr-csp", "RF-DETR Nano against yolov4-csp"),
    "rf-detr-p5": _detector("rf-detr-p5", "RF-DETR Small against yolov4-p5"),
    "rf-detr-p6": _detector("rf-detr-p6", "RF-DETR Medium against yolov4-p6"),
    "predict": Part("ultralytics' predict against the Detector", "predict", peers=True),
    "opencv": Part("OpenCV's dnn module with our ONNX file", "opencv_dnn"),
    "training": Part(
        "ultralytics' trainer against ours in float32", "training", {"amp": "off"}, peers=True
    ),
    "training-bf16": Part(
        "ultralytics' trainer against ours in bfloat16", "training", {"amp": "bf16"}, peers=True
    ),
    "recipe": Part(
        "AP of the trainers' defaults, ours and ultralytics'; hours", "recipe", asked=True
    ),
}
