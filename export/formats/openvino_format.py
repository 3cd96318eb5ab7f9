"""OpenVINO's own files, an .xml with its .bin."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from ..options import Int8Options, Precision
from ..plan import Format, Request, Step, Work, check_step, quantise_step, record_step


class OpenVinoFormat(Format):
    """For OpenVINO; "fp16" stores the weights in half the space."""

    name, suffix = "openvino", ".xml"
    precisions = ("fp32", "fp16", "int8")
    kinds = (Int8Options,)

    def require(self) -> None:
        """See `Format.require`."""
        import_module("yolov4sdk.backends.openvino_backend")

    def steps(self, request: Request) -> list[Step]:
        """See `Format.steps`."""
        # OpenVINO stores half weights by itself: the graph keeps the source's precision.
        kept = cast(Precision, request.source.spec.precision)
        quantised = request.int8 is not None
        spec = request.at("fp32")[1] if quantised else request.spec

        def write(work: Work) -> None:
            graph = work.folder / "graph.onnx"
            request.source.write_onnx(graph, *request.at(kept), mish="operator", mish_first=True)
            work.files = (graph,)

        def convert(work: Work) -> None:
            from ..openvino_export import write_openvino

            work.files = write_openvino(work.files[-1], work.path, spec)

        steps = [Step("write", write), Step("convert", convert)]
        if quantised:
            steps.append(quantise_step(request, "openvino"))
        return [*steps, check_step(request), record_step(request)]


FORMATS = (OpenVinoFormat(),)
