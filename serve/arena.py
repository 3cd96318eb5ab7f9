"""Memory that the service's processes share: images and tensors in flight, without copies."""

from __future__ import annotations

import bisect
import contextlib
import mmap
import os
import tempfile
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

ALIGNMENT: Final = 4096


class Arena:
    """A block of shared memory; one process hands out regions, the others read and write them.

    The memory has no name in the file system and ends with the last process. Pages that were
    never written cost nothing, and low regions are used first.
    """

    def __init__(self, size: int, descriptor: int | None = None) -> None:
        """
        Args:
            size: bytes.
            descriptor: of the memory that another process made; None makes it.
        """
        if descriptor is None:
            descriptor = _anonymous()
            os.ftruncate(descriptor, size)
        self.size, self.descriptor = size, descriptor
        self._memory = mmap.mmap(descriptor, size)
        self._free = [(0, size)]  # (offset, length) by offset, never adjacent

    def allocate(self, length: int) -> int | None:
        """The offset of a region, or None when there is no room."""
        length = _round(length)
        for index, (offset, free) in enumerate(self._free):
            if free >= length:
                self._free[index : index + 1] = (
                    [(offset + length, free - length)] if free > length else []
                )
                return offset
        return None

    def release(self, offset: int, length: int) -> None:
        """Give a region back; nobody may use it any more."""
        length = _round(length)
        index = bisect.bisect(self._free, (offset, 0))
        if index < len(self._free) and offset + length == self._free[index][0]:
            length += self._free.pop(index)[1]
        if index and sum(self._free[index - 1]) == offset:
            index -= 1
            before = self._free.pop(index)
            offset, length = before[0], before[1] + length
        self._free.insert(index, (offset, length))

    @property
    def used(self) -> int:
        """Bytes handed out."""
        return self.size - sum(length for _, length in self._free)

    def array(self, offset: int, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """A region as an array; a view, not a copy."""
        count = int(np.prod(shape))
        return np.frombuffer(self._memory, dtype, count, offset).reshape(shape)

    def close(self) -> None:
        """Let go of the memory; views that are still alive keep their mapping."""
        with contextlib.suppress(BufferError):  # a view is left; the mapping ends with it
            self._memory.close()
        os.close(self.descriptor)


def _round(length: int) -> int:
    return max(1, -(-length // ALIGNMENT)) * ALIGNMENT


def _anonymous() -> int:
    # Not /dev/shm: containers limit it to 64 MB.
    if hasattr(os, "memfd_create"):
        return os.memfd_create("yolov4sdk")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
