"""`yolov4sdk import`: foreign checkpoints to the native format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def import_model(
    source: Annotated[Path, typer.Argument(help="A checkpoint of Scaled-YOLOv4 (.pt).")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Default: the source, as .safetensors.")
    ] = None,
    names: Annotated[
        str | None,
        typer.Option(help="Class names in place of the file's: a,b,c or a text file of lines."),
    ] = None,
    architecture: Annotated[
        str | None, typer.Option(help="Built-in name or YAML file, where the file has none.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Long side in pixels that the model is meant for.")
    ] = None,
) -> None:
    """Convert a published checkpoint to safetensors; nothing inside it is run."""
    from ..models.checkpoints import save_checkpoint
    from ..models.official import import_official
    from ..models.summary import count_parameters

    model = import_official(source, _names(names), architecture, size)
    target = output or source.with_suffix(".safetensors")
    if target.suffix != ".safetensors":
        raise typer.BadParameter(f"the output must end in .safetensors, got {target}")
    save_checkpoint(model, target)
    spec = model.spec
    kind = spec.architecture if isinstance(spec.architecture, str) else "its own architecture"
    typer.echo(
        f"{target}: {kind}, {count_parameters(model):,} parameters, {spec.nc} classes, "
        f"strides {' '.join(map(str, spec.strides))}, size {spec.input_size[0]}"
    )


def _names(text: str | None) -> list[str] | None:
    if text is None:
        return None
    path = Path(text)
    if path.is_file():
        return [line.strip() for line in path.read_text().splitlines() if line.strip()]
    return [name.strip() for name in text.split(",")]
