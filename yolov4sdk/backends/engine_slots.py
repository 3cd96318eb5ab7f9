"""Execution contexts of an engine, one to a call, with their buffers and CUDA graphs."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendError
from .cuda_graph import CudaGraph
from .device_array import Batch, DeviceArray
from .device_memory import DeviceMemory, Stream

MAX_IDLE: Final = 4
"""Contexts that wait for their shape to come again; each holds the memory of its activations."""


class EngineSlots:
    """Hands a free slot to each call, one of the right shape where there is one.

    Args:
        trt: the Python package.
        engine: deserialised.
        memory: of its device.
        config: what `create_execution_context` takes, or None.
        input_name: of the images' tensor.
    """

    def __init__(
        self, trt: Any, engine: Any, memory: DeviceMemory, config: Any, input_name: str
    ) -> None:
        self._trt, self._engine, self._memory, self._config = trt, engine, memory, config
        self._input = input_name
        self._idle: list[Slot] = []
        self._lock = threading.Lock()

    @contextmanager
    def take(self, shape: tuple[int, ...]) -> Iterator[Slot]:
        """A slot for one call with an input of this shape.

        Raises:
            BackendError: closed.
        """
        with self._lock:
            if self._engine is None:
                raise BackendError("this backend is closed; load the model again")
            slot = self._pop(tuple(shape)) or Slot(
                self._trt, self._engine, self._memory, self._config, self._input
            )
        try:
            yield slot
        except BackendError:
            slot.close()  # what is left in its stream is unknown
            raise
        except BaseException:
            self._put(slot)
            raise
        else:
            self._put(slot)

    def close(self) -> None:
        """Free everything; calls that still run free their own slot at their end."""
        with self._lock:
            self._engine = None
            idle, self._idle = self._idle, []
        for slot in idle:
            slot.close()

    def _pop(self, shape: tuple[int, ...]) -> Slot | None:
        for slot in self._idle:
            if slot.shape == shape:
                self._idle.remove(slot)
                return slot
        return self._idle.pop(0) if len(self._idle) >= MAX_IDLE else None

    def _put(self, slot: Slot) -> None:
        with self._lock:
            if self._engine is not None:
                self._idle.append(slot)
                return
        slot.close()


class Slot:
    """One execution context, its stream, its buffers, and the graph of its shape.

    All calls come from one thread at a time, with the device current.

    Attributes:
        shape: of the last input.
        stream: everything runs in it.
        graph: None before the second run of a shape, and where the engine cannot be captured.
    """

    def __init__(
        self, trt: Any, engine: Any, memory: DeviceMemory, config: Any, input_name: str
    ) -> None:
        self._memory = memory
        self._context = (
            engine.create_execution_context(config) if config else engine.create_execution_context()
        )
        if self._context is None:
            raise BackendError("no execution context: the GPU has too little free memory")
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        self._dtypes = {name: np.dtype(trt.nptype(engine.get_tensor_dtype(name))) for name in names}
        self._input = input_name
        self._outputs = [name for name in names if name != input_name]
        self._device: dict[str, tuple[int, int]] = {}  # address, size
        self._host: dict[str, NDArray[np.uint8]] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self.stream: Stream = memory.stream()
        self.shape: tuple[int, ...] = ()
        self.graph: CudaGraph | None = None
        self._runs = 0
        self._capturable = True

    def run(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """Run a batch of host or device memory; the outputs are new arrays."""
        self._prepare(tuple(batch.shape))
        if isinstance(batch, DeviceArray):
            if batch.stream is not None:
                self._memory.wait_for(self.stream, batch.stream)
            target = self._device[self._input][0]
            self._memory.copy_on_device(target, batch.address, batch.nbytes, self.stream)
        else:
            self.upload(self._input, batch)
        return self.run_prepared()

    def upload(self, name: str, array: NDArray[Any]) -> int:
        """Start a copy of an array to the device, through page-locked memory; return where."""
        address = self._reserve(name, array.nbytes)
        staged = self._host[name][: array.nbytes]
        staged.view(array.dtype).reshape(array.shape)[...] = array
        self._memory.copy_in(address, staged, self.stream)
        return address

    def input_address(self, shape: tuple[int, ...]) -> int:
        """Where an input of this shape is read from, for whoever writes it on the device."""
        self._prepare(shape)
        return self._device[self._input][0]

    def run_prepared(self) -> dict[str, NDArray[Any]]:
        """Run what lies at `input_address`."""
        self._execute()
        sizes = {name: self._bytes(name) for name in self._outputs}
        for name, size in sizes.items():
            self._memory.copy_out(self._host[name][:size], self._device[name][0], self.stream)
        self._memory.synchronise(self.stream)
        return {
            name: self._host[name][:size]
            .view(self._dtypes[name])
            .reshape(self._shapes[name])
            .copy()
            for name, size in sizes.items()
        }

    def close(self) -> None:
        """Give everything back."""
        self._drop_graph()
        self._context = None
        for address, _ in self._device.values():
            self._memory.free(address)
        for array in self._host.values():
            self._memory.free_pinned(array)
        self._device.clear()
        self._host.clear()
        self._memory.close_stream(self.stream)

    def _prepare(self, shape: tuple[int, ...]) -> None:
        """Set the shape of the input, and make room for it and for the outputs."""
        if shape == self.shape:
            return
        self._drop_graph()  # it holds the addresses and the shape
        self.shape, self._runs, self._capturable = (), 0, True
        context = self._context
        if not context.set_input_shape(self._input, shape):
            raise BackendError(f"TensorRT refuses an input of shape {shape}")
        if missing := context.infer_shapes():
            raise BackendError(f"TensorRT cannot tell the shapes of the outputs: {missing}")
        for name in (self._input, *self._outputs):
            self._shapes[name] = tuple(context.get_tensor_shape(name))
            context.set_tensor_address(name, self._reserve(name, self._bytes(name)))
        self.shape = shape

    def _reserve(self, name: str, size: int) -> int:
        """Device and host memory of at least this size; what is there is kept when it suffices."""
        address: int
        address, there = self._device.get(name, (0, 0))
        if there < size:
            if there:
                self._memory.free(address)
                self._memory.free_pinned(self._host.pop(name))
                del self._device[name]
            address = self._memory.allocate(size)
            self._device[name] = (address, size)
            self._host[name] = self._memory.pinned(size)
        return address

    def _execute(self) -> None:
        """Start the network: as it is at first, which is when TensorRT sets itself up, then as a
        graph, which spares the start of each kernel.
        """
        self._runs += 1
        if self.graph is None and self._runs > 1 and self._capturable:
            self._memory.synchronise(self.stream)
            try:
                self.graph = CudaGraph(self.stream.handle, self._enqueue)
            except BackendError:
                self._capturable = False
        if self.graph is not None:
            self.graph.launch()
        else:
            self._enqueue()

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self.stream.handle):
            raise BackendError("TensorRT could not start the network")

    def _bytes(self, name: str) -> int:
        return math.prod(self._shapes[name]) * int(self._dtypes[name].itemsize)

    def _drop_graph(self) -> None:
        if self.graph is not None:
            self.graph.close()
            self.graph = None
