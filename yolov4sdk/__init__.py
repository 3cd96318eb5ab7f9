"""Inference-first SDK for the Scaled-YOLOv4 detectors.

    from yolov4sdk import Detector

    print(Detector()("horses.jpg"))

Importing this package loads no runtime: torch, ONNX Runtime and OpenVINO are imported when a
model of theirs is loaded.
"""

from importlib.metadata import PackageNotFoundError, version

from . import errors
from .detections import Detections
from .detector import Detector
from .errors import YOLOv4Error
from .spec import ModelSpec

try:
    __version__ = version("yolov4sdk")
except PackageNotFoundError:  # a source tree that is not installed
    __version__ = "0+unknown"

__all__ = ["Detections", "Detector", "ModelSpec", "YOLOv4Error", "__version__", "errors"]
