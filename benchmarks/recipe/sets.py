"""The data sets of the bench, each in YOLO's layout with the splits train, val and test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from yolov4sdk.datasets import DetectionDataset, load_dataset
from yolov4sdk.datasets.write import write_dataset

from . import lookalikes

# The first N are a subset's classes: pairs that look alike before others.
ANIMALS_FIRST: Final = (
    "cat", "dog", "horse", "cow", "sheep", "car", "bus", "motorbike", "bicycle", "bird",
)  # fmt: skip
CLASSES, IMAGES = (2, 5, 10), (50, 300, 3000)
_SEED = 0


@dataclass(frozen=True)
class Bench:
    """One data set.

    Attributes:
        make: writes it into a folder that is not there yet.
        size, epochs, batch: of the trainings; all else is each trainer's default.
    """

    name: str
    make: Callable[[Path], None]
    size: int = 320
    epochs: int = 60
    batch: int = 16

    def ready(self, cache: Path) -> Path:
        """Its data.yaml, written at the first time."""
        folder = cache / f"recipe-{self.name}"
        if not (folder / "data.yaml").exists():
            self.make(folder)
        return folder / "data.yaml"


def benches(data: Path | None, quick: bool) -> Iterator[Bench]:
    """What can be run: the drawn set, and the sets of photographs whose folders are in `data`.

    Args:
        data: holds `bccd` (Pascal VOC's layout), `everyday20` and `common10` (YOLO's, with splits
            train and val), as far as they are at hand.
        quick: a few small pictures for one epoch, to see that all works.
    """
    if quick:
        counts = {"train": 16, "val": 8, "test": 8}
        yield Bench("lookalikes-quick", _drawn(counts, (96, 128)), size=64, epochs=1, batch=8)
        return
    yield Bench("lookalikes", _drawn({"train": 300, "val": 100, "test": 200}, (360, 480)))
    if data is None:
        return
    if (data / "bccd").is_dir():
        yield Bench("bccd", _of_three(data / "bccd", ("train", "val", "test")), epochs=120)
    for name in ("everyday20", "common10"):
        if (data / name / "data.yaml").is_file():
            yield Bench(name, _whole(data / name / "data.yaml"))
    everyday = data / "everyday20" / "data.yaml"
    if everyday.is_file():
        for classes in CLASSES:
            for images in IMAGES:
                name = f"everyday20-{classes}-classes-{images}-images"
                epochs = 60 if images < 3000 else 20
                yield Bench(name, _subset(everyday, classes, images), epochs=epochs)


def _drawn(counts: dict[str, int], size_hw: tuple[int, int]) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        lookalikes.write(folder, counts, size_hw)

    return make


def _of_three(source: Path, splits: tuple[str, str, str]) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        read = [load_dataset(source, split) for split in splits]
        named = zip(read, ("train", "val", "test"), strict=True)
        write_dataset([replace(d, split=split) for d, split in named], folder, "yolo")

    return make


def _whole(source: Path) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        train, val = load_dataset(source, "train"), load_dataset(source, "val")
        write_dataset([train, *halves(val)], folder, "yolo")

    return make


def _subset(source: Path, classes: int, images: int) -> Callable[[Path], None]:
    names = ANIMALS_FIRST[:classes]

    def make(folder: Path) -> None:
        train = of_classes(load_dataset(source, "train"), names)
        chosen = np.random.default_rng(_SEED).permutation(len(train))[:images]
        val = of_classes(load_dataset(source, "val"), names)
        write_dataset([train.subset(np.sort(chosen).tolist()), *halves(val)], folder, "yolo")

    return make


def of_classes(dataset: DetectionDataset, names: tuple[str, ...]) -> DetectionDataset:
    """The images that show one of these classes, with only their boxes and names."""
    kept = dataset.keep_classes(names).with_names(names)
    return kept.subset([i for i, boxes in enumerate(kept.boxes) if len(boxes)])


def halves(val: DetectionDataset) -> tuple[DetectionDataset, DetectionDataset]:
    """A split as two: choices are made on the first, the table is of the second."""
    first, second = (val.subset(list(range(start, len(val), 2))) for start in (0, 1))
    return replace(first, split="val"), replace(second, split="test")
