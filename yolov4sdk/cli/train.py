"""`yolov4sdk train`: from a data set to a detector."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

_RUN, _OPTIMIZER, _LOSS, _AUGMENTATION, _MACHINE = (
    "Run", "Optimizer and schedule", "Loss", "Augmentation", "Machine and output",
)  # fmt: skip


def _option(text: str, default: str, panel: str, *names: str) -> Any:
    """An option whose None means "not given": the settings file or the defaults decide."""
    return typer.Option(*names, help=text, show_default=default, rich_help_panel=panel)


def train(
    data: Annotated[
        str | None,
        typer.Argument(help="data.yaml, COCO JSON, VOC folder, or folder of images and labels."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with the run in this folder, bit for bit.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A settings.json; options given here replace its values.")
    ] = None,
    output: Annotated[str | None, _option("Folder of the run.", "runs/train", _RUN)] = None,
    model: Annotated[
        str | None, _option("Built-in model or a YAML file.", "yolov4-csp", _RUN)
    ] = None,
    weights: Annotated[
        str | None, _option("Checkpoint to fine-tune; its architecture counts.", "none", _RUN)
    ] = None,
    backbone: Annotated[str | None, _option("Weights of train-backbone.", "none", _RUN)] = None,
    train_split: Annotated[str | None, _option("Split to train on.", "train", _RUN)] = None,
    val_split: Annotated[
        str | None, _option('Split to validate on; "" for none.', "val", _RUN)
    ] = None,
    classes: Annotated[
        list[str] | None, _option("Train on these classes only (repeat).", "all", _RUN)
    ] = None,
    freeze: Annotated[
        int | None, _option("Keep the first N layers as they are.", "0", _RUN)
    ] = None,
    seed: Annotated[int | None, _option("Of everything random.", "0", _RUN)] = None,
    size: Annotated[int | None, _option("Long side in pixels.", "640", _RUN)] = None,
    epochs: Annotated[int | None, _option("Passes over the images.", "300", _RUN)] = None,
    batch: Annotated[
        int | None, _option("Images of a step, over all processes.", "16", _RUN)
    ] = None,
    nominal_batch: Annotated[
        int | None, _option("Images of an update, by accumulation.", "16 to 64, by length", _RUN)
    ] = None,
    multi_scale: Annotated[
        float | None, _option("Resize batches by up to this share.", "0.0", _RUN)
    ] = None,
    rectangular: Annotated[
        bool | None,
        _option(
            "Batches of like shapes, without mosaic.",
            "square",
            _RUN,
            "--rectangular/--square",
        ),
    ] = None,
    optimizer: Annotated[str | None, _option("sgd, adam or adamw.", "sgd", _OPTIMIZER)] = None,
    lr: Annotated[
        float | None, _option("Peak learning rate.", "0.01; Adam 0.001", _OPTIMIZER)
    ] = None,
    lr_final: Annotated[
        float | None, _option("Last learning rate, share of the peak.", "0.05", _OPTIMIZER)
    ] = None,
    momentum: Annotated[
        float | None, _option("SGD's momentum or Adam's first beta.", "0.937", _OPTIMIZER)
    ] = None,
    weight_decay: Annotated[
        float | None, _option("Of convolution weights.", "0.0005", _OPTIMIZER)
    ] = None,
    warmup_epochs: Annotated[
        float | None, _option("Warm-up, at least; 0 is none.", "3.0", _OPTIMIZER)
    ] = None,
    warmup_iterations: Annotated[
        int | None, _option("Warm-up, at least.", "1000", _OPTIMIZER)
    ] = None,
    warmup_share: Annotated[
        float | None, _option("Warm-up, at most this share of the run.", "0.1", _OPTIMIZER)
    ] = None,
    clip_gradients: Annotated[
        float | None, _option("Largest gradient norm; 0 is any.", "0.0", _OPTIMIZER)
    ] = None,
    ema_decay: Annotated[
        float | None, _option("Decay of the averaged model.", "by length", _OPTIMIZER)
    ] = None,
    ema_tau: Annotated[
        float | None, _option("Updates until the average lasts.", "by length", _OPTIMIZER)
    ] = None,
    iou: Annotated[str | None, _option("giou or ciou.", "ciou", _LOSS)] = None,
    box_gain: Annotated[float | None, _option("Weight of boxes.", "0.05", _LOSS)] = None,
    objectness_gain: Annotated[float | None, _option("Weight of objectness.", "1.0", _LOSS)] = None,
    class_gain: Annotated[
        float | None, _option("Weight of classes, for 80 of them.", "0.5", _LOSS)
    ] = None,
    focal: Annotated[
        float | None, _option("Gamma of the focal loss; 0 is cross-entropy.", "0.0", _LOSS)
    ] = None,
    label_smoothing: Annotated[
        float | None, _option("Soften class targets by this.", "0.0", _LOSS)
    ] = None,
    iou_ratio: Annotated[
        float | None, _option("IoU's share in objectness, stage two.", "1.0", _LOSS)
    ] = None,
    hard_epochs: Annotated[
        int | None, _option("Epochs of stage one: hard objectness.", "a tenth", _LOSS)
    ] = None,
    ramp_epochs: Annotated[
        int | None, _option("Epochs from stage one to two; 0 switches.", "a tenth", _LOSS)
    ] = None,
    mosaic: Annotated[float | None, _option("Probability.", "1.0", _AUGMENTATION)] = None,
    mixup: Annotated[
        float | None, _option("Probability, of two mosaics.", "0; fine-tuning 0.2", _AUGMENTATION)
    ] = None,
    mixup_beta: Annotated[float | None, _option("Both betas.", "8.0", _AUGMENTATION)] = None,
    degrees: Annotated[float | None, _option("Largest rotation.", "0.0", _AUGMENTATION)] = None,
    translate: Annotated[
        float | None, _option("Largest shift, share of the size.", "0.5", _AUGMENTATION)
    ] = None,
    scale: Annotated[
        float | None, _option("Zoom by 1 +- this.", "0.5; fine-tuning 0.8", _AUGMENTATION)
    ] = None,
    shear: Annotated[float | None, _option("Largest shear, degrees.", "0.0", _AUGMENTATION)] = None,
    perspective: Annotated[
        float | None, _option("Largest coefficient, per pixel.", "0.0", _AUGMENTATION)
    ] = None,
    hsv_h: Annotated[float | None, _option("Hue.", "0.015", _AUGMENTATION)] = None,
    hsv_s: Annotated[float | None, _option("Saturation.", "0.7", _AUGMENTATION)] = None,
    hsv_v: Annotated[float | None, _option("Brightness.", "0.4", _AUGMENTATION)] = None,
    fliplr: Annotated[
        float | None, _option("Probability of left-right mirroring.", "0.5", _AUGMENTATION)
    ] = None,
    flipud: Annotated[
        float | None, _option("Probability of up-down mirroring.", "0.0", _AUGMENTATION)
    ] = None,
    close_mosaic: Annotated[
        int | None, _option("The last N epochs go without mosaic.", "a tenth", _AUGMENTATION)
    ] = None,
    device: Annotated[str | None, _option("cpu, cuda, cuda:N or auto.", "auto", _MACHINE)] = None,
    amp: Annotated[str | None, _option("off, bf16 or fp16.", "off", _MACHINE)] = None,
    channels_last: Annotated[
        bool | None, _option("Memory layout.", "channels-last", _MACHINE)
    ] = None,
    auto_anchor: Annotated[
        bool | None, _option("Fit anchors when boxes are missed.", "auto-anchor", _MACHINE)
    ] = None,
    cache: Annotated[
        str | None, _option("Keep resized images: ram, disk or none.", "ram", _MACHINE)
    ] = None,
    cache_dir: Annotated[str | None, _option("Where disk keeps them.", "user's", _MACHINE)] = None,
    workers: Annotated[
        int | None, _option("Loader processes; 0 loads in this one.", "CPUs - 1", _MACHINE)
    ] = None,
    threads: Annotated[
        int | None, _option("Threads of torch on the CPU.", "CPUs", _MACHINE)
    ] = None,
    val_interval: Annotated[
        int | None, _option("Epochs between validations.", "1", _MACHINE)
    ] = None,
    patience: Annotated[
        int | None, _option("Stop after N epochs without gain; 0 never.", "0", _MACHINE)
    ] = None,
    save_minutes: Annotated[
        float | None, _option("Minutes between checkpoints.", "5.0", _MACHINE)
    ] = None,
    tensorboard: Annotated[
        bool | None, _option("Write TensorBoard events.", "tensorboard", _MACHINE)
    ] = None,
    plots: Annotated[bool | None, _option("Draw plots at the end.", "plots", _MACHINE)] = None,
) -> None:
    """Train a detector. Ctrl-C saves and exits; --resume goes on exactly there.

    Start it with torchrun for several GPUs.
    """
    given = {name: value for name, value in locals().items() if value is not None}
    _start(given)


def _start(given: dict[str, Any]) -> None:
    """Hand the options given to the trainer; exit code 130 when it was interrupted."""
    from train.environment import patient_threads

    patient_threads()
    from train.main import resume as resume_run
    from train.main import train as start_run
    from train.settings import TrainSettings

    folder = given.pop("resume", None)
    config = given.pop("config", None)
    if given.get("cache") == "none":
        given["cache"] = None
    if folder is not None:
        if config is not None:
            raise typer.BadParameter("--resume takes its settings from the run; leave out --config")
        position = resume_run(folder, given)
    else:
        base = TrainSettings.read(config) if config is not None else TrainSettings()
        position = start_run(base.changed(given))
    if not position.finished:
        raise typer.Exit(130)
