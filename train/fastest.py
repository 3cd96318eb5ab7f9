"""Precision and threads of a run, chosen by timing a few steps at its start."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from statistics import median

import torch
from torch import Tensor

from train.distributed import World
from train.environment import is_busy
from train.settings import TrainSettings
from train.start import Say
from yolov4sdk.models import Model

_IMAGES = 4  # of a timed step: their ratio is that of a whole batch
_ROUNDS, _SECONDS = 3, 10.0  # the median of so many steps, or of what this time allows
_HOPELESS = 4.0  # a way that takes so many times the fastest's first step is not timed again
_GAIN = 0.9  # what is not float32 with all threads must save a tenth

Way = tuple[str, int]
"""`amp` and torch's threads."""


def has_bf16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 by units of its own (AMX, AVX512-BF16, a GPU's)."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def fastest(
    settings: TrainSettings, model: Model, device: torch.device, world: World, say: Say
) -> TrainSettings:
    """The settings with `amp` decided where it is "auto", by the time that a step takes.

    On CPUs that other programs use, one thread is tried as well, unless `threads` is given: the
    threads of an operation wait for the last of them, in oneDNN without ever sleeping, and one
    that another program keeps off its core costs all of them a slice of the scheduler's time.

    Args:
        settings: of the run; the result is what a state keeps, so a resumed run measures nothing.
        model: on `device`; it stays as it is, and so does torch's random state.
        device: where to train.
        world: the processes, which all do what the first one found.
        say: hears the choice and the times.
    """
    amps = [settings.amp]
    if settings.amp == "auto":
        amps = ["off", "bf16"] if has_bf16(device) else ["off"]
    threads = [torch.get_num_threads()]
    alone = world.size == 1 and device.type == "cpu" and settings.threads is None
    if alone and threads[0] > 1 and is_busy():
        threads.append(1)
    ways: list[Way] = list(product(amps, threads))
    best = 0
    if len(ways) > 1:
        times = _times(ways, model, settings, device) if world.is_main else [0.0] * len(ways)
        best = min(range(len(ways)), key=lambda i: times[i] * (_GAIN if i == 0 else 1))
        (shared,) = world.total([float(best) if world.is_main else 0.0])
        best = int(shared)
        say(_sentence(ways, times, best))
    amp, count = ways[best]
    if count != threads[0]:
        torch.set_num_threads(count)
        settings = replace(settings, threads=count)
    return replace(settings, amp=amp)  # type: ignore[arg-type]


def _sentence(ways: list[Way], times: list[float], best: int) -> str:
    titles = [
        f"{'float32' if amp == 'off' else amp}" + (f" with {count} threads" if count > 1 else "")
        for amp, count in ways
    ]
    others = ", ".join(
        f"in {title} {seconds:.2f} s"
        for i, (title, seconds) in enumerate(zip(titles, times, strict=True))
        if i != best
    )
    return (
        f"trains in {titles[best]}: a step of {_IMAGES} images takes {times[best]:.2f} s, {others} "
        "(--amp and --threads decide otherwise)"
    )


def _times(
    ways: list[Way], model: Model, settings: TrainSettings, device: torch.device
) -> list[float]:
    """Seconds of a step each way, in turns, so that a disturbance hits all of them."""
    copied = copy.deepcopy(model).train()
    side = settings.size // model.spec.max_stride * model.spec.max_stride
    images = torch.linspace(0, 1, _IMAGES * 3 * side * side, device=device)
    images = images.view(_IMAGES, 3, side, side)
    if settings.channels_last:
        images = images.to(memory_format=torch.channels_last)
    _seconds(copied, images, ways[-1])  # memory is fetched at the first step of all
    first = [_seconds(copied, images, way) for way in ways]  # kernels are made at each way's first
    found = [[] if seconds <= _HOPELESS * min(first) else [seconds] for seconds in first]
    start = time.perf_counter()
    for _ in range(_ROUNDS):
        for i, way in enumerate(ways):
            if first[i] <= _HOPELESS * min(first):
                found[i].append(_seconds(copied, images, way))
        if time.perf_counter() - start > _SECONDS:
            break
    return [median(times) for times in found]


def _seconds(model: Model, images: Tensor, way: Way) -> float:
    """The time of one forward and backward pass."""
    amp, threads = way
    with _threads(threads):
        start = time.perf_counter()
        with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=amp == "bf16"):
            maps = model(images)
        torch.stack([m.float().square().mean() for m in maps]).sum().backward()  # type: ignore[no-untyped-call]
        model.zero_grad(set_to_none=True)
        if images.device.type == "cuda":
            torch.cuda.synchronize(images.device)
        return time.perf_counter() - start


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
