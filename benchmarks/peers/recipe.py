"""ultralytics' trainer on one data set: python recipe.py DATA SIZE EPOCHS BATCH OUT.npz

Answers as `benchmarks/recipe/ours.py` does; `own_ap` is what its own validation says of `test`.
The images of the split are read from the file `test.txt` beside DATA, one path a line.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

os.environ.update(YOLO_AUTOINSTALL="false", YOLO_OFFLINE="true")
MODEL = "yolo11n"


def main() -> None:
    """Train from scratch with the defaults of the project, and detect in the test split."""
    import torch
    import ultralytics

    data, out = sys.argv[1], Path(sys.argv[5])
    size, epochs, batch = map(int, sys.argv[2:5])
    device = "0" if torch.cuda.is_available() else "cpu"
    files = Path(data).with_name("test.txt").read_text().splitlines()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        ultralytics.YOLO(f"{MODEL}.yaml").train(
            data=data, imgsz=size, batch=batch, epochs=epochs, device=device, workers=1,
            cache="ram", pretrained=False, plots=False, project=folder, name="run",
        )  # fmt: skip
        seconds = time.perf_counter() - start
        run = Path(folder, "run")
        with (run / "results.csv").open() as lines:
            rows = [{k.strip(): v for k, v in row.items()} for row in csv.DictReader(lines)]
        points = [(float(r["time"]), float(r["metrics/mAP50-95(B)"])) for r in rows]
        best = ultralytics.YOLO(run / "weights" / "best.pt")
        own = best.val(data=data, split="test", imgsz=size, device=device, plots=False)
        found = []
        for index, file in enumerate(files):
            (result,) = best.predict(
                file, conf=0.001, iou=0.7, max_det=300, imgsz=size, device=device, verbose=False
            )
            boxes = result.boxes.cpu()
            for box, score, kind in zip(boxes.xyxy, boxes.conf, boxes.cls, strict=True):
                found.append([index, *box.tolist(), float(score), float(kind)])
    np.savez(out, rows=np.array(found, np.float64).reshape(-1, 7))
    answer = {"seconds": seconds, "points": points, "own_ap": float(own.box.map)}
    print(json.dumps(answer | {"model": f"{MODEL}, {ultralytics.__version__}"}))


if __name__ == "__main__":
    main()
