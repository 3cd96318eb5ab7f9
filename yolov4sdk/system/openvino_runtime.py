"""OpenVINO, loaded so that it sends nothing and leaves the process's signals as they were."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from ..errors import MissingExtraError


def load_openvino(purpose: str, extra: str = "openvino") -> Any:
    """The module `openvino`.

    Importing it imports its converter, which reports the import to Google Analytics from a forked
    process. Without `openvino_telemetry` it reports nothing; a program that wants the reports
    imports openvino itself, first.

    Raises:
        MissingExtraError: it is not installed; `purpose` begins the sentence, and `extra` is the
            one of this package that brings it.
    """
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # "not there"
    try:
        return import_module("openvino")
    except ImportError as error:
        raise MissingExtraError(purpose, extra, "openvino") from error


@contextmanager
def openvino_core() -> Iterator[Any]:
    """A Core, and afterwards the thread's alternate signal stack as it was; the models stay.

    The CPU plugin of each Core puts a stack of its own under the thread that loads it. When two
    Cores end in the order in which they began, the second puts the first one's back, which is
    unmapped by then: the next signal that Python hears (Ctrl-C, SIGTERM, the end of a child)
    kills the process without a word.
    """
    with kept_signal_stack():
        yield load_openvino("OpenVINO").Core()


class _Stack(ctypes.Structure):
    """stack_t of signal.h on Linux."""

    _fields_ = (
        ("address", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("size", ctypes.c_size_t),
    )


@contextmanager
def kept_signal_stack() -> Iterator[None]:
    """Leave the thread's alternate signal stack as it was; see sigaltstack(2)."""
    if sys.platform != "linux":  # OpenVINO changes it only on Linux
        yield
        return
    libc, before = ctypes.CDLL(None), _Stack()
    libc.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        libc.sigaltstack(ctypes.byref(before), None)
