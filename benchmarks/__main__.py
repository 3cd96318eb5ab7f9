"""Every figure of the project: `python -m benchmarks all`, `python -m benchmarks NAME...`.

Each part runs in a process of its own, measures the machine's ceiling first, and its result takes
the place of the older one in results/results.json, from which RESULTS.md and the plots are drawn.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from .suite.parts import PARTS
from .suite.render import render
from .suite.result import Options
from .suite.store import RESULTS, load, measure_ceiling, merge, record


def main() -> None:
    """Run the parts that are named."""
    args = parse()
    if args.list:
        for name, part in PARTS.items():
            marks = [*(["peers"] if part.peers else []), *(["when named"] if part.asked else [])]
            print(f"{name:<18} {part.about}" + (f" ({', '.join(marks)})" if marks else ""))
        return
    options = Options(args.cache, args.peers, args.quick, args.prepare, args.slow, args.data)
    if args.here:
        run_here(args.names[0], options, args.results)
        return
    failed = []
    for name in args.names:
        if PARTS[name].peers and not (options.peers / "bin" / "python").exists():
            print(f"{name}: skipped; sh benchmarks/peers/environment {options.peers} makes it")
            continue
        command = [sys.executable, "-m", "benchmarks", *sys.argv[1:], "--here", name]
        if subprocess.run(command).returncode:
            failed.append(name)
    if not args.prepare:
        render(load(args.results), args.results.parent)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def parse() -> argparse.Namespace:
    """The command line; `all` becomes the names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help="parts, or `all`; none: only draw the results")
    parser.add_argument("--list", action="store_true", help="name the parts")
    parser.add_argument("--quick", action="store_true", help="few rounds, to see that all runs")
    parser.add_argument("--prepare", action="store_true", help="only make the models and the data")
    parser.add_argument("--slow", action="store_true", help="also what takes minutes or 14 GB")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the JSON file")
    folder = Path(tempfile.gettempdir())
    parser.add_argument("--cache", type=Path, default=folder / "yolov4sdk-benchmarks")
    peers = Path(os.environ.get("PEERS_ENVIRONMENT", folder / "yolov4sdk-peers"))
    parser.add_argument("--peers", type=Path, default=peers, help="the peers' environment")
    parser.add_argument(
        "--data", type=Path, help="folder of bccd, everyday20 and common10 (recipe)"
    )
    parser.add_argument("--here", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        args.names = [args.here]
    elif "all" in args.names:
        args.names = [name for name, part in PARTS.items() if not part.asked]
    if unknown := set(args.names) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return args


def run_here(name: str, options: Options, results: Path) -> None:
    """One part in this process."""
    print(f"{name}: {PARTS[name].about}", flush=True)
    ceiling = {} if options.prepare else measure_ceiling(2 if options.quick else 5)
    started = time.perf_counter()
    found = PARTS[name].run(replace(options, ceiling=ceiling))
    seconds = time.perf_counter() - started
    print(f"{name}: {seconds:.0f} s", flush=True)
    if not options.prepare:
        merge(name, record(found, ceiling, options.quick, seconds), results)


if __name__ == "__main__":
    main()
