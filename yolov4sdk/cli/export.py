"""`yolov4sdk export`: a model to a file for another runtime, checked against its source."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ..errors import SettingError

if TYPE_CHECKING:
    from export import ExportResult
    from export.engine_export import EngineReport
    from export.int8 import Quantisation

ENGINE_PANEL = "TensorRT (--engine trt, trt-rtx)"
INT8_PANEL = "INT8 (--precision int8)"
TRITON_PANEL = "Triton (--engine triton)"


def export(
    model: Annotated[
        Path | None,
        typer.Argument(
            help="A native checkpoint (.safetensors) or an .onnx file of this SDK. "
            "Default: the embedded model."
        ),
    ] = None,
    engine: Annotated[str, typer.Option(help="onnx, openvino, trt, trt-rtx or triton.")] = "onnx",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Default: the model's name with the engine's suffix."),
    ] = None,
    size: Annotated[
        tuple[int, int] | None,
        typer.Option(help="Height and width in pixels. Default: the model's own.", metavar="H W"),
    ] = None,
    batch: Annotated[
        str, typer.Option(help="Images in a batch, or `dynamic`.", metavar="N|dynamic")
    ] = "1",
    dynamic: Annotated[
        bool, typer.Option("--dynamic", help="Any height and width that the strides allow.")
    ] = False,
    precision: Annotated[
        str | None,
        typer.Option(
            help="fp32, fp16 or int8 (with --calibration); TensorRT: bf16 too. "
            "Default: fp16 for TensorRT, else fp32."
        ),
    ] = None,
    half_weights: Annotated[
        bool, typer.Option("--half-weights", help="ONNX: weights in 16 bits, computing in 32.")
    ] = False,
    uint8: Annotated[
        bool, typer.Option("--uint8", help="Take uint8 RGB [B, H, W, 3] instead of float32.")
    ] = False,
    topk: Annotated[
        int | None, typer.Option(help="Reduce the outputs to the K best boxes.", metavar="K")
    ] = None,
    nms: Annotated[
        bool, typer.Option("--nms", help="Suppress overlapping boxes inside the graph.")
    ] = False,
    conf: Annotated[float, typer.Option(help="With --nms: scores are above this.")] = 0.25,
    iou: Annotated[float, typer.Option(help="With --nms: overlap above which a box goes.")] = 0.45,
    max_det: Annotated[int, typer.Option(help="With --nms: rows of the outputs.")] = 300,
    calibration: Annotated[
        str | None,
        typer.Option(
            help="Folder, glob or data set of images it will be like.", rich_help_panel=INT8_PANEL
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Split of --calibration, a data set. Default: train.", rich_help_panel=INT8_PANEL
        ),
    ] = None,
    calibration_images: Annotated[
        int | None,
        typer.Option(help="As many are used at most. Default: 64.", rich_help_panel=INT8_PANEL),
    ] = None,
    val_data: Annotated[
        Path | None,
        typer.Option(help="Labelled data set whose mAP decides.", rich_help_panel=INT8_PANEL),
    ] = None,
    val_split: Annotated[
        str | None,
        typer.Option(help="Split of --val-data. Default: val.", rich_help_panel=INT8_PANEL),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            help="AP points (of 100) that may be lost. Default: 0.5.", rich_help_panel=INT8_PANEL
        ),
    ] = None,
    qdq: Annotated[
        str | None,
        typer.Option(
            help="Of the ONNX file: cpu (default) or tensorrt.", rich_help_panel=INT8_PANEL
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
    max_batch: Annotated[int, typer.Option(help="Images a run.", rich_help_panel=TRITON_PANEL)] = 8,
    queue: Annotated[
        int, typer.Option(help="Waiting requests.", rich_help_panel=TRITON_PANEL)
    ] = 64,
    instances: Annotated[
        int, typer.Option(help="Copies a device.", rich_help_panel=TRITON_PANEL)
    ] = 1,
    batch_profile: Annotated[
        str | None,
        typer.Option(
            help="Least, usual and largest batch, as 1,8,32.",
            metavar="MIN,OPT,MAX",
            rich_help_panel=ENGINE_PANEL,
        ),
    ] = None,
    size_profile: Annotated[
        str | None,
        typer.Option(
            help="Least, usual and largest size, as 320x320,640x640,640x1280.",
            metavar="HxW,HxW,HxW",
            rich_help_panel=ENGINE_PANEL,
        ),
    ] = None,
    workspace: Annotated[
        int | None,
        typer.Option(help="MiB that kernels may use.", rich_help_panel=ENGINE_PANEL),
    ] = None,
    timing_cache: Annotated[
        Path | None,
        typer.Option(help="File of measured kernels, kept.", rich_help_panel=ENGINE_PANEL),
    ] = None,
    hardware_compatible: Annotated[
        bool,
        typer.Option(
            "--hardware-compatible",
            help="For every GPU from Ampere on.",
            rich_help_panel=ENGINE_PANEL,
        ),
    ] = False,
    version_compatible: Annotated[
        bool,
        typer.Option(
            "--version-compatible", help="For later versions too.", rich_help_panel=ENGINE_PANEL
        ),
    ] = False,
    compute_capability: Annotated[
        str | None,
        typer.Option(
            help="trt-rtx: GPUs to build for, as 8.6,8.9. Default: every one from Ampere on.",
            rich_help_panel=ENGINE_PANEL,
        ),
    ] = None,
    strip: Annotated[
        bool,
        typer.Option(
            "--strip", help="Weights stay in the ONNX file.", rich_help_panel=ENGINE_PANEL
        ),
    ] = False,
    refit: Annotated[
        bool,
        typer.Option(
            "--refit", help="Weights can be exchanged later.", rich_help_panel=ENGINE_PANEL
        ),
    ] = False,
    build_log: Annotated[
        Path | None, typer.Option(help="File for TensorRT's log.", rich_help_panel=ENGINE_PANEL)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Export a model; the file is kept only if it says what its source says."""
    if engine == "triton":
        from .export_triton import export_triton

        graph = {"size": size, "dynamic": dynamic, "precision": precision, "uint8": uint8,
                 "topk": topk, "nms": nms}  # fmt: skip
        serving = {"max_batch": max_batch, "queue": queue, "instances": instances,
                   "conf": conf, "iou": iou, "max_det": max_det}  # fmt: skip
        export_triton(model, output, runtimes, plan, graph, serving, as_json)
        return
    from export import export_model

    options: dict[str, Any] = {
        "size": size, "batch": _batch(batch), "dynamic": dynamic, "precision": precision,
        "half_weights": half_weights, "uint8": uint8, "topk": topk, "nms": nms, "conf": conf,
        "iou": iou, "max_det": max_det,
        "batch_profile": _batches(batch_profile), "size_profile": _sizes(size_profile),
        "workspace": workspace, "timing_cache": timing_cache,
        "hardware_compatible": hardware_compatible, "version_compatible": version_compatible,
        "compute_capability": tuple(c.strip() for c in (compute_capability or "").split(",") if c),
        "strip": strip, "refit": refit, "build_log": build_log,
    }  # fmt: skip
    int8 = {
        "calibration": calibration, "split": split, "calibration_images": calibration_images,
        "val_data": val_data, "val_split": val_split, "max_drop": max_drop, "qdq": qdq,
    }  # fmt: skip
    options |= {name: value for name, value in int8.items() if value is not None}
    with _bar() as progress:
        result = export_model(model, engine, output, progress, **options)
    if as_json:
        typer.echo(json.dumps(result.to_dict()))
    else:
        _show(result)


def _batch(text: str) -> int | None:
    if text == "dynamic":
        return None
    try:
        return int(text)
    except ValueError:
        raise SettingError(f"--batch takes a number or `dynamic`, got {text!r}") from None


def _batches(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise SettingError(f"--batch-profile is written as 1,8,32, got {text!r}") from None


def _sizes(text: str | None) -> tuple[tuple[int, int], ...] | None:
    if text is None:
        return None
    try:
        pairs = [part.lower().split("x") for part in text.split(",")]
        return tuple((int(height), int(width)) for height, width in pairs)
    except ValueError:
        raise SettingError(
            f"--size-profile is written as 320x320,640x640,640x1280, got {text!r}"
        ) from None


@contextmanager
def _bar() -> Iterator[Any]:
    """A progress function for the build of an engine; nothing is drawn before its first call."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def progress(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = bar.add_task(phase, total=total)
            bar.update(tasks[phase], completed=done, visible=done < total)

        yield progress


def _show(result: ExportResult) -> None:
    console = Console()
    for file in result.files:
        console.print(f"{file}  {file.stat().st_size / 1e6:.1f} MB", soft_wrap=True)
    if result.engine is not None:
        _show_engine(console, result.engine)
    if result.checks:
        _show_checks(console, result)
    if result.quantisation is not None:
        _show_quantisation(console, result.quantisation)
    seconds, peaks = result.seconds, result.peak_memory
    memory = "; ".join(
        f"{what} {seconds[i]:.1f} s" + (f", peak memory {peak / 1e9:.2f} GB" if peak else "")
        for i, (what, peak) in enumerate(zip(("export", "check"), peaks, strict=True))
    )
    console.print(memory)


def _show_engine(console: Console, report: EngineReport) -> None:
    console.print(
        f"{report.title}, for compute capability {', '.join(report.capabilities)}: "
        f"{report.kernels} kernels, built in {report.seconds:.1f} s",
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
    table = Table(title="Largest error against the source in float32")
    for column in ("images", "size", "batch", "boxes", "scores", "detections matched"):
        table.add_column(column)
    for check in result.checks:
        found = check.agreement
        table.add_row(
            check.shown,
            f"{check.size[0]} x {check.size[1]}",
            str(check.batch),
            f"{found.boxes_max:.1e}",
            f"{found.scores_max:.1e}",
            f"{found.detections - found.unmatched} of {found.detections}",
        )
    console.print(table)


def _show_quantisation(console: Console, made: Quantisation) -> None:
    table = Table(title=f"INT8, calibrated on {made.calibrated_on} images; against the float file")
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
