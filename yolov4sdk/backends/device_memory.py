"""Memory of an NVIDIA GPU behind one small protocol, by cuda-python or by PyCUDA."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendError, MissingExtraError, SettingError

CHOICE_VARIABLE: Final = "YOLOV4SDK_CUDA"
"""Environment variable: "cuda-python" or "pycuda", where both are installed."""

TABLE: Final = {
    "cuda-python": ("cuda.bindings", "cuda_python_memory:CudaPythonMemory"),
    "pycuda": ("pycuda", "pycuda_memory:PyCudaMemory"),
}
"""Name to the package that it needs and "module:Class" in this package; the first is preferred."""


@dataclass(frozen=True)
class Stream:
    """A CUDA stream.

    Attributes:
        handle: the cudaStream_t.
        owner: what has to live as long as the stream does.
    """

    handle: int
    owner: Any = None


class DeviceMemory(Protocol):
    """What a backend needs of CUDA. All calls happen inside `current()`.

    Addresses are integers; sizes are in bytes. Every method raises BackendError where CUDA fails.

    Attributes:
        name: of the package behind it.
    """

    name: str

    def current(self) -> AbstractContextManager[None]:
        """Make the device the calling thread's, inside the block."""
        ...

    def allocate(self, size: int) -> int:
        """The address of new device memory."""
        ...

    def free(self, address: int) -> None:
        """Give device memory back."""
        ...

    def pinned(self, size: int) -> NDArray[np.uint8]:
        """New page-locked host memory, uint8 [size]: copies from and to it do not block."""
        ...

    def free_pinned(self, array: NDArray[np.uint8]) -> None:
        """Give page-locked memory back."""
        ...

    def copy_in(self, address: int, array: NDArray[np.uint8], stream: Stream) -> None:
        """Start a copy from (page-locked) host memory to the device."""
        ...

    def copy_out(self, array: NDArray[np.uint8], address: int, stream: Stream) -> None:
        """Start a copy from the device to (page-locked) host memory."""
        ...

    def copy_on_device(self, target: int, source: int, size: int, stream: Stream) -> None:
        """Start a copy from device memory to device memory."""
        ...

    def stream(self) -> Stream:
        """A new stream, which does not wait for the default one."""
        ...

    def close_stream(self, stream: Stream) -> None:
        """Destroy a stream."""
        ...

    def synchronise(self, stream: Stream) -> None:
        """Wait until everything in a stream is done."""
        ...

    def wait_for(self, stream: Stream, other: int) -> None:
        """Let a stream wait for what is in another one (a handle) by now: an event between them."""
        ...

    def kernel(self, source: str, name: str) -> Kernel:
        """Compile CUDA C++ with one `extern "C"` kernel of this name."""
        ...


class Kernel(Protocol):
    """A compiled kernel."""

    def __call__(
        self,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: tuple[np.generic, ...],
        stream: Stream,
    ) -> None:
        """Start it; addresses are np.uint64, numbers np.int32 or np.float32."""
        ...


def device_memory(index: int, name: str | None = None) -> DeviceMemory:
    """The memory of a device, by the package that is installed.

    Args:
        index: of the device, as `cuda_driver.gpus` counts.
        name: "cuda-python" or "pycuda"; None is the environment variable's, or the first that is
            installed.

    Raises:
        MissingExtraError: neither is installed, or not the one asked for.
        SettingError: there is no such package.
        BackendError: the package cannot be loaded, or CUDA fails.
    """
    asked = name or os.environ.get(CHOICE_VARIABLE)
    if asked and asked not in TABLE:
        raise SettingError(f"device memory comes from {' or '.join(TABLE)}, got {asked!r}")
    for candidate in (asked,) if asked else TABLE:
        package, place = TABLE[candidate]
        try:
            import_module(package)
        except ImportError:
            continue
        module, kind = place.split(":")
        try:
            made: DeviceMemory = getattr(import_module(f".{module}", __package__), kind)(index)
        except (ImportError, OSError) as error:
            raise BackendError(
                f"{candidate} is installed but cannot be loaded: {error}; is the NVIDIA driver "
                "there?"
            ) from error
        return made
    extra = "pycuda" if asked == "pycuda" else "trt"
    raise MissingExtraError("Device memory", extra, asked or "cuda-python or pycuda")
