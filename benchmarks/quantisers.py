"""ONNX Runtime's quantiser against nvidia-modelopt's, for TensorRT: mAP, and what is built of it.

python -m benchmarks.quantisers bccd.safetensors --size 320 --calibration bccd --split trainval \
    --val-data bccd --val-split test

Every graph gets the same images, and is evaluated on ONNX Runtime's CPU provider: the arithmetic
of Q/DQ nodes is the same there. The engine is TensorRT-RTX's, which is built without a GPU.
nvidia-modelopt goes into an environment of its own: docs/quantisation.md says how.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

from export import export_model
from export.calibration import CalibrationSet
from export.half_onnx import convert_onnx
from export.int8 import average_precision
from export.int8_onnx import METHODS, head_convolutions, quantise
from yolov4sdk.backends import load_backend
from yolov4sdk.contract.onnx_header import read_onnx_spec
from yolov4sdk.contract.spec import METADATA_KEY
from yolov4sdk.datasets import load_dataset
from yolov4sdk.errors import ExportError
from yolov4sdk.tensorrt.build import build_engine
from yolov4sdk.tensorrt.flavour import FLAVOURS
from yolov4sdk.tensorrt.layers import kernels
from yolov4sdk.tensorrt.options import EngineOptions

Writer = Callable[[Path], object]
"""Writes a Q/DQ graph."""


def main() -> None:
    """Print the table, row by row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help=".safetensors, or a float32 .onnx")
    parser.add_argument("--size", type=int, help="of a checkpoint's graph; default: its own")
    parser.add_argument("--calibration", required=True)
    parser.add_argument("--split", default="train")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--val-data", required=True)
    parser.add_argument("--val-split", default="val")
    parser.add_argument("--only", default="", help="rows whose name holds this")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        single = args.model
        if single.suffix != ".onnx":
            size = None if args.size is None else (args.size, args.size)
            single = export_model(args.model, "onnx", folder / "float.onnx", size=size).path
        spec = read_onnx_spec(single)
        images = CalibrationSet.of(args.calibration, args.split, spec, args.images)
        dataset = load_dataset(args.val_data, args.val_split).with_names(spec.names)
        rows: dict[str, Writer] = {"float32": lambda path: shutil.copyfile(single, path)}
        rows |= ours(single, images) | modelopts(single, images)
        print("| quantiser | AP50-95 | convolutions int8 | others | kernels | engine MB |")
        print("|---|---|---|---|---|---|")
        for label, write in rows.items():
            if args.only in label:
                path = folder / f"{label.replace(' ', '-')}.onnx"
                write(path)
                with load_backend(path, device="cpu") as backend:
                    points = average_precision(backend, dataset)
                print(f"| {label} | {points:.2f} | {engine_columns(path)} |", flush=True)


def ours(single: Path, images: CalibrationSet) -> dict[str, Writer]:
    """What `export --engine trt-rtx --precision int8` builds from, by method."""
    spec = images.spec.replace(precision="int8")

    def writer(method: str) -> Writer:
        def write(path: Path) -> None:
            graph = path.with_suffix(".single.onnx")
            quantise(single, graph, images, method, spec, "tensorrt")
            convert_onnx(graph, path, "fp16")

        return write

    return {f"ONNX Runtime {method}": writer(method) for method in METHODS}


def modelopts(single: Path, images: CalibrationSet) -> dict[str, Writer]:
    """As it comes (head quantised and decoding half), and with the head and decoding left float."""
    from modelopt.onnx.quantization import quantize

    spec = images.spec.replace(precision="int8")
    data = {"images": np.concatenate(list(images))}
    shape = "x".join(map(str, data["images"][:1].shape))

    def writer(method: str, float_head: bool) -> Writer:
        def write(path: Path) -> None:
            graph = path.with_suffix(".single.onnx")
            quantize(
                str(single),
                quantize_mode="int8",
                calibration_data=data,
                calibration_method=method,
                calibration_shapes=f"images:{shape}",
                calibration_eps=["cpu"],
                nodes_to_exclude=head_convolutions(onnx.load(single)) if float_head else None,
                high_precision_dtype="fp32" if float_head else "fp16",
                output_path=str(graph),
                log_level="CRITICAL",
            )
            model = onnx.load(graph)
            onnx.helper.set_model_props(model, {METADATA_KEY: spec.to_json()})
            onnx.save(model, graph)
            if float_head:
                convert_onnx(graph, path, "fp16")
            else:
                graph.rename(path)

        return write

    return {
        f"modelopt {method}{', head float' if float_head else ''}": writer(method, float_head)
        for float_head in (False, True)
        for method in ("max", "entropy")
    }


def engine_columns(path: Path) -> str:
    """What TensorRT-RTX makes of a graph."""
    options = EngineOptions(compute_capability=("8.9",))
    try:
        built = build_engine(path, read_onnx_spec(path), FLAVOURS["trt-rtx"], options)
    except ExportError as error:
        return f"not built: {error} | | |"
    found = built.convolutions
    whole, eight = sum(found.values()), found.get("int8", 0)
    size = len(built.engine) / 1e6
    return f"{eight} | {whole - eight} | {kernels(built.layers)} | {size:.1f}"


if __name__ == "__main__":
    main()
