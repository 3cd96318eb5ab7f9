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

from yolov4sdk.errors import ExportError, MissingExtraError
from yolov4sdk.models import Model, fold
from yolov4sdk.spec import METADATA_KEY, ModelSpec

from .options import ExportOptions

try:
    import onnx  # noqa: F401
    import onnx_ir as ir
    from onnxscript import opset18 as op
except ImportError as error:
    raise MissingExtraError("The export to ONNX", "export", error.name) from error

from .graph import Head, Layers, box_count
from .half import halve
from .join import forget_shapes, join
from .mish import MishForm, expand_mish
from .reduction import TRANSLATIONS

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
) -> None:
    """Trace a network and write it with its spec.

    Args:
        model: in evaluation mode; it is not changed.
        path: written directly; the caller makes it atomic.
        options: the form of the graph.
        spec: written into the metadata; its size is traced.
        mish: "softplus" and `folded=False` give the plain export that benchmarks compare with.

    Raises:
        ExportError: the exporter failed.
    """
    network = fold(model) if folded else model
    if options.precision == "fp16":
        network = halve(network)
    traced = _trace_network(network, options, spec)
    del network
    expand_mish(traced, mish)
    _label(traced, spec)
    ir.save(traced, path)


def _trace_network(model: Model, options: ExportOptions, spec: ModelSpec) -> ir.Model:
    """Trace the layers and the head apart, and join them.

    Convolutions do not care for the size of an image, while torch.export would reason about
    symbolic sizes at every one of them (88 s for the smallest model, 15 s this way). Only in the
    head do sizes matter, where they become grids of cells.
    """
    levels = [f"features_{level}" for level in range(model.detect.nl)]
    front = _trace(Layers(model, options.uint8), _example(options, spec), ["images"], levels)
    features = [_zeros_like(value) for value in front.graph.outputs]
    smallest = (spec.max_stride,) * 2 if options.dynamic else spec.input_size
    fewest = box_count(spec, smallest)
    outputs = ["boxes", "scores", *(["class_ids"] if spec.outputs != "full" else [])]
    shapes = _symbolic_axes(options, len(features))
    back = _trace(Head(model.detect, options, fewest), features, levels, outputs, shapes)
    if shapes is not None:
        forget_shapes(front)
    return join(front, back)


def _trace(
    module: nn.Module,
    example: Tensor | list[Tensor],
    inputs: list[str],
    outputs: list[str],
    shapes: list[dict[int, Any]] | None = None,
) -> ir.Model:
    """Run torch's exporter; Mish stays one operator."""
    table: dict[Any, Any] = {torch.ops.aten.mish.default: _mish, **TRANSLATIONS}
    try:
        with _quiet():
            program = torch.onnx.export(
                module.eval(),
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=inputs,
                output_names=outputs,
                dynamic_shapes=None if shapes is None else (shapes,),
                custom_translation_table=table,
                verbose=False,
            )
    except Exception as error:  # the exporter wraps whatever happened in its own types
        raise ExportError(
            f"torch {torch.__version__} could not export this model: {_reason(error)}"
        ) from error
    assert program is not None
    traced: ir.Model = program.model
    return traced


def _mish(x: Any) -> Any:
    return op.Mish(x)


def _example(options: ExportOptions, spec: ModelSpec) -> Tensor:
    """A batch to trace with; symbolic axes are not 1, which torch.export takes for a constant."""
    batch, (height, width) = options.batch or 2, spec.input_size
    if options.dynamic:
        height, width = max(height, 2 * spec.max_stride), max(width, 2 * spec.max_stride)
    if options.uint8:
        return torch.zeros((batch, height, width, 3), dtype=torch.uint8)
    return torch.zeros((batch, 3, height, width))


def _zeros_like(value: ir.Value) -> Tensor:
    assert value.shape is not None and value.dtype is not None
    half = value.dtype == ir.DataType.FLOAT16
    return torch.zeros(value.shape.numpy(), dtype=torch.float16 if half else torch.float32)


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
    model.metadata_props[METADATA_KEY] = spec.to_json()
    model.producer_name = PRODUCER
    model.producer_version = spec.provenance.get("sdk_version", "")
    model.graph.name = spec.architecture if isinstance(spec.architecture, str) else "yolov4"
    batch: int | str = spec.batch or "batch"
    height, width = ("height", "width") if spec.dynamic_size else spec.input_size
    planar = spec.input_form == "float_nchw"
    model.graph.inputs[0].shape = ir.Shape(
        [batch, 3, height, width] if planar else [batch, height, width, 3]
    )
    rows: int | str = "boxes"
    if spec.topk is not None:
        rows = spec.topk
    elif not spec.dynamic_size:
        rows = box_count(spec, spec.input_size)
    boxes, *others = model.graph.outputs
    boxes.shape = ir.Shape([batch, rows, 4])
    for output in others:
        output.shape = ir.Shape([batch, rows, *([spec.nc] if spec.outputs == "full" else [])])


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
