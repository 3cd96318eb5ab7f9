"""The four outputs of TensorRT's EfficientNMS, by ONNX's own operators instead of the plug-in.

`num_dets` [B, 1], `det_boxes` [B, K, 4] xyxy, `det_scores` and `det_classes` [B, K]; unused rows
are zeros. The configuration is Triton's.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ..adopt.nodes import Node
from .base import Candidates, Consumer, Raw, Rows, Wanted, above, one_image

_INT32: Final = 6
"""`TensorProto.INT32`."""


def _outputs(found: Candidates, wanted: Wanted) -> dict[str, Node]:
    writer = found.writer
    boxes, scores, ids = found.kept(wanted)
    used = writer.node("Cast", writer.node("Greater", scores, np.float32(0)), to=_INT32)
    count = writer.node("ReduceSum", used, np.array([1], np.int64), keepdims=1)
    return {
        "num_dets": count, "det_boxes": boxes, "det_scores": scores,
        "det_classes": writer.node("Cast", ids, to=_INT32),
    }  # fmt: skip


def _read(raw: Raw, wanted: Wanted) -> Rows:
    count = int(one_image(raw["num_dets"], "num_dets")[0])
    boxes, scores, ids = (
        one_image(raw[name], name)[:count] for name in ("det_boxes", "det_scores", "det_classes")
    )
    return above(boxes, scores, ids, 0.0)


def _config(wanted: Wanted) -> str:
    rows = min(wanted.max_det, wanted.rows)
    outputs = (
        ("num_dets", "TYPE_INT32", "1, 1"), ("det_boxes", "TYPE_FP32", f"1, {rows}, 4"),
        ("det_scores", "TYPE_FP32", f"1, {rows}"), ("det_classes", "TYPE_INT32", f"1, {rows}"),
    )  # fmt: skip
    given = ",\n".join(
        f'  {{ name: "{name}" data_type: {kind} dims: [{dims}] }}' for name, kind, dims in outputs
    )
    height, width = wanted.size
    return (
        'backend: "onnxruntime"\nmax_batch_size: 0\n'
        f'default_model_filename: "{wanted.file}"\n'
        f'input [ {{ name: "images" data_type: TYPE_FP32 dims: [1, 3, {height}, {width}] }} ]\n'
        f"output [\n{given}\n]\n"
    )


CONSUMER: Final = Consumer(
    "efficientnms", "readers of EfficientNMS's outputs", "YOLOv7's exporter for TensorRT",
    _outputs, _read, _config, ".pbtxt", suppressed=True,
    resize=("letterbox", "letterbox-top-left", "stretch"),
)  # fmt: skip
