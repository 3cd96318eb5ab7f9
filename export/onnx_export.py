"""Tracing to ONNX: a folded network becomes a file with the ModelSpec inside."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from yolov4sdk.contract.contract import output_shapes
from yolov4sdk.contract.spec import METADATA_KEY, ModelSpec
from yolov4sdk.errors import ExportError, MissingExtraError
from yolov4sdk.models import Model, fold

from .options import ExportOptions

try:
    import onnx  # noqa: F401
    import onnx_ir as ir
    from onnxscript import opset18 as op
except ImportError as error:
    raise MissingExtraError("The export to ONNX", "export", error.name) from error

from .graph import Halves, Head, Layers
from .half import halve
from .join import forget_shapes, join
from .mish import MishForm, expand_mish, mish_before_concat
from .reduction import TRANSLATIONS
from .reorg import REORG, expand_reorg

OPSET: Final = 18
"""The oldest that has Mish, which the trace needs; every runtime in use reads it."""
PRODUCER: Final = "yolov4sdk"


def write_onnx(
    model: Model,
    path: Path,
    options: ExportOptions,
    spec: ModelSpec,
    mish: MishForm = "sigmoid",
    folded: bool = True,
    mish_first: bool = False,
) -> None:
    """Trace a network and write it with its spec.

    Args:
        model: in evaluation mode; it is not changed.
        path: written directly; the caller makes it atomic.
        options: the form of the graph.
        spec: written into the metadata; its size is traced.
        mish: "operator" is for OpenVINO; "softplus" and `folded=False` give the plain export that
            benchmarks compare with.
        mish_first: a Mish after a concatenation moves before it: OpenVINO then has one kernel for
            it and the convolution, and INT8 quantises what is activated. TensorRT has six kernels
            more of yolov4-csp.

    Raises:
        ExportError: the exporter failed.
    """
    network = fold(model) if folded else model
    if options.precision == "fp16":
        network = halve(network)
    traced = _trace(network, options, spec)
    del network
    if mish_first:
        mish_before_concat(traced)
    expand_mish(traced, mish)
    expand_reorg(traced)
    _label(traced, spec)
    ir.save(traced, path)


def _trace(model: Model, options: ExportOptions, spec: ModelSpec) -> ir.Model:
    """Run torch's exporter; Mish stays one operator."""
    head = Head(model.detect, options, spec)
    images, features = _examples(model, options, spec)
    made, read = ([f"{verb}_{i}" for i in range(len(features))] for verb in ("made", "read"))
    outputs = list(output_shapes(spec.contract))
    axes = _symbolic_axes(options, len(features))
    table: dict[Any, Any] = {torch.ops.aten.mish.default: _mish, **TRANSLATIONS, **REORG}
    try:
        with _quiet():
            program = torch.onnx.export(
                Halves(Layers(model, not options.float_input), head).eval(),
                (images, features),
                dynamo=True,
                opset_version=OPSET,
                input_names=[spec.contract.input.name, *read],
                output_names=[*made, *outputs],
                dynamic_shapes=None if axes is None else ({}, axes),
                custom_translation_table=table,
                verbose=False,
            )
    except Exception as error:  # the exporter wraps whatever happened in its own types
        raise ExportError(
            f"torch {torch.__version__} could not export this model: {_reason(error)}"
        ) from error
    assert program is not None
    traced: ir.Model = program.model
    if axes is not None:
        forget_shapes(traced)
    join(traced, len(features))
    return traced


def _mish(x: Any) -> Any:
    return op.Mish(x)


def _examples(model: Model, options: ExportOptions, spec: ModelSpec) -> tuple[Tensor, list[Tensor]]:
    """Images and feature maps to trace with.

    Symbolic axes are longer than 1, which torch.export takes for a constant.
    """
    batch, (height, width) = options.batch or 2, spec.input_size
    if options.dynamic:
        height, width = max(height, 2 * spec.max_stride), max(width, 2 * spec.max_stride)
    images = torch.zeros((batch, 3, height, width))
    if not options.float_input:
        images = torch.zeros((batch, height, width, 3), dtype=torch.uint8)
    features = []
    for conv, stride in zip(model.detect.m, spec.strides, strict=True):
        assert isinstance(conv, nn.Conv2d)
        shape = (batch, conv.in_channels, height // stride, width // stride)
        features.append(torch.zeros(shape, dtype=conv.weight.dtype))
    return images, features


def _symbolic_axes(options: ExportOptions, levels: int) -> list[dict[int, Any]] | None:
    """For each feature map, which of its axes are any length; None when all are fixed."""
    if options.batch is not None and not options.dynamic:
        return None
    batch = {} if options.batch is not None else {0: torch.export.Dim("batch", min=1)}
    axes = []
    for level in range(levels):
        sides = {
            2: torch.export.Dim(f"rows_{level}", min=1),
            3: torch.export.Dim(f"columns_{level}", min=1),
        }
        axes.append({**batch, **(sides if options.dynamic else {})})
    return axes


def _label(model: ir.Model, spec: ModelSpec) -> None:
    """Metadata, producer, and the axes of inputs and outputs with readable names."""
    for node in model.graph.all_nodes():
        node.metadata_props.clear()  # torch's stack traces, with the paths of this machine
    model.metadata_props[METADATA_KEY] = spec.to_json()
    model.producer_name = PRODUCER
    model.producer_version = spec.provenance.get("sdk_version", "")
    model.graph.name = spec.architecture if isinstance(spec.architecture, str) else "yolov4"
    batch: int | str = spec.batch or "batch"
    taken = spec.contract.input
    sides = ["height", "width"] if taken.dynamic else list(taken.size)
    model.graph.inputs[0].shape = ir.Shape(
        [batch, 3, *sides] if taken.planar else [batch, *sides, 3]
    )
    for output, shape in zip(
        model.graph.outputs, output_shapes(spec.contract).values(), strict=True
    ):
        output.shape = ir.Shape([batch, *("boxes" if side < 0 else side for side in shape)])


def _reason(error: BaseException) -> str:
    """The innermost cause, first line: the outer ones only say that there is one."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide remarks of the exporter about itself; its errors come through."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
