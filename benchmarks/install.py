"""Import time and installed size: `python -m benchmarks.install [--size]`.

The import is timed in fresh processes, in turn with an empty one. With `--size` a wheel is built
and the core with the `cpu` extra is installed into a new virtual environment (needs a package
index) and its size is printed.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import venv
from functools import partial
from pathlib import Path

from yolov4sdk.measure.timing import alternate, machine

REPOSITORY = Path(__file__).resolve().parent.parent


def main() -> None:
    """Print the import's median and, when asked, the size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--size", action="store_true", help="also install into a new environment")
    args = parser.parse_args()
    print(machine())
    python = sys.executable
    if args.size:
        with tempfile.TemporaryDirectory() as folder:
            python = install(Path(folder))
            report_import(python, args.rounds)
            report_size(Path(folder))
    else:
        report_import(python, args.rounds)


def report_import(python: str, rounds: int) -> None:
    """Time `import yolov4sdk` and, beside it, what it is made of."""
    statements = {"nothing": "pass", "numpy and cv2": "import numpy, cv2"}
    statements["yolov4sdk"] = "import yolov4sdk"
    statements["Detector"] = "from yolov4sdk import Detector"
    runs = {name: partial(run_statement, python, text) for name, text in statements.items()}
    times = alternate(runs, rounds)
    base = statistics.median(times.pop("nothing"))
    for name, seconds in times.items():
        print(
            f"import {name}: {1e3 * (statistics.median(seconds) - base):.0f} ms "
            "beyond Python's own start"
        )


def run_statement(python: str, statement: str) -> None:
    """Run one statement in a new process."""
    subprocess.run([python, "-c", statement], check=True, cwd="/")


def install(folder: Path) -> str:
    """Build the wheel and install it with the `cpu` extra; returns the environment's Python."""
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(REPOSITORY)]
    subprocess.run(build, check=True, capture_output=True)
    wheel = next(folder.glob("*.whl"))
    print(f"wheel: {wheel.stat().st_size / 1e6:.1f} MB")
    venv.create(folder / "environment", with_pip=True)
    python = str(folder / "environment" / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-q", f"{wheel}[cpu]"], check=True)
    return python


def report_size(folder: Path) -> None:
    """Print the size of site-packages and of its largest packages."""
    site = next((folder / "environment" / "lib").glob("python*/site-packages"))

    def size(path: Path) -> int:
        return sum(f.stat().st_size for f in path.rglob("*") if f.is_file())

    sizes = {p.name: size(p) for p in site.iterdir() if p.is_dir() and not p.name.startswith("pip")}
    print(f"installed, core with the cpu extra: {sum(sizes.values()) / 1e6:.0f} MB")
    for name, count in sorted(sizes.items(), key=lambda item: -item[1])[:6]:
        print(f"  {name}: {count / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
