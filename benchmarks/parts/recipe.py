"""Defaults of the trainers, ours and of ultralytics' yolo11n, from scratch at equal epochs."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from yolov4sdk.datasets import DetectionDataset, load_dataset
from yolov4sdk.measure.metrics import CocoMetrics, Prediction, coco_metrics

from ..recipe.sets import Bench, benches
from ..suite.peers import run_peer
from ..suite.result import Cell, Curve, Options, Result, Table, Target

_COLUMNS = {
    "data set": "", "trainer": "", "model": "", "epochs": "", "AP50-95": ".3f", "AP50": ".3f",
    "AP75": ".3f", "AR100": ".3f", "its own AP50-95": ".3f", "minutes": ".1f",
}  # fmt: skip
_AHEAD = 0.02  # in the mean over the sets


def measure(options: Options) -> Result:
    """Train, then COCO's evaluation of both on the test split by one program."""
    chosen = list(benches(options.data, options.quick))
    ready = {bench.name: bench.ready(options.cache) for bench in chosen}
    if options.prepare:
        return Result()
    with_peer = (options.peers / "bin" / "python").exists()
    if not with_peer:
        print(f"without ultralytics; sh benchmarks/peers/environment {options.peers} makes it")
    rows: list[list[Cell]] = []
    curves, leads = [], []
    for bench in chosen:
        found = {"ours": _ours(bench, ready[bench.name], options)}
        if with_peer:
            found["ultralytics"] = _theirs(bench, ready[bench.name], options)
        best: dict[str, float] = {}
        for trainer, answer in found.items():
            coco = score(load_dataset(ready[bench.name], "test"), answer["rows"])
            best[trainer] = max(coco.ap, answer["own_ap"] if trainer != "ours" else 0.0)
            rows.append(_row(bench, trainer, answer, coco))
        lines = {t: [(s, ap) for s, ap in a["points"] if ap > 0] for t, a in found.items()}
        if any(lines.values()):
            title = f"AP50-95 on val over seconds of training, {bench.name}"
            curves.append(Curve(f"recipe-{bench.name}", title, "seconds", "AP50-95", lines))
        if with_peer:
            leads.append(best["ours"] - best["ultralytics"])
    note = (
        "From scratch, each project's defaults, one run each; the best checkpoint by val, COCO's "
        "evaluation of its detections in test by one program. ultralytics counts with the higher "
        "of that and its own validation's figure."
    )
    result = Result([Table("", _COLUMNS, rows, note)], curves)
    if leads:
        least = Target("recipe-least", "AP50-95 beyond ultralytics', least", min(leads), 0.0, True)
        mean = statistics.mean(leads)
        result.targets = [
            least, Target("recipe-mean", "AP50-95 beyond ultralytics', mean", mean, _AHEAD, True)
        ]  # fmt: skip
    return result


def _row(bench: Bench, trainer: str, answer: dict[str, Any], coco: CocoMetrics) -> list[Cell]:
    figures = (coco.ap, coco.ap50, coco.ap75, coco.ar100, answer["own_ap"], answer["seconds"] / 60)
    return [bench.name, trainer, answer["model"], bench.epochs, *figures]


def _arguments(bench: Bench, data: Path, out: Path) -> list[str]:
    return [str(data), str(bench.size), str(bench.epochs), str(bench.batch), str(out)]


def _ours(bench: Bench, data: Path, options: Options) -> dict[str, Any]:
    out = options.cache / f"recipe-{bench.name}-ours.npz"
    command = [sys.executable, "-m", "benchmarks.recipe.ours", *_arguments(bench, data, out)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"our training on {bench.name} failed:\n{run.stderr[-2000:]}")
    return _answer(json.loads(run.stdout.splitlines()[-1]), out)


def _theirs(bench: Bench, data: Path, options: Options) -> dict[str, Any]:
    out = options.cache / f"recipe-{bench.name}-theirs.npz"
    images = load_dataset(data, "test").images
    data.with_name("test.txt").write_text("".join(f"{path.absolute()}\n" for path in images))
    return _answer(run_peer(options, "recipe.py", *_arguments(bench, data, out)), out)


def _answer(found: dict[str, Any], out: Path) -> dict[str, Any]:
    with np.load(out) as saved:
        return found | {"rows": saved["rows"]}


def score(dataset: DetectionDataset, rows: np.ndarray[Any, np.dtype[Any]]) -> CocoMetrics:
    """COCO's figures of rows image, x1, y1, x2, y2, score, class (float [N, 7])."""
    predictions = []
    for image in range(len(dataset)):
        of_image = rows[rows[:, 0] == image]
        of_image = of_image[np.argsort(-of_image[:, 5], kind="stable")]
        boxes, scores = of_image[:, 1:5].astype(np.float32), of_image[:, 5].astype(np.float32)
        predictions.append(Prediction(boxes, scores, of_image[:, 6].astype(np.int64)))
    return coco_metrics(dataset, predictions)
