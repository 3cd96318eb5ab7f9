"""OpenVINO's Model API: its wrapper "ssd" on `boxes` [1, K, 5] and `labels` [1, K].

Columns are xyxy in pixels of the input and the score. What the wrapper has to know is in the
model, as `rt_info/model_info`.
"""

from __future__ import annotations

import json
from typing import Final

from ..adopt.nodes import Node
from .base import Candidates, Consumer, Raw, Rows, Wanted, above, one_image

_RESIZE: Final = {
    "letterbox": "fit_to_window_letterbox", "letterbox-top-left": "fit_to_window",
    "stretch": "standard",
}  # fmt: skip


def _outputs(found: Candidates, wanted: Wanted) -> dict[str, Node]:
    boxes, scores, ids = found.kept(wanted)
    writer = found.writer
    return {"boxes": writer.concat((boxes, writer.column(scores))), "labels": ids}


def _read(raw: Raw, wanted: Wanted) -> Rows:
    rows, ids = one_image(raw["boxes"], "boxes"), one_image(raw["labels"], "labels")
    return above(rows[:, :4], rows[:, 4], ids, wanted.conf)


def _labels(wanted: Wanted) -> tuple[str, ...]:
    # They are separated by spaces in the model.
    return tuple("_".join(name.split()) for name in wanted.names)


def model_info(wanted: Wanted) -> dict[str, str]:
    """`rt_info/model_info`, all values as text."""
    return {
        "model_type": "ssd",
        "labels": " ".join(_labels(wanted)),
        "resize_type": _RESIZE.get(wanted.taken.resize.policy, "fit_to_window_letterbox"),
        "pad_value": str(wanted.taken.resize.pad),
        "scale_values": "255.0 255.0 255.0",
        "reverse_input_channels": "False",
        "confidence_threshold": f"{wanted.conf:g}",
    }


def _config(wanted: Wanted) -> str:
    return json.dumps({"model": wanted.file, **model_info(wanted)}, indent=2) + "\n"


CONSUMER: Final = Consumer(
    "modelapi", "OpenVINO Model API", "model_api 0.4.7: models/ssd.py, models/parameters.py",
    _outputs, _read, _config, ".json", metadata=model_info, labels=_labels,
    resize=tuple(_RESIZE), suppressed=True, suffix=".xml",
)  # fmt: skip
