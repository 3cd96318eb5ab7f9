"""Is data loading ever the bottleneck, and what does rectangular training save?

    python -m benchmarks.data_loading DATA --size 320 --model yolov4-csp-n

Prints images/s of the loader alone (per cache and number of workers) against a training step's
forward and backward pass, which is the least that a step can take (in bfloat16 unless --amp off,
the faster of the two); then, square against
rectangular, the padding and the time of an epoch's steps (each canvas timed, times its number).
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

import torch

from train.augment import Augmentation
from train.cache import CacheKind
from train.loader import EpochSampler, TrainLoader, TrainSet
from yolov4sdk.datasets import DetectionDataset, load_dataset
from yolov4sdk.measure.timing import machine
from yolov4sdk.models import Model, build_model
from yolov4sdk.models.fast_mish import use_fast_mish

COUNT = 512  # images that a measurement of the loader reads; enough to hide the workers' start


def loader_rate(train_set: TrainSet, batch: int, workers: int) -> float:
    """Images a second that the loader alone gives, the start of its workers included."""
    start = time.perf_counter()
    with TrainLoader(train_set, batch, 0, workers=workers) as loader:
        images = sum(len(b.paths) for b in loader.epoch(0))
        return images / (time.perf_counter() - start)


def step_seconds(
    model: Model, canvas: tuple[int, int], batch: int, steps: int, bf16: bool
) -> float:
    """The median time of a forward and backward pass, after one to warm up."""
    images = torch.rand(batch, 3, *canvas).to(memory_format=torch.channels_last)
    times = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            levels = model(images)
        loss = torch.stack([level.float().square().mean() for level in levels]).sum()
        torch.autograd.backward(loss)
        times.append(time.perf_counter() - start)
    return sorted(times[1:])[steps // 2]


def compare_shapes(dataset: DetectionDataset, model: Model, args: argparse.Namespace) -> None:
    """Print padding and time of an epoch, square and rectangular."""
    for rectangular in (False, True):
        train_set = TrainSet(dataset, args.size, Augmentation.none(), rectangular=rectangular)
        keys = [batch[0] for batch in EpochSampler(train_set, args.batch, 0, 0)]
        canvases = Counter(key.canvas for key in keys)
        pixels = args.batch * sum(h * w * number for (h, w), number in canvases.items())
        content = sum(h * w for h, w in map(train_set.resized, range(len(train_set))))
        seconds = sum(
            step_seconds(model, canvas, args.batch, args.steps, args.amp == "bf16") * number
            for canvas, number in canvases.items()
        )
        print(
            f"{'rectangular' if rectangular else 'square'}: {1 - content / pixels:.1%} of the "
            f"pixels are padding, {len(canvases)} canvases, {seconds:.0f} s an epoch of "
            f"{len(dataset)} images"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="train")
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--model", default="yolov4-csp-n")
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each canvas")
    parser.add_argument("--amp", choices=("off", "bf16"), default="bf16")
    args = parser.parse_args()

    dataset = load_dataset(args.data, args.split)
    model = build_model(args.model, names=dataset.names).train()
    use_fast_mish(model)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    canvas = (args.size, args.size)
    step = args.batch / step_seconds(model, canvas, args.batch, args.steps, args.amp == "bf16")
    print(f"{machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(
        f"training step, {args.model} at {args.size}, amp {args.amp}: {step:.1f} images/s "
        "(no loss, no update)"
    )
    some = dataset.subset(range(min(COUNT, len(dataset))))
    caches: tuple[CacheKind | None, ...] = (None, "ram")
    for cache in caches:
        train_set = TrainSet(some, args.size, cache=cache)
        for workers in (0, 1, 2):
            rate = loader_rate(train_set, args.batch, workers)
            print(
                f"loader, mosaic, cache {cache or 'none'}, {workers} workers: {rate:.0f} images/s, "
                f"{rate / step:.1f} x the step"
            )
    compare_shapes(dataset, model, args)


if __name__ == "__main__":
    main()
