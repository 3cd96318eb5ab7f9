"""Peak memory and speed of real training steps on the CPU: `python -m benchmarks.training_memory`.

Each row is a process of its own that runs a few steps of the trainer on synthetic images: the
model, its EMA, optimizer, loss and loader together.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from yolov4sdk.measure.timing import machine

ROWS = (
    ("yolov4-csp-n", 320, 16, "off"),
    ("yolov4-csp-n", 320, 16, "bf16"),
    ("yolov4-csp-s", 640, 8, "off"),
    ("yolov4-csp-s", 640, 8, "bf16"),
)


def write_data(folder: Path, images: int, size: int) -> Path:
    """A YOLO data set of noise with one box an image; what is learnt does not matter here."""
    rng = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for i in range(images):
        picture = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"images/{i}.jpg"), picture)
        (folder / f"labels/{i}.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    data = folder / "data.yaml"
    data.write_text("path: .\ntrain: images\nnames: [thing]\n")
    return data


def measure(model: str, size: int, batch: int, amp: str, steps: int) -> dict[str, float]:
    """Train `steps` epochs of one batch; the median speed and the peak memory of the process."""
    from train.main import train
    from train.run import RunFolder
    from train.settings import TrainSettings

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = TrainSettings(
            data=str(write_data(folder / "data", batch, size)), output=str(folder / "run"),
            model=model, size=size, batch=batch, epochs=steps, val_split="",
            workers=0, tensorboard=False, plots=False, auto_anchor=False, device="cpu",
        ).changed({"amp": amp})  # fmt: skip
        train(settings)
        rows = RunFolder(folder / "run", fresh=False).results()
    speeds = [float(row["images_per_second"]) for row in rows[1:]]
    return {
        "images_per_second": statistics.median(speeds),
        "gib": max(float(row["memory_gib"]) for row in rows),
    }


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--row", type=int, help="measure this row alone, and print JSON")
    args = parser.parse_args()
    if args.row is not None:
        print(json.dumps(measure(*ROWS[args.row], args.steps)))
        return
    print(machine() + "\n")
    print("| model | size | batch | amp | images/s, loader included | peak memory, GiB |")
    print("|---|---|---|---|---|---|")
    for i, row in enumerate(ROWS):
        command = [sys.executable, "-m", "benchmarks.training_memory", "--row", str(i)]
        command += ["--steps", str(args.steps)]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(run.stdout.splitlines()[-1])
        cells = [*map(str, row), f"{found['images_per_second']:.1f}", f"{found['gib']:.2f}"]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
