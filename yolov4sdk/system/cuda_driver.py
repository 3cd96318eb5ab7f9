"""What the CUDA driver says of this machine, asked only by its C functions.

No package is needed, and a machine without a driver is an answer, not a crash: libraries that
are told to use a GPU which is not there end the process on some systems.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from functools import cache
from typing import Final

from ..errors import DeviceError

LIBRARY: Final = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76
"""CUdevice_attribute values."""


@dataclass(frozen=True)
class Gpu:
    """One CUDA device.

    Attributes:
        index: as the driver counts, after CUDA_VISIBLE_DEVICES.
        name: "NVIDIA H100 80GB HBM3".
        capability: "9.0".
        driver: the CUDA version that the driver supports, "13.0".
    """

    index: int
    name: str
    capability: str
    driver: str


@cache
def gpus() -> tuple[Gpu, ...]:
    """The CUDA devices of this machine; `no_gpu_reason` says why there are none."""
    return _ask()[0]


def driver_version() -> str | None:
    """The newest CUDA that the driver runs ("13.0"), None without a driver."""
    try:
        driver = ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    version = ctypes.c_int()
    return None if driver.cuDriverGetVersion(ctypes.byref(version)) else _cuda(version.value)


def no_gpu_reason() -> str:
    """Why `gpus` is empty, in words."""
    return _ask()[1]


def require_gpu(what: str, index: int = 0) -> Gpu:
    """The device with this index.

    Raises:
        DeviceError: it is not there; says why, after `what` ("The TensorRT backend").
    """
    found = gpus()
    if not found:
        raise DeviceError(f"{what} needs an NVIDIA GPU: {no_gpu_reason()}")
    if index >= len(found):
        names = ", ".join(f"cuda:{gpu.index} ({gpu.name})" for gpu in found)
        raise DeviceError(f"{what}: there is no cuda:{index}; there are {names}")
    return found[index]


def _cuda(number: int) -> str:
    """13000 is "13.0"."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _ask() -> tuple[tuple[Gpu, ...], str]:
    try:
        driver = ctypes.CDLL(LIBRARY)
    except OSError:
        return (), f"no CUDA driver is installed ({LIBRARY} is missing)"
    if status := driver.cuInit(0):
        return (), f"the CUDA driver finds no device it can use (cuInit gives error {status})"
    version, count = ctypes.c_int(), ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    driver.cuDeviceGetCount(ctypes.byref(count))
    found = []
    for index in range(count.value):
        device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        name = ctypes.create_string_buffer(256)
        driver.cuDeviceGet(ctypes.byref(device), index)
        driver.cuDeviceGetName(name, len(name), device)
        for attribute, value in ((CAPABILITY_MAJOR, major), (CAPABILITY_MINOR, minor)):
            driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        found.append(
            Gpu(
                index,
                name.value.decode(errors="replace"),
                f"{major.value}.{minor.value}",
                _cuda(version.value),
            )
        )
    return tuple(found), "the CUDA driver lists no device (CUDA_VISIBLE_DEVICES may hide it)"
