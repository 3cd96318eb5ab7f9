"""Frigate's `yolo-generic`: one output of centres, sizes and scores, without objectness.

Frigate reads nothing from the file: its configuration says all. It stretches its regions to the
input, takes boxes that score above 0.4, suppresses them by OpenCV at 0.4 whatever their class, and
keeps 20.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from yolov4sdk.errors import ExportError

from ..adopt.nodes import Node
from .base import Candidates, Consumer, Raw, Rows, Wanted, best_above


def _outputs(found: Candidates, wanted: Wanted) -> dict[str, Node]:
    columns = 4 + len(wanted.names)
    if found.rows <= columns:
        raise ExportError(
            f"Frigate takes the longer axis for the boxes: {found.rows} boxes are fewer than the "
            f"{columns} columns of {len(wanted.names)} classes; export the model with all its "
            "boxes, or with more of them"
        )
    return {"output0": found.channels_first()}


def _read(raw: Raw, wanted: Wanted) -> Rows:
    rows = np.squeeze(next(iter(raw.values())))
    if rows.shape[0] < rows.shape[1]:
        rows = rows.T
    return best_above(rows, wanted.conf)


def _suppress(rows: Rows, wanted: Wanted) -> Rows:
    # Frigate gives corners to a function of OpenCV that wants sides: boxes seem larger.
    kept = cv2.dnn.NMSBoxes(rows[0].tolist(), rows[1].tolist(), wanted.conf, wanted.iou)
    at = np.asarray(kept, np.int64).reshape(-1)[: wanted.max_det]
    return rows[0][at], rows[1][at], rows[2][at]


def _config(wanted: Wanted) -> str:
    planar = wanted.taken.planar
    return f"""\
detectors:
  onnx:
    type: onnx

model:
  model_type: yolo-generic
  width: {wanted.size[1]}
  height: {wanted.size[0]}
  input_tensor: {"nchw" if planar else "nhwc"}
  input_dtype: {"float" if planar else "int"}
  input_pixel_format: rgb
  path: /config/model_cache/{wanted.file}
  labelmap_path: /config/model_cache/{wanted.labels}
"""


def _labels(wanted: Wanted) -> tuple[str, ...]:
    # Numbered: a first name that begins with a number would be taken for one.
    return tuple(f"{i} {name}" for i, name in enumerate(wanted.names))


CONSUMER: Final = Consumer(
    "frigate", "Frigate (yolo-generic)", "Frigate: util/model.py, detectors/plugins/onnx.py",
    _outputs, _read, _config, ".yml", labels=_labels, resize=("stretch",), any_input=True,
    conf=0.4, iou=0.4, max_det=20, fixed=True, suppress=_suppress,
)  # fmt: skip
