"""The settings of a training run: one frozen, checked value."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from train.augment import Augmentation
from train.loss import LossSettings
from yolov4sdk.errors import SettingError

_AUGMENTATION = tuple(entry.name for entry in fields(Augmentation))
_CHOICES = {
    "optimizer": ("sgd", "adam", "adamw"),
    "amp": ("off", "bf16", "fp16"),
    "cache": (None, "ram", "disk"),
    "iou": ("giou", "ciou"),
}
# Least and largest value of numbers; None is no limit.
_RANGES: dict[str, tuple[float, float | None]] = {
    "size": (32, None), "epochs": (1, None), "batch": (1, None), "nominal_batch": (1, None),
    "lr": (0, None), "lr_final": (0, 1), "momentum": (0, 0.9999), "weight_decay": (0, None),
    "warmup_epochs": (0, None), "warmup_iterations": (0, None), "warmup_share": (0, 1),
    "clip_gradients": (0, None), "ema_decay": (0, 0.999999), "ema_tau": (0.01, None),
    "iou_ratio": (0, 1), "hard_epochs": (0, None), "ramp_epochs": (0, None),
    "multi_scale": (0, 0.9), "close_mosaic": (0, None), "freeze": (0, None), "seed": (0, None),
    "workers": (0, None), "threads": (1, None), "val_interval": (1, None), "patience": (0, None),
    "save_minutes": (0, None),
}  # fmt: skip
# What `--resume` may change: nothing here decides what is learnt.
RESUMABLE = ("device", "workers", "threads", "cache", "cache_dir", "save_minutes", "tensorboard")

# A run of fewer updates than this at the nominal batch of 64 learns more from smaller batches:
# 292 images for 120 epochs are 550 updates at 64 and 2200 at 16.
_ENOUGH_UPDATES = 10_000
_NOMINAL_BATCH = 64  # the design's
_EMA_WINDOW = 0.05  # the average's length as a share of the run: long enough to smooth, short
# enough to have forgotten the high learning rates by the end


@dataclass(frozen=True)
class TrainSettings:
    """Everything that decides a run. None means: derived from the others, see the properties.

    The defaults are those of the design page (`spec.md`, "Training") unless a comment says why not.
    """

    # What is trained on what
    data: str = ""
    output: str = "runs/train"
    model: str = "yolov4-csp"
    weights: str | None = None  # a checkpoint to fine-tune; its architecture replaces `model`
    backbone: str | None = None  # weights of `train-backbone`
    train_split: str = "train"
    val_split: str = "val"
    classes: tuple[str, ...] | None = None
    freeze: int = 0  # the first N layers keep their weights and statistics
    seed: int = 0

    # Size and length
    size: int = 640
    epochs: int = 300
    batch: int = 16  # images of one step, over all processes
    nominal_batch: int | None = None  # images of one update
    multi_scale: float = 0.0  # 0.5: each batch is resized to 0.5 to 1.5 times the size
    rectangular: bool = False

    # Optimizer and schedule
    optimizer: str = "sgd"
    lr: float | None = None
    lr_final: float = 0.05  # design: 0.2. The last epochs of a short run gain from smaller steps
    momentum: float = 0.937
    weight_decay: float = 5e-4
    warmup_epochs: float = 3.0
    warmup_iterations: int = 1000
    warmup_share: float = 0.1  # design: at most a third. A third of a short run is too much
    clip_gradients: float = 0.0  # norm, 0: never. The loss is a sum over images, so the usual norm
    # grows with the batch (50 at 16 images); there is no limit that suits every run
    ema_decay: float | None = None
    ema_tau: float | None = None

    # Loss
    iou: str = "ciou"  # design: GIoU. CIoU also pulls centres, so boxes are tighter at high IoU
    box_gain: float = 0.05
    objectness_gain: float = 1.0
    class_gain: float = 0.5
    focal: float = 0.0
    label_smoothing: float = 0.0
    iou_ratio: float = 1.0
    hard_epochs: int | None = None  # epochs with hard objectness targets (stage one)
    ramp_epochs: int | None = None  # epochs over which the IoU comes in; 0 is a switch

    # Augmentation: None takes the authors' value for training from scratch or for fine-tuning
    mosaic: float | None = None
    mixup: float | None = None
    mixup_beta: float | None = None
    degrees: float | None = None
    translate: float | None = None
    scale: float | None = None
    shear: float | None = None
    perspective: float | None = None
    hsv_h: float | None = None
    hsv_s: float | None = None
    hsv_v: float | None = None
    fliplr: float | None = None
    flipud: float | None = None
    close_mosaic: int | None = None  # the last N epochs go without mosaic

    # Machine
    device: str = "auto"
    amp: str = "off"
    channels_last: bool = True  # oneDNN and tensor cores both want it
    auto_anchor: bool = True  # only acts when the model's anchors miss more than 2 % of the boxes
    cache: str | None = "ram"  # resized images; a data set too large for it takes "disk"
    cache_dir: str | None = None
    workers: int | None = None
    threads: int | None = None

    # Validation, saving, showing
    val_interval: int = 1
    patience: int = 0  # stop after this many epochs without a better mAP; 0: never
    save_minutes: float = 5.0
    tensorboard: bool = True
    plots: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.classes, list):
            object.__setattr__(self, "classes", tuple(self.classes))
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                listed = ", ".join("none" if a is None else a for a in allowed)
                raise SettingError(f"{name} is {getattr(self, name)!r}; expected one of {listed}")
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not (low <= value and (high is None or value <= high)):
                top = f" to {high}" if high is not None else " or more"
                raise SettingError(f"{name} is {value}; expected {low}{top}")
        if self.weights and self.backbone:
            raise SettingError("weights and backbone exclude each other; the weights hold both")
        if self.rectangular and self.mosaic:
            raise SettingError("rectangular training excludes mosaic; set mosaic to 0")
        if self.rectangular and self.multi_scale:
            raise SettingError("rectangular training excludes multi_scale")
        self.augmentation()
        self.loss(1)

    # -- what follows from the settings ------------------------------------------------------

    @property
    def learning_rate(self) -> float:
        """The peak learning rate: 0.01 for SGD, 0.001 for Adam, unless set."""
        if self.lr is not None:
            return self.lr
        return 0.01 if self.optimizer == "sgd" else 0.001

    def images_per_update(self, images: int) -> int:
        """The nominal batch: 64, or less (not under 16) where a run would have few updates."""
        if self.nominal_batch is not None:
            return self.nominal_batch
        nominal = _NOMINAL_BATCH
        while nominal > 16 and images * self.epochs / nominal < _ENOUGH_UPDATES:
            nominal //= 2
        return nominal

    def ema(self, updates: int) -> tuple[float, float]:
        """Decay and tau of the average for a run of so many optimizer updates.

        The design's 0.9999 averages over 10,000 updates, more than a short run has, and its tau of
        2000 would end such a run with hardly any average at all.
        """
        window = max(2.0, _EMA_WINDOW * updates)
        decay = min(0.9999, 1 - 1 / window) if self.ema_decay is None else self.ema_decay
        tau = min(2000.0, window) if self.ema_tau is None else self.ema_tau
        return decay, tau

    def iou_ratio_at(self, epoch: int) -> float:
        """The share of the IoU in the objectness target: stage one is 0, stage two `iou_ratio`."""
        hard = self.epochs // 10 if self.hard_epochs is None else self.hard_epochs
        ramp = self.epochs // 10 if self.ramp_epochs is None else self.ramp_epochs
        if epoch < hard:
            return 0.0
        return self.iou_ratio * min(1.0, (epoch - hard + 1) / (ramp + 1))

    @property
    def mosaic_epochs(self) -> int:
        """Epochs before the mosaic closes; it closes for the last tenth unless set."""
        close = self.epochs // 10 if self.close_mosaic is None else self.close_mosaic
        return max(0, self.epochs - close)

    def augmentation(self) -> Augmentation:
        """The augmentation of the epochs before the mosaic closes."""
        base = Augmentation.fine_tuning() if self.weights else Augmentation()
        if self.rectangular:
            base = base.without_mosaic()
        given = {name: getattr(self, name) for name in _AUGMENTATION}
        return dataclasses.replace(base, **{k: v for k, v in given.items() if v is not None})

    def loss(self, class_count: int) -> LossSettings:
        """The loss settings for a model of so many classes."""
        return LossSettings(
            iou=self.iou,
            box_gain=self.box_gain,
            objectness_gain=self.objectness_gain,
            # The design's gain is for 80 classes; the loss is a mean over classes.
            class_gain=self.class_gain * class_count / 80,
            focal_gamma=self.focal,
            label_smoothing=self.label_smoothing,
        )

    # -- reading and writing -----------------------------------------------------------------

    def to_json(self) -> str:
        """All fields as indented JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> TrainSettings:
        """Read what `to_json` wrote, or a part of it.

        Raises:
            SettingError: no JSON object, or a name that is no setting.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise SettingError(f"the settings are no JSON: {error}") from error
        if not isinstance(values, dict):
            raise SettingError("the settings must be a JSON object of names and values")
        return cls().changed(values)

    @classmethod
    def read(cls, path: str | Path) -> TrainSettings:
        """Read a settings file, such as the `settings.json` of a run folder."""
        file = Path(path)
        if not file.is_file():
            raise SettingError(f"there is no settings file {file}")
        return cls.from_json(file.read_text(encoding="utf-8"))

    def changed(self, values: dict[str, Any]) -> TrainSettings:
        """A copy with other values.

        Raises:
            SettingError: for a name that is no setting, a wrong type or a value out of range.
        """
        known = {entry.name for entry in fields(self)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise SettingError(
                f"unknown settings {', '.join(unknown)}; known are {', '.join(sorted(known))}"
            )
        try:
            return dataclasses.replace(self, **values)
        except TypeError as error:
            raise SettingError(f"a setting has the wrong type: {error}") from error
