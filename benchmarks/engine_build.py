"""Time, memory and kernels of an engine built without a GPU: `python -m benchmarks.engine_build`.

The network is built twice by TensorRT-RTX: as it is exported, and with SiLU in the place of every
Mish, which is the cheapest activation that a convolution can be fused with. Each build runs in a
process of its own, so that its largest memory is its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from yolov4sdk.measure.timing import machine


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="yolov4-csp")
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--precision", default="fp16", choices=("fp16", "fp32"))
    parser.add_argument("--capability", default="8.9")
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.build is not None:
        print(json.dumps(build(args.build, args.capability)))
        return
    print(
        f"{args.model} at {args.size}, batch 1, {args.precision}, for compute capability "
        f"{args.capability}; {machine()}\n"
    )
    with tempfile.TemporaryDirectory() as name:
        files = export_both(args.model, args.size, args.precision, Path(name))
        for row, file in enumerate(files):
            command = [sys.executable, "-m", "benchmarks.engine_build", "--build", str(file)]
            command += ["--capability", args.capability]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            if row == 0:
                print(f"{found['title']}\n")
                print("| activation | seconds | peak GB | engine MB | kernels | layers |")
                print("|---|---|---|---|---|---|")
            print(
                f"| {file.stem} | {found['seconds']:.1f} | {found['peak'] / 1e9:.2f} "
                f"| {found['bytes'] / 1e6:.1f} | {found['kernels']} | {found['precisions']} |"
            )


def export_both(model_name: str, size: int, precision: str, folder: Path) -> list[Path]:
    """mish.onnx and silu.onnx of the same random weights."""
    from torch import nn

    from export.onnx_export import write_onnx
    from export.options import ExportOptions
    from yolov4sdk.models import build_model

    options = ExportOptions(size=(size, size), precision=precision)  # type: ignore[arg-type]
    model = build_model(model_name).eval()
    spec = options.artefact_spec(model.spec, "benchmark")
    files = [folder / "mish.onnx", folder / "silu.onnx"]
    write_onnx(model, files[0], options, spec)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Mish):
                setattr(module, name, nn.SiLU())
    write_onnx(model, files[1], options, spec)
    return files


def build(file: Path, capability: str) -> dict[str, object]:
    """Build one engine and say what it took."""
    from yolov4sdk.contract.onnx_header import read_onnx_spec
    from yolov4sdk.system.memory import peak_memory
    from yolov4sdk.tensorrt.build import build_engine
    from yolov4sdk.tensorrt.flavour import FLAVOURS
    from yolov4sdk.tensorrt.layers import kernels, precision_table
    from yolov4sdk.tensorrt.options import EngineOptions

    flavour = FLAVOURS["trt-rtx"]
    options = EngineOptions(compute_capability=(capability,))
    built = build_engine(file, read_onnx_spec(file), flavour, options)
    layers = ", ".join(f"{n} {kind}" for kind, n in precision_table(built.layers).items())
    return {
        "title": f"{flavour.title} {built.version}",
        "seconds": built.seconds,
        "peak": peak_memory() or 0,
        "bytes": len(built.engine),
        "kernels": kernels(built.layers),
        "precisions": layers,
    }


if __name__ == "__main__":
    main()
