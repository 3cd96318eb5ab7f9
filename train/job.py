"""Everything a run needs, made from its settings: data, model, anchors, schedule, optimizer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from train.autoanchor import GOOD_RECALL, by_level, fit_anchors, measure
from train.checkpoint import Parts
from train.distil import Distillation, read_teacher
from train.distributed import World, synchronise_bn
from train.ema import ModelEMA
from train.fastest import fastest
from train.loader import TrainSet
from train.loss import DetectionLoss
from train.optimizer import make_optimizer, scaled_decay
from train.schedule import Schedule
from train.settings import TrainSettings
from train.start import Say, first_model, where_from
from train.teacher import with_teacher
from yolov4sdk.contract.spec import ModelSpec
from yolov4sdk.datasets import DetectionDataset, check_splits, load_dataset
from yolov4sdk.errors import DatasetError, SettingError
from yolov4sdk.models import Model, build_model
from yolov4sdk.models.fast_mish import use_fast_mish
from yolov4sdk.system.cpu import available_cpus

_MOST_WORKERS = 16  # each costs memory; an H100 was still waiting for twelve of them


@dataclass
class Job:
    """The parts of a run.

    Attributes:
        train_set, val: the data; `val` is None where the data set has no such split.
        model: in training mode on the device.
        parts: what a checkpoint holds (the model, its EMA, optimizer, scaler).
        frozen: the layers that keep their weights and statistics.
        steps: batches in an epoch.
        data_hash: of the training labels.
        distillation: what a teacher of the same form says cell by cell; None without one.
    """

    settings: TrainSettings
    world: World
    device: torch.device
    train_set: TrainSet
    val: DetectionDataset | None
    model: Model
    parts: Parts
    loss: DetectionLoss
    schedule: Schedule
    frozen: list[nn.Module]
    steps: int
    data_hash: str
    distillation: Distillation | None = None

    @property
    def local_batch(self) -> int:
        """Images of a batch on this process."""
        return self.settings.batch // self.world.size

    @property
    def workers(self) -> int:
        """Loader processes: one less than the CPUs of this process, at least one."""
        if self.settings.workers is not None:
            return self.settings.workers
        return min(_MOST_WORKERS, max(1, available_cpus() // self.world.size - 1))

    def identity(self) -> dict[str, str]:
        """What a state belongs to."""
        return {"data": self.data_hash, "spec": self.model.spec.to_json()}


def prepare(
    settings: TrainSettings,
    world: World,
    device: torch.device,
    say: Say,
    spec: ModelSpec | None = None,
) -> Job:
    """Read the data and build everything.

    Args:
        settings: of the run.
        world: the processes.
        device: where to train.
        say: called with lines to show.
        spec: of the model of a run that is resumed; its weights come with the state.

    Raises:
        YOLOv4Error: a setting, the data set or a checkpoint does not fit; the message says why.
    """
    if settings.batch % world.size:
        raise SettingError(
            f"batch {settings.batch} cannot be shared by {world.size} processes; use a multiple"
        )
    torch.manual_seed(settings.seed)
    if spec is None:
        say(where_from(settings))
    train, val = read_data(settings, say)
    if settings.teacher:
        train = with_teacher(
            train, settings.teacher, settings.teacher_conf, Path(settings.output), world, say
        )
    model = make_model(settings, train, say) if spec is None else _same_model(spec)
    frozen = freeze(model, settings.freeze)
    synchronise_bn(model, world, device)
    use_fast_mish(model)
    model.to(device)
    if settings.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if spec is None:
        settings = fastest(settings, model, device, world, say)
    train_set = make_train_set(settings, train, model)
    steps = math.ceil(len(train_set) / settings.batch)
    accumulate = max(1, round(settings.images_per_update(len(train_set)) / settings.batch))
    decay, tau = settings.ema(settings.epochs * steps // accumulate)
    say(
        f"{steps} batches of {settings.batch} an epoch, {accumulate} to an update; "
        f"EMA decay {decay:.5f}, tau {tau:.0f}"
    )
    optimizer = make_optimizer(
        model,
        settings.schedule.optimizer,
        settings.learning_rate,
        settings.schedule.momentum,
        scaled_decay(settings.schedule.weight_decay, settings.batch, accumulate),
    )
    scaler = torch.amp.GradScaler(device.type, enabled=settings.amp == "fp16")
    return Job(
        settings=settings,
        world=world,
        device=device,
        train_set=train_set,
        val=val,
        model=model,
        parts=Parts(model, ModelEMA(model, decay, tau), optimizer, scaler),
        loss=DetectionLoss(model.detect.anchors, settings.loss_of(model.spec.nc), world.mean),
        schedule=make_schedule(settings, steps, accumulate),
        frozen=frozen,
        steps=steps,
        data_hash=train.sha256(),
        distillation=_distillation(settings, model, device, say),
    )


def _distillation(
    settings: TrainSettings, model: Model, device: torch.device, say: Say
) -> Distillation | None:
    """What a teacher says cell by cell, where it is a network like the student."""
    if not settings.teacher or not settings.distil:
        return None
    teacher = read_teacher(settings.teacher, model, device)
    if teacher is None:
        say("the teacher's maps do not fit this network's: only its boxes are learnt from")
        return None
    say("the teacher's maps fit this network's: it is learnt from cell by cell, too")
    loss = settings.loss_of(model.spec.nc)
    return Distillation(teacher, model.spec.names, loss, settings.distil)


def read_data(
    settings: TrainSettings, say: Say
) -> tuple[DetectionDataset, DetectionDataset | None]:
    """The training and the validation split, checked against one another."""
    if not settings.data:
        raise SettingError("no data set is given; expected a data.yaml, a COCO JSON or a folder")
    train = load_dataset(settings.data, settings.train_split)
    say(f"train: {train.report.summary()}")
    if not len(train):
        raise DatasetError(f"{settings.data}: the split {settings.train_split!r} has no images")
    kept = train if settings.classes is None else train.keep_classes(settings.classes)
    if not kept.class_counts().sum():
        raise DatasetError(
            f"{settings.data}: the training images have no boxes at all"
            + (f" of {', '.join(settings.classes)}" if settings.classes else "")
            + "; there is nothing to learn"
        )
    lacking = [n for n, count in zip(kept.names, kept.class_counts(), strict=True) if not count]
    if lacking and settings.classes is None:
        say(f"warning: {len(lacking)} classes have no training boxes: {', '.join(lacking[:10])}")
    if not settings.val_split:
        say("warning: no validation split; there will be no mAP and no best checkpoint")
        return train, None
    val = load_dataset(settings.data, settings.val_split, names=train.names)
    say(f"val: {val.report.summary()}")
    if not len(val):
        raise DatasetError(f"{settings.data}: the split {settings.val_split!r} has no images")
    check_splits(train, val)
    if settings.classes is not None:
        val = val.keep_classes(settings.classes)
    _check_val_classes(settings, kept, val, say)
    return train, val


def _check_val_classes(
    settings: TrainSettings, train: DetectionDataset, val: DetectionDataset, say: Say
) -> None:
    """See that validation can measure what is trained: without a box there is no mAP, no best."""
    counts = val.class_counts()
    if not counts.sum():
        raise DatasetError(
            f"{settings.data}: the split {settings.val_split!r} has no box of "
            f"{', '.join(settings.classes or val.names)}, so there would be no mAP and no best "
            'checkpoint; give another --val-split, or --val-split "" to train without one'
        )
    trained = zip(val.names, counts, train.class_counts(), strict=True)
    lacking = [name for name, here, there in trained if there and not here]
    if lacking:
        say(
            f"warning: {settings.val_split} has no box of {', '.join(lacking[:10])}: the mAP says "
            "nothing about it"
        )


def make_train_set(settings: TrainSettings, train: DetectionDataset, model: Model) -> TrainSet:
    """The training images with their augmentation, cached as the settings say."""
    return TrainSet(
        train,
        settings.size,
        settings.augmenting(),
        stride=model.spec.max_stride,
        rectangular=settings.rectangular,
        cache=settings.cache,  # type: ignore[arg-type]
        cache_dir=Path(settings.cache_dir) if settings.cache_dir else None,
        classes=settings.classes,
        mosaic_epochs=settings.mosaic_epochs,
        ignored_regions=settings.loss.ignored_regions,
    )


def make_schedule(settings: TrainSettings, steps: int, accumulate: int) -> Schedule:
    """The schedule of a run with so many batches an epoch."""
    return Schedule(
        epochs=settings.epochs,
        steps_per_epoch=steps,
        lr=settings.learning_rate,
        final=settings.schedule.lr_final,
        momentum=settings.schedule.momentum,
        accumulate=accumulate,
        warmup_epochs=settings.schedule.warmup_epochs,
        warmup_iterations=settings.schedule.warmup_iterations,
        warmup_share=settings.schedule.warmup_share,
        # Adam scales every step by itself, so biases need no head start.
        warmup_bias_lr=0.1 if settings.schedule.optimizer == "sgd" else 0.0,
    )


def make_model(settings: TrainSettings, train: DetectionDataset, say: Say) -> Model:
    """The model to start with, its anchors checked, and its spec that of this run."""
    model = first_model(settings, train, say)
    model.spec.check_size((settings.size, settings.size))
    if settings.auto_anchor:
        check_anchors(model, train, settings, say)
    model.spec = model.spec.replace(
        input_size=(settings.size, settings.size),
        train_size=settings.size,
        provenance={"trained_on": Path(settings.data).name, "data_sha256": train.sha256()},
    )
    return model


def _same_model(spec: ModelSpec) -> Model:
    """The model of a run that is resumed."""
    model = build_model(spec.architecture, spec.names, spec.anchors)
    model.spec = spec
    return model


def freeze(model: Model, layers: int) -> list[nn.Module]:
    """Stop the gradient of the first layers; returns them, to be kept in evaluation mode."""
    if layers >= len(model.model):
        raise SettingError(
            f"freeze is {layers}, but the model has {len(model.model)} layers, of which the last "
            "must learn"
        )
    frozen = list(model.model)[:layers]
    for module in frozen:
        module.requires_grad_(False)
    return frozen


def check_anchors(model: Model, train: DetectionDataset, settings: TrainSettings, say: Say) -> None:
    """Print how well the anchors fit; fit new ones where they miss too many boxes."""
    scale = settings.size / train.sizes.max(1, keepdims=True)  # [images, 1]
    sides = [
        boxes[:, 3:5] * size[::-1] * factor
        for boxes, size, factor in zip(train.boxes, train.sizes, scale, strict=True)
    ]
    wh = np.concatenate(sides).astype(np.float64)
    detect = model.detect
    own = detect.anchor_grid.reshape(-1, 2).double().numpy()
    fit = measure(wh, own)
    say(f"anchors: {fit}")
    if fit.recall >= GOOD_RECALL:
        return
    try:
        fitted, found = fit_anchors(wh, len(own), settings.seed)
    except DatasetError as error:
        say(f"warning: {error}")
        return
    if found.recall <= fit.recall:
        say("anchors: the search found no better ones; the model's are kept")
        return
    anchors = by_level(fitted, detect.nl)
    detect.set_anchors(torch.tensor(anchors))
    model.spec = model.spec.replace(anchors=anchors)
    say(
        f"new anchors: {found}: "
        + " | ".join(" ".join(f"{w:g},{h:g}" for w, h in a) for a in anchors)
    )
