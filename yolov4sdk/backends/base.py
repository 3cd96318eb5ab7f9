"""What a backend is: it runs a batch through a graph that ends in boxes and scores."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ..contract.spec import ModelSpec
from ..conventions import Outputs as Outputs
from ..errors import InputSizeError, SettingError, TensorError
from .device_array import DeviceArray


class Backend(Protocol):
    """A loaded model. Several threads may call `infer` at the same time.

    Attributes:
        spec: of the model, with the contract of what `infer` takes and gives.
        name: of the runtime, "onnxruntime".
        device: what is really used, "cpu" or "cuda:0".
        precision: of the arithmetic that is really used.
    """

    spec: ModelSpec
    name: str
    device: str
    precision: str

    def infer(self, batch: NDArray[Any]) -> Outputs:
        """Run one batch; it is not kept, and the outputs do not share its memory.

        Args:
            batch: as `spec.contract.input` says, of our own models float32 RGB [B, 3, H, W] in
                0..1, or uint8 RGB [B, H, W, 3].

        Raises:
            TensorError: wrong dtype, shape or batch size; says what came and what is expected.
            InputSizeError: a height or width that the graph does not take.
            BackendError: the runtime failed, or is closed.
        """
        ...

    def close(self) -> None:
        """Give memory and threads back; `infer` afterwards is an error."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def replicas(backend: Backend) -> tuple[Backend, int]:
    """What runs several batches side by side, and how many at a time use the device.

    The backend itself, one at a time, unless it has a better answer.
    """
    own: Callable[[], tuple[Backend, int]] | None = getattr(backend, "replicas", None)
    return (backend, 1) if own is None else own()


class ContextManager:
    """`with load_backend(...) as backend:` closes it at the end; a Detector too."""

    def close(self) -> None:
        """Replaced by each class that is one."""
        raise AssertionError("a context manager defines close")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


MOST_LANES: Final = 8
"""Batches side by side at most: each holds its own activations."""


class SideBySide(ContextManager):
    """A runtime that loads its network once more, for several batches at a time on a processor.

    All threads on one batch meet after every operator and wait for the slowest; a thread or a few
    for each batch do not (`python -m benchmarks.video` prints what that gains).
    """

    device: str

    def __init__(self, model: Path, threads: int) -> None:
        """`threads`: of the processor, for all batches together."""
        self._model, self._threads = model, threads
        self._side_by_side: Backend | None = None
        self._loading = threading.Lock()

    def _load_side_by_side(self, count: int) -> Backend:
        """Replaced by each runtime: the network for `count` batches at a time."""
        raise AssertionError("a runtime defines how it loads")

    def replicas(self) -> tuple[Backend, int]:
        """See `replicas`; the first call loads the network."""
        this: Any = self
        count = min(self._threads, MOST_LANES)
        if self.device != "cpu" or count == 1 or not self._model.exists():
            return this, 1
        with self._loading:
            if self._side_by_side is None:
                self._side_by_side = self._load_side_by_side(count)
        return self._side_by_side, count

    def _close_side_by_side(self) -> None:
        with self._loading:
            if self._side_by_side is not None:
                self._side_by_side.close()


def check_batch(batch: NDArray[Any] | DeviceArray, spec: ModelSpec) -> None:
    """Raise TensorError or InputSizeError unless `batch` is what the graph takes."""
    taken = spec.contract.input
    good = (
        isinstance(getattr(batch, "dtype", None), np.dtype)  # NumPy's, or a DeviceArray's
        and batch.dtype == taken.dtype
        and batch.ndim == 4
        and batch.shape[1 if taken.planar else 3] == 3
        and batch.shape[0] > 0
    )
    if not good:
        came = f"{getattr(batch, 'dtype', type(batch).__name__)} {getattr(batch, 'shape', '')}"
        raise TensorError(f"expected a batch of {taken.form}, got {came}")
    if spec.batch is not None and batch.shape[0] != spec.batch:
        raise TensorError(
            f"this graph takes batches of exactly {spec.batch}, got {batch.shape[0]}; "
            "export with `--batch dynamic` for any"
        )
    size = taken.canvas_of(batch.shape)
    if not spec.dynamic_size and size != spec.input_size:
        raise InputSizeError(
            f"this graph takes {spec.input_size} (height, width) only, got {size}; export with "
            "`--dynamic` for any"
        )
    spec.check_size(size)


def check_precision(precision: str | None, allowed: tuple[str, ...], runtime: str) -> None:
    """Raise SettingError unless the precision is None or one that the runtime offers."""
    if precision is not None and precision not in allowed:
        raise SettingError(
            f"{runtime} offers the precisions {', '.join(allowed)}, got {precision!r}"
        )
