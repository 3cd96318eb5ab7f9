"""INT8 as Q/DQ nodes in an ONNX graph, by ONNX Runtime's quantiser."""

from __future__ import annotations

import logging
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, Final

from yolov4sdk.contract.spec import METADATA_KEY, ModelSpec
from yolov4sdk.errors import ExportError, MissingExtraError

from .calibration import CalibrationSet
from .options import QdqFor

try:
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
except ImportError as error:
    raise MissingExtraError("INT8 for ONNX", "quantise", error.name) from error

METHODS: Final = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Gives inputs one by one, in the pieces that the calibrator asks for."""

    def __init__(self, calibration: CalibrationSet) -> None:
        self._calibration = calibration
        self._next, self._end = 0, len(calibration)

    def __len__(self) -> int:
        return len(self._calibration)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Give the inputs from start to end next."""
        self._next, self._end = start_index, end_index

    def get_next(self) -> dict[str, Any] | None:
        """The next input, None at the end."""
        if self._next >= self._end:
            return None
        self._next += 1
        return {"images": self._calibration.batch(self._next - 1)}


def quantise(
    source: Path,
    path: Path,
    calibration: CalibrationSet,
    method: str,
    spec: ModelSpec,
    qdq: QdqFor = "cpu",
) -> tuple[Path]:
    """Write an INT8 copy of an ONNX file.

    Weights are symmetric int8, by output channel, in both forms.

    - "cpu": activations are uint8 with a zero point, on both sides of a convolution: ONNX
      Runtime computes a convolution in integers only if its output is quantised too, and uint8 by
      int8 is what the processor multiplies.
    - "tensorrt": activations are int8 without a zero point, only on the inputs of convolutions,
      so that a convolution and its Mish can become one kernel.

    Args:
        source: a float32 graph.
        path: written directly.
        calibration: what the ranges are collected on.
        method: one of METHODS.
        spec: written into the metadata.
        qdq: which runtime the graph is for.

    Raises:
        ExportError: the quantiser refused the graph.
    """
    graph = onnx.load(source)
    options: dict[str, Any] = {
        "WeightSymmetric": True,
        "ActivationSymmetric": qdq == "tensorrt",
        "QuantizeBias": False,  # runtimes do it themselves; TensorRT takes only float ones
        "CalibStridedMinMax": 1,  # one input in memory at a time, whatever the method
    }
    if qdq == "tensorrt":
        options["OpTypesToExcludeOutputQuantization"] = ["Conv"]
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # it asks on the root logger for a step that is done here
    try:
        with redirect_stdout(StringIO()):  # it prints a line for each input
            quantize_static(
                source,
                path,
                _Reader(calibration),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv"],
                per_channel=True,
                activation_type=QuantType.QInt8 if qdq == "tensorrt" else QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=head_convolutions(graph),
                calibrate_method=METHODS[method],
                calibration_providers=["CPUExecutionProvider"],
                extra_options=options,
            )
    except Exception as error:  # the quantiser raises whatever its parts raise
        raise ExportError(f"ONNX Runtime cannot quantise {source.name}: {error}") from error
    finally:
        logger.setLevel(level)
    quantised = onnx.load(path)
    onnx.helper.set_model_props(quantised, {METADATA_KEY: spec.to_json()})
    quantised.producer_name = graph.producer_name
    quantised.producer_version = graph.producer_version
    onnx.save(quantised, path)
    return (path,)


def head_convolutions(model: Any) -> list[str]:
    """Names of the convolutions that no other one comes after; they stay float."""
    before_convolution: set[str] = set()
    head = []
    for node in reversed(model.graph.node):  # sorted: a node comes after what it reads
        followed = any(output in before_convolution for output in node.output)
        if node.op_type == "Conv" and not followed:
            head.append(node.name)
        if node.op_type == "Conv" or followed:
            before_convolution.update(node.input)
    return head
