"""INT8 for OpenVINO by NNCF."""

from __future__ import annotations

import logging
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Final

from yolov4sdk.contract.spec import METADATA_KEY, ModelSpec
from yolov4sdk.errors import ExportError, MissingExtraError
from yolov4sdk.system.openvino_runtime import kept_signal_stack, load_openvino, openvino_core

from .calibration import CalibrationSet

openvino = load_openvino("INT8 for OpenVINO", "quantise")
try:
    import nncf
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet as Ranges
except ImportError as error:
    raise MissingExtraError("INT8 for OpenVINO", "quantise", error.name) from error

METHODS: Final = {
    "minmax": Ranges.MINMAX,
    "mean-minmax": Ranges.MEAN_MINMAX,
    "quantile": Ranges.MEAN_QUANTILE,
}
"""How the range of an activation is found from those of single images."""


def quantise(
    source: Path, path: Path, calibration: CalibrationSet, method: str, spec: ModelSpec
) -> tuple[Path, Path]:
    """Write an INT8 copy of an OpenVINO model.

    Weights are symmetric, by channel. Activations have a zero point: Mish never falls below
    -0.31, and a symmetric range would spend nearly half of its levels there.

    Args:
        source: float32 x.xml. Mish has to be one operator in it, which the runtime computes
            inside the convolution; any other form stays float32 between two conversions.
        path: x.xml to write; the weights go beside it.
        calibration: what the ranges are collected on.
        method: one of METHODS.
        spec: written into the model.

    Returns:
        The weights and the graph, in the order in which they should appear.

    Raises:
        ExportError: NNCF refused the model.
    """
    logging.getLogger("nncf").setLevel(logging.ERROR)
    with openvino_core() as core:
        model = core.read_model(source)
    try:
        # NNCF's progress belongs on stderr, and it runs the model by Cores of its own.
        with redirect_stdout(sys.stderr), kept_signal_stack():
            quantised = nncf.quantize(
                model,
                nncf.Dataset(range(len(calibration)), lambda i: {"images": calibration.batch(i)}),
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(calibration),
                ignored_scope=nncf.IgnoredScope(names=head_operators(model), validate=False),
                advanced_parameters=nncf.AdvancedQuantizationParameters(
                    activations_range_estimator_params=METHODS[method]
                ),
            )
        quantised.set_rt_info(spec.to_json(), METADATA_KEY.split("."))
        openvino.save_model(quantised, path, compress_to_fp16=False)
    except RuntimeError as error:  # nncf.InternalError and OpenVINO's own are such
        raise ExportError(f"NNCF cannot quantise {source.name}: {error}") from error
    return path.with_suffix(".bin"), path


def head_operators(model: Any) -> list[str]:
    """Names of the head's convolutions and of all that follows them: they stay float.

    A convolution belongs to the head when no other one comes after it.
    """
    ops = model.get_ordered_ops()
    before_convolution: set[str] = set()
    head: set[str] = set()
    for op in reversed(ops):
        consumers = [
            target.get_node() for output in op.outputs() for target in output.get_target_inputs()
        ]
        if any(
            c.get_type_name() == "Convolution" or c.get_friendly_name() in before_convolution
            for c in consumers
        ):
            before_convolution.add(op.get_friendly_name())
        elif op.get_type_name() == "Convolution":
            head.add(op.get_friendly_name())
    for op in ops:
        if any(v.get_node().get_friendly_name() in head for v in op.input_values()):
            head.add(op.get_friendly_name())
    return sorted(head)
