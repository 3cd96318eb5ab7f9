"""Inference-first SDK for the Scaled-YOLOv4 detectors.

    from yolov4sdk import Detector

    print(Detector()("horses.jpg"))

Importing this package loads no runtime: torch, ONNX Runtime and OpenVINO are imported when a
model of theirs is loaded, NumPy and OpenCV with the first name that needs them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import errors
from .errors import YOLOv4Error

if TYPE_CHECKING:
    from .detections import Detections
    from .detector import Detector
    from .spec import ModelSpec

    __version__: str

__all__ = ["Detections", "Detector", "ModelSpec", "YOLOv4Error", "__version__", "errors"]

_MODULES = {"Detections": ".detections", "Detector": ".detector", "ModelSpec": ".spec"}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            value: Any = version("yolov4sdk")
        except PackageNotFoundError:  # a source tree that is not installed
            value = "0+unknown"
    elif name in _MODULES:
        value = getattr(import_module(_MODULES[name], __name__), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
