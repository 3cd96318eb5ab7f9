"""Auto-labelling: what a detector finds, as a data set to correct and to train on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..errors import DatasetError, SettingError
from ..imaging.draw import Boxes
from .cleaning import assemble
from .dataset import DetectionDataset
from .raw import RawImage
from .report import DatasetReport


def as_datasets(
    found: Iterable[tuple[Path, Boxes]],
    names: Sequence[str],
    val: float = 0.2,
    certain: Callable[[str], float] | None = None,
) -> list[DetectionDataset]:
    """Detections as labels: a training split and, where there are enough images, a val split.

    Boxes are cleaned as those of any data set. An image's split depends only on its name, as
    far as the share allows, and both splits get images with and without objects.

    Args:
        found: image files and what was found in them.
        names: the classes wanted, a selection of the detections' names; their order sets the ids.
        val: the part of the images for validation, 0 (none) to less than 1.

        certain: soft labels: the score from which a detection of a class (by name) is a label,
            which then keeps its score; below it is a box not to be judged. None: hard labels.

    Raises:
        SettingError: `val` is outside its range.
        DatasetError: nothing was found in any image.
    """
    if not 0 <= val < 1:
        raise SettingError(f"the part for validation is 0 to less than 1, got {val}")
    images = [_labels(path, detections, names, certain) for path, detections in found]
    if not any(image.boxes for image in images):
        raise DatasetError(
            f"no object was found in {len(images)} images, so there is nothing to label; lower "
            "--conf or take another model"
        )
    splits: dict[str, list[RawImage]] = {"train": [], "val": []}
    images.sort(key=lambda image: hashlib.sha256(os.fsencode(image.path.name)).digest())
    labelled = [image for image in images if image.boxes]
    divided = val > 0 and len(labelled) > 1  # a split without any object could not be read
    for group in (labelled, [image for image in images if not image.boxes]):
        count = round(val * len(group)) if divided else 0
        if divided and group is labelled:
            count = min(max(count, 1), len(group) - 1)
        splits["val"] += group[:count]
        splits["train"] += group[count:]
    return [
        assemble(
            sorted(part, key=lambda image: image.path), names,
            split=split, source=Path("detections"), report=DatasetReport(),
        )
        for split, part in splits.items() if part
    ]  # fmt: skip


def _labels(
    path: Path,
    detections: Boxes,
    names: Sequence[str],
    certain: Callable[[str], float] | None,
) -> RawImage:
    rows, scores, unsure = [], [], []
    labels = (detections.names[i] for i in detections.class_ids)
    boxes, confidences = detections.xyxy.tolist(), detections.scores.tolist()
    for label, box, score in zip(labels, boxes, confidences, strict=True):
        if label in names:
            rows.append((float(names.index(label)), *box))
            scores.append(score)
            unsure.append(certain is not None and score < certain(label))
    return (
        RawImage(path, rows)
        if certain is None
        else RawImage(path, rows, ignored=unsure, scores=scores)
    )
