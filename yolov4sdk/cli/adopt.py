"""`yolov4sdk adopt`: any detector becomes a file of this SDK."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import NamesError
from .options import parse_names, parse_size

if TYPE_CHECKING:
    from ..conventions.declaration import Declared


def adopt(
    source: Annotated[
        Path, typer.Argument(help="A detector of any maker: an .onnx file, or an .xml of OpenVINO.")
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Default: SOURCE with -adopted.")
    ] = None,
    convention: Annotated[
        str | None,
        typer.Option("--as", help="Name of a declaration, or a YAML or JSON file; see `--list`."),
    ] = None,
    names: Annotated[
        str | None, typer.Option(help="Class names: a,b,c, a text file of lines, or coco.")
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change the declaration: input.color=RGB; may be repeated."),
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="HEIGHTxWIDTH or one number, for a graph of any size.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Print the declaration and write nothing.")
    ] = False,
    listed: Annotated[
        bool, typer.Option("--list", is_eager=True, callback=lambda wanted: _list(wanted))
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
) -> None:
    """Make a foreign detector a file of this SDK: decoding inside, checked, named."""
    known = None if names is None else class_names(names)
    canvas = None if size is None else parse_size(size)
    if explain:
        from ..backends.foreign import graph_facts
        from ..conventions.sidecars import declaration_of

        declared, _ = declaration_of(
            source, graph_facts(source), convention, known, canvas, change or ()
        )
        _explain(declared)
        return
    from export.adopt.adopt import adopt as write

    target = output or source.with_name(f"{source.stem}-adopted{source.suffix}")
    made = write(
        source, target, convention, names=known, size=canvas, changes=change or (),
        overwrite=overwrite,
    )  # fmt: skip
    for doubt in made.warnings:
        typer.echo(f"warning: {doubt}", err=True)
    height, width = made.spec.input_size
    typer.echo(
        f"{target}: {made.declared.row.title} ({made.declared.reason}), {made.spec.nc} classes, "
        f"{height} x {width}; equal to the original within {made.box_error:.1g} px and "
        f"{made.score_error:.1g} in scores\nnext: yolov4sdk detect IMAGES -m {target} -o out"
    )


def class_names(text: str) -> tuple[str, ...]:
    """ "coco", "a,b,c" or a file of lines to names.

    Raises:
        NamesError: an empty name, or a file that cannot be read.
    """
    if text == "coco":
        from ..conventions.coco import NAMES

        return NAMES
    names = tuple(parse_names(text))
    if not names or not all(names):
        raise NamesError(f"--names {text!r} holds an empty name")
    return names


def _explain(declared: Declared) -> None:
    from ..conventions.declaration import write_declaration

    typer.echo(f"# {declared.row.title}: {declared.reason}")
    typer.echo(write_declaration(declared.row, declared.contract), nl=False)


def _list(wanted: bool) -> None:
    if not wanted:
        return
    from ..conventions.declaration import foreign

    for name, row in sorted(foreign().items()):
        typer.echo(f"{name:24} {row.title}")
    raise typer.Exit
