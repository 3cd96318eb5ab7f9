"""CUDA graphs by the driver's C functions: a stream's work recorded once and started as one."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from ..errors import BackendError
from ..system.cuda_driver import LIBRARY

THREAD_LOCAL = 1
"""CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may go on using CUDA meanwhile."""


class CudaGraph:
    """What `work` puts into a stream, ready to be started again.

    Args:
        stream: the handle of a stream with nothing left to do; its device is the current one.
        work: puts kernels and copies into the stream; called once, and nothing of it runs.

    Raises:
        BackendError: the work cannot be recorded (something in it waits, for example).
    """

    def __init__(self, stream: int, work: Callable[[], None]) -> None:
        self._driver = ctypes.CDLL(LIBRARY)
        self._stream = ctypes.c_void_p(stream)
        graph, self._executable = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuStreamBeginCapture_v2", self._stream, ctypes.c_int(THREAD_LOCAL))
        try:
            work()
        finally:  # a stream must not stay in capture mode, whatever went wrong
            status = self._driver.cuStreamEndCapture(self._stream, ctypes.byref(graph))
        if status:
            raise BackendError(f"CUDA: the stream cannot be captured (error {status})")
        try:
            self._call(
                "cuGraphInstantiateWithFlags",
                ctypes.byref(self._executable),
                graph,
                ctypes.c_ulonglong(0),
            )
        finally:
            self._driver.cuGraphDestroy(graph)

    def launch(self) -> None:
        """Start the recorded work in its stream."""
        self._call("cuGraphLaunch", self._executable, self._stream)

    def close(self) -> None:
        """Give the graph's memory back."""
        if self._executable:
            self._driver.cuGraphExecDestroy(self._executable)
            self._executable = ctypes.c_void_p()

    def _call(self, name: str, *arguments: object) -> None:
        if status := getattr(self._driver, name)(*arguments):
            raise BackendError(f"CUDA: {name} gives error {status}")
