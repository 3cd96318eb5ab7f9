"""Time and memory of reading a full-size Darknet model: `python -m benchmarks.darknet_import`.

The cfg has the structure of the published one, the weights are random. Each round runs in a
process of its own: memory is its peak above what importing torch takes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.darknet_nets import NETS, cfg_text, write_weights
from yolov4sdk.measure.timing import machine


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=["yolov4-csp"], help=", ".join(NETS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=2, type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(*args.one)))
        return
    print(machine())
    print("| cfg | becomes | weights MB | seconds | CPU seconds | peak MB above torch |")
    print("|---|---|---|---|---|---|")
    for name in args.models:
        with tempfile.TemporaryDirectory() as folder:
            cfg, weights = Path(folder) / f"{name}.cfg", Path(folder) / f"{name}.weights"
            cfg.write_text(cfg_text(name))
            write_weights(weights, cfg.read_text())
            size = weights.stat().st_size / 1e6
            script = [sys.executable, "-m", "benchmarks.darknet_import"]
            command = [*script, "--one", str(cfg), str(weights)]
            found = [
                json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
                for _ in range(args.rounds)
            ]
        seconds, cpu, peak = (
            statistics.median(f[key] for f in found) for key in ("seconds", "cpu", "peak")
        )
        kind = found[0]["kind"]
        print(f"| {name} | {kind} | {size:.0f} | {seconds:.2f} | {cpu:.2f} | {peak / 1e6:.0f} |")


def measure(cfg: Path, weights: Path) -> dict[str, float | str]:
    """Import one model; its seconds and peak bytes."""
    import torch  # noqa: F401

    before = peak_memory()
    started, worked = time.perf_counter(), time.process_time()
    from yolov4sdk.models.darknet import import_darknet

    model = import_darknet(cfg, weights)
    return {
        "kind": type(model).__name__,
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time() - worked,
        "peak": peak_memory() - before,
    }


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes (Linux).

    Not getrusage: its figure starts at that of the process that started this one.
    """
    status = Path("/proc/self/status").read_text().split()
    return int(status[status.index("VmHWM:") + 1]) * 1024


if __name__ == "__main__":
    main()
