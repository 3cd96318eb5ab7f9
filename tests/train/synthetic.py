"""Small data sets, a tiny network and quick settings for the tests of the loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml

from train.interrupt import StopWish
from train.settings import TrainSettings
from yolov4sdk.models.definition import FOLDER

NAMES = ("box", "disc", "bar")


def write_dataset(folder: Path, train: int, val: int, side: int = 64, classes: int = 2) -> Path:
    """Colored shapes on grey noise, in YOLO layout; returns the data.yaml."""
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(count):
            image, lines = _picture(rng, side, classes)
            cv2.imwrite(str(folder / "images" / split / f"{split}{number}.png"), image)
            text = "\n".join(lines)
            (folder / "labels" / split / f"{split}{number}.txt").write_text(text)
    names = "\n".join(f"  {i}: {name}" for i, name in enumerate(NAMES[:classes]))
    file = folder / "data.yaml"
    file.write_text(f"path: .\ntrain: images/train\nval: images/val\nnames:\n{names}\n")
    return file


def _picture(rng: np.random.Generator, side: int, classes: int) -> tuple[Any, list[str]]:
    image = rng.integers(90, 130, (side, side, 3)).astype(np.uint8)
    lines = []
    for quarter in rng.permutation(4)[: rng.integers(1, 4)]:  # one shape a quarter: no overlaps
        kind = int(rng.integers(classes))
        w, h = rng.integers(side // 5, side // 2 - 4, 2)
        if kind == 1:
            h = w
        x = int(quarter % 2 * side // 2 + rng.integers(0, side // 2 - w))
        y = int(quarter // 2 * side // 2 + rng.integers(0, side // 2 - h))
        color = ((40, 40, 220), (220, 60, 40), (40, 200, 40))[kind]
        if kind == 1:
            cv2.circle(image, (x + w // 2, y + h // 2), int(w) // 2, color, -1)
        else:
            cv2.rectangle(image, (x, y), (x + int(w) - 1, y + int(h) - 1), color, -1)
        numbers = ((x + w / 2) / side, (y + h / 2) / side, w / side, h / side)
        lines.append(f"{kind} " + " ".join(f"{n:.6f}" for n in numbers))
    return image, lines


def write_tiny_model(folder: Path) -> Path:
    """YOLOv4-CSP with a sixteenth of the filters and one bottleneck a stage; written once."""
    file = folder / "tiny.yaml"
    if file.exists():
        return file
    definition = yaml.safe_load((FOLDER / "yolov4-csp.yaml").read_text())
    definition |= {"width_multiple": 1 / 16, "depth_multiple": 0.1}
    file.write_text(yaml.safe_dump(definition))
    return file


def quick(data: Path, output: Path, **changes: Any) -> TrainSettings:
    """Settings of a run of seconds on one thread, without pictures and events."""
    values = {
        "data": str(data),
        "output": str(output),
        "model": str(write_tiny_model(data.parent)),
        "size": 64,
        "epochs": 2,
        "batch": 4,
        "nominal_batch": 4,
        "threads": 1,
        "workers": 0,
        "tensorboard": False,
        "plots": False,
        "device": "cpu",
    }
    return TrainSettings().changed(values | changes)


class StopAfter(StopWish):
    """Asks to stop once so many batches are done."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self._left = batches

    def __bool__(self) -> bool:
        self._left -= 1
        return self._left <= 0


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """A nested state as one mapping of paths to leaves."""
    if isinstance(value, dict):
        items: Any = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    else:
        return {prefix: value}
    return {k: v for key, part in items for k, v in flatten(part, f"{prefix}/{key}").items()}


def differences(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Paths whose leaves are not exactly equal."""
    one, two = flatten(first), flatten(second)
    wrong = sorted(set(one) ^ set(two))
    for key in set(one) & set(two):
        a, b = one[key], two[key]
        same = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
        if not same:
            wrong.append(key)
    return wrong
