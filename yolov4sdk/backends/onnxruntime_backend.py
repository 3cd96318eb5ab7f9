"""ONNX Runtime on a CPU or a CUDA device, there by its CUDA or its TensorRT provider."""

from __future__ import annotations

import ctypes
import io
import threading
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..contract.contract import GraphContract
from ..contract.onnx_header import read_onnx_spec
from ..contract.spec import ModelSpec
from ..conventions import decode
from ..errors import BackendError, DeviceError, MissingExtraError
from ..system.cpu import available_cpus
from ..system.text import first_line
from .base import Backend, Outputs, SideBySide, check_batch, check_precision
from .runtimes import RUNTIMES

try:
    import onnxruntime
except ImportError as _error:
    raise MissingExtraError(
        "The ONNX Runtime backend", "cpu", "onnxruntime", hint='"yolov4sdk[gpu]" for CUDA instead'
    ) from _error

CUDA: Final = "CUDAExecutionProvider"
TENSORRT: Final = "TensorrtExecutionProvider"
TENSORRT_LIBRARY: Final = "libnvinfer.so.10"
"""What ONNX Runtime's TensorRT provider is linked with; it cannot use TensorRT 11."""
CPU: Final = "CPUExecutionProvider"
DIVIDED_BYTES: Final = 256_000_000
"""Model files below this have their batches divided: larger ones gain little and hold much more."""
KINDS: Final[dict[str, Any]] = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64,
    "tensor(int32)": np.int32, "tensor(uint8)": np.uint8,
}  # fmt: skip
"""Element types of outputs."""


class OnnxRuntimeBackend(SideBySide):
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
        spec: ModelSpec | None = None,
    ) -> None:
        super().__init__(model, threads or available_cpus())
        graph_spec = spec or read_onnx_spec(model)
        self.spec: ModelSpec
        self._graph, self.spec, self._spec = graph_spec.contract, graph_spec.decoded(), spec
        check_precision(precision, (self.spec.precision,), f"{model.name} in ONNX Runtime")
        self.precision: str = self.spec.precision
        _check_installation()
        wanted, index = _provider(device)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 3
        fixed = self.spec.batch is not None and not self.spec.dynamic_size
        providers: list[Any] = [CPU]
        if wanted != CPU:
            _preload_cuda()
            # A graph of one shape is recorded once and started as one, not kernel by kernel.
            graph = {"enable_cuda_graph": "1"} if fixed and wanted == CUDA else {}
            exact = {"use_tf32": "0"}  # else float32 convolutions keep ten bits
            providers = [(CUDA, {"device_id": str(index), **exact, **graph}), CPU]
        if wanted == TENSORRT:
            providers.insert(0, (TENSORRT, {"device_id": str(index)}))
        try:
            session = onnxruntime.InferenceSession(str(model), options, providers=providers)
        except Exception as error:  # its exceptions share no public base class
            raise BackendError(f"ONNX Runtime cannot load {model}: {first_line(error)}") from error
        self.provider: str = session.get_providers()[0]
        if self.provider != wanted:
            message = f"ONNX Runtime uses {self.provider} where {wanted} was to be used"
            if device != "auto":
                raise DeviceError(
                    f"{message}; its CUDA libraries or driver are missing. The libraries come by: "
                    'pip install "onnxruntime-gpu[cuda,cudnn]"'
                )
            warnings.warn(message, RuntimeWarning, stacklevel=3)
        self.device: str = "cpu" if self.provider == CPU else f"cuda:{index}"
        self._outputs = [output.name for output in session.get_outputs()]
        self._session: Any = session
        self._pool: ThreadPoolExecutor | None = None
        self._divides = (
            self.device == "cpu" and self._threads > 1 and self.spec.batch is None
            and model.stat().st_size < DIVIDED_BYTES
        )  # fmt: skip
        self._bound = (
            _Bound(session, self._graph, index) if fixed and self.provider == CUDA else None
        )

    def infer(self, batch: NDArray[Any]) -> Outputs:
        """See `Backend.infer`."""
        if self._session is None:
            raise BackendError("this backend is closed; load the model again")
        check_batch(batch, self.spec)
        taken = self._graph.input
        if self._bound is None and len(batch) > 1 and self._divides:
            return self._divided(batch)
        raw = self.raw(taken.feeds(np.ascontiguousarray(batch)))
        return decode(raw, self._graph, taken.canvas_of(batch.shape))

    def raw(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The graph's own outputs by name, not decoded, for its inputs by name.

        Raises:
            BackendError: the backend is closed, or ONNX Runtime fails.
        """
        session = self._session
        if session is None:
            raise BackendError("this backend is closed; load the model again")
        try:
            if self._bound is not None:
                values = self._bound.run(dict(feeds))
            else:
                values = session.run(self._outputs, dict(feeds))
        except BackendError:
            raise
        except Exception as error:  # its exceptions share no public base class
            raise BackendError(f"ONNX Runtime failed: {first_line(error)}") from error
        return dict(zip(self._outputs, values, strict=True))

    def _load_side_by_side(self, count: int) -> Backend:
        # A run has its caller's thread and those of the session, which all runs share.
        threads = self._threads - count + 1
        loaded = OnnxRuntimeBackend(self._model, "cpu", threads=threads, spec=self._spec)
        loaded._divides = False
        self._pool = ThreadPoolExecutor(count, "yolov4sdk-onnxruntime")
        return loaded

    def _divided(self, batch: NDArray[Any]) -> Outputs:
        """A batch in parts side by side: other work on the machine then slows one part, not all."""
        backend, count = self.replicas()
        if self._pool is None:  # the file is gone
            self._divides = False
            return self.infer(batch)
        parts = np.array_split(batch, min(count, len(batch)))
        boxes, scores, ids = zip(*self._pool.map(backend.infer, parts), strict=True)
        return Outputs(
            np.concatenate(boxes),
            np.concatenate(scores),
            None if ids[0] is None else np.concatenate(ids),
        )

    def close(self) -> None:
        """See `Backend.close`."""
        self._session = self._bound = None
        if self._pool is not None:
            self._pool.shutdown()
        self._close_side_by_side()


def _shape(contract: GraphContract) -> tuple[int, ...]:
    return contract.input.shape(contract.batch or 1, contract.input.size)


class _Bound:
    """The buffers of a graph of one shape, bound once: a CUDA graph wants them where they were."""

    def __init__(self, session: Any, contract: GraphContract, index: int) -> None:
        self._session = session
        make = onnxruntime.OrtValue.ortvalue_from_shape_and_type
        self._binding = session.io_binding()
        feeds = contract.input.feeds(np.empty(_shape(contract), contract.input.dtype))
        self._inputs = {
            name: make(array.shape, array.dtype.type, "cuda", index)
            for name, array in feeds.items()
        }
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        for output in session.get_outputs():
            kind = KINDS[output.type]
            self._binding.bind_ortvalue_output(output.name, make(output.shape, kind, "cuda", index))
        self._lock = threading.Lock()

    def run(self, feeds: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """One run; calls wait for one another, because they share the buffers."""
        with self._lock:
            for name, array in feeds.items():
                self._inputs[name].update_inplace(array)
            self._session.run_with_iobinding(self._binding)
            return [value.numpy() for value in self._binding.get_outputs()]


def _check_installation() -> None:
    """Raise BackendError where two ONNX Runtime packages have overwritten each other's files.

    Installers write what they did beside the package's folder: `importlib.metadata` says the same,
    and takes 15 ms to load.
    """
    beside = Path(onnxruntime.__file__).parent.parent.glob("onnxruntime*.dist-info")
    wrote = {folder.name.split("-")[0].replace("_", "-").lower() for folder in beside}
    found = [name for name in RUNTIMES["onnxruntime"].packages if name in wrote]
    if len(found) > 1:
        raise BackendError(
            f"{' and '.join(found)} are installed over each other and share one folder; what runs "
            f"is a mixture. Remove both and install one: pip uninstall -y {' '.join(found)} && pip "
            'install "yolov4sdk[cpu]" (or "yolov4sdk[gpu]")'
        )


def _preload_cuda() -> None:
    """Load the CUDA libraries of NVIDIA's Python packages, which no linker finds by itself."""
    preload = getattr(onnxruntime, "preload_dlls", None)  # since 1.21
    if preload is not None:
        with redirect_stdout(io.StringIO()):  # what is missing is told by the provider that is used
            preload()


def _provider(device: str) -> tuple[str, int]:
    """The execution provider for a device's name, and the device's index."""
    available = onnxruntime.get_available_providers()
    if device == "auto":
        return (CUDA if CUDA in available else CPU), 0
    if device == "cpu":
        return CPU, 0
    kind, _, index = device.partition(":")
    wanted = {"cuda": CUDA, "tensorrt": TENSORRT}.get(kind)
    if wanted is None or (index and not index.isdigit()):
        raise DeviceError(
            f'ONNX Runtime here takes "cpu", "cuda", "cuda:1" or "tensorrt", got {device!r}'
        )
    if wanted not in available:
        raise DeviceError(
            f"no {wanted} in this ONNX Runtime ({', '.join(available)}); "
            'pip uninstall onnxruntime && pip install "yolov4sdk[gpu]"'
        )
    if wanted == TENSORRT:
        try:
            ctypes.CDLL(TENSORRT_LIBRARY)
        except OSError as error:
            raise DeviceError(
                f"ONNX Runtime's TensorRT provider needs {TENSORRT_LIBRARY} (TensorRT 10), which "
                f'cannot be loaded: {error}. Use device="cuda", or backend="trt" with any version'
            ) from error
    return wanted, int(index or 0)
