"""The boxes of a data set as images, one folder a class: a set for a classifier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from yolov4sdk.datasets.dataset import DetectionDataset
from yolov4sdk.errors import DatasetError, SettingError
from yolov4sdk.imaging.images import read_image
from yolov4sdk.system.files import atomic_folder


def write_crops(
    splits: Sequence[DetectionDataset],
    target: str | Path,
    *,
    margin: float = 0.1,
    min_side: int = 32,
    per_class: int | None = None,
    seed: int = 0,
) -> dict[str, Counter[str]]:
    """Write `target`/<split>/<class>/<image>-<box>.jpg, all or nothing.

    Crowd and difficult boxes are left out.

    Args:
        splits: of one data set.
        target: a folder that does not exist or is empty.
        margin: of the box's width and height, added on each side as far as the image goes.
        min_side: boxes whose shorter side has fewer pixels are left out.
        per_class: crops of a class in a split at most, drawn by `seed`; None is all.
        seed: of that choice.

    Returns:
        Crops by split and class.

    Raises:
        SettingError: an option outside its range, or the folder holds something.
        DatasetError: no box is large enough in a split, or a class has no usable folder name.
        ImageError: an image cannot be read.
    """
    if margin < 0 or min_side < 1 or (per_class is not None and per_class < 1):
        raise SettingError(
            "expected margin >= 0, min_side >= 1 and per_class >= 1; got "
            f"{margin:g}, {min_side} and {per_class}"
        )
    counts: dict[str, Counter[str]] = {}
    with atomic_folder(target) as folder:
        for dataset in splits:
            for name in dataset.names:
                if Path(name).name != name or name == "..":
                    raise DatasetError(f"the class {name!r} cannot name a folder")
                (folder / dataset.split / name).mkdir(parents=True)
            chosen = _chosen(dataset, min_side, per_class, np.random.default_rng(seed))
            if not chosen:
                raise DatasetError(f"{dataset.split}: no box has {min_side} pixels on a side")
            counts[dataset.split] = Counter(dataset.names[_class(dataset, c)] for c in chosen)
            _write(dataset, chosen, folder / dataset.split, margin)
    return counts


def _class(dataset: DetectionDataset, place: tuple[int, int]) -> int:
    image, box = place
    return int(dataset.boxes[image][box, 0])


def _chosen(
    dataset: DetectionDataset, min_side: int, per_class: int | None, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """(image, box) of the crops, by image."""
    large = [
        (image, box)
        for image, rows in enumerate(dataset.boxes)
        for box, row in enumerate(rows)
        if min(row[4] * dataset.sizes[image, 0], row[3] * dataset.sizes[image, 1]) >= min_side
    ]
    if per_class is None:
        return large
    taken: Counter[int] = Counter()
    kept = []
    for index in rng.permutation(len(large)).tolist():
        number = _class(dataset, large[index])
        if taken[number] < per_class:
            taken[number] += 1
            kept.append(large[index])
    return sorted(kept)


def _write(
    dataset: DetectionDataset, chosen: list[tuple[int, int]], folder: Path, margin: float
) -> None:
    read, pixels = -1, np.empty((0, 0, 3), np.uint8)
    for place in chosen:
        image, box = place
        if image != read:
            read, pixels = image, read_image(dataset.images[image])
        _, cx, cy, w, h = dataset.boxes[image][box].tolist()
        height, width = pixels.shape[:2]
        reach = 0.5 + margin
        corners = np.array([[cx - w * reach, cy - h * reach], [cx + w * reach, cy + h * reach]])
        (x1, y1), (x2, y2) = (corners.clip(0, 1) * (width, height)).round().astype(int).tolist()
        name = f"{dataset.images[image].stem}-{box}.jpg"
        data = cv2.imencode(".jpg", pixels[y1:y2, x1:x2])[1]
        (folder / dataset.names[_class(dataset, place)] / name).write_bytes(data.tobytes())
