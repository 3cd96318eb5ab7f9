"""Time and size of the demo from nothing: `python -m benchmarks.demo [--runs 2]`.

Each run copies the repository to a new folder and starts `sh scripts/demo` there, which makes a
virtual environment, installs into it (needs a package index) and detects. The first run also fills
pip's cache; the last one tells how long it takes with a warm one.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from yolov4sdk.measure.timing import machine

REPOSITORY = Path(__file__).resolve().parent.parent
LEFT_OUT = (
    ".git",
    ".venv*",
    "out",
    "runs",
    "build",
    "dist",
    "*.egg-info",
    ".*_cache",
    "__pycache__",
)


def main() -> None:
    """Print a line for each run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2)
    args = parser.parse_args()
    print(machine())
    for number in range(1, args.runs + 1):
        with tempfile.TemporaryDirectory() as folder:
            seconds, size = run(Path(folder) / "repository")
        print(f"run {number}: {seconds:.0f} s, environment {size / 1e6:.0f} MB", flush=True)


def run(copy: Path) -> tuple[float, int]:
    """Run the demo in a copy of the repository; returns seconds and bytes of the environment."""
    shutil.copytree(REPOSITORY, copy, ignore=shutil.ignore_patterns(*LEFT_OUT))
    start = time.perf_counter()
    subprocess.run(["sh", "scripts/demo"], cwd=copy, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    files = (f for f in (copy / ".venv-demo").rglob("*") if f.is_file() and not f.is_symlink())
    return seconds, sum(f.stat().st_size for f in files)


if __name__ == "__main__":
    main()
