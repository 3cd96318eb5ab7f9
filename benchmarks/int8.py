"""Eight bits and bfloat16 beside float32 on a CPU: `python -m benchmarks.int8`.

The network is full-size with random weights, its batch normalisation calibrated on pictures, so
that activations have the spread of a trained one. Plain is what torch's exporter gives without
help. All graphs run in one process, in turn; ratios are medians over the rounds.
"""

from __future__ import annotations

import argparse
import collections
import statistics
import tempfile
from pathlib import Path
from typing import Any

import onnxruntime
import openvino
import torch

from export import int8_onnx, int8_openvino
from export.calibration import CalibrationSet
from export.onnx_export import write_onnx
from export.openvino_export import write_openvino
from export.options import ExportOptions
from yolov4sdk.imaging.preprocess import to_input
from yolov4sdk.imaging.synthetic import drawn_image
from yolov4sdk.measure.ceiling import matrix_rates
from yolov4sdk.measure.timing import alternate, machine, median_ratio
from yolov4sdk.measure.verify import canvas_batch
from yolov4sdk.models import Model, build_model
from yolov4sdk.models.summary import gflops

from .calibrated import calibrated
from .runtimes import openvino_run, ort_run

Key = tuple[str, str]
PLAIN: Key = ("ONNX Runtime fp32", "plain")
OV32, OV16, OV8 = (("OpenVINO", p) for p in ("fp32", "bf16", "int8"))


def main() -> None:
    """Print Markdown tables of times, ratios and what the INT8 graph consists of."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="yolov4-csp")
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calibration", type=Path, default=Path("examples/images"))
    args = parser.parse_args()
    size = (args.size, args.size)
    with tempfile.TemporaryDirectory() as folder:
        files = write_all(calibrated(args.model, size), size, args.calibration, Path(folder))
        images = to_input(canvas_batch([drawn_image(size)], size), "float_nchw", bgr=True)
        core = openvino.Core()
        runs = {
            PLAIN: ort_run(files["plain"], images),
            ("ONNX Runtime", "fp32"): ort_run(files["ours"], images),
            ("ONNX Runtime", "int8"): ort_run(files["ours int8"], images),
            OV32: openvino_run(core, files["openvino"], images, "f32"),
            OV8: openvino_run(core, files["openvino int8"], images, "f32"),
        }
        if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            runs[OV16] = openvino_run(core, files["openvino"], images, "bf16")
        rates = matrix_rates()
        times = alternate(runs, args.rounds)
        layers = executed(core, files["openvino int8"])
    with torch.device("meta"):
        work = 1e9 * gflops(build_model(args.model), size)
    print(f"{args.model} at {args.size}, batch 1, {args.rounds} alternating rounds; {machine()};")
    print(f"onnxruntime {onnxruntime.__version__}, openvino {openvino.__version__.split('-')[0]}\n")
    report(times, rates, work)
    print("\nWhat OpenVINO runs for INT8:", ", ".join(f"{n} {what}" for what, n in layers))


def write_all(
    model: Model, size: tuple[int, int], calibration: Path, folder: Path
) -> dict[str, Path]:
    """The same weights in every form."""
    options = ExportOptions(size=size, float_input=True, raw_outputs=True)
    spec = options.artefact_spec(model.spec, "benchmark")
    files = {name: folder / f"{name}.onnx" for name in ("plain", "ours", "operator", "ours int8")}
    files |= {name: folder / f"{name}.xml" for name in ("openvino", "openvino int8")}
    write_onnx(model, files["plain"], options, spec, mish="softplus", folded=False)
    write_onnx(model, files["ours"], options, spec)
    write_onnx(model, files["operator"], options, spec, mish="operator", mish_first=True)
    write_openvino(files["operator"], files["openvino"], spec)
    images = CalibrationSet.of(calibration, "train", spec)
    int8_onnx.quantise(files["ours"], files["ours int8"], images, "minmax", spec)
    int8_openvino.quantise(files["openvino"], files["openvino int8"], images, "minmax", spec)
    return files


def executed(core: Any, path: Path) -> list[tuple[str, int]]:
    """Kinds of layers that really run, with the precision they run in, most frequent first."""
    compiled = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    kinds = collections.Counter[str]()
    for op in compiled.get_runtime_model().get_ordered_ops():
        info = op.get_rt_info()
        kind, precision = (str(info[k].astype(str)) for k in ("layerType", "runtimePrecision"))
        if kind not in {"Input", "Output", "Const"}:
            kinds[f"{kind} {precision}"] += 1
    return kinds.most_common()


def report(times: dict[Key, list[float]], rates: dict[str, float], work: float) -> None:
    """Medians, ratios to three bases, and the share of the machine's matrix rate."""
    print("| runtime | precision | median s | fastest s | of plain ONNX Runtime | of OpenVINO fp32 "
          "| of OpenVINO bf16 | of the matrix rate |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for key, seconds in times.items():
        ratios = [
            f"{median_ratio(seconds, times[base]):.3f}" if base in times else "-"
            for base in (PLAIN, OV32, OV16)
        ]
        precision = "fp32" if key == PLAIN else key[1]
        rate = rates.get(precision)
        share = f"{work / min(seconds) / rate:.0%} of {rate / 1e9:.0f} GFLOP/s" if rate else "-"
        name = "ONNX Runtime, plain" if key == PLAIN else key[0]
        print(
            f"| {name} | {precision} | {statistics.median(seconds):.3f} | {min(seconds):.3f} "
            f"| {' | '.join(ratios)} | {share} |"
        )


if __name__ == "__main__":
    main()
