"""The settings of a training run that belong together, each declared here once.

None means: derived from the other settings; `TrainSettings` says how.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, Literal

from train.augment import Augmentation
from yolov4sdk.contract.names import MODELS
from yolov4sdk.errors import SettingError
from yolov4sdk.system.option import KEY, Declaration, about, check, options_of


@dataclass(frozen=True)
class ScheduleSettings:
    """The optimizer, its schedule and the average of the weights (EMA)."""

    optimizer: Literal["sgd", "adam", "adamw"] = field(default="sgd", metadata=about("Optimizer."))
    lr: float | None = field(
        default=None, metadata=about("Peak learning rate.", low=0, shown="0.01; Adam 0.001")
    )
    # Design: 0.2. The last epochs of a short run gain from smaller steps.
    lr_final: float = field(
        default=0.05, metadata=about("Last learning rate, share of the peak.", low=0, high=1)
    )
    momentum: float = field(
        default=0.937, metadata=about("SGD's momentum or Adam's first beta.", low=0, high=0.9999)
    )
    weight_decay: float = field(default=5e-4, metadata=about("Of convolution weights.", low=0))
    warmup_epochs: float = field(
        default=3.0, metadata=about("Warm-up, at least; 0 is none.", low=0)
    )
    warmup_iterations: int = field(default=1000, metadata=about("Warm-up, at least.", low=0))
    # Design: at most a third. A third of a short run is too much.
    warmup_share: float = field(
        default=0.1, metadata=about("Warm-up, at most this share of the run.", low=0, high=1)
    )
    # The loss is a sum over images, so the usual norm grows with the batch (50 at 16 images); there
    # suits every run as a limit.
    clip_gradients: float = field(
        default=0.0, metadata=about("Largest gradient norm; 0 is any.", low=0)
    )
    ema_decay: float | None = field(
        default=None,
        metadata=about("Decay of the averaged model.", low=0, high=0.999999, shown="by length"),
    )
    ema_tau: float | None = field(
        default=None,
        metadata=about("Updates until the average lasts.", low=0.01, shown="by length"),
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class LossSettings:
    """Gains and variants of the loss; the gains are the authors' (arXiv 2011.08036).

    `iou` is of the box loss and of the objectness target alike. Class targets become 1 - s/2 and
    s/2 by `label_smoothing` s. The first `hard_epochs` have hard objectness targets (stage one);
    over `ramp_epochs` the IoU comes in.
    """

    # Design: GIoU. CIoU also pulls centres, so boxes are tighter at high IoU.
    iou: Literal["giou", "ciou"] = field(default="ciou", metadata=about("Overlap that is learnt."))
    box_gain: float = field(default=0.05, metadata=about("Weight of boxes.", low=0))
    objectness_gain: float = field(default=1.0, metadata=about("Weight of objectness.", low=0))
    class_gain: float = field(default=0.5, metadata=about("Weight of classes.", low=0))
    class_gain_of_80: bool = field(
        default=True,
        metadata=about(
            "Scale the class gain by classes / 80, as published.",
            names=("--class-gain-of-80/--class-gain-as-is",), shown="by recipe",
        ),
    )  # fmt: skip
    focal: float = field(
        default=0.0, metadata=about("Gamma of the focal loss; 0 is cross-entropy.", low=0)
    )
    label_smoothing: float = field(
        default=0.0, metadata=about("Soften class targets by this.", low=0, high=0.999)
    )
    ignored_regions: bool = field(
        default=False,
        metadata=about(
            "Crowd and difficult boxes are neither objects nor background.", shown="by recipe"
        ),
    )
    iou_ratio: float = field(
        default=1.0, metadata=about("IoU's share in objectness, stage two.", low=0, high=1)
    )
    hard_epochs: int | None = field(
        default=None,
        metadata=about("Epochs of stage one: hard objectness.", low=0, shown="a tenth"),
    )
    ramp_epochs: int | None = field(
        default=None,
        metadata=about("Epochs from stage one to two; 0 switches.", low=0, shown="a tenth"),
    )

    def __post_init__(self) -> None:
        check(self)


def _open(name: str) -> dict[str, Declaration]:
    """An option of `Augmentation` that may be left open: then the start of the run decides."""
    declared = next(entry.declared for entry in options_of(Augmentation) if entry.name == name)
    scratch, tuned = (getattr(kind, name) for kind in (Augmentation(), Augmentation.fine_tuning()))
    shown = f"{scratch}" if scratch == tuned else f"{scratch:g}; fine-tuning {tuned:g}"
    return {KEY: replace(declared, shown=shown)}


@dataclass(frozen=True)
class AugmentationSettings:
    """What was asked of the augmentation.

    None takes the authors' value for training from scratch or for fine-tuning.
    """

    mosaic: float | None = field(default=None, metadata=_open("mosaic"))
    mixup: float | None = field(default=None, metadata=_open("mixup"))
    mixup_beta: float | None = field(default=None, metadata=_open("mixup_beta"))
    degrees: float | None = field(default=None, metadata=_open("degrees"))
    translate: float | None = field(default=None, metadata=_open("translate"))
    scale: float | None = field(default=None, metadata=_open("scale"))
    shear: float | None = field(default=None, metadata=_open("shear"))
    perspective: float | None = field(default=None, metadata=_open("perspective"))
    hsv_h: float | None = field(default=None, metadata=_open("hsv_h"))
    hsv_s: float | None = field(default=None, metadata=_open("hsv_s"))
    hsv_v: float | None = field(default=None, metadata=_open("hsv_v"))
    fliplr: float | None = field(default=None, metadata=_open("fliplr"))
    flipud: float | None = field(default=None, metadata=_open("flipud"))
    close_mosaic: int | None = field(
        default=None,
        metadata=about("The last N epochs go without mosaic.", low=0, shown="a tenth"),
    )

    def __post_init__(self) -> None:
        check(self)

    def over(self, base: Augmentation) -> Augmentation:
        """`base` with the values that were asked for."""
        asked = {o.name: getattr(self, o.name) for o in options_of(Augmentation)}
        return replace(base, **{name: v for name, v in asked.items() if v is not None})


RESNET: Final = "resnet50"
"""In `BackboneSettings.models`."""


@dataclass(frozen=True)
class BackboneSettings:
    """A classification run: one recipe for all networks.

    `data` is a folder with `train` and `val`, each with one folder of images a class; a detector's
    weights are written as `<name>-backbone.safetensors`.
    """

    data: str
    output: str = field(
        default="runs/backbone",
        metadata=about("Folder for the weights.", names=("-o", "--output")),
    )
    models: tuple[str, ...] = field(
        default=("yolov4-csp", RESNET),
        metadata=about(
            "Built-in detector whose backbone to train, or resnet50 (repeat).",
            names=("--model",), offered=(*MODELS, RESNET), shown=f"yolov4-csp and {RESNET}",
        ),
    )  # fmt: skip
    size: int = field(default=128, metadata=about("Side of the square crops, pixels.", low=1))
    epochs: int = field(default=20, metadata=about("Passes over the images.", low=1))
    batch: int = field(default=32, metadata=about("Images of a step.", low=1))
    # With a batch of 32, what SGD from scratch takes for both kinds of network.
    lr: float = field(default=0.05, metadata=about("Peak learning rate of SGD.", low=1e-9))
    weight_decay: float = field(default=5e-4, metadata=about("Of convolution weights.", low=0))
    seed: int = field(default=0, metadata=about("Of everything random.", low=0))
    device: str = field(default="auto", metadata=about("cpu, cuda, cuda:N or auto."))
    threads: int | None = field(
        default=None, metadata=about("Threads of torch on the CPU.", low=1, shown="CPUs")
    )

    def __post_init__(self) -> None:
        check(self)
        if not self.models:
            raise SettingError("no models to train; name built-in detectors or resnet50")
