"""`yolov4sdk train-backbone`: backbones as classifiers, side by side with a ResNet-50."""

from __future__ import annotations

from typing import Annotated

import typer


def train_backbone(
    data: Annotated[
        str, typer.Argument(help="Folder with train and val, each with one folder a class.")
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Built-in detector whose backbone to train, or resnet50 (repeat).",
            show_default="yolov4-csp and resnet50",
        ),
    ] = None,
    output: Annotated[str, typer.Option(help="Folder for the weights.")] = "runs/backbone",
    size: Annotated[int, typer.Option(help="Side of the square crops, pixels.")] = 128,
    epochs: Annotated[int, typer.Option(help="Passes over the images.")] = 20,
    batch: Annotated[int, typer.Option(help="Images of a step.")] = 32,
    lr: Annotated[float, typer.Option(help="Peak learning rate of SGD.")] = 0.05,
    weight_decay: Annotated[float, typer.Option(help="Of convolution weights.")] = 5e-4,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N or auto.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="Threads of torch on the CPU.")] = None,
) -> None:
    """Train backbones as classifiers by one recipe; their weights start a detector."""
    from rich.console import Console
    from rich.table import Table

    from train.environment import patient_threads

    patient_threads()
    from train.backbone import RESNET, BackboneSettings, train_backbones

    settings = BackboneSettings(
        data=data, output=output, models=tuple(model or ("yolov4-csp", RESNET)), size=size,
        epochs=epochs, batch=batch, lr=lr, weight_decay=weight_decay, seed=seed, device=device,
        threads=threads,
    )  # fmt: skip
    results = train_backbones(settings, typer.echo)
    # Convergence: when each first reached what the weakest reached at its best.
    common = min(max(result.accuracy) for result in results)
    table = Table("", *(result.name for result in results), title=f"{epochs} epochs at {size} px")
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
    Console().print(table)
