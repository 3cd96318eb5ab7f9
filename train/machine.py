"""The machine a run trains on: device, threads, memory allocator."""

from __future__ import annotations

import ctypes
import gc
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

from train.distributed import World
from yolov4sdk.errors import DeviceError
from yolov4sdk.system import memory
from yolov4sdk.system.cpu import available_cpus
from yolov4sdk.system.device import device_name

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_MOST, _NEVER = 2**31 - 1, -1  # bytes
_SIGCHLD = getattr(signal, "SIGCHLD", 0)  # Windows has none


def pick_device(name: str, world: World) -> torch.device:
    """The device to train on: "auto" is the GPU of this process where there is one.

    Raises:
        DeviceError: a device that is not there.
    """
    name = device_name(name)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"device {name!r} is not known; expected cpu, cuda or cuda:N") from error
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise DeviceError(f"device {name!r} was asked for, but torch sees no CUDA device")
        return torch.device("cuda", world.local_rank if device.index is None else device.index)
    if device.type != "cpu":
        raise DeviceError(f"device {name!r} cannot train; expected cpu, cuda or cuda:N")
    return device


@contextmanager
def tuned(device: torch.device, threads: int | None, world: World) -> Iterator[None]:
    """Set up the process for training on `device`; all is as it was afterwards.

    That are torch's threads, denormals, and the handler of SIGCHLD, which torch's loader sets for
    ever at its first worker: another library's child would be reported to it.

    Args:
        device: as picked.
        threads: of torch; None shares the CPUs that this container may use among the processes.
        world: the processes; all are taken to be on this machine.
    """
    before = torch.get_num_threads()
    main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(_SIGCHLD) if main_thread and _SIGCHLD else None
    torch.set_num_threads(threads or max(1, available_cpus() // world.size))
    # Denormal numbers cost a hundred cycles each, and say nothing in weights and gradients.
    torch.set_flush_denormal(True)
    _keep_freed_memory()
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(False)
        torch.backends.cudnn.benchmark = False  # the loop sets it
        if handler is not None:
            signal.signal(_SIGCHLD, handler)


def give_back_memory() -> None:
    """Return what is free to the system, so that the process's size says what is in use."""
    gc.collect()
    with suppress(OSError, AttributeError):  # other C libraries have no such call
        ctypes.CDLL(None).malloc_trim(0)


def _keep_freed_memory() -> None:
    """Let glibc keep large blocks instead of returning them to the kernel.

    A step on the CPU frees and takes gigabytes of activations; fetching them as fresh, zeroed pages
    each time took 30 % of it. The loader's processes, which inherit this, gain 5 to 9 %.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library; the run is only slower
        return
    mallopt(_M_MMAP_THRESHOLD, _MOST)
    mallopt(_M_TRIM_THRESHOLD, _NEVER)


def peak_memory(device: torch.device) -> float:
    """The most memory used so far in GiB: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    peak = memory.peak_memory()
    return float("nan") if peak is None else peak / 2**30
