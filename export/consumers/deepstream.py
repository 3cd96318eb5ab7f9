"""DeepStream with the parser of DeepStream-Yolo: rows of corners, score and class.

DeepStream suppresses itself (cluster mode 2), or not at all (mode 4). It pads with black.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ..adopt.nodes import Node
from .base import Candidates, Consumer, Raw, Rows, Wanted, above, one_image


def _outputs(found: Candidates, wanted: Wanted) -> dict[str, Node]:
    writer, (score, ids) = found.writer, found.best()
    columns = map(writer.column, (score, writer.floats(ids)))
    return {"output": writer.concat((found.boxes, *columns))}


def _read(raw: Raw, wanted: Wanted) -> Rows:
    rows = one_image(raw["output"], "output")
    return above(rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64), wanted.conf)


def _config(wanted: Wanted) -> str:
    policy = wanted.taken.resize.policy
    suppressed = wanted.output.suppressed
    lines = [
        "[property]",
        "gpu-id=0",
        "net-scale-factor=0.0039215697906911373",
        "model-color-format=0",
        f"onnx-file={wanted.file}",
        f"labelfile-path={wanted.labels}",
        "batch-size=1",
        "network-mode=0",
        f"num-detected-classes={len(wanted.names)}",
        "interval=0",
        "gie-unique-id=1",
        "process-mode=1",
        "network-type=0",
        f"cluster-mode={4 if suppressed else 2}",
        f"maintain-aspect-ratio={int(policy != 'stretch')}",
        f"symmetric-padding={int(policy == 'letterbox')}",
        "parse-bbox-func-name=NvDsInferParseYolo",
        "custom-lib-path=nvdsinfer_custom_impl_Yolo/libnvdsinfer_custom_impl_Yolo.so",
        "",
        "[class-attrs-all]",
        *([] if suppressed else [f"nms-iou-threshold={wanted.iou:g}"]),
        f"pre-cluster-threshold={wanted.conf:g}",
        f"topk={wanted.max_det}",
    ]
    return "\n".join(lines) + "\n"


CONSUMER: Final = Consumer(
    "deepstream", "DeepStream with DeepStream-Yolo's parser",
    "DeepStream-Yolo: utils, config_infer_primary files", _outputs, _read, _config,
    ".txt", pad=0, resize=("letterbox", "letterbox-top-left", "stretch"),
)  # fmt: skip
