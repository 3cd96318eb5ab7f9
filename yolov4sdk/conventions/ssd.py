"""SSD and its kin, suppressed in the graph: torchvision, TensorFlow, TFLite, OpenVINO.

torchvision takes one image without an axis for the batch, normalises it and gives corners in its
pixels; 0 is its background. TensorFlow's boxes are y before x, in fractions; its classes are
COCO's ids, those of TFLite's post-processing begin at 0.
"""

from __future__ import annotations

from typing import Final

from ..contract.contract import InputContract, OutputContract, OutputTensor, Resize
from .base import Convention
from .coco import IDS
from .declared import decode

ONE: Final = InputContract(
    layout="CHW", resize=Resize("letterbox-top-left", pad=0), multiple=1, size=(640, 640)
)
PIXELS: Final = InputContract(
    name="input_tensor", layout="NHWC", dtype="uint8", scale=1.0, resize=Resize("stretch"),
    multiple=1, size=(320, 320),
)  # fmt: skip
TFLITE: Final = InputContract(
    layout="NHWC", scale=1.0, mean=(127.5,) * 3, std=(127.5,) * 3, resize=Resize("stretch"),
    multiple=1, size=(300, 300),
)  # fmt: skip
OMZ: Final = InputContract(
    name="data", color="BGR", scale=1.0, resize=Resize("stretch"), multiple=1, size=(300, 300)
)


def _four(
    names: tuple[str | int, ...], axes: tuple[str, str] = ("BNC", "BN")
) -> tuple[OutputTensor, ...]:
    """Boxes, scores, labels and perhaps a count, by name or position."""
    roles = ("boxes", "scores", "labels", "count")
    return tuple(
        OutputTensor(
            role,  # type: ignore[arg-type]
            name=key if isinstance(key, str) else None,
            position=None if isinstance(key, str) else key,
            axes=axes[0] if role == "boxes" else "B" if role == "count" else axes[1],
        )
        for role, key in zip(roles, names, strict=False)
    )


def _torchvision(name: str, title: str, order: tuple[int, ...]) -> Convention:
    output = OutputContract(
        name, _four(order, ("NC", "N")), 90, selection="given", background="first",
        suppression="in graph",
    )  # fmt: skip
    return Convention(name, title, "torchvision 0.28, exported", output, decode, ONE)


CONVENTIONS: Final = (
    _torchvision("torchvision", "torchvision's SSD and RetinaNet", (0, 1, 2)),
    _torchvision("torchvision-rcnn", "torchvision's Faster R-CNN and FCOS", (0, 2, 1)),
    Convention(
        "ssd-tf", "TensorFlow's Object Detection API by tf2onnx, COCO's ids",
        "names as in the API's saved models; not run here",
        OutputContract(
            "ssd-tf",
            _four(("detection_boxes", "detection_scores", "detection_classes", "num_detections")),
            80, box="yxyx", unit="fraction", selection="given", class_ids=IDS,
            suppression="in graph", unused="count",
        ),
        decode, PIXELS,
    ),
    Convention(
        "ssd-tflite", "TFLite_Detection_PostProcess: boxes, classes, scores, count",
        "armnn's test of the operator",
        OutputContract(
            "ssd-tflite", _four((0, 2, 1, 3)), 80, box="yxyx", unit="fraction",
            selection="given", suppression="in graph", unused="count",
        ),
        decode, TFLITE,
    ),
    Convention(
        "detection-output", "OpenVINO's DetectionOutput: [1, 1, N, 7]",
        "Open Model Zoo; model_api ssd.py",
        OutputContract(
            "detection-output",
            (
                OutputTensor(
                    "packed", position=0, axes="11NC", columns=("image", "label", "score", "box")
                ),
            ),
            80, unit="fraction", selection="given", background="first",
            suppression="in graph", unused="negative",
        ),
        decode, OMZ,
    ),
)  # fmt: skip
