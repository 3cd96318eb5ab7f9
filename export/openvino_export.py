"""ONNX to OpenVINO's own files: x.xml and x.bin, with the ModelSpec inside."""

from __future__ import annotations

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
    try:
        with openvino_core() as core:
            model = core.read_model(onnx_file)
        model.set_rt_info(spec.to_json(), METADATA_KEY.split("."))
        openvino.save_model(model, path, compress_to_fp16=spec.precision == "fp16")
    except RuntimeError as error:
        raise ExportError(f"OpenVINO cannot convert {onnx_file.name}: {error}") from error
    return path.with_suffix(".bin"), path
