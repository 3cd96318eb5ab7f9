"""`yolov4sdk verify`: do artefacts of one model say the same?"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.table import Table

from ..backends import Backend, load_backend
from ..datasets import find_images, load_dataset
from ..errors import SettingError
from ..imaging.synthetic import drawn_image, noise
from ..measure.evaluation import evaluate
from ..measure.tolerance import TOLERANCES, complaints, lowest_precision
from ..measure.verify import Agreement, common_size, compare_artefacts
from ..system.option import about, check
from .console import counted, wide_console
from .signature import accepts


@dataclass(frozen=True)
class Limits:
    """What two artefacts may differ by, and which detections are compared."""

    conf: float = field(default=0.25, metadata=about("Least score of a detection.", low=0, high=1))
    iou: float = field(
        default=0.45, metadata=about("Overlap above which the lesser box goes.", low=0, high=1)
    )
    max_box_error: float | None = field(
        default=None, metadata=about("Largest error of a box.", low=0, shown="by precision")
    )
    max_score_error: float | None = field(
        default=None, metadata=about("Largest error of a score.", low=0, shown="by precision")
    )
    min_matched: float | None = field(
        default=None,
        metadata=about(
            "Least share of detections that match.", low=0, high=1, shown="by precision"
        ),
    )
    max_drop: float = field(
        default=0.5, metadata=about("AP points (of 100) that may be lost, with --data.")
    )

    def __post_init__(self) -> None:
        check(self)

    def changes(self) -> dict[str, float]:
        """Fields of a `Tolerance` that were given."""
        given = {
            "boxes_max": self.max_box_error,
            "scores_max": self.max_score_error,
            "matched": self.min_matched,
        }
        return {name: value for name, value in given.items() if value is not None}


@accepts(Limits)
def verify(
    artefacts: Annotated[
        list[Path],
        typer.Argument(help="Two or more files of one model; the first is the reference."),
    ],
    images: Annotated[
        list[str] | None,
        typer.Option(help="Folder, glob, file or data set. Default: drawn pictures and noise."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="A labelled data set: mAP of each, and images to compare.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split of the data sets.")] = "val",
    precision: Annotated[
        str | None,
        typer.Option(help="fp32, bf16 or fp16: of those after the first, where it can be chosen."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "cpu",
    size: Annotated[
        tuple[int, int] | None,
        typer.Option(help="Height and width for dynamic artefacts.", metavar="H W"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    *,
    given: dict[str, Any],
) -> None:
    """Run artefacts on the same images; exit code 1 if one differs past the tolerance.

    The error of b against a is |a-b| / max(1, |a|); of a box, |a| is its largest coordinate.
    Detections match when they overlap by more than 0.9 and have the same class.
    """
    if len(artefacts) < 2:
        raise SettingError("verify compares at least two artefacts; give the reference first")
    limits = Limits(**given)
    with ExitStack() as opened:
        loaded: list[Backend] = [
            opened.enter_context(
                load_backend(path, device=device, precision=_chosen(path, precision, i))
            )
            for i, path in enumerate(artefacts)
        ]
        canvas = common_size([backend.spec for backend in loaded], size)
        shown = _images(images, data, split, canvas)
        found = compare_artefacts(loaded, shown, size=canvas, conf=limits.conf, iou=limits.iou)
        aps = [_ap(backend, data, split, canvas) for backend in loaded] if data else None
    rows: list[dict[str, Any]] = [
        {"artefact": str(path), "backend": backend.name, "precision": backend.precision, "ap": None}
        for path, backend in zip(artefacts, loaded, strict=True)
    ]
    for row, ap in zip(rows, aps or [], strict=False):
        row["ap"] = ap
    for row, agreement in zip(rows[1:], found, strict=True):
        said = _complaints(rows[0], row, agreement, limits)
        row |= {**agreement.to_dict(), "complaints": said}
    if as_json:
        typer.echo(json.dumps({"size": list(canvas), "images": len(shown), "artefacts": rows}))
    else:
        _show(rows, found)
    if any(row.get("complaints") for row in rows):
        raise typer.Exit(1)


def _complaints(
    reference: dict[str, Any],
    row: dict[str, Any],
    found: Agreement,
    limits: Limits,
) -> list[str]:
    """What of an artefact lies past the tolerance."""
    usual = TOLERANCES[lowest_precision(reference["precision"], row["precision"])]
    said = complaints(found, replace(usual, **limits.changes()))
    if row["ap"] is not None and not reference["ap"] - row["ap"] <= limits.max_drop:
        lower = reference["ap"] - row["ap"]
        said.append(f"AP {row['ap']:.2f} is {lower:.2f} lower, allowed {limits.max_drop:g}")
    return said


def _chosen(path: Path, precision: str | None, index: int) -> str | None:
    """The precision to ask a runtime for: an ONNX file has its own, the reference its default."""
    return None if index == 0 or path.suffix.lower() == ".onnx" else precision


def _images(
    sources: list[str] | None, data: Path | None, split: str, canvas: tuple[int, int]
) -> list[Any]:
    if sources:
        return [path for source in sources for path in find_images(source, split)]
    if data is not None:
        return list(find_images(data, split))
    return [drawn_image(canvas, seed) for seed in range(3)] + [noise(canvas)]


def _ap(backend: Backend, data: Path, split: str, canvas: tuple[int, int]) -> float:
    """AP50-95 in points of 100; square canvases, which every artefact takes."""
    dataset = load_dataset(data, split)
    return 100 * evaluate(backend, dataset, size=max(canvas), rectangular=False, batch=4).ap


def _show(rows: list[dict[str, Any]], found: list[Agreement]) -> None:
    console = wide_console()
    table = Table(
        title=f"Against {rows[0]['artefact']}: {counted(found[0].images, 'image')}, "
        f"{counted(found[0].detections, 'detection')}",
        box=SIMPLE,
        padding=(0, 1, 0, 0),
    )
    labelled = rows[0]["ap"] is not None
    columns = ("artefact", "precision", "boxes max", "mean", "scores max", "mean", "matched")
    for column in (*columns, *(["AP50-95"] if labelled else []), "within"):
        table.add_column(column)
    for row in rows:
        cells = ["", "", "", "", "reference"]
        if "matched" in row:
            keys = ("boxes_max", "boxes_mean", "scores_max", "scores_mean")
            cells = [f"{row[key]:.1e}" for key in keys]
            cells.append(f"{row['matched']:.2%}")
        ap = [f"{row['ap']:.2f}"] if labelled else []
        verdict = "" if "matched" not in row else "no" if row["complaints"] else "yes"
        table.add_row(Path(row["artefact"]).name, row["precision"], *cells, *ap, verdict)
    console.print(table)
    for row in rows:
        for complaint in row.get("complaints", []):
            console.print(f"{row['artefact']}: {complaint}", soft_wrap=True)
