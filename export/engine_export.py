"""A checked ONNX graph to a TensorRT engine with its sidecar."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from yolov4sdk.contract.spec import ModelSpec
from yolov4sdk.system.cuda_driver import gpus
from yolov4sdk.tensorrt.build import build_engine
from yolov4sdk.tensorrt.build_log import Progress
from yolov4sdk.tensorrt.flavour import Flavour
from yolov4sdk.tensorrt.layers import kernels, precision_table
from yolov4sdk.tensorrt.options import EngineOptions
from yolov4sdk.tensorrt.sidecar import capability_fits
from yolov4sdk.tensorrt.store import describe, write_engine

from .options import ExportOptions
from .sources import GraphSource, Source

if TYPE_CHECKING:
    from .check import Check


@dataclass(frozen=True)
class EngineReport:
    """What was built.

    Attributes:
        title: of the library, with its version.
        capabilities: compute capabilities the engine runs on.
        kernels: layers that start something on the device.
        layers: how many of these in which precision.
        convolutions: how many in which precision.
        seconds: of the build.
        ran: whether the engine itself was run and compared here; without a GPU only the graph was.
    """

    title: str
    capabilities: tuple[str, ...]
    kernels: int
    layers: dict[str, int]
    convolutions: dict[str, int]
    seconds: float
    ran: bool


@dataclass(frozen=True)
class Quantised:
    """A Q/DQ graph that was made of the source on the way to an engine.

    Attributes:
        graph: its file; the parts that are not quantised are float32.
        held_out: images that it was not calibrated on; the checks show these.
    """

    graph: Path
    held_out: tuple[Path, ...]


def write_checked_engine(
    source: Source,
    flavour: Flavour,
    path: Path,
    options: ExportOptions,
    engine_options: EngineOptions,
    spec: ModelSpec,
    progress: Progress | None = None,
    quantised: Quantised | None = None,
) -> tuple[tuple[Path, ...], list[Check], EngineReport]:
    """Write x.engine and x.engine.json, and of a stripped engine x.weights.onnx.

    The graph that the engine is built from is compared with the source before the build; where a
    GPU is at hand that the engine was built for, the engine is as well.

    Returns:
        The files, the engine last; the comparisons; and what was built.

    Raises:
        As `export_model`.
    """
    from .check import check_file

    graph, checks = checked_graph(source, path.parent, options, spec, quantised)
    built = build_engine(graph, spec, flavour, engine_options, progress)
    agreement = {"onnx": _largest(checks)} if checks else {}
    weights: tuple[Path, ...] = ()
    if engine_options.strip:
        weights = (path.with_suffix(".weights.onnx"),)
        shutil.copyfile(graph, weights[0])

    def write() -> tuple[Path, ...]:
        sidecar = describe(
            built, spec, flavour, graph, engine_options, source=source.name,
            weights=weights[0].name if weights else None, agreement=agreement,
        )  # fmt: skip
        return (*weights, *write_engine(path, built.engine, sidecar))

    files = write()
    here = gpus()
    ran = bool(here) and capability_fits(built.capabilities, here[0].capability)
    if ran:
        batch, size = built.profile.batch, built.profile.size
        tries = list(dict.fromkeys((size[i], batch[i]) for i in range(3)))
        on_gpu = check_file(
            path, source.reference(), options, spec, device="cuda", tries=tries,
            photographs=quantised.held_out if quantised else None,
        )  # fmt: skip
        agreement["engine"] = _largest(on_gpu)
        checks += on_gpu
        files = write()
    report = EngineReport(
        title=f"{flavour.title} {built.version}",
        capabilities=built.capabilities,
        kernels=kernels(built.layers),
        layers=precision_table(built.layers),
        convolutions=built.convolutions,
        seconds=built.seconds,
        ran=ran,
    )
    return files, checks, report


def checked_graph(
    source: Source,
    folder: Path,
    options: ExportOptions,
    spec: ModelSpec,
    quantised: Quantised | None = None,
) -> tuple[Path, list[Check]]:
    """An ONNX file of the precision in `spec`, and how it compares with the source.

    The caller quantises; what is left float32 then becomes float16 here.
    """
    from .check import check_file

    if quantised is not None:
        from .half_onnx import convert_onnx

        graph = folder / "graph.onnx"
        convert_onnx(quantised.graph, graph, "fp16")
        shown = quantised.held_out
        return graph, check_file(graph, source.reference(), options, spec, photographs=shown)
    if isinstance(source, GraphSource) and spec.precision == source.spec.precision:
        return source.path, []  # nothing was made, so there is nothing to compare
    graph = folder / "graph.onnx"
    if spec.precision != "bf16":
        source.write_onnx(graph, options, spec)
        return graph, check_file(graph, source.reference(), options, spec)
    from .half_onnx import convert_onnx, round_onnx

    single = folder / "single.onnx"
    source.write_onnx(single, replace(options, precision="fp32"), spec.replace(precision="fp32"))
    # No CPU runtime computes in bfloat16 from ONNX: what is compared is the float32 graph with
    # every weight and every value rounded to bfloat16.
    rounded = folder / "rounded.onnx"
    round_onnx(single, rounded)
    checks = check_file(rounded, source.reference(), options, spec)
    convert_onnx(single, graph, "bf16")
    return graph, checks


def _largest(checks: list[Check]) -> dict[str, float | int]:
    """The comparison with the largest error of the scores, in numbers."""
    return max((check.agreement for check in checks), key=lambda a: a.scores_max).to_dict()
