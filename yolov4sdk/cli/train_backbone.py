"""`yolov4sdk train-backbone`: backbones as classifiers, side by side with a ResNet-50."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .signature import accepts


def _declared() -> type:
    from train.groups import BackboneSettings

    return BackboneSettings


@accepts(_declared())
def train_backbone(
    data: Annotated[
        str, typer.Argument(help="Folder with train and val, each with one folder a class.")
    ],
    *,
    given: dict[str, Any],
) -> None:
    """Train backbones as classifiers by one recipe; their weights start a detector."""
    from rich.console import Console
    from rich.table import Table

    from train.environment import patient_threads

    patient_threads()
    from train.backbone import train_backbones
    from train.groups import BackboneSettings

    settings = BackboneSettings(data, **given)
    results = train_backbones(settings, typer.echo)
    # Convergence: when each first reached what the weakest reached at its best.
    common = min(max(result.accuracy) for result in results)
    table = Table(
        "",
        *(result.name for result in results),
        title=f"{settings.epochs} epochs at {settings.size} px",
    )
    rows = {
        "parameters": [f"{r.parameters:,}" for r in results],
        "accuracy, last epoch": [f"{r.accuracy[-1]:.4f}" for r in results],
        "accuracy, best epoch": [f"{max(r.accuracy):.4f}" for r in results],
        f"epochs to {common:.4f}": [str(r.epochs_to(common)) for r in results],
        "training loss, last epoch": [f"{r.loss[-1]:.4f}" for r in results],
        "images/s in training": [f"{r.images_per_second:.1f}" for r in results],
        "memory in training, GiB": [f"{r.memory:.2f}" for r in results],
    }
    for name, cells in rows.items():
        table.add_row(name, *cells)
    Console(markup=False).print(table)
