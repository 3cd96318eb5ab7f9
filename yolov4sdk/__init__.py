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
from .system import moved

if TYPE_CHECKING:
    from .contract.spec import ModelSpec
    from .detections import Detections
    from .detector import Detector
    from .imaging.images import read_image

    __version__: str

__all__ = [
    "Detections", "Detector", "ModelSpec", "YOLOv4Error", "__version__", "errors", "read_image",
]  # fmt: skip

_MODULES = {
    "Detections": ".detections",
    "Detector": ".detector",
    "ModelSpec": ".contract.spec",
    "read_image": ".imaging.images",
}

moved.install()


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for (PEP 562)."""
    if name == "__version__":
        from .system.version import __version__ as value
    elif name in _MODULES:
        value = getattr(import_module(_MODULES[name], __name__), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
