"""The four models on a CUDA device beside the processor: `python -m benchmarks.cuda`.

Errors are those of `yolov4sdk verify` against float32 on the processor. The network's time is that
of the folded model in PyTorch with its input and output on the device; `yolov4sdk benchmark` adds
the way there and back.
"""

from __future__ import annotations

import argparse
import statistics
from functools import partial
from typing import Any

import torch

from yolov4sdk.backends.torch_backend import DTYPES, TorchBackend
from yolov4sdk.imaging.preprocess import to_input
from yolov4sdk.imaging.synthetic import drawn_image
from yolov4sdk.measure.timing import machine
from yolov4sdk.measure.verify import Result, canvas_batch, compare
from yolov4sdk.models import Model, fold
from yolov4sdk.models.definition import load_definition
from yolov4sdk.system.cuda_driver import require_gpu

from .calibrated import calibrated

MODELS = ("yolov4-csp", "yolov4-p5", "yolov4-p6", "yolov4-p7")


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    gpu = require_gpu("This benchmark")
    print(f"{gpu.name}, driver for CUDA {gpu.driver}, torch {torch.__version__}; {machine()}\n")
    print(
        "| model | precision | box error, max | mean | score error, max | ms, batch 1 | batch 8 |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in args.models:
        for row in measure(name, args.rounds):
            print("| " + " | ".join([name, *row]) + " |", flush=True)


def measure(name: str, rounds: int) -> list[list[str]]:
    """One row a precision."""
    side = (load_definition(name).input_size,) * 2
    model = calibrated(name, side)
    images = to_input(canvas_batch([drawn_image((480, 640))], side), "float_nchw", bgr=True)
    with TorchBackend(model, "cpu") as backend:
        right = Result(backend.infer(images), "full")
    rows = []
    for label, precision, tf32 in (
        ("fp32", "fp32", False), ("fp32 by TF32", "fp32", True), ("fp16", "fp16", False),
        ("bf16", "bf16", False),
    ):  # fmt: skip
        with TorchBackend(model, "cuda", precision) as backend:
            torch.backends.cudnn.allow_tf32 = tf32  # the backend has switched it off
            found = compare(right, Result(backend.infer(images), "full"))
        errors = (found.boxes_max, found.boxes_mean, found.scores_max)
        network: Any = fold(model).to("cuda", DTYPES[precision])
        network.to(memory_format=torch.channels_last)
        times = [milliseconds(network, side, batch, rounds) for batch in (1, 8)]
        rows.append([label, *(f"{e:.1e}" for e in errors), *(f"{t:.2f}" for t in times)])
    return rows


def milliseconds(network: Model, size: tuple[int, int], batch: int, rounds: int) -> float:
    """The median time of one batch, by the device's own clock."""
    dtype = next(network.parameters()).dtype
    images = torch.rand(batch, 3, *size, device="cuda", dtype=dtype)
    images = images.to(memory_format=torch.channels_last)
    event: Any = partial(torch.cuda.Event, enable_timing=True)
    times: list[float] = []
    with torch.inference_mode():
        for counted in range(-3, rounds):
            begin, end = (event() for _ in range(2))
            begin.record()
            network(images)
            end.record()
            end.synchronize()
            if counted >= 0:
                times.append(begin.elapsed_time(end))
    return statistics.median(times)


if __name__ == "__main__":
    main()
