"""Device memory and arrays, as far as they go without a driver; the rest with -m gpu."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch

from yolov4sdk.backends import device_memory as module
from yolov4sdk.backends.device_array import as_device_array, from_dlpack
from yolov4sdk.backends.device_memory import CHOICE_VARIABLE, TABLE, DeviceMemory, device_memory
from yolov4sdk.errors import BackendError, DeviceError, MissingExtraError, SettingError, TensorError
from yolov4sdk.system.cuda_driver import gpus, require_gpu

from .conftest import needs_no_gpu

METHODS = [
    name
    for name in vars(DeviceMemory)
    if not name.startswith("_") and callable(getattr(DeviceMemory, name))
]


def installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize("name", TABLE)
def test_both_offer_the_protocol(name: str) -> None:
    package, place = TABLE[name]
    if not installed(package):
        pytest.skip(f"{name} is not installed")
    file, kind = place.split(":")
    try:
        found = importlib.import_module(f"yolov4sdk.backends.{file}")
    except ImportError as error:
        assert "libcuda" in str(error)  # PyCUDA links the driver
        return
    assert len(METHODS) == 13
    for method in METHODS:
        assert callable(getattr(getattr(found, kind), method))


@needs_no_gpu
@pytest.mark.parametrize("name", TABLE)
def test_without_a_driver(name: str) -> None:
    if not installed(TABLE[name][0]):
        with pytest.raises(MissingExtraError, match=r"yolov4sdk\["):
            device_memory(0, name)
        return
    with pytest.raises(BackendError, match="driver"):
        device_memory(0, name)


@needs_no_gpu
def test_no_gpu_in_words_and_no_crash() -> None:
    reason = "no CUDA driver is installed|the CUDA driver finds no device"
    with pytest.raises(DeviceError, match=f"It needs an NVIDIA GPU: ({reason})"):
        require_gpu("It")
    code = "from yolov4sdk.system.cuda_driver import gpus; assert gpus() == ()"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOICE_VARIABLE, "opencl")
    with pytest.raises(SettingError, match="cuda-python or pycuda, got 'opencl'"):
        device_memory(0)
    monkeypatch.setattr(module, "TABLE", {"cuda-python": ("no_such_package", "x:Y")})
    monkeypatch.delenv(CHOICE_VARIABLE)
    with pytest.raises(MissingExtraError, match=r"yolov4sdk\[trt\]"):
        device_memory(0)


class OnDevice:
    """An object with the interface that torch, CuPy and PyCUDA share."""

    def __init__(self, array: np.ndarray, stream: int | None = 7) -> None:
        self.array = array
        self.__cuda_array_interface__ = {**array.__array_interface__, "stream": stream}


def test_cuda_array_interface() -> None:
    array = np.zeros((2, 3, 4, 5), np.float32)
    found = as_device_array(OnDevice(array), 0)
    assert found is not None and found.address == array.ctypes.data and found.stream == 7
    assert (found.shape, found.dtype, found.ndim) == (array.shape, np.float32, 4)
    assert found.nbytes == array.nbytes
    with pytest.raises(TensorError, match=r"must be contiguous.*\.contiguous\(\)"):
        as_device_array(OnDevice(array[..., ::2]), 0)
    one = OnDevice(array[:1, :, :, :])  # strides of axes of length 1 say nothing
    assert as_device_array(one, 0) is not None
    assert as_device_array(array, 0) is None and as_device_array([1.0], 0) is None


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int64", "float16"])
def test_dlpack(dtype: str) -> None:
    """Capsules of NumPy and torch on the CPU have the layout of those on the GPU."""
    array = np.arange(24, dtype=dtype).reshape(1, 2, 3, 4)
    for producer in (array, torch.from_numpy(array)):
        found = from_dlpack(producer.__dlpack__())
        assert found.address == array.ctypes.data
        assert (found.shape, found.dtype) == (array.shape, array.dtype)
    view = torch.from_numpy(array)[:, 1:]  # begins inside its memory, contiguous
    assert from_dlpack(view.__dlpack__()).address == view.data_ptr()
    with pytest.raises(TensorError, match="contiguous"):
        from_dlpack(torch.from_numpy(array).transpose(1, 3).__dlpack__())
    assert as_device_array(torch.from_numpy(array), 0) is None  # not on a GPU
    with pytest.raises(TensorError, match="is not read here"):
        from_dlpack(torch.zeros(3, dtype=torch.bfloat16).__dlpack__())


@pytest.mark.gpu
@pytest.mark.skipif(not gpus(), reason="no GPU")
@pytest.mark.parametrize("name", TABLE)
def test_copies(name: str) -> None:
    from yolov4sdk.backends.cuda_graph import CudaGraph

    if not installed(TABLE[name][0]):
        pytest.skip(f"{name} is not installed")
    memory = device_memory(0, name)
    with memory.current():
        there, back = memory.pinned(1000), memory.pinned(1000)
        there[:] = np.arange(1000) % 251
        first, second = memory.allocate(1000), memory.allocate(1000)
        stream, other = memory.stream(), memory.stream()
        memory.copy_in(first, there, stream)
        memory.wait_for(other, stream.handle)
        memory.copy_on_device(second, first, 1000, other)
        memory.copy_out(back, second, other)
        memory.synchronise(other)
        np.testing.assert_array_equal(back, there)
        graph = CudaGraph(stream.handle, lambda: memory.copy_in(first, there, stream))
        there[:] = 7
        graph.launch()
        memory.copy_out(back, first, stream)
        memory.synchronise(stream)
        assert set(back) == {7}
        graph.close()
        for address in (first, second):
            memory.free(address)
        for array in (there, back):
            memory.free_pinned(array)
        for each in (stream, other):
            memory.close_stream(each)
