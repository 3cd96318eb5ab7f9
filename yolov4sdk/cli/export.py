"""`yolov4sdk export`: a checkpoint to a file for another runtime, checked against torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from ..errors import SettingError

if TYPE_CHECKING:
    from export import ExportResult


def export(
    model: Annotated[Path, typer.Argument(help="A native checkpoint (.safetensors).")],
    engine: Annotated[str, typer.Option(help="onnx, openvino or triton (a repository).")] = "onnx",
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
    precision: Annotated[str, typer.Option(help="fp32 or fp16.")] = "fp32",
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
    runtimes: Annotated[
        str, typer.Option(help="Of a Triton repository: some of onnx,tensorrt,python.")
    ] = "onnx",
    plan: Annotated[
        Path | None, typer.Option(help="With the runtime tensorrt: its engine file.")
    ] = None,
    max_batch: Annotated[int, typer.Option(help="Of a Triton repository: images a run.")] = 8,
    queue: Annotated[int, typer.Option(help="Of a Triton repository: waiting requests.")] = 64,
    instances: Annotated[int, typer.Option(help="Of a Triton repository: copies a device.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Export a model; the file is kept only if it says what torch says."""
    if engine == "triton":
        from .export_triton import export_triton

        graph = {"size": size, "dynamic": dynamic, "precision": precision, "uint8": uint8,
                 "topk": topk, "nms": nms}  # fmt: skip
        serving = {"max_batch": max_batch, "queue": queue, "instances": instances,
                   "conf": conf, "iou": iou, "max_det": max_det}  # fmt: skip
        export_triton(model, output, runtimes, plan, graph, serving, as_json)
        return
    from export import export_model

    result = export_model(
        model,
        engine,
        output,
        size=size,
        batch=_batch(batch),
        dynamic=dynamic,
        precision=precision,
        uint8=uint8,
        topk=topk,
        nms=nms,
        conf=conf,
        iou=iou,
        max_det=max_det,
    )
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


def _show(result: ExportResult) -> None:
    console = Console()
    for file in result.files:
        console.print(f"{file}  {file.stat().st_size / 1e6:.1f} MB", soft_wrap=True)
    table = Table(title="Largest error against torch in float32")
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
    seconds, peaks = result.seconds, result.peak_memory
    memory = "; ".join(
        f"{what} {seconds[i]:.1f} s" + (f", peak memory {peak / 1e9:.2f} GB" if peak else "")
        for i, (what, peak) in enumerate(zip(("export", "check"), peaks, strict=True))
    )
    console.print(memory)
