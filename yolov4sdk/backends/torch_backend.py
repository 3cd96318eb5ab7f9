"""PyTorch: folded, channels_last, on a CPU or a CUDA device."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..contract.spec import ModelSpec
from ..errors import BackendError, DeviceError, MissingExtraError
from ..system.cpu import available_cpus
from .base import ContextManager, Outputs, check_batch, check_precision

try:
    import torch
except ImportError as _error:
    raise MissingExtraError("The torch backend", "torch", "torch") from _error

from ..models import Model, fold
from ..models.checkpoints import load_checkpoint
from ..models.fast_mish import use_fast_mish

DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchBackend(ContextManager):
    """See `Backend`; `model` is a .safetensors path or a Model, which is copied.

    The number of threads is torch's own, one for the whole process; with `threads` it is set. So is
    TF32, which "fp32" on a CUDA device switches off: ten bits of its convolutions are not float32.
    """

    name = "torch"

    def __init__(
        self,
        model: Path | Model,
        device: str = "auto",
        precision: str | None = None,
        threads: int | None = None,
    ) -> None:
        check_precision(precision, tuple(DTYPES), "torch")
        if isinstance(model, Path):
            model = load_checkpoint(model)
        self._device = _device(device)
        self.device: str = str(self._device)
        self.precision: str = precision or "fp32"
        self.spec: ModelSpec = model.spec
        if self._device.type == "cpu":
            torch.set_num_threads(threads or min(torch.get_num_threads(), available_cpus()))
        elif self.precision == "fp32":
            torch.backends.cudnn.allow_tf32 = False
        folded = fold(model).to(self._device, DTYPES[self.precision])
        use_fast_mish(folded)
        # Anchors stay as they were: bfloat16 would round them by up to 0.4 %.
        folded.detect.anchor_grid = model.detect.anchor_grid.to(self._device)
        self._process = os.getpid()
        self._model: Model | None = folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def infer(self, batch: NDArray[Any]) -> Outputs:
        """See `Backend.infer`."""
        model = self._model
        if model is None:
            raise BackendError("this backend is closed; load the model again")
        if os.getpid() != self._process:  # torch would wait for threads that were not forked
            raise BackendError(
                "this model was loaded before the process was forked, and torch's threads do not "
                "survive a fork; load it in the child, or start that with the method spawn"
            )
        check_batch(batch, self.spec)
        with torch.inference_mode():
            images = torch.from_numpy(batch).to(
                self._device, DTYPES[self.precision], memory_format=torch.channels_last
            )
            boxes, scores = model(images)
            return Outputs(_float32(boxes), _float32(scores))

    def close(self) -> None:
        """See `Backend.close`."""
        self._model = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def _float32(tensor: Any) -> NDArray[np.float32]:
    result: NDArray[np.float32] = tensor.float().cpu().numpy()
    return result


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f'torch knows no device {name!r}; use "cpu", "cuda", "cuda:1"') from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"no device {name}: torch {torch.__version__} sees {torch.cuda.device_count()} CUDA "
            'devices; use device="cpu", or install a CUDA build of torch and a driver'
        )
    return device
