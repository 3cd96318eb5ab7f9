"""Time and memory against image size, batch, candidates and classes, with fitted exponents."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from yolov4sdk import Detector
from yolov4sdk.measure.timing import alternate
from yolov4sdk.results.postprocess import suppress

from ..nms import IOU, MOST, candidates
from ..suite.models import RAW, exported, prepared, with_classes
from ..suite.result import Curve, Options, Result

MODEL = "yolov4-csp-n"
SIZES = (320, 448, 640, 896, 1280)
SOURCES = (320, 640, 1280, 2560, 5120)
BATCHES = (1, 2, 4, 8, 16)
CLASSES = (1, 10, 80, 300, 1000)
CANDIDATES = (10, 100, 1_000, 10_000, 100_000)
MEMORY = """
import json, sys
from benchmarks.darknet_import import peak_memory
from benchmarks.parts.growth import once
file, size, batch, source = sys.argv[1], *map(int, sys.argv[2:])
import numpy, cv2, onnxruntime, yolov4sdk.backends.onnxruntime_backend
before = peak_memory()
once(file, size, batch, source)
print(json.dumps((peak_memory() - before) / 1e6))
"""


def measure(options: Options) -> Result:
    """A plot for each."""
    checkpoint = prepared(MODEL, 320, options.cache)["torch"]
    form = replace(RAW, size=(640, 640), batch=None, dynamic=True)
    dynamic = exported(checkpoint, form, "dynamic.onnx")
    by_classes = {
        n: with_classes(MODEL, 320, n, options.cache)
        for n in (CLASSES if not options.quick else CLASSES[:2])
    }
    if options.prepare:
        return Result()
    sizes = SIZES if not options.quick else SIZES[:2]
    curves = [
        both("network-size", "side of the network's input, px", options, {
            side: (detector_run(dynamic, side, 1, 640), (dynamic, side, 1, 640)) for side in sizes
        }),
        both("image-size", "side of the image, px", options, {
            side: (detector_run(dynamic, 320, 1, side), (dynamic, 320, 1, side)) for side in SOURCES
        }),
        both("batch", "images in a batch", options, {
            n: (detector_run(dynamic, 320, n, 640), (dynamic, 320, n, 640)) for n in BATCHES
        }),
        both("classes", "classes", options, {
            n: (detector_run(path, 320, 1, 640), (path, 320, 1, 640))
            for n, path in by_classes.items()
        }),
        candidates_curve(options),
    ]  # fmt: skip
    return Result(curves=curves)


def both(
    name: str, x: str, options: Options,
    points: Mapping[int, tuple[Callable[[], Any], tuple[Path, int, int, int]]],
) -> Curve:  # fmt: skip
    """Time in this process, peak memory each in a process of its own."""
    times = alternate(
        {k: run for k, (run, _) in points.items()}, options.rounds, options.seconds / 3, pause=0.1
    )
    lines = {
        "time, ms": [(float(k), 1e3 * statistics.median(s)) for k, s in times.items()],
        "peak memory, MB": [(float(k), peak(*arguments)) for k, (_, arguments) in points.items()],
    }
    return Curve(f"growth-{name}", f"{MODEL}, ONNX Runtime: growth with {x}", x, "ms or MB", lines)


def detector_run(path: Path, size: int, batch: int, source: int) -> Callable[[], Any]:
    """Detection in a batch of noise, which takes no memory to make but its own."""
    detector = Detector(path, size=size, batch=batch, conf=0.01, shape="square")
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (source, source, 3), np.uint8) for _ in range(batch)]
    return lambda: detector(images)


def once(path: str, size: int, batch: int, source: int) -> None:
    """What the memory is measured of."""
    detector_run(Path(path), size, batch, source)()


def peak(path: Path, size: int, batch: int, source: int) -> float:
    """Peak memory in MB above what imports take, of one detection in a new process."""
    command = [sys.executable, "-c", MEMORY, str(path), str(size), str(batch), str(source)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(run.stdout))


def candidates_curve(options: Options) -> Curve:
    """Suppression alone, in clusters and spread uniformly."""
    counts = CANDIDATES if not options.quick else CANDIDATES[:3]
    runs: dict[tuple[str, int], Callable[[], Any]] = {}
    for count in counts:
        for kind, clusters in (("in 100 clusters", 100), ("uniform", None)):
            found = candidates(count, clusters)
            runs[kind, count] = partial(suppress, *found, iou=IOU, max_det=MOST)
    times = alternate(runs, options.rounds, options.seconds / 3, pause=0.1)
    lines: dict[str, list[tuple[float, float]]] = {}
    for (kind, count), seconds in times.items():
        lines.setdefault(kind, []).append((float(count), 1e3 * statistics.median(seconds)))
    title = "NMS: growth with candidates, 80 classes, at most 300 kept"
    return Curve("growth-candidates", title, "candidates", "ms", lines)
