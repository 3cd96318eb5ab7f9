"""Soft labels from a teacher: any model that `Detector` runs, asked once about the images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from train.distributed import World
from train.start import Say
from yolov4sdk.datasets import DetectionDataset
from yolov4sdk.datasets.dataset import to_pixels
from yolov4sdk.detections import Detections
from yolov4sdk.detector import Detector
from yolov4sdk.errors import SettingError
from yolov4sdk.results.postprocess import box_iou
from yolov4sdk.system.files import atomic_write

FILE: Final = "teacher.npz"
_UNSURE = 0.5  # of the threshold: down to it a box is ignored, below it background
_SAME_OBJECT = 0.5  # IoU with a label from which a detection says nothing new
_BATCH = 8


def with_teacher(
    train: DetectionDataset, teacher: str, conf: float, folder: Path, world: World, say: Say
) -> DetectionDataset:
    """The training set with what a teacher finds beside its labels.

    A labelled object stays as it is labelled. Of the rest, boxes scored `conf` or more become soft
    labels, those down to half of it boxes that are not to be judged.

    Args:
        train: the labels of people.
        teacher: a file that `Detector` runs; classes go by their names.
        conf: the threshold, 0 to 1.
        folder: of the run. What the teacher found is kept there, so that a resumed run does not
            ask it again.
        world: the first process asks, the others read.
        say: hears what was added.

    Raises:
        SettingError: the teacher knows none of the classes.
        YOLOv4Error: the teacher or an image cannot be read.
    """
    file = folder / FILE
    if world.is_main and not file.is_file():
        found = _ask(teacher, train, conf * _UNSURE)
        with atomic_write(file) as temporary, temporary.open("wb") as stream:
            np.savez(stream, rows=np.concatenate(found), counts=[len(rows) for rows in found])
    world.barrier()
    with np.load(file, allow_pickle=False) as kept:
        found = np.split(kept["rows"], np.cumsum(kept["counts"])[:-1])
    boxes, scores, ignored = [], [], []
    for index, rows in enumerate(found):
        own = train.boxes[index]
        own_scores = train.scores[index] if train.scores else np.ones(len(own), np.float32)
        judged = np.concatenate([own, train.ignored[index]])
        overlap = box_iou(_corners(rows), _corners(judged))
        new = rows[overlap.max(1, initial=0) < _SAME_OBJECT]
        sure = new[:, 5] >= conf
        boxes.append(np.concatenate([own, new[sure, :5]]))
        scores.append(np.concatenate([own_scores, new[sure, 5]]))
        ignored.append(np.concatenate([train.ignored[index], new[~sure, :5]]))
    added = sum(map(len, boxes)) - sum(map(len, train.boxes))
    unsure = sum(map(len, ignored)) - sum(map(len, train.ignored))
    say(f"teacher {teacher}: {added} soft labels of {conf:g} or more, {unsure} boxes ignored")
    return replace(train, boxes=boxes, scores=scores, ignored=ignored, areas=[])


def _ask(teacher: str, train: DetectionDataset, conf: float) -> list[NDArray[np.float32]]:
    """For each image float32 [N, 6]: class of `train`, cx, cy, w, h (normalised), score."""
    with Detector(teacher, conf=conf, batch=_BATCH) as detector:
        known = {name: i for i, name in enumerate(train.names)}
        if not known.keys() & set(detector.names):
            raise SettingError(
                f"the teacher {teacher} knows none of the classes {', '.join(train.names[:10])}; "
                f"it knows {', '.join(detector.names[:10])}"
            )
        found: list[NDArray[np.float32]] = []
        for start in range(0, len(train), _BATCH):
            images: list[Any] = list(train.images[start : start + _BATCH])
            for image in detector(images):
                found.append(_rows(image, known))
    return found


def _rows(found: Detections, known: dict[str, int]) -> NDArray[np.float32]:
    found = found[[i for i, name in enumerate(found.labels) if name in known]]
    ids = np.array([known[name] for name in found.labels], np.float32)
    return np.column_stack((ids, found.cxcywh_normalised, found.scores)).astype(np.float32)


def _corners(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of class and normalised centre and size -> xyxy, normalised."""
    return to_pixels(boxes, np.ones(2, np.int32))[0]
