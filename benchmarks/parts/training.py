"""Training speed against ultralytics' trainer, and our loader alone."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from yolov4sdk.imaging.synthetic import drawn_image

from ..suite.peers import run_peer
from ..suite.profiles import torch_table
from ..suite.result import Cell, Options, Result, Table, Target

OURS, PEER = "yolov4-csp-s", "yolo11s"  # 5.3 and 5.4 GFLOPs at 320
SIZE, BATCH, IMAGES, EPOCHS = 320, 16, 48, 3
CLASSES = 5


def measure(options: Options, amp: str) -> Result:
    """Ours and theirs in alternating runs of a few epochs; theirs computes in float32."""
    data = options.cache / f"training-{IMAGES}" / "data.yaml"
    if not data.exists():
        write_data(data.parent)
    if options.prepare:
        return Result()
    epochs = 2 if options.quick else EPOCHS
    speeds: dict[str, list[float]] = {"ours": [], "ultralytics": []}
    version = ""
    for _ in range(1 if options.quick else 2):
        speeds["ours"] += ours(data, amp, epochs)
        found = run_peer(options, "training.py", data, PEER, SIZE, BATCH, epochs)
        speeds["ultralytics"] += [found["images"] / seconds for seconds in found["seconds"]]
        version = found["version"]
    base = statistics.median(speeds["ultralytics"])
    rows: list[list[Cell]] = []
    for name, values in speeds.items():
        model = PEER if name == "ultralytics" else OURS
        middle = statistics.median(values)
        rows.append([name, model, middle, middle / base, len(values)])
    rows.append(["our loader alone", "", loader_rate(data), None, None])
    columns = {"trainer": "", "model": "", "images/s": ".1f", "of ultralytics": ".2f", "epochs": ""}
    note = (
        f"{SIZE} px, batch {BATCH}, {IMAGES} drawn images of 640 x 480 with boxes, cached in "
        "memory, one worker, mosaic and the other defaults of each project; medians over epochs, "
        f"without validation. Ours with amp {amp}; ultralytics {version} in float32."
    )
    result = Result([Table("", columns, rows, note)])
    key = "training" if amp == "off" else f"training-{amp}"
    what = f"images/s in training to ultralytics', ours with amp {amp}"
    value = statistics.median(speeds["ours"]) / base
    result.aim(Target(key, what, value, 1.3, at_least=True), partial(profile, data, amp))
    return result


def write_data(folder: Path) -> None:
    """Drawn pictures with rectangles of five colors, one class each, in YOLO's layout."""
    rng = np.random.default_rng(0)
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for i in range(IMAGES):
        image, lines = drawn_image((480, 640), i), []
        for _ in range(6):
            kind = int(rng.integers(CLASSES))
            w, h = (int(v) for v in rng.integers(30, 200, 2))
            x, y = int(rng.integers(640 - w)), int(rng.integers(480 - h))
            color = tuple(int(v) for v in np.random.default_rng(kind).integers(0, 256, 3))
            cv2.rectangle(image, (x, y), (x + w, y + h), color, cv2.FILLED)
            box = (x + w / 2) / 640, (y + h / 2) / 480, w / 640, h / 480
            lines.append(f"{kind} " + " ".join(f"{v:.6f}" for v in box))
        cv2.imwrite(str(folder / f"images/{i}.jpg"), image)
        (folder / f"labels/{i}.txt").write_text("\n".join(lines) + "\n")
    names = json.dumps([f"color {i}" for i in range(CLASSES)])
    path = folder / "data.yaml"
    path.write_text(f"path: {folder}\ntrain: images\nval: images\nnames: {names}\n")


def ours(data: Path, amp: str, epochs: int) -> list[float]:
    """Images a second of each epoch but the first, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.parts.training", str(data), amp, str(epochs)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    found: list[float] = json.loads(run.stdout.splitlines()[-1])
    return found


def loader_rate(data: Path) -> float:
    """Images a second of the loader alone, with mosaic, from memory, by one worker."""
    from train.loader import TrainSet
    from yolov4sdk.datasets import load_dataset

    from ..data_loading import loader_rate as rate

    return rate(TrainSet(load_dataset(data, "train"), SIZE, cache="ram"), BATCH, 1)


def profile(data: Path, amp: str) -> str:
    """The operators in which an epoch spends its time, by torch's profiler."""
    import torch

    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        train_here(data, amp, 1)
    return torch_table(profiler)


def train_here(data: Path, amp: str, epochs: int) -> list[float]:
    """Images a second of each epoch but the first."""
    from train.main import train
    from train.run import RunFolder
    from train.settings import TrainSettings

    with tempfile.TemporaryDirectory() as folder:
        settings = TrainSettings(
            data=str(data), output=f"{folder}/run", model=OURS, size=SIZE, batch=BATCH,
            epochs=epochs, val_split="", workers=1, tensorboard=False, plots=False,
            auto_anchor=False, device="cpu",
        ).changed({"amp": amp})  # fmt: skip
        train(settings)
        rows = RunFolder(Path(folder) / "run", fresh=False).results()
    return [float(row["images_per_second"]) for row in rows[1:]]


if __name__ == "__main__":
    print(json.dumps(train_here(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
