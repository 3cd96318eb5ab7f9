"""Reading pickled PyTorch checkpoints without running anything they contain.

Both file formats of torch.save are read: the zip archive (since torch 1.6) and the older stream
of pickles followed by raw storages. `pickle_machine` reads the pickles themselves.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import IO, Any, Final

import torch
from torch import Tensor

from ..errors import (
    ArtefactNotFoundError,
    EmptyFileError,
    ForeignFileError,
    TruncatedFileError,
    UnsafePickleError,
)
from ..system.bounds import PICKLE_BYTES, ZIP_DIRECTORY_BYTES, brief
from .pickle_machine import Machine
from .pickle_names import Storage, Stub

__all__ = ["Stub", "load_pickled"]

LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL: Final = 1001
PIECE: Final = 1 << 20
"""Bytes that are read at once; a zip's list of entries is always read at once."""


def load_pickled(path: str | Path) -> Any:
    """Read a file of torch.save; foreign objects come back as `Stub`.

    It takes memory of the file's size, and at most some 250 MB beside that.

    Raises:
        ArtefactNotFoundError, EmptyFileError, TruncatedFileError: as they say.
        ForeignFileError: no file of torch.save, or one beyond what real ones hold.
        UnsafePickleError: the pickle names something outside the allow-list; nothing was run.
    """
    path = Path(path)
    if not path.is_file():
        raise ArtefactNotFoundError(f"no checkpoint at {path}")
    if path.stat().st_size == 0:
        raise EmptyFileError(f"{path} is empty (0 bytes); download or copy it again")
    try:
        with path.open("rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
        return _load_zip(path) if zipped else _load_legacy(path)
    except (EOFError, zipfile.BadZipFile) as error:
        raise TruncatedFileError(
            f"{path} ends too early ({str(error)[:200]}); download or copy it again"
        ) from error
    except (UnsafePickleError, ForeignFileError, TruncatedFileError):
        raise
    except pickle.UnpicklingError as error:
        raise ForeignFileError(
            f"{path} is not a checkpoint that is read here: {error}; it may be damaged or hostile"
        ) from error
    # A damaged file can fail in any of these ways.
    except (
        ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError,
        RuntimeError, NotImplementedError, struct.error, OSError,
    ) as error:  # fmt: skip
        raise ForeignFileError(
            f"{path} is not a readable checkpoint of torch.save "
            f"({type(error).__name__}: {str(error)[:200]}); it may be damaged or of another kind"
        ) from error


class _Pieces(io.FileIO):
    """A file whose single reads are bounded: so is the list of entries of a zip."""

    def read(self, size: int | None = -1, /) -> bytes:
        most = ZIP_DIRECTORY_BYTES + 1
        data = super().read(most if size is None or size < 0 else min(size, most)) or b""
        if len(data) == most:
            raise zipfile.BadZipFile("its list of entries is too long")
        return data


def _load_zip(path: Path) -> Any:
    with _Pieces(path) as file, zipfile.ZipFile(file) as archive:
        entries = {info.filename: info for info in archive.infolist()}
        pickles = [name for name in entries if name.split("/", 1)[-1] == "data.pkl"]
        if len(pickles) != 1:
            raise ForeignFileError(f"{path} is a zip archive, but not one of torch.save")
        if any(info.compress_type != zipfile.ZIP_STORED for info in entries.values()):
            # torch.save never compresses; a small file must not unfold to a huge one
            raise ForeignFileError(f"{path} has compressed entries, so torch.save did not write it")
        if sum(info.file_size for info in archive.infolist()) > path.stat().st_size:
            raise ForeignFileError(f"{path} has entries that overlap; torch.save writes none")
        root = pickles[0].removesuffix("data.pkl")
        if root + "byteorder" in entries:
            with archive.open(root + "byteorder") as stream:
                if stream.read(7) != b"little":
                    raise ForeignFileError(f"{path} was written on a big-endian machine")
        storages: dict[str, Storage] = {}

        def storage(pid: tuple[Any, ...]) -> Storage:
            if len(pid) != 5:
                raise pickle.UnpicklingError("it holds a storage of the older format")
            _, kind, key, _, count = pid
            if key not in storages:
                info = entries[f"{root}data/{key}"]
                _check_bytes(path, info.file_size, kind.dtype, count)
                with archive.open(info) as stream:
                    storages[key] = Storage(_filled(stream, count, kind.dtype))
            return _checked(storages[key], kind.dtype, count)

        if entries[pickles[0]].file_size > PICKLE_BYTES:
            raise ForeignFileError(f"{path} has a pickle of more than {PICKLE_BYTES >> 20} MiB")
        with archive.open(pickles[0]) as stream:
            data = b"".join(iter(lambda: stream.read(PIECE), b""))
        return Machine(str(path), storage).load(io.BytesIO(data))


def _load_legacy(path: Path) -> Any:
    """Magic number, protocol, system, object, storage keys, then each storage's bytes.

    Tensors are views of storages that follow later in the file, so these are made first and
    filled afterwards.
    """
    storages: dict[str, Storage] = {}
    left = path.stat().st_size

    def storage(pid: tuple[Any, ...]) -> Storage:
        nonlocal left
        if len(pid) != 6 or pid[5] is not None:
            raise pickle.UnpicklingError("it holds a storage as torch before 0.4 wrote it")
        _, kind, key, _, count, _ = pid
        if key not in storages:
            left -= count * kind.dtype.itemsize
            if left < 0:
                raise TruncatedFileError(f"{path} is shorter than the tensors it announces")
            storages[key] = Storage(torch.zeros(count, dtype=kind.dtype))
        return _checked(storages[key], kind.dtype, count)

    machine = Machine(str(path), storage)
    with path.open("rb") as file:
        if file.read(1) != b"\x80" or file.seek(0) != 0:
            raise ForeignFileError(
                f"{path} is not a checkpoint of torch.save; a .safetensors, .onnx or .weights file "
                "is read by its own suffix"
            )
        if machine.load(file) != LEGACY_MAGIC:
            raise ForeignFileError(f"{path} is a pickle, but not a checkpoint of torch.save")
        protocol, system = machine.load(file), machine.load(file)
        if protocol != LEGACY_PROTOCOL or type(system) is not dict:
            raise ForeignFileError(f"{path} has the unknown protocol {brief(protocol)}")
        if system.get("little_endian") is False:
            raise ForeignFileError(f"{path} was written on a big-endian machine")
        content, keys = machine.load(file), machine.load(file)
        if type(keys) is not list or not all(type(key) is str for key in keys):
            raise ForeignFileError(f"{path} has no list of storages")
        for key in dict.fromkeys(keys):
            flat = storages[key].flat
            count = int.from_bytes(file.read(8), "little", signed=True)
            if count != flat.numel():
                raise TruncatedFileError(f"{path} announces {flat.numel()} values and has {count}")
            flat.copy_(_filled(file, count, flat.dtype))
    return content


def _checked(storage: Storage, dtype: torch.dtype, count: int) -> Storage:
    if storage.flat.dtype != dtype or storage.flat.numel() != count:
        raise pickle.UnpicklingError("it holds a storage of two types or two lengths")
    return storage


def _check_bytes(path: Path, found: int, dtype: torch.dtype, count: int) -> None:
    if found != count * dtype.itemsize:
        raise TruncatedFileError(
            f"{path}: a tensor's data has {found} bytes, {count * dtype.itemsize} were announced; "
            "download or copy the file again"
        )


def _filled(stream: IO[bytes], count: int, dtype: torch.dtype) -> Tensor:
    """The next `count` values of the stream."""
    if not count:
        return torch.empty(0, dtype=dtype)
    data = bytearray(count * dtype.itemsize)
    with memoryview(data) as target:
        at = 0
        while at < len(target):
            piece = stream.read(min(PIECE, len(target) - at))
            if not piece:
                raise EOFError("inside a tensor's data")
            target[at : at + len(piece)] = piece
            at += len(piece)
    return torch.frombuffer(data, dtype=dtype)
