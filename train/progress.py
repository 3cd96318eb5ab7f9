"""What a person sees of a run: a progress line, or plain lines where there is no terminal."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

from train.machine import peak_memory

_PLAIN_SECONDS = 60.0  # between two plain lines within an epoch
PARTS = ("box", "objectness", "classes", "loss")


class Reporter:
    """Shows a run; on other ranks than 0 it is silent.

    Args:
        epochs: of the run.
        device: whose memory is shown.
        tensorboard: folder for TensorBoard's events, or None.
        silent: show nothing.
    """

    def __init__(
        self, epochs: int, device: torch.device, tensorboard: Path | None, silent: bool = False
    ) -> None:
        self.console = Console(quiet=silent, soft_wrap=True, markup=False)
        self._epochs, self._device = epochs, device
        self._live = self.console.is_terminal and not silent
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._writer = None if silent or tensorboard is None else _tensorboard(tensorboard)
        if tensorboard is not None and self._writer is None and not silent:
            self.say("TensorBoard is not installed (yolov4sdk[train]); no events are written")

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, markup=False, highlight=False)

    def start_epoch(self, epoch: int, steps: int, done: int) -> None:
        """Begin the line of an epoch of `steps` batches, of which `done` are done."""
        self._steps, self._done, self._skipped = steps, done, done
        self._images, self._start = 0, time.perf_counter()
        self._spoken = self._start
        self._name = f"epoch {epoch + 1}/{self._epochs}"
        if self._live:
            # What a narrow terminal has no room for is cut from the figures at the end.
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=10),
                TextColumn("{task.completed:.0f}/{task.total:.0f}"),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(compact=True),
                TextColumn("{task.fields[figures]}", table_column=Column(no_wrap=True, ratio=1)),
                console=self.console,
                expand=True,
            )
            self._progress.start()
            self._task = self._progress.add_task(
                self._name, total=steps, completed=done, rate="", figures=""
            )

    def step(self, losses: list[float], lr: float, images: int) -> None:
        """Show a batch.

        Args:
            losses: means over the epoch so far: box, objectness, classes, sum.
            lr: learning rate.
            images: images of the batch, over all processes.
        """
        self._done += 1
        self._images += images
        parts = [f"{name} {value:.4f}" for name, value in zip(PARTS, losses, strict=True)]
        rest = [f"lr {lr:.2e}", f"{peak_memory(self._device):.1f} GiB"]
        rate = f"{self.rate:.1f} images/s"
        if self._progress is not None:
            figures = " ".join([parts[-1], *parts[:-1], *rest])  # the sum first
            self._progress.update(self._task, completed=self._done, rate=rate, figures=figures)
        elif time.perf_counter() - self._spoken > _PLAIN_SECONDS:
            self._spoken = time.perf_counter()
            left = (self._spoken - self._start) / (self._done - self._skipped)
            left *= self._steps - self._done
            text = " ".join([*parts, rest[0], rate, rest[1]])
            self.say(f"{self._name} {self._done}/{self._steps} {text} eta {left:.0f} s")

    @property
    def rate(self) -> float:
        """Images per second of this epoch so far."""
        return self._images / max(time.perf_counter() - self._start, 1e-9)

    def stop_line(self) -> None:
        """End the live line, so that other lines can be printed."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def end_epoch(self, row: dict[str, Any]) -> None:
        """Show an epoch's row of results and hand it to TensorBoard."""
        losses = " ".join(f"{name} {row[name]:.4f}" for name in PARTS)
        maps = " ".join(
            f"{shown} {row[name]:.4f}"
            for name, shown in (("map50_95", "mAP50-95"), ("map50", "mAP50"))
            if name in row
        )
        self.say(
            f"{self._name} {losses} iou-ratio {row['iou_ratio']:.2f} lr {row['lr']:.2e} "
            f"{row['images_per_second']:.1f} images/s {row['memory_gib']:.1f} GiB "
            f"{row['seconds']:.0f} s {maps}".rstrip()
        )
        if self._writer is not None:
            for name, value in row.items():
                if isinstance(value, float):
                    self._writer.add_scalar(name, value, row["epoch"])
            self._writer.flush()

    def close(self) -> None:
        """End the line and close TensorBoard's file."""
        self.stop_line()
        if self._writer is not None:
            self._writer.close()


def _tensorboard(folder: Path) -> Any:
    """A writer of TensorBoard events, or None where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))
