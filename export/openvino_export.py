"""ONNX to OpenVINO's own files: x.xml and x.bin, with the ModelSpec inside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from yolov4sdk.contract.spec import METADATA_KEY, ModelSpec
from yolov4sdk.errors import ExportError
from yolov4sdk.system.openvino_runtime import load_openvino, openvino_core

openvino = load_openvino("The export to OpenVINO")


def write_openvino(onnx_file: Path, path: Path, spec: ModelSpec) -> tuple[Path, Path]:
    """Convert an exported ONNX file.

    Args:
        onnx_file: a float32 graph, whatever the precision of the result is.
        path: x.xml, written directly; the weights go beside it as x.bin.
        spec: written into the model; precision "fp16" stores the weights in half the space.

    Returns:
        The weights and the graph, in the order in which they should appear.

    Raises:
        ExportError: OpenVINO refused the graph.
    """
    convert(onnx_file, path, {tuple(METADATA_KEY.split(".")): spec.to_json()}, spec.precision)
    return path.with_suffix(".bin"), path


def convert(
    onnx_file: Path, path: Path, info: Mapping[tuple[str, ...], str], precision: str = "fp32"
) -> None:
    """Write x.xml and x.bin of an ONNX file, with values of `rt_info` by their paths.

    Raises:
        ExportError: OpenVINO refused the graph.
    """
    try:
        with openvino_core() as core:
            model = core.read_model(onnx_file)
        for keys, value in info.items():
            model.set_rt_info(value, list(keys))
        openvino.save_model(model, path, compress_to_fp16=precision == "fp16")
    except RuntimeError as error:
        raise ExportError(f"OpenVINO cannot convert {onnx_file.name}: {error}") from error
