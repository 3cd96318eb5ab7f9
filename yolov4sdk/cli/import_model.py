"""`yolov4sdk import`: foreign checkpoints to the native format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..backends.artefacts import is_artefact
from ..errors import SettingError
from ..system.outputs import refuse_existing
from .console import counted, next_steps
from .options import parse_names

if TYPE_CHECKING:
    from ..models import Model


def import_model(
    source: Annotated[
        Path, typer.Argument(help="A checkpoint of Scaled-YOLOv4 (.pt), or a Darknet .cfg.")
    ],
    weights: Annotated[
        Path | None, typer.Argument(help="The .weights that belong to the .cfg.")
    ] = None,
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
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a model that is there.")
    ] = False,
) -> None:
    """Convert a published checkpoint to safetensors; nothing inside it is run."""
    target = output or source.with_suffix(".safetensors")
    if target.suffix != ".safetensors":
        raise typer.BadParameter(f"the output must end in .safetensors, got {target}")
    inputs = [path for path in (source, weights) if path is not None]
    refuse_existing([target], inputs, overwrite=overwrite, is_ours=is_artefact)
    from ..models.checkpoints import save_checkpoint
    from ..models.summary import count_parameters

    model = _load(
        source, weights, None if names is None else parse_names(names), architecture, size
    )
    save_checkpoint(model, target)
    spec = model.spec
    height, width = spec.input_size
    shown = str(height) if height == width else f"{height} x {width}"
    typer.echo(
        f"{target}: {_kind(model)}, {count_parameters(model):,} parameters, "
        f"{counted(spec.nc, 'class', 'classes')}, "
        f"strides {' '.join(map(str, spec.strides))}, size {shown}"
    )
    next_steps(("detect", "photo.jpg", "-m", str(target)), ("export", str(target)))


def _load(
    source: Path,
    weights: Path | None,
    names: list[str] | None,
    architecture: str | None,
    size: int | None,
) -> Model:
    suffixes = [path.suffix.lower() for path in (source, weights) if path is not None]
    if {".cfg", ".weights"} & set(suffixes):
        if suffixes[0] != ".cfg" or weights is None:
            raise SettingError(
                "a Darknet model is two files, the .cfg first: "
                f"`yolov4sdk import {source.stem}.cfg {source.stem}.weights`"
            )
        if architecture is not None or size is not None:
            raise SettingError("the .cfg says the architecture and the size; leave both options")
        from ..models.darknet import import_darknet

        return import_darknet(source, weights, names)
    if weights is not None:
        raise SettingError(f"only a Darknet .cfg takes a second file, got {source} and {weights}")
    from ..models.official import import_official

    return import_official(source, names, architecture, size)


def _kind(model: Model) -> str:
    from ..models.darknet import DarknetModel

    if isinstance(model, DarknetModel):
        return "a Darknet graph"
    architecture = model.spec.architecture
    return architecture if isinstance(architecture, str) else "a native definition of its own"
