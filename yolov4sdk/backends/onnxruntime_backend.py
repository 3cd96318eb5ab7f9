"""ONNX Runtime on a CPU or a CUDA device."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..cpu import available_cpus
from ..errors import BackendError, DeviceError, MissingExtraError
from ..onnx_header import read_onnx_spec
from .base import ContextManager, Outputs, check_batch, check_precision

try:
    import onnxruntime
except ImportError as error:
    raise MissingExtraError(
        "The ONNX Runtime backend", "cpu", "onnxruntime", hint='"yolov4sdk[gpu]" for CUDA instead'
    ) from error

CUDA: Final = "CUDAExecutionProvider"
CPU: Final = "CPUExecutionProvider"


class OnnxRuntimeBackend(ContextManager):
    """See `Backend`; the precision is the file's own.

    Attributes:
        provider: the execution provider that is really used.
    """

    name = "onnxruntime"

    def __init__(
        self,
        model: Path,
        device: str = "auto",
        precision: str | None = None,
        threads: int | None = None,
    ) -> None:
        self.spec = read_onnx_spec(model)
        check_precision(precision, (self.spec.precision,), f"{model.name} in ONNX Runtime")
        self.precision = self.spec.precision
        wanted, index = _provider(device)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or available_cpus()
        options.log_severity_level = 3
        providers: list[Any] = [CPU]
        if wanted == CUDA:
            providers = [(CUDA, {"device_id": index}), CPU]
        try:
            session = onnxruntime.InferenceSession(str(model), options, providers=providers)
        except Exception as error:  # its exceptions share no public base class
            raise BackendError(f"ONNX Runtime cannot load {model}: {_first_line(error)}") from error
        self.provider: str = session.get_providers()[0]
        if self.provider != wanted:
            message = f"ONNX Runtime uses {self.provider} where {wanted} was to be used"
            if device != "auto":
                raise DeviceError(f"{message}; its CUDA libraries or driver are missing")
            warnings.warn(message, RuntimeWarning, stacklevel=3)
        self.device = f"cuda:{index}" if self.provider == CUDA else "cpu"
        self._outputs = [output.name for output in session.get_outputs()]
        self._session: Any = session

    def infer(self, batch: NDArray[Any]) -> Outputs:
        """See `Backend.infer`."""
        session = self._session
        if session is None:
            raise BackendError("this backend is closed; load the model again")
        check_batch(batch, self.spec)
        try:
            values = session.run(self._outputs, {"images": np.ascontiguousarray(batch)})
        except Exception as error:  # its exceptions share no public base class
            raise BackendError(f"ONNX Runtime failed: {_first_line(error)}") from error
        return Outputs(**dict(zip(self._outputs, values, strict=True)))

    def close(self) -> None:
        """See `Backend.close`."""
        self._session = None


def _provider(device: str) -> tuple[str, int]:
    """The execution provider for a device's name, and the device's index."""
    available = onnxruntime.get_available_providers()
    if device == "auto":
        return (CUDA if CUDA in available else CPU), 0
    if device == "cpu":
        return CPU, 0
    kind, _, index = device.partition(":")
    if kind != "cuda" or (index and not index.isdigit()):
        raise DeviceError(f'ONNX Runtime here takes "cpu", "cuda" or "cuda:1", got {device!r}')
    if CUDA not in available:
        raise DeviceError(
            f"no {CUDA} in this ONNX Runtime ({', '.join(available)}); "
            'pip uninstall onnxruntime && pip install "yolov4sdk[gpu]"'
        )
    return CUDA, int(index or 0)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
