"""The one timing core: alternating runs, so that a slow moment of the machine slows all alike."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ..system.cpu import available_cpus, units

Key = TypeVar("Key", bound=Hashable)


def alternate(
    runs: Mapping[Key, Callable[[], Any]],
    rounds: int,
    seconds: float = float("inf"),
    pause: float = 0.0,
) -> dict[Key, list[float]]:
    """Seconds of each run in each round, in turn, after one of each that is not counted.

    Args:
        runs: what is timed, by name.
        rounds: that count.
        seconds: no round starts that would end later, except the first that counts.
        pause: seconds before each run, in which the threads of the one before it stop spinning.
    """
    times: dict[Key, list[float]] = {key: [] for key in runs}
    begun = time.perf_counter()
    for counted in range(-1, rounds):
        spent = time.perf_counter() - begun
        if counted > 0 and spent * (counted + 2) / (counted + 1) > seconds:
            break
        for key, run in runs.items():
            time.sleep(pause)
            started = time.perf_counter()
            run()
            if counted >= 0:
                times[key].append(time.perf_counter() - started)
    return times


def median_ratio(seconds: list[float], base: list[float]) -> float:
    """The median over rounds of `seconds` to `base`."""
    return statistics.median(s / b for s, b in zip(seconds, base, strict=True))


def machine() -> str:
    """The processor and its units, the threads that may be used and Python's version, in a line."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    has = f" ({' '.join(units())})" if units() else ""
    return f"{name}{has}, {available_cpus()} threads, Python {platform.python_version()}"
