"""How much faster an export runs than a plain one: `python -m benchmarks.export_speed`.

Plain is what torch's exporter gives without help: Mish as Softplus-Tanh-Mul, and the batch
normalisation not folded (runtimes fold most of it, but not the joint ones). All graphs run in one
process, in turn, so that a slow minute of the machine slows all of them.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import openvino

from export.onnx_export import write_onnx
from export.options import ExportOptions
from yolov4sdk.measure.timing import alternate, median_ratio
from yolov4sdk.models import build_model
from yolov4sdk.system.cpu import available_cpus

from .runtimes import openvino_run, ort_run


def main() -> None:
    """Print a Markdown table of medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="yolov4-csp")
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plain, ours = export_both(args.model, args.size, Path(folder))
        images = np.random.default_rng(0).random((1, 3, args.size, args.size), np.float32)
        core = openvino.Core()
        offered = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        runs = {
            ("ONNX Runtime", "plain"): ort_run(plain, images),
            ("ONNX Runtime", "ours"): ort_run(ours, images),
            ("OpenVINO f32", "plain"): openvino_run(core, plain, images, "f32"),
            ("OpenVINO f32", "ours"): openvino_run(core, ours, images, "f32"),
        }
        if "BF16" in offered:
            runs["OpenVINO bf16", "ours"] = openvino_run(core, ours, images, "bf16")
        times = alternate(runs, args.rounds)
    print(
        f"{args.model} at {args.size}, batch 1, {args.rounds} alternating rounds, "
        f"{available_cpus()} threads, {platform.machine()}; onnxruntime "
        f"{onnxruntime.__version__}, openvino {openvino.__version__.split('-')[0]}\n"
    )
    report(times)
    if "BF16" not in offered:
        print(
            f"\nOpenVINO bf16: not measured; this processor computes in {', '.join(offered)}, "
            "without bf16."
        )


def export_both(name: str, size: int, folder: Path) -> tuple[Path, Path]:
    """The same weights exported plainly and as the SDK does."""
    model = build_model(name).eval()
    options = ExportOptions(size=(size, size), float_input=True, raw_outputs=True)
    spec = options.artefact_spec(model.spec, "benchmark")
    plain, ours = folder / "plain.onnx", folder / "ours.onnx"
    write_onnx(model, plain, options, spec, mish="softplus", folded=False)
    write_onnx(model, ours, options, spec)
    return plain, ours


def report(times: dict[tuple[str, str], list[float]]) -> None:
    """Medians, minima, and the median over rounds of the ratio to plain ONNX Runtime."""
    base = times["ONNX Runtime", "plain"]
    print("| runtime | export | median s | fastest s | of plain ONNX Runtime |")
    print("|---|---|---|---|---|")
    for (runtime, kind), seconds in times.items():
        ratio = median_ratio(seconds, base)
        print(
            f"| {runtime} | {kind} | {statistics.median(seconds):.3f} | {min(seconds):.3f} "
            f"| {ratio:.2f} |"
        )


if __name__ == "__main__":
    main()
