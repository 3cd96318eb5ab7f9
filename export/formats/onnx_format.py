"""ONNX."""

from __future__ import annotations

from importlib import import_module

from ..options import ExportOptions, Int8Options
from ..plan import Format, Request, Step, Work, check_step, quantise_step, record_step


class OnnxFormat(Format):
    """One file for ONNX Runtime, TensorRT, OpenCV and others."""

    name, suffix = "onnx", ".onnx"
    precisions = ("fp32", "fp16", "int8")
    kinds = (Int8Options,)

    def require(self) -> None:
        """See `Format.require`."""
        import_module("yolov4sdk.backends.onnxruntime_backend")

    def check_options(self, options: ExportOptions) -> None:
        """It takes every form."""

    def steps(self, request: Request) -> list[Step]:
        """See `Format.steps`."""
        steps = write_steps(request)
        if request.int8 is not None:
            steps.append(quantise_step(request, "onnx"))
        elif request.options.half_weights:
            steps.append(Step("half weights", _halve))
        return [*steps, check_step(request), record_step(request)]


def write_steps(request: Request) -> list[Step]:
    """Write x.onnx; for quantisation in float32, with the Mish where its input is activated."""
    quantised = request.int8 is not None
    options, spec = request.at("fp32") if quantised else (request.options, request.spec)

    def write(work: Work) -> None:
        path = work.path.with_suffix(".onnx")
        request.source.write_onnx(path, options, spec, mish_first=quantised)
        work.files = (path,)

    return [Step("write", write)]


def _halve(work: Work) -> None:
    from ..half_weights import store_half

    store_half(work.files[-1])


FORMATS = (OnnxFormat(),)
