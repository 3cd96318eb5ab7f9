"""`yolov4sdk probe`: which declaration is that of a foreign ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import SettingError

if TYPE_CHECKING:
    from ..measure.probe import Ranking


def probe(
    model: Annotated[Path, typer.Argument(help="An ONNX detector of any maker.")],
    images: Annotated[
        str | None,
        typer.Option(help="Folder or glob of pictures; with --labels, those to take of its own."),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Labelled pictures: data.yaml, COCO JSON, VOC or YOLO.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split of --labels.")] = "val",
    names: Annotated[
        str | None, typer.Option(help="Class names: a,b,c, a text file of lines, or coco.")
    ] = None,
    renamed: Annotated[
        list[str] | None,
        typer.Option(
            "--map", help="A class by the model's name and the data's: 'potted plant=pottedplant'."
        ),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Pictures at most, evenly taken.")] = 40,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="JSON file for the winner's declaration.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
) -> None:
    """Try every declaration that fits a foreign file on pictures, and rank them."""
    from ..datasets import load_dataset
    from ..imaging.sources import expand
    from ..measure.classes import parse_map
    from ..measure.probe import probe as run
    from .adopt import class_names

    if output is not None and (output.suffix.lower() != ".json" or output.is_dir()):
        raise SettingError(f"-o writes a .json file, got {output}")
    if output is not None and output.exists() and not overwrite:
        raise SettingError(f"{output} exists; choose another name, or give --overwrite")
    dataset = None if labels is None else load_dataset(labels, split)
    ranking = run(
        model, [] if images is None else expand([images]), dataset=dataset,
        names=None if names is None else class_names(names),
        class_map=parse_map(renamed or []), count=count,
        progress=lambda done, total: typer.echo(f"stage {done} of {total}", err=True),
    )  # fmt: skip
    show(ranking)
    if ranking.winner is None:
        raise typer.Exit(1)
    _tell(ranking, model, output, names)


def show(ranking: Ranking) -> None:
    """Print the ranking with the distance of each from the best."""
    best = ranking.ranked[0].score
    typer.echo(f"{ranking.measure} on {ranking.pictures} pictures, margin {ranking.margin:.3f}")
    for one in ranking.ranked:
        fault = f"  {one.fault}" if one.fault else ""
        typer.echo(f"{one.score:7.3f} {one.score - best:+7.3f}  {one.candidate.title}{fault}")
    if ranking.others:
        typer.echo("dropped out on the first pictures:")
    for one in ranking.others:
        typer.echo(f"{one.score:7.3f}          {one.candidate.title}  {one.fault}".rstrip())
    if ranking.reason:
        typer.echo(f"{'' if ranking.winner is None else 'note: '}{ranking.reason}")


def _tell(ranking: Ranking, model: Path, output: Path | None, names: str | None) -> None:
    from ..conventions.declaration import write_declaration
    from ..system.files import atomic_write

    winner = ranking.winner
    assert winner is not None
    way = winner.row.name
    if output is not None:
        with atomic_write(output) as temporary:
            temporary.write_text(write_declaration(winner.row, winner.contract), encoding="utf-8")
        way = str(output)
    typer.echo(f"winner: {winner.title}")
    if winner.changes and output is None:
        typer.echo("its values differ from the declaration's; -o FILE.json writes them")
        return
    given = f" --names {names}" if names else ""
    typer.echo(f"next: yolov4sdk adopt {model} --as {way}{given}")
