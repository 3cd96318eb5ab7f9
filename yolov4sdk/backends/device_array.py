"""Batches that already lie on the GPU: `__cuda_array_interface__` and DLPack, without a copy."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import TensorError

CUDA_DEVICE: Final = 2
"""DLDeviceType.kDLCUDA."""
DLPACK_KINDS: Final = {0: "i", 1: "u", 2: "f"}


@dataclass(frozen=True)
class DeviceArray:
    """A contiguous array in device memory.

    Attributes:
        address: of its first element.
        shape, dtype: as NumPy's.
        device: index of its GPU, None where it is not told.
        stream: handle of the stream that makes it, None when it is ready.
        owner: keeps the memory alive.
    """

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    device: int | None
    stream: int | None
    owner: Any

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def as_device_array(value: Any, stream: int) -> DeviceArray | None:
    """The device array behind an object, None for anything that is not one.

    Args:
        value: of torch, CuPy, PyCUDA, JAX, ...
        stream: handle of the stream that will read it; a DLPack producer orders its work before.

    Raises:
        TensorError: it lies on the device, but not contiguously.
    """
    if isinstance(value, np.ndarray):
        return None
    interface = getattr(value, "__cuda_array_interface__", None)
    if interface is not None:
        return _from_interface(value, interface)
    if hasattr(value, "__dlpack__") and value.__dlpack_device__()[0] == CUDA_DEVICE:
        return from_dlpack(value.__dlpack__(stream=stream))
    return None


def _from_interface(value: Any, interface: dict[str, Any]) -> DeviceArray:
    shape, dtype = tuple(interface["shape"]), np.dtype(interface["typestr"])
    _check_contiguous(shape, interface.get("strides"), dtype.itemsize)
    stream = interface.get("stream")  # None: nothing to wait for
    return DeviceArray(interface["data"][0], shape, dtype, None, stream, value)


class _DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


def from_dlpack(capsule: Any) -> DeviceArray:
    """Read a DLPack capsule; it is not consumed, so its producer frees the memory with it.

    Raises:
        TensorError: not contiguous, or of a type that NumPy does not have.
    """
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    tensor = _DLTensor.from_address(pointer(capsule, b"dltensor"))
    if tensor.code not in DLPACK_KINDS or tensor.lanes != 1 or tensor.bits % 8:
        raise TensorError(f"DLPack type {tensor.code} of {tensor.bits} bits is not read here")
    dtype = np.dtype(f"{DLPACK_KINDS[tensor.code]}{tensor.bits // 8}")
    shape = tuple(tensor.shape[i] for i in range(tensor.ndim))
    strides = None
    if tensor.strides:
        strides = tuple(tensor.strides[i] * dtype.itemsize for i in range(tensor.ndim))
    _check_contiguous(shape, strides, dtype.itemsize)
    address = (tensor.data or 0) + tensor.byte_offset
    return DeviceArray(address, shape, dtype, tensor.device_id, None, capsule)


def _check_contiguous(
    shape: tuple[int, ...], strides: tuple[int, ...] | None, itemsize: int
) -> None:
    if strides is None:
        return
    expected = itemsize
    for length, stride in zip(reversed(shape), reversed(strides), strict=True):
        if length != 1 and stride != expected:
            raise TensorError(
                f"a batch on the GPU must be contiguous; {shape} has strides {tuple(strides)} "
                "(in bytes). Call .contiguous() on it"
            )
        expected *= length


Batch = NDArray[Any] | DeviceArray
