"""Images a second from JPEG bytes to Detections, against the bare network's."""

from __future__ import annotations

import cProfile
import io
import pstats
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from yolov4sdk import Detector
from yolov4sdk.backends import Precision
from yolov4sdk.imaging.images import decode
from yolov4sdk.imaging.preprocess import letterbox, letterbox_plan
from yolov4sdk.measure.timing import alternate, median_ratio

from ..suite.models import prepared_for_one
from ..suite.result import Cell, Options, Result, Table, Target
from .jpegs import SIZES, jpegs

MODELS = {"yolov4-csp": (640, 0.95, 4), "yolov4-csp-n": (320, 0.8, 24)}
"""Size, what is to be reached, images a round: an even number, as a stream on two cores runs two
side by side."""
RUNTIMES: tuple[tuple[str, str, Precision | None], ...] = (
    ("ONNX Runtime", "onnx", None),
    ("OpenVINO bf16", "openvino", "bf16"), ("OpenVINO int8", "int8", None),
)  # fmt: skip
COLUMNS = {
    "runtime": "", "how": "", "bare network, images/s": ".2f", "Detector, images/s": ".2f",
    "rounds": "", "of the bare network": ".3f",
}  # fmt: skip
CANDIDATES = 100  # of each image: some five objects with twenty boxes
NOTE = (
    "Batch 1, 1080p JPEGs, the threshold such that the first has 100 candidates. The bare network "
    "is `Detector.infer` on a ready batch with all threads, one after the other. Calls: one image "
    "a call; scaled calls: the same with `scaled_decode`; list: all in one call; stream: "
    "`Detector.stream` of a folder, which decodes ahead and runs batches side by side."
)


def measure(options: Options, model: str) -> Result:
    """One model in every runtime: one image a call, a list of them, a stream."""
    size, limit, count = MODELS[model]
    files = prepared_for_one(model, size, options.cache)
    if options.prepare:
        return Result()
    images = jpegs("1080p", count)
    folder = write(images, options.cache / f"1080p-{count}")
    detectors = {
        name: Detector(files[form], precision=precision, batch=1)
        for name, form, precision in RUNTIMES
    }
    ready = np.random.default_rng(0).random((1, 3, size, size), np.float32)
    runs: dict[Any, Callable[[], Any]] = {}
    for name, detector in detectors.items():
        conf = threshold(detector, images[0])
        runs |= loops(name, detector, images, folder, ready, conf)
    times = alternate(runs, options.rounds, 1.5 * options.seconds, pause=0.1)
    rows: list[list[Cell]] = []
    result = Result()
    for name, detector in detectors.items():
        bare = times[name, "bare"]
        for kind in ("calls", "scaled calls", "list", "stream"):
            ratio = 1 / median_ratio(times[name, kind], bare)
            speeds = [count / statistics.median(t) for t in (bare, times[name, kind])]
            rows.append([name, kind, *speeds, len(bare), ratio])
            key = f"pipeline-{model}-{name}-{kind}".replace(" ", "-").lower()
            what = f"{model} {size}, 1080p JPEGs, {name}, {kind}: of the bare network's images/s"
            target = Target(key, what, ratio, limit, at_least=True)
            if kind == "stream":
                result.aim(target, partial(shares, runs[name, kind], runs[name, "bare"], images))
            elif kind != "list":
                result.aim(target, partial(profile, runs[name, kind]))
        detector.close()
    result.tables.append(Table("", COLUMNS, rows, NOTE))
    return result


def write(images: list[bytes], folder: Path) -> Path:
    """The images as files of a folder."""
    folder.mkdir(exist_ok=True)
    for i, data in enumerate(images):
        (folder / f"{i}.jpg").write_bytes(data)
    return folder


def threshold(detector: Detector, image: bytes) -> float:
    """The confidence that CANDIDATES boxes of an image exceed: random weights have no idea."""
    plan = letterbox_plan(SIZES["1080p"], detector.size)
    canvas = letterbox(decode(image), plan)[None]
    best = detector.run_canvases(canvas).scores[0].max(axis=1)
    return float(np.partition(best, -CANDIDATES)[-CANDIDATES])


def loops(
    name: str,
    detector: Detector,
    images: list[bytes],
    folder: Path,
    ready: np.ndarray,
    conf: float,
) -> dict[Any, Callable[[], Any]]:
    """The bare network and three ways to detect, over as many images."""

    def streamed() -> None:
        with detector.stream(str(folder), batch=1, conf=conf) as stream:
            for _ in stream:
                pass

    scaled = Detector(detector.backend, batch=1, scaled_decode=True)
    return {
        (name, "bare"): lambda: [detector.infer(ready) for _ in images],
        (name, "calls"): lambda: [detector(data, conf=conf) for data in images],
        (name, "scaled calls"): lambda: [scaled(data, conf=conf) for data in images],
        (name, "list"): lambda: detector(images, conf=conf),
        (name, "stream"): streamed,
    }


def profile(run: Callable[[], Any]) -> str:
    """The functions in which calls with one image spend their own time."""
    profiler = cProfile.Profile()
    profiler.enable()
    run()
    profiler.disable()
    text = io.StringIO()
    stats = pstats.Stats(profiler, stream=text)
    stats.strip_dirs().sort_stats("tottime").print_stats(12)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines() if line.strip()) + "\n"


def shares(stream: Callable[[], Any], bare: Callable[[], Any], images: list[bytes]) -> str:
    """Processor time of a stream, of the bare network and of decoding."""
    lines = ["milliseconds of processor time an image, all threads", ""]
    for what, run in (
        ("the stream", stream),
        ("the bare network by all threads, which spin while one waits", bare),
        ("decoding alone", lambda: [decode(data) for data in images]),
    ):
        time.sleep(0.2)  # until the threads of the run before sleep
        started = time.process_time()
        run()
        lines.append(f"{1e3 * (time.process_time() - started) / len(images):7.2f}  {what}")
    return "\n".join([*lines, ""])
