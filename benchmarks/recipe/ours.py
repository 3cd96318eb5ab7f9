"""Our trainer on one data set: python -m benchmarks.recipe.ours DATA SIZE EPOCHS BATCH OUT.npz

The last line is JSON, as that of `benchmarks/peers/recipe.py`: seconds of the training, points
(seconds, AP on val) of its epochs, and the name of the model. OUT.npz holds what the best
checkpoint found in the images of the split `test`: rows image, x1, y1, x2, y2, score, class.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from train.main import train
from train.recipes import settings
from train.run import RunFolder
from yolov4sdk.backends import load_backend
from yolov4sdk.datasets import load_dataset
from yolov4sdk.measure.evaluation import evaluate
from yolov4sdk.measure.metrics import coco_results

MODEL = "yolov4-csp-n"  # 2.4 million parameters; ultralytics' yolo11n has 2.6


def main() -> None:
    """Train from scratch with the defaults, and detect in the test split."""
    data, out = sys.argv[1], Path(sys.argv[5])
    size, epochs, batch = map(int, sys.argv[2:5])
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        made = settings(
            data=data, output=f"{folder}/run", model=MODEL, from_scratch=True, size=size,
            epochs=epochs, batch=batch, tensorboard=False, plots=False,
        )  # fmt: skip
        train(made)
        seconds = time.perf_counter() - start
        run = RunFolder(f"{folder}/run", fresh=False)
        best = run.path / "best.safetensors"
        model = best if best.exists() else run.path / "last.safetensors"
        with load_backend(model, device=made.device) as backend:
            result = evaluate(backend, load_dataset(data, "test"), size=size)
        rows = coco_results(result.predictions, 300).reshape(-1, 7)
        rows[:, 3:5] += rows[:, 1:3]  # x, y, width, height -> corners
        points, at = [], 0.0
        for row in run.results():
            at += float(row["seconds"])
            points.append((at, float(row["map50_95"])))
    np.savez(out, rows=rows)
    print(json.dumps({"seconds": seconds, "points": points, "model": MODEL, "own_ap": result.ap}))


if __name__ == "__main__":
    main()
