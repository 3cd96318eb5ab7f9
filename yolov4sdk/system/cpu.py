"""How many processors this process may really use, and what they compute with."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

UNITS: Final = {
    "AVX2": {"avx2"},
    "AVX512": {"avx512f"},
    "VNNI": {"avx512_vnni", "avx_vnni"},
    "BF16": {"avx512_bf16"},
    "AMX": {"amx_tile"},
}
"""Names of vector and matrix units, and the flags by which Linux knows them."""


def available_cpus() -> int:
    """Processors by affinity and by the container's quota, at least 1.

    Runtimes that count the host's processors start too many threads inside a container.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(count or 1, _quota()))


def units(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, ...]:
    """Those of `UNITS` that the processor has; () where the system does not say."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return ()
    flags = next(
        (set(line.split(":")[1].split()) for line in lines if line.startswith("flags")), set[str]()
    )
    return tuple(name for name, known in UNITS.items() if known & flags)


def _quota(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Whole processors of the cgroup (v2, then v1), or a large number without a limit."""
    try:
        limit, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            limit = (root / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return 1 << 16
    if not limit.isdigit() or not period.isdigit():  # "max" and "-1": no limit
        return 1 << 16
    return math.ceil(int(limit) / int(period))
