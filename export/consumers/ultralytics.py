"""ultralytics' own form of export: [B, 4 + C, N] with names and sizes in the metadata.

Written from exported files (8.4.190).
"""

from __future__ import annotations

from typing import Final

from ..adopt.nodes import Node
from .base import Candidates, Consumer, Raw, Rows, Wanted, best_above, one_image


def _outputs(found: Candidates, wanted: Wanted) -> dict[str, Node]:
    return {"output0": found.channels_first()}


def _read(raw: Raw, wanted: Wanted) -> Rows:
    return best_above(one_image(raw["output0"], "output0").T, wanted.conf)


def _metadata(wanted: Wanted) -> dict[str, str]:
    return {
        "description": "yolov4sdk export --for ultralytics",
        "task": "detect",
        "stride": str(wanted.taken.multiple),
        "batch": "1",
        "imgsz": str(list(wanted.size)),
        "names": str(dict(enumerate(wanted.names))),
        "channels": "3",
        "end2end": "False",
        "args": "{'batch': 1, 'dynamic': False, 'half': False, 'nms': False}",
    }


def _config(wanted: Wanted) -> str:
    return (
        f"yolo predict task=detect model={wanted.file} imgsz={wanted.size[0]},{wanted.size[1]} "
        f"conf={wanted.conf:g} iou={wanted.iou:g} max_det={wanted.max_det} source=photo.jpg\n"
    )


CONSUMER: Final = Consumer(
    "ultralytics", "ultralytics", "exported files of 8.4.190", _outputs, _read, _config,
    ".txt", metadata=_metadata, pad=114, iou=0.7,
)  # fmt: skip
