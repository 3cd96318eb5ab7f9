"""Device memory by PyCUDA. It shares the device's primary context with TensorRT."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np
import pycuda.driver as cuda
from numpy.typing import NDArray

from ..errors import BackendError
from .device_memory import Kernel, Stream

Method = TypeVar("Method", bound=Callable[..., Any])


def _in_words(method: Method) -> Method:
    """PyCUDA's errors as BackendError."""

    @wraps(method)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except cuda.Error as error:
            raise BackendError(f"CUDA: {error}") from error

    return cast(Method, wrapped)


class PyCudaMemory:
    """See `DeviceMemory`."""

    name = "pycuda"

    @_in_words
    def __init__(self, index: int) -> None:
        cuda.init()
        self._context = cuda.Device(index).retain_primary_context()
        self._allocations: dict[int, Any] = {}

    @contextmanager
    def current(self) -> Iterator[None]:
        """See `DeviceMemory.current`."""
        self._context.push()
        try:
            yield
        finally:
            self._context.pop()

    @_in_words
    def allocate(self, size: int) -> int:
        """See `DeviceMemory.allocate`."""
        allocation = cuda.mem_alloc(size)
        address = int(allocation)
        self._allocations[address] = allocation
        return address

    @_in_words
    def free(self, address: int) -> None:
        """See `DeviceMemory.free`."""
        self._allocations.pop(address).free()

    @_in_words
    def pinned(self, size: int) -> NDArray[np.uint8]:
        """See `DeviceMemory.pinned`."""
        array: NDArray[np.uint8] = cuda.pagelocked_empty(size, np.uint8)
        return array

    @_in_words
    def free_pinned(self, array: NDArray[np.uint8]) -> None:
        """See `DeviceMemory.free_pinned`; PyCUDA's arrays own their memory."""
        cast(Any, array.base).free()

    @_in_words
    def copy_in(self, address: int, array: NDArray[np.uint8], stream: Stream) -> None:
        """See `DeviceMemory.copy_in`."""
        cuda.memcpy_htod_async(address, array, stream.owner)

    @_in_words
    def copy_out(self, array: NDArray[np.uint8], address: int, stream: Stream) -> None:
        """See `DeviceMemory.copy_out`."""
        cuda.memcpy_dtoh_async(array, address, stream.owner)

    @_in_words
    def copy_on_device(self, target: int, source: int, size: int, stream: Stream) -> None:
        """See `DeviceMemory.copy_on_device`."""
        cuda.memcpy_dtod_async(target, source, size, stream.owner)

    @_in_words
    def stream(self) -> Stream:
        """See `DeviceMemory.stream`."""
        made = cuda.Stream(flags=1)  # CU_STREAM_NON_BLOCKING
        return Stream(int(made.handle), made)

    def close_stream(self, stream: Stream) -> None:
        """See `DeviceMemory.close_stream`; PyCUDA destroys it with its last reference."""

    @_in_words
    def synchronise(self, stream: Stream) -> None:
        """See `DeviceMemory.synchronise`."""
        stream.owner.synchronize()

    @_in_words
    def wait_for(self, stream: Stream, other: int) -> None:
        """See `DeviceMemory.wait_for`; PyCUDA cannot name a foreign stream, so the device waits."""
        cuda.Context.synchronize()

    @_in_words
    def kernel(self, source: str, name: str) -> Kernel:
        """See `DeviceMemory.kernel`; nvcc compiles."""
        from pycuda.compiler import SourceModule

        function = SourceModule(source, no_extern_c=True).get_function(name)

        def launch(
            grid: tuple[int, int, int],
            block: tuple[int, int, int],
            arguments: tuple[np.generic, ...],
            stream: Stream,
        ) -> None:
            function(*arguments, grid=grid, block=block, stream=stream.owner)

        return launch
