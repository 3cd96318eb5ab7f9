"""Peak memory and time of exporting the full-size models: `python -m benchmarks.export_memory`.

Each model is built, exported at its own size and run once in ONNX Runtime (that is the export's
own check against torch) in a process of its own, so that the peaks do not add up.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

MODELS = ("yolov4-csp", "yolov4-p5", "yolov4-p6", "yolov4-p7")


def main() -> None:
    """Print a Markdown table, one row a model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(export_one(args.models[0])))
        return
    print(
        "| model | size | file MB | export s | export peak GB | check s | peak with check GB "
        "| largest error, boxes | scores |"
    )
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for name in args.models:
        command = [sys.executable, "-m", "benchmarks.export_memory", "--one", name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        print(row(name, json.loads(done.stdout.splitlines()[-1])), flush=True)


def export_one(name: str) -> dict[str, Any]:
    """Export a model with random weights and check it; the figures of that."""
    from export import export_model
    from yolov4sdk.models import build_model

    with tempfile.TemporaryDirectory() as folder:
        return export_model(build_model(name).eval(), "onnx", Path(folder) / "x.onnx").to_dict()


def row(name: str, result: dict[str, Any]) -> str:
    """One line of the table."""
    (check,), height = result["checks"], result["input_size"][0]
    seconds, peak = result["seconds"], result["peak_memory"]
    return (
        f"| {name} | {height} | {result['files'][-1]['bytes'] / 1e6:.0f} "
        f"| {seconds['export']:.0f} | {peak['export'] / 1e9:.2f} "
        f"| {seconds['check']:.0f} | {peak['check'] / 1e9:.2f} "
        f"| {check['boxes_max']:.1e} | {check['scores_max']:.1e} |"
    )


if __name__ == "__main__":
    main()
