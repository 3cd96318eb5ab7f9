"""TensorRT engines with their sidecar, from a graph that is compared with its source first."""

from __future__ import annotations

import shutil
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolov4sdk.contract.spec import ModelSpec
from yolov4sdk.system.cuda_driver import gpus
from yolov4sdk.tensorrt.build import build_engine
from yolov4sdk.tensorrt.flavour import FLAVOURS, Flavour
from yolov4sdk.tensorrt.layers import kernels, precision_table
from yolov4sdk.tensorrt.options import EngineOptions
from yolov4sdk.tensorrt.sidecar import capability_fits
from yolov4sdk.tensorrt.store import describe, write_engine

from ..options import Int8Options
from ..plan import EngineReport, Format, Request, Step, Work, check_step, quantise_step
from ..record import with_figures
from ..sources import GraphSource
from .onnx_format import write_steps

if TYPE_CHECKING:
    from ..check import Check


class EngineFormat(Format):
    """x.engine and x.engine.json, and of a stripped engine x.weights.onnx."""

    suffix = ".engine"
    precisions = ("fp32", "fp16", "bf16", "int8")
    precision = "fp16"
    kinds = (EngineOptions, Int8Options)
    qdq = "tensorrt"

    def __init__(self, flavour: Flavour) -> None:
        self.name, self._flavour = flavour.name, flavour

    def require(self) -> None:
        """See `Format.require`."""
        self._flavour.load()
        import_module("yolov4sdk.backends.onnxruntime_backend")

    def implied(self, source: ModelSpec, own: dict[type, Any]) -> dict[str, Any]:
        """A profile asks for a graph of any batch, or of any size."""
        build: EngineOptions = own[EngineOptions]
        implied: dict[str, Any] = {}
        if build.batch_profile is not None and source.batch is None:
            implied["batch"] = None
        if build.size_profile is not None:
            implied["dynamic"] = True
        return implied

    def steps(self, request: Request) -> list[Step]:
        """The graph, compared with its source; the engine, and where it runs here it is as well."""
        engine = _Engine(self._flavour, request)
        return [*_graph_steps(request), Step("build", engine.build), Step("check", engine.check)]


def _graph_steps(request: Request) -> list[Step]:
    """An ONNX file of the precision that was asked for, the main file of the work."""
    source, precision = request.source, request.spec.precision
    if request.int8 is not None:
        # What quantisation leaves in float32 becomes float16.
        half = Step("convert", lambda work: _convert(work, "fp16"))
        return [*write_steps(request), quantise_step(request, "onnx"), half, check_step(request)]
    if isinstance(source, GraphSource) and precision == source.spec.precision:
        # Nothing is made, so there is nothing to compare.
        return [Step("take", lambda work: _take(source, work))]
    if precision == "bf16":
        return [
            Step("write", lambda work: _write_single(request, work)),
            Step("check", lambda work: _check_rounded(request, work)),
            Step("convert", lambda work: _convert(work, "bf16")),
        ]
    return [*write_steps(request), check_step(request)]


def _take(source: GraphSource, work: Work) -> None:
    work.files = (source.path,)


def _write_single(request: Request, work: Work) -> None:
    work.files = (work.folder / "single.onnx",)
    request.source.write_onnx(work.files[0], *request.at("fp32"))


def _check_rounded(request: Request, work: Work) -> None:
    """Compare the float32 graph with every weight and every value rounded to bfloat16.

    No CPU runtime computes in bfloat16 from ONNX.
    """
    from ..half_onnx import round_onnx

    single = work.files
    work.files = (work.folder / "rounded.onnx",)
    round_onnx(single[0], work.files[0])
    check_step(request).run(work)
    work.files = single


def _convert(work: Work, precision: str) -> None:
    from ..half_onnx import convert_onnx

    graph = work.folder / "graph.onnx"
    convert_onnx(work.files[-1], graph, precision)
    work.files = (graph,)


class _Engine:
    """The last two steps, which share what was built."""

    def __init__(self, flavour: Flavour, request: Request) -> None:
        self._flavour, self._request = flavour, request
        self._options: EngineOptions = request.own[EngineOptions]

    def build(self, work: Work) -> None:
        """Build from the main file, and write engine, sidecar and the weights left out."""
        self._graph = work.files[-1]
        self._built = build_engine(
            self._graph, self._request.spec, self._flavour, self._options, self._request.progress
        )
        self._write(work, {"onnx": _largest(work.checks)} if work.checks else {})

    def check(self, work: Work) -> None:
        """Compare the engine with the source where a GPU is at hand that it was built for."""
        built, here = self._built, gpus()
        ran = bool(here) and capability_fits(built.capabilities, here[0].capability)
        if ran:
            self._run(work)
        work.engine = EngineReport(
            title=f"{self._flavour.title} {built.version}",
            capabilities=built.capabilities,
            kernels=kernels(built.layers),
            layers=precision_table(built.layers),
            convolutions=built.convolutions,
            seconds=built.seconds,
            ran=ran,
        )

    def _run(self, work: Work) -> None:
        from ..check import check_file

        batch, size = self._built.profile.batch, self._built.profile.size
        tries = list(dict.fromkeys((size[i], batch[i]) for i in range(3)))
        found = check_file(
            work.path, self._request.source.reference(), self._request.options,
            self._request.spec, device="cuda", tries=tries, photographs=work.held_out,
        )  # fmt: skip
        graph = {"onnx": _largest(work.checks)} if work.checks else {}
        work.checks += found
        self._write(work, {**graph, "engine": _largest(found)})

    def _write(self, work: Work, agreement: dict[str, dict[str, float | int]]) -> None:
        weights: tuple[Path, ...] = ()
        if self._options.strip:
            weights = (work.path.with_suffix(".weights.onnx"),)
            shutil.copyfile(self._graph, weights[0])
        spec = with_figures(self._request.spec, work.checks)
        sidecar = describe(
            self._built, spec, self._flavour, self._graph, self._options,
            source=self._request.source.name, weights=weights[0].name if weights else None,
            agreement=agreement,
        )  # fmt: skip
        work.files = (*weights, *write_engine(work.path, self._built.engine, sidecar))


def _largest(checks: list[Check]) -> dict[str, float | int]:
    """The comparison with the largest error of the scores, in numbers."""
    return max((check.agreement for check in checks), key=lambda a: a.scores_max).to_dict()


FORMATS = tuple(EngineFormat(flavour) for flavour in FLAVOURS.values())
