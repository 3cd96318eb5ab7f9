"""DETR and its descendants: queries with a box in fractions of the canvas and a row of logits.

Conditional DETR, Deformable DETR, RT-DETR, D-FINE, DEIM and RF-DETR rank pairs of query and class
by their sigmoid; DETR and YOLOS take a softmax whose last slot is "no object". What slot of
RF-DETR is background is the checkpoint's choice and cannot be read off the tensors.
"""

from __future__ import annotations

from typing import Final

from ..contract.contract import ExtraInput, InputContract, OutputContract, OutputTensor, Resize
from .base import Convention
from .coco import IDS
from .declared import decode

_MEAN: Final = (0.485, 0.456, 0.406)
_STD: Final = (0.229, 0.224, 0.225)
HF: Final = InputContract(name="pixel_values", resize=Resize("stretch"), multiple=1)
DETR: Final = InputContract(
    name="pixel_values", mean=_MEAN, std=_STD, multiple=1, size=(800, 1056),
    resize=Resize("shortest-side", pad=0, shortest=800, longest=1333, rounding="down"),
)  # fmt: skip
RFDETR: Final = InputContract(
    name="input", mean=_MEAN, std=_STD, resize=Resize("stretch"), multiple=1, size=(384, 384)
)
AUTHORS: Final = InputContract(
    resize=Resize("stretch"), multiple=1,
    extra=(ExtraInput("orig_target_sizes", "size_wh", "int64"),),
)  # fmt: skip

_FINAL: Final = (
    OutputTensor("labels", "labels", axes="BN"),
    OutputTensor("boxes", "boxes"),
    OutputTensor("scores", "scores", axes="BN"),
)


def _logits(boxes: str, scores: str) -> tuple[OutputTensor, ...]:
    return OutputTensor("boxes", boxes), OutputTensor("scores", scores)


def _authors(name: str, title: str, source: str) -> Convention:
    output = OutputContract(name, _FINAL, 80, selection="given", suppression="none")
    return Convention(name, title, source, output, decode, AUTHORS)


def _ranked(
    name: str, title: str, source: str, boxes: str, scores: str, given: InputContract,
    topk: int = 300, **changes: object,
) -> Convention:  # fmt: skip
    values: dict[str, object] = {"classes": 80, **changes}
    output = OutputContract(
        name, _logits(boxes, scores), box="cxcywh", unit="fraction", activation="sigmoid",
        selection="topk", topk=topk, suppression="none", **values,  # type: ignore[arg-type]
    )  # fmt: skip
    return Convention(name, title, source, output, decode, given)


_TRANSFORMERS: Final = "transformers 5.24: post_process_object_detection"
_RFDETR: Final = "rfdetr 1.11: export/_onnx/inference.py, _class_layout.py, models/postprocess.py"
CONVENTIONS: Final = (
    _authors("rtdetr", "RT-DETR, v2 and v4, the authors' exporter", "rtdetrv2_pytorch"),
    _authors("dfine", "D-FINE, the authors' exporter", "D-FINE: tools/deployment/export_onnx.py"),
    _authors("deim", "DEIM, the authors' exporter", "DEIM: tools/deployment/export_onnx.py"),
    _ranked(
        "rtdetr-hf", "RT-DETR and D-FINE by transformers", _TRANSFORMERS, "pred_boxes", "logits", HF
    ),
    _ranked(
        "deformable-detr", "Deformable and Conditional DETR by transformers", _TRANSFORMERS,
        "pred_boxes", "logits", DETR, topk=100,
    ),
    _ranked(
        "rfdetr", "RF-DETR, fine-tuned: the last slot is background", _RFDETR, "dets", "labels",
        RFDETR, background="last",
    ),
    _ranked(
        "rfdetr-coco", "RF-DETR, COCO checkpoint: 91 slots are COCO's ids", _RFDETR, "dets",
        "labels", RFDETR, class_ids=IDS,
    ),
    _ranked(
        "rfdetr-background-first", "RF-DETR, old keypoint checkpoints: slot 0 is background",
        _RFDETR, "dets", "labels", RFDETR, background="first",
    ),
    Convention(
        "detr", "DETR and YOLOS by transformers", _TRANSFORMERS,
        OutputContract(
            "detr", _logits("pred_boxes", "logits"), 91, box="cxcywh", unit="fraction",
            activation="softmax", background="last", suppression="none",
        ),
        decode, DETR,
    ),
)  # fmt: skip
