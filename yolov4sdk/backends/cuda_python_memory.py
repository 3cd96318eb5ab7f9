"""Device memory by NVIDIA's cuda-python."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from cuda.bindings import driver
from cuda.bindings import runtime as cudart
from numpy.typing import NDArray

from ..errors import BackendError
from .device_memory import Kernel, Stream


class CudaPythonMemory:
    """See `DeviceMemory`."""

    name = "cuda-python"

    def __init__(self, index: int) -> None:
        self._index = index
        with self.current():
            _checked(cudart.cudaFree(0))  # makes the primary context, or says why it cannot

    @contextmanager
    def current(self) -> Iterator[None]:
        """See `DeviceMemory.current`."""
        _checked(cudart.cudaSetDevice(self._index))
        yield

    def allocate(self, size: int) -> int:
        """See `DeviceMemory.allocate`."""
        return int(_checked(cudart.cudaMalloc(size)))

    def free(self, address: int) -> None:
        """See `DeviceMemory.free`."""
        _checked(cudart.cudaFree(address))

    def pinned(self, size: int) -> NDArray[np.uint8]:
        """See `DeviceMemory.pinned`."""
        address = int(_checked(cudart.cudaHostAlloc(size, cudart.cudaHostAllocDefault)))
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))

    def free_pinned(self, array: NDArray[np.uint8]) -> None:
        """See `DeviceMemory.free_pinned`."""
        _checked(cudart.cudaFreeHost(array.ctypes.data))

    def copy_in(self, address: int, array: NDArray[np.uint8], stream: Stream) -> None:
        """See `DeviceMemory.copy_in`."""
        self._copy(address, array.ctypes.data, array.nbytes, "HostToDevice", stream)

    def copy_out(self, array: NDArray[np.uint8], address: int, stream: Stream) -> None:
        """See `DeviceMemory.copy_out`."""
        self._copy(array.ctypes.data, address, array.nbytes, "DeviceToHost", stream)

    def copy_on_device(self, target: int, source: int, size: int, stream: Stream) -> None:
        """See `DeviceMemory.copy_on_device`."""
        self._copy(target, source, size, "DeviceToDevice", stream)

    def _copy(self, target: int, source: int, size: int, way: str, stream: Stream) -> None:
        kind = getattr(cudart.cudaMemcpyKind, f"cudaMemcpy{way}")
        _checked(cudart.cudaMemcpyAsync(target, source, size, kind, stream.handle))

    def stream(self) -> Stream:
        """See `DeviceMemory.stream`."""
        made = _checked(cudart.cudaStreamCreateWithFlags(cudart.cudaStreamNonBlocking))
        return Stream(int(made), made)

    def close_stream(self, stream: Stream) -> None:
        """See `DeviceMemory.close_stream`."""
        _checked(cudart.cudaStreamDestroy(stream.handle))

    def synchronise(self, stream: Stream) -> None:
        """See `DeviceMemory.synchronise`."""
        _checked(cudart.cudaStreamSynchronize(stream.handle))

    def wait_for(self, stream: Stream, other: int) -> None:
        """See `DeviceMemory.wait_for`."""
        event = _checked(cudart.cudaEventCreateWithFlags(cudart.cudaEventDisableTiming))
        try:
            _checked(cudart.cudaEventRecord(event, other))
            _checked(cudart.cudaStreamWaitEvent(stream.handle, event, 0))
        finally:
            _checked(cudart.cudaEventDestroy(event))

    def kernel(self, source: str, name: str) -> Kernel:
        """See `DeviceMemory.kernel`; NVRTC compiles."""
        from cuda.core import Device, Program, ProgramOptions

        capability = "".join(map(str, Device(self._index).compute_capability))
        options = ProgramOptions(std="c++17", arch=f"sm_{capability}")
        try:
            code = Program(source, "c++", options).compile("cubin")
        except Exception as error:  # its exceptions share no public base class
            raise BackendError(f"NVRTC cannot compile {name}: {error}") from error
        module = _checked(driver.cuModuleLoadData(code.code))
        function = _checked(driver.cuModuleGetFunction(module, name.encode()))

        def launch(
            grid: tuple[int, int, int],
            block: tuple[int, int, int],
            arguments: tuple[np.generic, ...],
            stream: Stream,
        ) -> None:
            values = [np.array(argument) for argument in arguments]
            pointers = np.array([value.ctypes.data for value in values], np.uint64)
            _checked(
                driver.cuLaunchKernel(
                    function, *grid, *block, 0, stream.handle, pointers.ctypes.data, 0
                )
            )

        return launch


def _checked(result: tuple[Any, ...]) -> Any:
    """The value of a call, or BackendError with CUDA's own words."""
    status, *values = result
    if int(status):
        if isinstance(status, driver.CUresult):
            text = driver.cuGetErrorString(status)[1]
        else:
            text = cudart.cudaGetErrorString(status)[1]
        words = text.decode() if text else status.name
        raise BackendError(f"CUDA: {words} ({status.name})")
    return values[0] if values else None
