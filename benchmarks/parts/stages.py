"""What surrounds the network, stage by stage and together: images, their sizes, candidates.

The network is replaced by recorded outputs, so that all that is left is ours. A batch of several
images goes through the stages as the Detector does it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

from yolov4sdk import Detections, Detector
from yolov4sdk.backends import Outputs
from yolov4sdk.contract.names import COCO
from yolov4sdk.imaging.draw import draw
from yolov4sdk.imaging.images import decode
from yolov4sdk.imaging.preprocess import letterbox, letterbox_plan, to_input
from yolov4sdk.measure.timing import alternate
from yolov4sdk.results.postprocess import nms

from ..overhead import SIZE, Recorded
from ..suite.result import Cell, Options, Result, Table
from .jpegs import SIZES, jpegs

STAGES = (
    "decode", "letterbox", "normalise", "NMS", "un-letterbox", "drawing", "together, undrawn",
)  # fmt: skip
IMAGES = (1, 2, 8)
CANDIDATES = (10, 300, 20_000)


def measure(options: Options) -> Result:
    """Milliseconds of each stage: all image sizes and counts, then all numbers of candidates."""
    if options.prepare:
        return Result()
    cases = {
        (size, images, 300): stages(size, images, 300)
        for size in SIZES
        for images in (IMAGES if not options.quick else (1,))
    }
    cases |= {("720p", 1, n): stages("720p", 1, n) for n in CANDIDATES if n != 300}
    runs = {(case, name): run for case, found in cases.items() for name, run in found.items()}
    times = alternate(runs, options.rounds, options.seconds)
    rows: list[list[Cell]] = []
    for case in cases:
        medians = [1e3 * statistics.median(times[case, name]) for name in STAGES]
        rows.append([case[0], case[1], case[2], *medians])
    columns = {"JPEG": "", "images": "", "candidates": ",", **dict.fromkeys(STAGES, ".2f")}
    note = (
        "Milliseconds of the whole batch at 640 x 640, 80 classes. Candidates are boxes above the "
        "threshold of 0.25 in clusters of about twenty, among 25,200 rows. Together is the "
        "Detector from JPEG bytes to Detections with a network that takes no time. A stage alone "
        "uses one core; of a list of four or more the Detector decodes several images at a time."
    )
    return Result([Table("", columns, rows, note)])


def stages(size: str, images: int, candidates: int) -> dict[str, Callable[[], Any]]:
    """Each stage, and the whole, as functions without arguments."""
    files = jpegs(size, images)
    decoded = [decode(data) for data in files]
    plan = letterbox_plan(SIZES[size], SIZE)
    outputs = recorded(candidates, images)
    canvas = np.stack([letterbox(image, plan) for image in decoded])
    ready = np.empty((images, 3, *SIZE), np.float32)
    kept = [nms(*row) for row in zip(outputs.boxes, outputs.scores, strict=True)]
    detector = Detector(Recorded(outputs, dynamic=False), batch=images)
    found = [
        Detections(plan.to_source(boxes), scores, ids, COCO, plan.source)
        for boxes, scores, ids in kept
    ]

    def boxed() -> None:
        for image, row in zip(decoded, canvas, strict=True):
            letterbox(image, plan, row)

    return {
        "decode": lambda: [decode(data) for data in files],
        "letterbox": boxed,
        "normalise": lambda: to_input(canvas, "float_nchw", bgr=True, out=ready),
        "NMS": lambda: [nms(*row) for row in zip(outputs.boxes, outputs.scores, strict=True)],
        "un-letterbox": lambda: [plan.to_source(row[0]) for row in kept],
        "drawing": lambda: [draw(im, d) for im, d in zip(decoded, found, strict=True)],
        "together, undrawn": lambda: detector(files),
    }


def recorded(candidates: int, images: int) -> Outputs:
    """As a trained network gives them: near zero everywhere but for boxes on some objects."""
    rng = np.random.default_rng(0)
    cells = sum(3 * (SIZE[0] // stride) * (SIZE[1] // stride) for stride in (8, 16, 32))
    boxes = rng.uniform(0, 600, (images, cells, 4)).astype(np.float32)
    boxes[..., 2:] = boxes[..., :2] + rng.uniform(8, 40, (images, cells, 2))
    scores = (rng.random((images, cells, 80), np.float32) ** 20) * np.float32(0.1)
    objects = max(1, candidates // 20)
    corners = rng.uniform(20, 400, (objects, 2))
    objects_xyxy = np.concatenate([corners, corners + rng.uniform(20, 200, (objects, 2))], axis=1)
    which = np.arange(candidates) % objects
    for row in range(images):
        chosen = rng.permutation(cells)[:candidates]
        boxes[row, chosen] = objects_xyxy[which] + rng.normal(0, 3, (candidates, 4))
        scores[row, chosen, which % 80] = rng.uniform(0.3, 0.95, candidates)
    return Outputs(boxes, scores)
