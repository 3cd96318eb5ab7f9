"""Start or resume a run: the function behind `yolov4sdk train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from train.checkpoint import STATE_FILE, Position, read_state, restore
from train.distributed import World, joined_world
from train.interrupt import StopWish, stop_on_signals
from train.job import Job, prepare
from train.loop import Trainer
from train.machine import pick_device, tuned
from train.progress import Reporter
from train.run import RunFolder
from train.settings import RESUMABLE, TrainSettings
from yolov4sdk.contract.spec import ModelSpec
from yolov4sdk.errors import SettingError, TrainingError


def train(settings: TrainSettings, wish: StopWish | None = None) -> Position:
    """Run a training from its start.

    Args:
        settings: all of it.
        wish: to stop from the outside; None listens to Ctrl-C and SIGTERM.

    Returns:
        Where the run ended; `finished` is False when it was asked to stop.

    Raises:
        YOLOv4Error: see the message; a state that was saved before stays usable.
    """
    return _run(settings, None, wish)


def resume(
    folder: str | Path, changes: dict[str, Any] | None = None, wish: StopWish | None = None
) -> Position:
    """Go on with the run in `folder`, exactly where its state was saved.

    Args:
        folder: a run's folder.
        changes: settings that decide nothing of what is learnt (`train.settings.RESUMABLE`).
        wish: as in `train`.

    Raises:
        SettingError: another setting is to be changed.
        TrainingError: no state, a damaged one, or the data set has changed.
    """
    state = read_state(Path(folder) / STATE_FILE)
    settings = TrainSettings.from_json(state["identity"]["settings"])
    fixed = sorted(set(changes or {}) - set(RESUMABLE))
    if fixed:
        raise SettingError(
            f"a resumed run keeps its {', '.join(fixed)}; only {', '.join(RESUMABLE)} may change"
        )
    settings = settings.changed({**(changes or {}), "output": str(folder)})
    return _run(settings, state, wish)


def _run(settings: TrainSettings, state: dict[str, Any] | None, wish: StopWish | None) -> Position:
    alone = World()
    use_cuda = pick_device(settings.device, alone).type == "cuda"
    with joined_world(use_cuda) as world, stop_on_signals() as heard:
        device = pick_device(settings.device, world)
        run = RunFolder(settings.output, fresh=state is None and world.is_main)
        board = run.path / "tensorboard" if settings.tensorboard else None
        reporter = Reporter(settings.epochs, device, board, silent=not world.is_main)
        spec = None if state is None else ModelSpec.from_json(state["identity"]["spec"])
        try:
            with tuned(device, settings.threads, world):
                job = prepare(settings, world, device, reporter.say, spec)
                position = _start(job, run, state)
                trainer = Trainer(job, run, reporter, heard if wish is None else wish, position)
                position = trainer.fit()
                if position.finished and world.is_main:
                    _finish(job, run, reporter, position)
                return position
        finally:
            reporter.close()


def _start(job: Job, run: RunFolder, state: dict[str, Any] | None) -> Position:
    """Write the run's description, or restore its state."""
    if state is None:
        if job.world.is_main:
            run.write_start(
                job.settings,
                {
                    "data": {
                        "train_sha256": job.data_hash,
                        "train": job.train_set.dataset.report.to_dict(),
                    },
                    "processes": job.world.size,
                    "device": str(job.device),
                    "parameters": sum(p.numel() for p in job.model.parameters()),
                },
            )
        return Position()
    if state["identity"]["data"] != job.data_hash:
        raise TrainingError(
            "the run cannot be resumed: the training labels differ from those it was started with"
        )
    return restore(state, job.parts)


def _finish(job: Job, run: RunFolder, reporter: Reporter, position: Position) -> None:
    reporter.say(
        f"finished after {position.updates} updates; the model is {run.path}/last.safetensors"
    )
    if position.best_epoch >= 0:
        reporter.say(f"best mAP50-95 {position.best:.4f} in epoch {position.best_epoch + 1}")
    if job.settings.plots:
        from train.plots import plot_run

        for line in plot_run(job, run):
            reporter.say(line)
