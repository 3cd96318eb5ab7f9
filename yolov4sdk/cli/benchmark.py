"""`yolov4sdk benchmark`: how fast models are, by runtime, precision, batch and size."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE
from rich.table import Table

from ..backends import TABLE, Backend, readers, runtime, suffixes
from ..contract.names import MODELS
from ..datasets import load_dataset
from ..errors import SettingError
from ..measure.benchmark import Case, Measurement
from ..measure.benchmark import benchmark as measure
from ..measure.benchmark import plot as draw_plot
from ..measure.ceiling import matrix_rates
from ..measure.evaluation import evaluate
from ..measure.timing import machine
from ..system.cpu import units
from ..system.cuda_driver import gpus
from ..system.files import check_new_files
from ..system.option import about
from .console import wide_console
from .signature import accepts, completion

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _positive(text: str, option: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise SettingError(f"{option} takes positive numbers, separated by commas, got {text!r}")
    return int(text)


def _size(text: str) -> tuple[int, int]:
    sides = [_positive(side, "--size") for side in text.split("x")]
    if len(sides) > 2:
        raise SettingError(f"--size takes 640 or 384x640 (height x width), got {text!r}")
    return sides[0], sides[-1]


def _batches(text: str) -> tuple[int, ...]:
    return tuple(_positive(part, "--batch") for part in _listed(text))


def _sizes(text: str) -> tuple[tuple[int, int], ...]:
    return tuple(_size(part) for part in _listed(text))


@dataclass(frozen=True)
class Axes:
    """What is varied: every combination is a case. () is what the files have."""

    backend: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "Some of torch,onnxruntime,openvino.",
            parse=_listed, offered=tuple(TABLE), shown="the files'",
        ),
    )  # fmt: skip
    precision: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "Some of fp32,bf16,fp16, where a runtime chooses.", parse=_listed, shown="its own"
        ),
    )
    batch: tuple[int, ...] = field(default=(), metadata=about("Batch sizes: 1,8.", parse=_batches))
    size: tuple[tuple[int, int], ...] = field(
        default=(),
        metadata=about("Sizes: 320,640 or 384x640 (height x width).", parse=_sizes),
    )


@accepts(Axes)
def benchmark(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Model files, or built-in names (random weights).",
            autocompletion=completion(MODELS),
        ),
    ],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "cpu",
    rounds: Annotated[int, typer.Option(help="Runs of each that count.")] = 20,
    data: Annotated[
        Path | None, typer.Option(help="A labelled data set: measure the mAP of each too.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split of it.")] = "val",
    plot: Annotated[
        Path | None, typer.Option(help="Draw accuracy against latency (.png, .svg); needs --data.")
    ] = None,
    ceiling: Annotated[
        bool, typer.Option(help="Measure the machine's matrix rate in the same run.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    *,
    given: dict[str, Any],
) -> None:
    """Measure latency and throughput; all cases run in turn, in one process."""
    if plot is not None and data is None:
        raise SettingError("a plot of accuracy needs labels: give a data set with --data")
    if plot is not None:
        check_new_files([plot])
    dataset = load_dataset(data, split) if data is not None else None

    def accuracy(loaded: Backend) -> float:
        assert dataset is not None
        size = max(loaded.spec.input_size)
        return evaluate(loaded, dataset, size=size, rectangular=False, batch=4).ap

    axes = Axes(**given)
    with tempfile.TemporaryDirectory() as folder:
        files = [file for model in models for file in _files(model, [*axes.backend], Path(folder))]
        cases = [
            Case(file, name, kind, count, pixels)
            for (file, name), kind, count, pixels in product(
                files, axes.precision or [None], axes.batch or [None], axes.size or [None]
            )
        ]
        rates = matrix_rates(device=device) if ceiling else {}
        found, skipped = measure(
            cases,
            device=device,
            rounds=rounds,
            rates=rates,
            accuracy=accuracy if dataset is not None else None,
        )
    if plot is not None:
        draw_plot(found, plot)
    left_out = [{"case": _name(item.case), "reason": item.reason} for item in skipped]
    if as_json:
        report = {
            "machine": _machine(device),
            "rounds": rounds,
            "matrix_rates": rates,
            "measurements": [item.to_dict() for item in found],
            "skipped": left_out,
        }
        typer.echo(json.dumps(report))
    else:
        _show(found, "\n".join([_machine(device), *_units(found, device)]), rates, left_out)
    if not found:
        raise typer.Exit(1)


def _machine(device: str) -> str:
    """The processor, and the GPUs where one of them was asked for."""
    names = [gpu.name for gpu in gpus()] if device.startswith("cuda") else []
    return ", ".join([*names, machine()])


def _units(found: Sequence[Measurement], device: str) -> Iterator[str]:
    """What each runtime computes with on this processor, a line each."""
    for name in sorted({item.backend for item in found} & set(TABLE)) if device == "cpu" else ():
        used = TABLE[name].units(units())
        if used:
            what = ", ".join(f"{precision} with {unit}" for precision, unit in used.items())
            yield f"{name}: {what}"


def _files(model: str, backends: list[str], folder: Path) -> list[tuple[Path, str | None]]:
    """Files to run and their backends; a built-in model is written for each backend first."""
    path = Path(model)
    if path.suffix.lower() in suffixes():
        return [(path, name) for name in backends] or [(path, None)]
    from export import export_model

    from ..models import build_model
    from ..models.checkpoints import save_checkpoint

    network = build_model(model).eval()
    native = folder / f"{model}.safetensors"
    save_checkpoint(network, native)
    files: list[tuple[Path, str | None]] = []
    for name in backends or ["onnxruntime", "openvino"]:
        row = runtime(name)
        if not row.exporter:
            files.append((native, name))
            continue
        suffix = next((s for s in row.reads if readers(s)[0] is row), None)
        if suffix is None:
            raise SettingError(f"no file can be made for the backend {name!r}")
        export_model(network, row.exporter, native.with_suffix(suffix), batch=None, dynamic=True)
        files.append((native.with_suffix(suffix), name))
    return files


def _name(case: Case) -> str:
    parts = [case.model.name, case.backend, case.precision]
    if case.batch is not None:
        parts.append(f"batch {case.batch}")
    if case.size is not None:
        parts.append(f"{case.size[0]} x {case.size[1]}")
    return ", ".join(part for part in parts if part)


def _show(
    found: Sequence[Measurement],
    where: str,
    rates: dict[str, float],
    skipped: list[dict[str, str]],
) -> None:
    console = wide_console()
    console.print(where)
    if rates:
        shown = ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in rates.items())
        console.print(f"matrix rate, GFLOP/s: {shown}")
    table = Table(title="milliseconds a batch", box=SIMPLE, padding=(0, 1, 0, 0))
    labelled = any(item.ap is not None for item in found)
    columns = ("model", "runtime", "", "batch", "size", "pre", "network", "p95", "p99", "post")
    for column in (*columns, "img/s", "of peak", "MB", *(["AP"] if labelled else [])):
        table.add_column(column)
    for m in found:
        times = (m.preprocess, m.network, m.p95, m.p99, m.postprocess)
        table.add_row(
            Path(m.model).name,
            m.backend,
            m.precision,
            str(m.batch),
            f"{m.size[0]}x{m.size[1]}",
            *(f"{value:.1f}" for value in times),
            f"{m.throughput:.1f}",
            "-" if m.share is None else f"{m.share:.0%}",
            "-" if m.memory is None else f"{m.memory / 1e6:.0f}",
            *([f"{m.ap:.3f}" if m.ap is not None else "-"] if labelled else []),
        )
    console.print(table)
    for item in skipped:
        console.print(f"not measured: {item['case']}: {item['reason']}", soft_wrap=True)
