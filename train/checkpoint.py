"""The state of a run, saved whole or not at all and read without running anything.

Next to it lie `last.safetensors` and `best.safetensors`: the EMA model, for use. The state holds
all that the next step depends on, so a resumed run equals an uninterrupted one bit for bit. It is
saved between optimizer updates only; augmentation and data order follow from seed, epoch and
position.
"""

from __future__ import annotations

import pickle
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from train.ema import ModelEMA
from yolov4sdk.errors import TrainingError
from yolov4sdk.models import Model
from yolov4sdk.models.checkpoints import save_checkpoint
from yolov4sdk.system.files import atomic_write

STATE_FILE, LAST_FILE, BEST_FILE = "last.state.pt", "last.safetensors", "best.safetensors"
_VERSION = 1


@dataclass
class Position:
    """Where a run is, and what it has found.

    Attributes:
        epoch: the epoch in work, or the next one.
        step: batches of it that are done.
        updates: optimizer updates so far.
        sums: over the epoch's batches: box, objectness, class loss, their sum.
        best, best_epoch: the best mAP50-95 and its epoch; -1 before the first validation.
        finished: whether the run is over.
    """

    epoch: int = 0
    step: int = 0
    updates: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0] * 4)
    best: float = -1.0
    best_epoch: int = -1
    finished: bool = False


@dataclass(frozen=True)
class Parts:
    """What changes while training: the tensors of a state."""

    model: nn.Module
    ema: ModelEMA
    optimizer: Optimizer
    scaler: torch.amp.GradScaler


def save_state(path: Path, parts: Parts, position: Position, identity: dict[str, str]) -> None:
    """Write the state file.

    Args:
        path: the target; on any failure its old content stays.
        parts: model, EMA, optimizer, scaler.
        position: where the run is.
        identity: what the state belongs to (settings, spec, data hash), compared when resuming.

    Raises:
        TrainingError: it cannot be written, for example because the disk is full.
    """
    state = {
        "version": _VERSION,
        "identity": identity,
        "position": asdict(position),
        "model": parts.model.state_dict(),
        "ema": parts.ema.model.state_dict(),
        "ema_updates": parts.ema.updates,
        "optimizer": parts.optimizer.state_dict(),
        "scaler": parts.scaler.state_dict(),
        "rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    _write(path, lambda temporary: torch.save(state, temporary))


def save_model(path: Path, model: Model) -> None:
    """Write the EMA model as safetensors with its spec; errors as `save_state`."""
    _write(path, lambda temporary: save_checkpoint(model, temporary))


def _write(path: Path, write: Any) -> None:
    try:
        with atomic_write(path) as temporary:
            write(temporary)
    # torch reports a full disk as RuntimeError, safetensors as an error class of its own
    except Exception as error:
        kept = "its previous content is kept" if path.exists() else "nothing was written"
        raise TrainingError(
            f"{path} cannot be saved ({error}); {kept}. Free space or choose another folder, then "
            "go on with --resume"
        ) from error


def read_state(path: Path) -> dict[str, Any]:
    """Read a state file onto the CPU; it can hold tensors and plain values only.

    Raises:
        TrainingError: there is none, it is damaged or of another version.
    """
    if not path.is_file():
        raise TrainingError(f"there is no {path} to resume from; expected a run's folder")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    # Bytes that are changed can fail in any of these ways.
    except (
        RuntimeError, EOFError, pickle.UnpicklingError, LookupError, ValueError, TypeError,
        AttributeError, ArithmeticError, MemoryError, AssertionError, ImportError, OSError,
    ) as error:  # fmt: skip
        raise TrainingError(
            f"{path} is damaged or not the state of a run: {' '.join(str(error).split())[:300]}"
        ) from error
    if not isinstance(state, dict) or state.get("version") != _VERSION:
        raise TrainingError(f"{path} is not a state of version {_VERSION} of this trainer")
    return state


def restore(state: dict[str, Any], parts: Parts) -> Position:
    """Put a state read by `read_state` into model, EMA, optimizer, scaler and generators.

    Raises:
        TrainingError: the state does not fit the model.
    """
    try:
        parts.model.load_state_dict(state["model"])
        parts.ema.model.load_state_dict(state["ema"])
        parts.optimizer.load_state_dict(state["optimizer"])
        parts.scaler.load_state_dict(state["scaler"])
    except (RuntimeError, ValueError, KeyError) as error:
        raise TrainingError(f"the state does not fit this model: {error}") from error
    parts.ema.updates = state["ema_updates"]
    torch.set_rng_state(state["rng"])
    if torch.cuda.is_available() and len(state["cuda_rng"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda_rng"])
    known = {entry.name for entry in fields(Position)}
    return Position(**{k: v for k, v in state["position"].items() if k in known})
