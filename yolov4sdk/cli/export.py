"""`yolov4sdk export`: a model to a file for another runtime, checked against its source."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ..backends.artefacts import is_artefact
from ..system.files import check_new_files
from ..system.outputs import refuse_existing
from .console import counted, duration, next_steps, progress_bar, size_of
from .signature import accepts, completion

if TYPE_CHECKING:
    from export import ExportResult
    from export.int8 import Quantisation
    from export.plan import EngineReport

TRITON_PANEL = "Triton (--engine triton)"
CONSUMERS = ("frigate", "deepstream", "ultralytics", "efficientnms", "modelapi")


def _declared() -> tuple[type, ...]:
    from export.formats import FORMATS
    from export.options import ExportOptions, TritonOptions

    kinds = dict.fromkeys(kind for format in FORMATS.values() for kind in format.kinds)
    return ExportOptions, *kinds, TritonOptions


def _engines() -> tuple[str, ...]:
    from export.formats import FORMATS

    return *FORMATS, "triton"


ENGINES = _engines()


@accepts(*_declared())
def export(
    model: Annotated[
        Path | None,
        typer.Argument(
            help="A native checkpoint (.safetensors) or an .onnx file of this SDK. "
            "Default: the embedded model."
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            help=f"{', '.join(ENGINES[:-1])} or {ENGINES[-1]}.",
            autocompletion=completion(ENGINES),
        ),
    ] = "onnx",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Default: the model's name with the format's suffix."),
    ] = None,
    consumer: Annotated[
        str | None,
        typer.Option(
            "--for",
            help="Rewrite the detector for another program: frigate, deepstream, ultralytics, "
            "efficientnms or modelapi; with its labels and configuration.",
            autocompletion=completion(CONSUMERS),
        ),
    ] = None,
    runtimes: Annotated[
        str, typer.Option(help="Some of onnx,tensorrt,python.", rich_help_panel=TRITON_PANEL)
    ] = "onnx",
    plan: Annotated[
        Path | None,
        typer.Option(
            help="With the runtime tensorrt: its engine file.", rich_help_panel=TRITON_PANEL
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a model that is there.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    *,
    given: dict[str, Any],
) -> None:
    """Export a model; the file is kept only if it says what its source says."""
    if consumer is not None:
        from .export_for import export_for

        export_for(model, consumer, engine, output, overwrite, given, as_json)
        return
    if engine == "triton":
        from .export_triton import export_triton

        export_triton(model, output, runtimes, plan, given, as_json)
        return
    from export import export_model

    with _bar() as progress:
        result = export_model(
            model, engine, output, progress,
            partial(_may_write, [model] if model else [], overwrite), **given,
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(result.to_dict()))
        return
    _show(result)
    file = str(result.path)
    next_steps(("detect", "photo.jpg", "-m", file), ("benchmark", file))


def _may_write(inputs: list[Path], overwrite: bool, target: Path) -> None:
    refuse_existing([target], inputs, overwrite=overwrite, is_ours=is_artefact)
    beside = {
        ".xml": target.with_suffix(".bin"), ".engine": target.with_name(f"{target.name}.json")
    }.get(target.suffix)  # fmt: skip
    if beside is not None and not target.exists():
        check_new_files([beside])


@contextmanager
def _bar() -> Iterator[Any]:
    """A progress function for the build of an engine; nothing is drawn before its first call."""
    with progress_bar("step") as bar:
        tasks: dict[str, Any] = {}

        def progress(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = bar.add_task(phase, total=total)
            bar.update(tasks[phase], completed=done, visible=done < total)

        yield progress


def _show(result: ExportResult) -> None:
    console = Console(markup=False)
    for file in result.files:
        console.print(f"{file}  {size_of(file.stat().st_size)}", soft_wrap=True)
    if result.engine is not None:
        _show_engine(console, result.engine)
    if result.checks:
        _show_checks(console, result)
    if result.quantisation is not None:
        _show_quantisation(console, result.quantisation)
    seconds, peaks = result.seconds, result.peak_memory
    memory = "; ".join(
        f"{what} {duration(seconds[i])}" + (f", peak memory {size_of(peak)}" if peak else "")
        for i, (what, peak) in enumerate(zip(("export", "check"), peaks, strict=True))
    )
    console.print(memory)


def _show_engine(console: Console, report: EngineReport) -> None:
    console.print(
        f"{report.title}, for compute capability {', '.join(report.capabilities)}: "
        f"{counted(report.kernels, 'kernel')}, built in {duration(report.seconds)}",
        highlight=False,
    )
    table = Table(title="Precision of the layers")
    for column in ("precision", "layers", "convolutions"):
        table.add_column(column)
    for precision, count in report.layers.items():
        table.add_row(precision, str(count), str(report.convolutions.get(precision, "")))
    console.print(table)
    if not report.ran:
        console.print(
            "The engine was not run: no GPU here that it was built for. The graph it was built "
            "from was compared.",
            highlight=False,
        )


def _show_checks(console: Console, result: ExportResult) -> None:
    table = Table(title="Largest error against the source, and the source's own rounding")
    for column in ("images", "size", "batch", "boxes", "own", "scores", "own", "matched"):
        table.add_column(column)
    for check in result.checks:
        found, own = check.agreement, check.rounding
        table.add_row(
            check.shown,
            f"{check.size[0]} x {check.size[1]}",
            str(check.batch),
            f"{found.boxes_max:.1e}",
            f"{own.boxes_max:.1e}" if own else "",
            f"{found.scores_max:.1e}",
            f"{own.scores_max:.1e}" if own else "",
            f"{found.detections - found.unmatched} of {found.detections}",
        )
    console.print(table)
    if any(check.rounding for check in result.checks):
        console.print(
            f"own: the source in {result.spec.precision}, against itself "
            f"({result.checks[0].against})",
            highlight=False,
        )


def _show_quantisation(console: Console, made: Quantisation) -> None:
    images = counted(made.calibrated_on, "image")
    table = Table(title=f"INT8, calibrated on {images}; against the float file")
    for column in ("method", "detections matched", "scores, mean error", "chosen"):
        table.add_column(column)
    for name, found in made.candidates.items():
        chosen = "yes" if name == made.method else ""
        table.add_row(name, f"{found.matched:.1%}", f"{found.scores_mean:.1e}", chosen)
    console.print(table)
    if made.ap_before is None or made.ap_after is None:
        console.print("mAP not measured: give labelled images with --val-data")
    else:
        lost = made.ap_before - made.ap_after
        console.print(f"AP50-95 {made.ap_before:.2f} -> {made.ap_after:.2f}, {lost:+.2f} lost")
