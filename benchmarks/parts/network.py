"""The network alone in every runtime, and its share of the machine's matrix rate."""

from __future__ import annotations

import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch

from yolov4sdk.backends import load_backend
from yolov4sdk.imaging.preprocess import to_input
from yolov4sdk.imaging.synthetic import drawn_image
from yolov4sdk.measure.timing import alternate, median_ratio
from yolov4sdk.measure.verify import canvas_batch
from yolov4sdk.models import fold
from yolov4sdk.models.checkpoints import load_checkpoint

from ..runtimes import Run, openvino_run, ort_run
from ..suite.models import LARGE, prepared, work
from ..suite.profiles import onnxruntime_profile, openvino_profile
from ..suite.result import Cell, Options, Result, Table, Target

PLAIN = "ONNX Runtime, plain export"
SHORTEST, PAUSE = 0.2, 0.1  # seconds
WITHOUT = (
    "batch 8, torch.compile and INT8 are left out: a round would take minutes, and calibration "
    "needs the memory of all activations at once."
)
COLUMNS = {
    "size": "", "batch": "", "runtime": "", "median s": ".3f", "fastest s": ".3f",
    "rounds": "", "of plain ONNX Runtime": ".3f", "images/s": ".1f", "share of the matrix rate": "",
}  # fmt: skip


def measure(options: Options, model: str, sizes: tuple[int, ...], batch: int) -> Result:
    """One table of all sizes."""
    result = Result()
    rows: list[list[Cell]] = []
    notes = set()
    for size in sizes:
        operations = work(model, size)
        large = operations > LARGE
        files = prepared(model, size, options.cache)
        images = pictures(size, batch)
        if options.prepare:
            if not large:
                _compiled(files["torch"], images)()  # into torch's own cache
            continue
        runs = runtimes(files, images)
        if large:
            notes.add(f"{model} {size}: {WITHOUT}")
        times = per_run(runs, options)
        rows += table_rows(times, size, batch, operations, options)
        if (model, size, batch) == ("yolov4-csp", 640, 1):
            add_targets(result, times, operations, files, images, options)
    result.tables.append(Table("", COLUMNS, rows, " ".join(sorted(notes))))
    return result


def per_run(runs: dict[str, Run], options: Options, share: float = 1.0) -> dict[str, list[float]]:
    """Seconds of one run in alternating rounds, a short one as the mean of several in a row.

    Runtimes' threads spin for a while after a run and would slow a short one of another runtime.

    Args:
        share: of the seconds that a comparison may take.
    """
    numbers = {name: _number(run) for name, run in runs.items()}
    repeated = {name: partial(_repeat, run, numbers[name]) for name, run in runs.items()}
    times = alternate(repeated, options.rounds, options.seconds * share, pause=PAUSE)
    return {name: [s / numbers[name] for s in seconds] for name, seconds in times.items()}


def _number(run: Run) -> int:
    """Runs in a row that take SHORTEST together."""
    for _ in range(2):  # the first may compile and allocate
        started = time.perf_counter()
        run()
        seconds = time.perf_counter() - started
        if seconds > 5 * SHORTEST:
            break
    return max(1, round(SHORTEST / seconds))


def _repeat(run: Run, number: int) -> None:
    for _ in range(number):
        run()


def pictures(size: int, batch: int) -> np.ndarray:
    """float32 [B, 3, size, size]."""
    drawn = [drawn_image((size, size), seed) for seed in range(batch)]
    return np.asarray(to_input(canvas_batch(drawn, (size, size)), "float_nchw", bgr=True))


def runtimes(files: dict[str, Path], images: np.ndarray) -> dict[str, Run]:
    """One run of the same images in each runtime; large models are not compiled and quantised."""
    backend = load_backend(files["torch"], "torch", "cpu")
    core = openvino.Core()
    runs: dict[str, Run] = {
        PLAIN: ort_run(files["plain"], images),
        "ONNX Runtime": ort_run(files["onnx"], images),
        "torch eager": lambda: backend.infer(images),
        "OpenVINO fp32": openvino_run(core, files["openvino"], images, "f32"),
    }
    if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        half = load_backend(files["torch"], "torch", "cpu", precision="bf16")
        runs["torch bf16"] = lambda: half.infer(images)
        runs["OpenVINO bf16"] = openvino_run(core, files["openvino"], images, "bf16")
    if "int8" in files:
        runs["OpenVINO int8"] = openvino_run(core, files["int8"], images, "f32")
        runs["torch.compile"] = _compiled(files["torch"], images)
    return runs


def _compiled(path: Path, images: np.ndarray) -> Run:
    model = fold(load_checkpoint(path)).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    faster: Any = torch.compile(model, dynamic=False)
    tensor = torch.from_numpy(images).to(memory_format=torch.channels_last)

    def run() -> None:
        with torch.inference_mode():
            faster(tensor)

    return run


def table_rows(
    times: dict[str, list[float]], size: int, batch: int, operations: float, options: Options
) -> list[list[Cell]]:
    """One row a runtime."""
    rows: list[list[Cell]] = []
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        rate = options.ceiling.get(name.split()[-1], options.ceiling["fp32"])
        share = operations * batch / min(seconds) / rate
        rows.append(
            [size, batch, name, middle, min(seconds), len(seconds),
             median_ratio(seconds, times[PLAIN]), batch / middle,
             f"{share:.0%} of {rate / 1e9:.0f} GOP/s"]
        )  # fmt: skip
    return rows


def add_targets(
    result: Result,
    times: dict[str, list[float]],
    operations: float,
    files: dict[str, Path],
    images: np.ndarray,
    options: Options,
) -> None:
    """The numbers of yolov4-csp at 640 and batch 1."""
    for name, limit in (("OpenVINO bf16", 0.24), ("OpenVINO int8", 0.19), ("ONNX Runtime", 0.65)):
        if name in times:
            value = median_ratio(times[name], times[PLAIN])
            key = name.lower().replace(" ", "-")
            what = f"yolov4-csp 640, {name} to plain ONNX Runtime"
            target = Target(key, what, value, limit, format=".3f")
            result.aim(target, partial(_profile, key, files, images))
    for precision in ("bf16", "int8"):
        if f"OpenVINO {precision}" in times:
            rate = options.ceiling[precision]
            value = rate * min(times[f"OpenVINO {precision}"]) / operations
            what = f"yolov4-csp 640, time in {precision} to that of the best matrix rate"
            key = f"rate-{precision}"
            result.aim(Target(key, what, value, 1.25), partial(_profile, key, files, images))


def _profile(name: str, files: dict[str, Path], images: np.ndarray) -> str:
    if name == "onnx-runtime":
        return onnxruntime_profile(files["onnx"], images)
    if "int8" in name:
        return openvino_profile(files["int8"], images, "f32")
    return openvino_profile(files["openvino"], images, "bf16")
