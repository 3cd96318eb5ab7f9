"""The training loop."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from train.checkpoint import (
    BEST_FILE,
    LAST_FILE,
    STATE_FILE,
    Position,
    save_model,
    save_state,
)
from train.distributed import wrap
from train.interrupt import StopWish
from train.job import Job
from train.loader import Batch, TrainLoader
from train.machine import peak_memory
from train.optimizer import clip_gradients, set_rates
from train.progress import PARTS, Reporter
from train.run import RunFolder
from train.schedule import Rates
from train.validate import validate
from yolov4sdk.errors import NonFiniteLossError, TrainingError
from yolov4sdk.measure.metrics import CocoMetrics
from yolov4sdk.models import Model

_AMP = {"bf16": torch.bfloat16, "fp16": torch.float16}
_SHORT_EPOCH = 10.0  # seconds; epochs of a tiny data set do not all write a state
_SCALE_STREAM = 7  # keeps multi-scale's random numbers apart from augmentation's


@dataclass
class Trainer:
    """Trains a job from a position to its end, or until somebody asks to stop.

    Attributes:
        job: the parts of the run.
        run: where it writes.
        reporter: where it shows itself.
        wish: set by a signal (or a test) to stop after the current update.
        position: where the run is; a resumed run starts in the middle.
    """

    job: Job
    run: RunFolder
    reporter: Reporter
    wish: StopWish
    position: Position

    def __post_init__(self) -> None:
        self._network = wrap(self.job.model, self.job.world, self.job.device)
        self._saved = time.monotonic()
        self._pending = 0  # batches since the last update
        self._one_shape = not (self.job.settings.rectangular or self.job.settings.multi_scale)

    @property
    def _average(self) -> Model:
        """The EMA model: what is validated and saved."""
        model = self.job.parts.ema.model
        assert isinstance(model, Model)
        return model

    # -- the run --------------------------------------------------------------------------------

    def fit(self) -> Position:
        """Train to the end; returns the position, whose `finished` says whether it was reached."""
        job = self.job
        with TrainLoader(
            job.train_set, job.local_batch, job.settings.seed, job.world.rank, job.world.size,
            job.workers, pin_memory=job.device.type == "cuda", epochs=job.settings.epochs,
        ) as loader:  # fmt: skip
            self._fit(loader)
        return self.position

    def _fit(self, loader: TrainLoader) -> None:
        epochs = self.job.settings.epochs
        while not self.position.finished:
            start = time.perf_counter()
            stopped = self._train_epoch(loader)
            self.reporter.stop_line()
            if self.position.step == self.job.steps:
                rate = self.reporter.rate
                metrics = self._validate()
                stopped |= self._finish_epoch(metrics, rate, time.perf_counter() - start)
                self.position.finished |= self.position.epoch >= epochs
            ending = stopped or self.position.finished
            if ending or time.monotonic() - self._saved > _SHORT_EPOCH:
                self._save()
            if stopped and not self.position.finished:
                self.reporter.say(
                    f"stopped by {self.wish.reason or 'request'} in epoch "
                    f"{self.position.epoch + 1} after {self.position.step} batches; go on with "
                    f"--resume {self.run.path}"
                )
                break

    def _train_epoch(self, loader: TrainLoader) -> bool:
        """The rest of the epoch, or a part of it when somebody asks to stop; True if so."""
        job, position = self.job, self.position
        epoch = position.epoch
        self._train_mode()
        self.reporter.start_epoch(epoch, job.steps, position.step)
        iou_ratio = job.settings.iou_ratio_at(epoch)
        for batch in _batches(loader, epoch, position.step):
            rates = job.schedule.at(epoch * job.steps + position.step)
            stop = self._step(batch, rates, iou_ratio)
            position.step += 1
            images = len(batch.paths) * job.world.size
            means = [s / position.step for s in position.sums]
            self.reporter.step(means, rates.lr, images)
            if self._pending == 0 and position.step < job.steps:
                if stop:
                    return True
                self._save_sometimes()
        return False

    def _train_mode(self) -> None:
        self._network.train()
        for module in self.job.frozen:
            module.eval()  # a frozen layer keeps its batch statistics too

    # -- one batch ------------------------------------------------------------------------------

    def _step(self, batch: Batch, rates: Rates, iou_ratio: float) -> bool:
        """Forward, backward, and an update when enough batches are accumulated.

        Returns:
            Whether some process was asked to stop.
        """
        job = self.job
        self._pending += 1
        last = self.position.step + 1 == job.steps  # an epoch ends with an update
        update = last or self._pending >= rates.accumulate
        with self._synchronise(update):
            images = self._inputs(batch.images)
            # cuDNN's search takes seconds for each shape: it pays for the one that comes again.
            torch.backends.cudnn.benchmark = self._one_shape and len(images) == job.local_batch
            dtype = _AMP.get(job.settings.amp)
            with torch.autocast(job.device.type, dtype=dtype, enabled=dtype is not None):
                maps = self._network(images)
                taught = job.distillation(maps, images) if job.distillation else None
            parts = job.loss(maps, batch.targets, iou_ratio)
            # DDP takes the mean of the processes' gradients; the loss is a sum over images.
            loss = parts.total * job.world.size
            if taught is not None:
                loss = loss + taught * job.world.size
            job.parts.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        values: list[float] = parts.values().tolist()  # waits for a GPU: all its work is queued
        bad = not math.isfinite(sum(values))
        shared = job.world.total([float(bool(self.wish)), float(bad), *values])
        if shared[1]:
            raise NonFiniteLossError(self._non_finite(batch if bad else None))
        if update:
            self._update(rates, batch)
        sums = self.position.sums
        for i, value in enumerate(shared[2:]):
            sums[i] += value / job.world.size
        return bool(shared[0])

    def _synchronise(self, update: bool) -> contextlib.AbstractContextManager[Any]:
        """Gradients are averaged over processes only with the batch that ends an update."""
        if update or self.job.world.size == 1:
            return contextlib.nullcontext()
        context: contextlib.AbstractContextManager[Any] = self._network.no_sync()  # type: ignore
        return context

    def _inputs(self, images: Tensor) -> Tensor:
        """uint8 [B, 3, H, W] -> float32 in 0..1 on the device, resized under multi-scale."""
        layout = torch.channels_last if self.job.settings.channels_last else torch.contiguous_format
        images = images.to(self.job.device, non_blocking=True)
        inputs = images.to(dtype=torch.float32, memory_format=layout).div_(255)
        spread = self.job.settings.multi_scale
        if not spread:
            return inputs
        settings, position = self.job.settings, self.position
        rng = np.random.default_rng([settings.seed, position.epoch, position.step, _SCALE_STREAM])
        stride = self.job.model.spec.max_stride
        side = settings.size * rng.uniform(1 - spread, 1 + spread)
        side = max(stride, round(side / stride) * stride)
        return F.interpolate(inputs, size=(side, side), mode="bilinear", align_corners=False)

    def _update(self, rates: Rates, batch: Batch) -> None:
        parts = self.job.parts
        set_rates(parts.optimizer, rates)
        parts.scaler.unscale_(parts.optimizer)
        norm = clip_gradients(self.job.model, self.job.settings.schedule.clip_gradients or math.inf)
        # fp16 overflows now and then by design: its scaler skips the update
        if not math.isfinite(norm) and not parts.scaler.is_enabled():
            raise NonFiniteLossError(self._non_finite(batch))
        parts.scaler.step(parts.optimizer)
        parts.scaler.update()
        parts.optimizer.zero_grad(set_to_none=True)
        parts.ema.update()
        self.position.updates += 1
        self._pending = 0

    def _non_finite(self, batch: Batch | None) -> str:
        names = ", ".join(batch.paths) if batch is not None else "on another process"
        state = self.run.path / STATE_FILE
        kept = f"the last good state is {state}" if state.exists() else "no state was saved yet"
        return (
            f"the loss or its gradient is not finite in epoch {self.position.epoch + 1}, batch "
            f"{self.position.step + 1}; {kept}. Lower the learning rate, or look at the images and "
            f"labels of the batch: {names}"
        )

    # -- the end of an epoch --------------------------------------------------------------------

    def _validate(self) -> CocoMetrics | None:
        """The EMA's figures on the validation split, on rank 0 when it is due."""
        job, epoch = self.job, self.position.epoch + 1
        due = epoch % job.settings.val_interval == 0 or epoch == job.settings.epochs
        metrics = None
        if due and job.val is not None and job.world.is_main:
            batch = max(job.local_batch, 1)
            torch.backends.cudnn.benchmark = False  # each batch has a shape of its own
            metrics = validate(self._average, job.val, job.settings.size, batch, job.device).coco
        job.world.barrier()
        return metrics

    def _finish_epoch(self, metrics: CocoMetrics | None, rate: float, seconds: float) -> bool:
        """Book the epoch: best checkpoint, row, early stop; move on to the next.

        Returns:
            Whether some process was asked to stop meanwhile.
        """
        job, position = self.job, self.position
        row: dict[str, Any] = {"epoch": position.epoch + 1, "updates": position.updates}
        row |= {name: s / job.steps for name, s in zip(PARTS, position.sums, strict=True)}
        row |= {
            "iou_ratio": job.settings.iou_ratio_at(position.epoch),
            "lr": job.schedule.at(position.epoch * job.steps + job.steps - 1).lr,
            "seconds": seconds,
            "images_per_second": rate,
            "memory_gib": peak_memory(job.device),
        }
        if metrics is not None:
            row |= {"map50_95": metrics.ap, "map50": metrics.ap50, "map75": metrics.ap75}
            if metrics.ap > position.best:
                position.best, position.best_epoch = metrics.ap, position.epoch
                save_model(self.run.path / BEST_FILE, self._average)
        late = position.epoch - position.best_epoch
        give_up = bool(job.settings.patience) and metrics is not None
        give_up = give_up and late >= job.settings.patience
        if job.world.is_main:
            self.run.write_row(row)
            self.reporter.end_epoch(row)
            if give_up:
                self.reporter.say(f"stopped early: no better mAP for {late} epochs")
        give_up, stop = (n > 0 for n in job.world.total([float(give_up), float(bool(self.wish))]))
        position.finished = give_up
        position.epoch, position.step, position.sums = position.epoch + 1, 0, [0.0] * len(PARTS)
        return stop

    # -- saving ---------------------------------------------------------------------------------

    def _save_sometimes(self) -> None:
        if time.monotonic() - self._saved >= self.job.settings.save_minutes * 60:
            self._save()

    def _save(self) -> None:
        """Write the state, then the EMA model; rank 0 only."""
        if self.job.world.is_main:
            identity = {**self.job.identity(), "settings": self.job.settings.to_json()}
            save_state(self.run.path / STATE_FILE, self.job.parts, self.position, identity)
            save_model(self.run.path / LAST_FILE, self._average)
        self._saved = time.monotonic()


def _batches(loader: TrainLoader, epoch: int, start: int) -> Iterator[Batch]:
    """The rest of an epoch; a worker's sudden death becomes a clear error."""
    try:
        yield from loader.epoch(epoch, start)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise TrainingError(
            f"a data-loading worker died ({error}). It was killed, often for want of memory: use "
            "fewer --workers or --cache disk, then go on with --resume"
        ) from error
