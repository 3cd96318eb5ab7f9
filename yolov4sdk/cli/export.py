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
    from export.int8 import Quantisation


def export(
    model: Annotated[Path, typer.Argument(help="A native checkpoint (.safetensors).")],
    engine: Annotated[str, typer.Option(help="onnx or openvino.")] = "onnx",
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
    precision: Annotated[str, typer.Option(help="fp32, fp16 or int8.")] = "fp32",
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
        typer.Option(help="For int8: folder, glob or data set of images it will be like."),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Split of --calibration, a data set. Default: train.")
    ] = None,
    val_data: Annotated[
        Path | None, typer.Option(help="For int8: labelled data set whose mAP decides.")
    ] = None,
    val_split: Annotated[
        str | None, typer.Option(help="Split of --val-data. Default: val.")
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(help="For int8: AP points (of 100) that may be lost. Default: 0.5."),
    ] = None,
    qdq: Annotated[
        str | None, typer.Option(help="For int8 ONNX: cpu (default) or tensorrt.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Export a model; the file is kept only if it says what torch says."""
    from export import export_model

    int8 = {
        "calibration": calibration, "split": split, "val_data": val_data,
        "val_split": val_split, "max_drop": max_drop, "qdq": qdq,
    }  # fmt: skip
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
        **{key: value for key, value in int8.items() if value is not None},
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
    if result.quantisation is not None:
        _show_quantisation(console, result.quantisation)
    seconds, peaks = result.seconds, result.peak_memory
    memory = "; ".join(
        f"{what} {seconds[i]:.1f} s" + (f", peak memory {peak / 1e9:.2f} GB" if peak else "")
        for i, (what, peak) in enumerate(zip(("export", "check"), peaks, strict=True))
    )
    console.print(memory)


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
