"""The settings of a training run: one frozen, checked value."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Literal

from train.augment import Augmentation
from train.groups import AugmentationSettings, LossSettings, ScheduleSettings
from yolov4sdk.contract.names import MODELS
from yolov4sdk.errors import SettingError
from yolov4sdk.system.bounds import JSON_BYTES
from yolov4sdk.system.documents import parse_json, read_bounded
from yolov4sdk.system.option import about, check

# What `--resume` may change: nothing here decides what is learnt.
RESUMABLE = ("device", "workers", "threads", "cache", "cache_dir", "save_minutes", "tensorboard")

# A run of fewer updates than this at the nominal batch of 64 learns more from smaller batches:
# 292 images for 120 epochs are 550 updates at 64 and 2200 at 16.
_ENOUGH_UPDATES = 10_000
_NOMINAL_BATCH = 64  # the authors'
_EMA_WINDOW = 0.05  # the average's length as a share of the run: long enough to smooth, short
# enough to have forgotten the high learning rates by the end


_RUN, _MACHINE = "Run", "Machine and output"


@dataclass(frozen=True)
class TrainSettings:
    """Everything that decides a run. None means: derived from the others, see the properties.

    The defaults are the authors' (arXiv 2011.08036) unless a comment says why not.
    """

    # What is trained on what
    data: str = ""
    output: str = field(
        default="runs/train",
        metadata=about("Folder of the run.", panel=_RUN, names=("-o", "--output")),
    )
    model: str | None = field(
        default=None,
        metadata=about(
            "Built-in model or a YAML file, with random weights.",
            offered=MODELS,
            panel=_RUN, shown="the embedded model, trained",
        ),
    )  # fmt: skip
    from_scratch: bool = field(
        default=False,
        metadata=about(
            "Random weights in place of the embedded model's.",
            panel=_RUN, names=("--from-scratch",), shown="off",
        ),
    )  # fmt: skip
    recipe: Literal["own", "authors"] | None = field(  # a name for the record: see `recipes`
        default=None,
        metadata=about(
            "Settings that go together: own, or the published ones.", panel=_RUN,
            shown="own; authors for full-size models on 80 classes",
        ),
    )  # fmt: skip
    weights: str | None = field(  # its architecture replaces `model`
        default=None,
        metadata=about(
            "Checkpoint to fine-tune; its architecture counts.", panel=_RUN, shown="none"
        ),
    )
    teacher: str | None = field(
        default=None,
        metadata=about(
            "A model (any that detects) whose boxes are soft labels.", panel=_RUN, shown="none"
        ),
    )
    teacher_conf: float = field(
        default=0.4,
        metadata=about(
            "Least score of a teacher's label; down to half of it boxes are ignored.",
            low=0.01, high=1, panel=_RUN,
        ),
    )  # fmt: skip
    distil: float = field(
        default=0.5,
        metadata=about(
            "Weight of what a teacher of ours says cell by cell; 0: only its boxes.",
            low=0, panel=_RUN,
        ),
    )  # fmt: skip
    backbone: str | None = field(
        default=None, metadata=about("Weights of train-backbone.", panel=_RUN, shown="none")
    )
    train_split: str = field(default="train", metadata=about("Split to train on.", panel=_RUN))
    val_split: str = field(
        default="val", metadata=about('Split to validate on; "" for none.', panel=_RUN)
    )
    classes: tuple[str, ...] | None = field(
        default=None,
        metadata=about("Train on these classes only (repeat).", panel=_RUN, shown="all"),
    )
    freeze: int = field(  # weights and statistics
        default=0, metadata=about("Keep the first N layers as they are.", low=0, panel=_RUN)
    )
    seed: int = field(default=0, metadata=about("Of everything random.", low=0, panel=_RUN))

    # Size and length
    size: int = field(default=640, metadata=about("Long side in pixels.", low=32, panel=_RUN))
    epochs: int = field(default=300, metadata=about("Passes over the images.", low=1, panel=_RUN))
    batch: int = field(
        default=16, metadata=about("Images of a step, over all processes.", low=1, panel=_RUN)
    )
    nominal_batch: int | None = field(
        default=None,
        metadata=about(
            "Images of an update, by accumulation.", low=1, panel=_RUN, shown="16 to 64, by length"
        ),
    )
    multi_scale: float = field(  # 0.5: each batch is resized to 0.5 to 1.5 times the size
        default=0.0,
        metadata=about("Resize batches by up to this share.", low=0, high=0.9, panel=_RUN),
    )
    rectangular: bool = field(
        default=False,
        metadata=about(
            "Batches of like shapes, without mosaic.",
            panel=_RUN, names=("--rectangular/--square",), shown="square",
        ),
    )  # fmt: skip

    schedule: ScheduleSettings = field(
        default_factory=ScheduleSettings, metadata={"panel": "Optimizer and schedule"}
    )
    loss: LossSettings = field(default_factory=LossSettings, metadata={"panel": "Loss"})
    augmentation: AugmentationSettings = field(
        default_factory=AugmentationSettings, metadata={"panel": "Augmentation"}
    )

    # Machine
    device: str = field(
        default="auto",
        metadata=about(
            "cpu, cuda, cuda:N or auto.", offered=("auto", "cpu", "cuda"), panel=_MACHINE
        ),
    )
    amp: Literal["off", "bf16", "fp16", "auto"] = field(
        default="off",
        metadata=about(
            "Mixed precision; auto times bf16 where units exist.", panel=_MACHINE,
            shown="auto; recipe authors: off",
        ),
    )  # fmt: skip
    channels_last: bool = field(  # oneDNN and tensor cores both want it
        default=True, metadata=about("Memory layout.", panel=_MACHINE, shown="channels-last")
    )
    auto_anchor: bool = field(  # only acts when the model's anchors miss more than 2 % of the boxes
        default=True,
        metadata=about("Fit anchors when boxes are missed.", panel=_MACHINE, shown="auto-anchor"),
    )
    cache: Literal["ram", "disk"] | None = field(  # a data set too large for memory takes "disk"
        default="ram", metadata=about("Keep resized images.", panel=_MACHINE)
    )
    cache_dir: str | None = field(
        default=None, metadata=about("Where disk keeps them.", panel=_MACHINE, shown="user's")
    )
    workers: int | None = field(
        default=None,
        metadata=about(
            "Loader processes; 0 loads in this one.", low=0, panel=_MACHINE, shown="CPUs - 1"
        ),
    )
    threads: int | None = field(
        default=None,
        metadata=about("Threads of torch on the CPU.", low=1, panel=_MACHINE, shown="CPUs"),
    )

    # Validation, saving, showing
    val_interval: int = field(
        default=1, metadata=about("Epochs between validations.", low=1, panel=_MACHINE)
    )
    patience: int = field(
        default=0,
        metadata=about("Stop after N epochs without gain; 0 never.", low=0, panel=_MACHINE),
    )
    save_minutes: float = field(
        default=5.0, metadata=about("Minutes between checkpoints.", low=0, panel=_MACHINE)
    )
    tensorboard: bool = field(
        default=True,
        metadata=about("Write TensorBoard events.", panel=_MACHINE, shown="tensorboard"),
    )
    plots: bool = field(
        default=True, metadata=about("Draw plots at the end.", panel=_MACHINE, shown="plots")
    )

    def __post_init__(self) -> None:
        if isinstance(self.classes, list):
            object.__setattr__(self, "classes", tuple(self.classes))
        check(self)
        if self.weights and self.backbone:
            raise SettingError("weights and backbone exclude each other; the weights hold both")
        if self.weights and self.from_scratch:
            raise SettingError("weights and from_scratch exclude each other; give one of them")
        if self.rectangular and self.augmentation.mosaic:
            raise SettingError("rectangular training excludes mosaic; set mosaic to 0")
        if self.rectangular and self.multi_scale:
            raise SettingError("rectangular training excludes multi_scale")

    # -- what follows from the settings ------------------------------------------------------

    @property
    def learning_rate(self) -> float:
        """The peak learning rate: 0.01 for SGD, 0.001 for Adam, unless set."""
        if self.schedule.lr is not None:
            return self.schedule.lr
        return 0.01 if self.schedule.optimizer == "sgd" else 0.001

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

        The authors' 0.9999 averages over 10,000 updates, more than a short run has, and its tau of
        2000 would end such a run with hardly any average at all.
        """
        window = max(2.0, _EMA_WINDOW * updates)
        decay, tau = self.schedule.ema_decay, self.schedule.ema_tau
        return (
            min(0.9999, 1 - 1 / window) if decay is None else decay,
            min(2000.0, window) if tau is None else tau,
        )

    def iou_ratio_at(self, epoch: int) -> float:
        """The share of the IoU in the objectness target: stage one is 0, stage two `iou_ratio`."""
        hard, ramp = (
            self.epochs // 10 if epochs is None else epochs
            for epochs in (self.loss.hard_epochs, self.loss.ramp_epochs)
        )
        if epoch < hard:
            return 0.0
        return self.loss.iou_ratio * min(1.0, (epoch - hard + 1) / (ramp + 1))

    @property
    def mosaic_epochs(self) -> int:
        """Epochs before the mosaic closes; it closes for the last tenth unless set."""
        asked = self.augmentation.close_mosaic
        close = self.epochs // 10 if asked is None else asked
        return max(0, self.epochs - close)

    def augmenting(self) -> Augmentation:
        """What is done to the images of the epochs before the mosaic closes."""
        base = Augmentation.fine_tuning() if self.weights else Augmentation()
        if self.rectangular:
            base = base.without_mosaic()
        return self.augmentation.over(base)

    def loss_of(self, class_count: int) -> LossSettings:
        """The loss settings for a model of so many classes.

        The published gain is for 80 classes; the loss is a mean over classes.
        """
        if not self.loss.class_gain_of_80:
            return self.loss
        return replace(self.loss, class_gain=self.loss.class_gain * class_count / 80)

    # -- reading and writing -----------------------------------------------------------------

    def to_json(self) -> str:
        """All fields as indented JSON."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> TrainSettings:
        """Read what `to_json` wrote, or a part of it.

        Raises:
            SettingError: no JSON object, or a name that is not a setting.
        """
        values = parse_json(text, "the settings file", SettingError)
        if not isinstance(values, dict):
            raise SettingError("the settings must be a JSON object of names and values")
        return cls().changed(values)

    @classmethod
    def read(cls, path: str | Path) -> TrainSettings:
        """Read a settings file, such as the `settings.json` of a run folder."""
        file = Path(path)
        if not file.is_file():
            raise SettingError(f"there is no settings file {file}")
        return cls.from_json(read_bounded(file, JSON_BYTES, SettingError))

    def changed(self, values: dict[str, Any]) -> TrainSettings:
        """A copy with other values.

        Args:
            values: by name. A setting of a group goes by its own name ("mosaic"), as on the command
                line and in files of earlier versions, or inside its group ({"augmentation":
                {"mosaic": 0}}), as in the files written now.

        Raises:
            SettingError: for a name that is not a setting, a wrong type or a value out of range.
        """
        own: dict[str, Any] = {}
        inside: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            if name in _GROUPS and isinstance(value, dict):
                inside.setdefault(name, {}).update(value)
            elif name in _GROUP_OF:
                inside.setdefault(_GROUP_OF[name], {})[name] = value
            else:
                own[name] = value
        known = {entry.name for entry in fields(self)}
        unknown = set(own) - known
        unknown |= {n for group, part in inside.items() for n in part if _GROUP_OF.get(n) != group}
        if unknown:
            raise SettingError(
                f"unknown settings {', '.join(sorted(unknown))}; known are "
                f"{', '.join(sorted((known | set(_GROUP_OF)) - set(_GROUPS)))}"
            )
        groups = {
            name: replace(own.get(name, getattr(self, name)), **v) for name, v in inside.items()
        }
        return replace(self, **own | groups)


_GROUPS: Final[dict[str, Any]] = {
    entry.name: entry.default_factory
    for entry in fields(TrainSettings)
    if isinstance(entry.default_factory, type)
}
_GROUP_OF: Final = {entry.name: name for name, kind in _GROUPS.items() for entry in fields(kind)}
"""A setting of a group to the group's name."""
