"""Reading pickled PyTorch checkpoints without running anything they contain.

A pickle may name any function to be called. Here every name is looked up in an allow-list:
tensors are rebuilt from raw bytes, the classes of detection projects become inert stubs that only
hold their attributes, and anything else is refused before it is touched.

Both file formats of torch.save are read: the zip archive (since torch 1.6) and the older stream
of pickles followed by raw storages.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
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

LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL: Final = 1001

STORAGES: Final = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}

STUB_MODULES: Final = ("models.common", "models.experimental", "models.yolo", "mish_cuda")
STUB_PACKAGES: Final = ("torch.nn.modules.",)
STUB_GLOBALS: Final = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("torch", "device"),
    ("torch", "Size"),
}


class Stub:
    """An object of a foreign class: its attributes and nothing else.

    Attributes:
        kind: the class's name, "models.yolo.Detect".
    """

    kind = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args = args

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.__dict__.update({str(k): v for k, v in state.items()})

    # Foreign containers may be filled item by item; what they hold is of no interest here.
    def append(self, item: Any) -> None:
        """Ignore a list item."""

    def extend(self, items: Any) -> None:
        """Ignore list items."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Ignore a dict item."""


def load_pickled(path: str | Path) -> Any:
    """Read a file of torch.save; foreign objects come back as `Stub`.

    Raises:
        ArtefactNotFoundError, EmptyFileError, TruncatedFileError: as they say.
        ForeignFileError: no file of torch.save.
        UnsafePickleError: the pickle names something outside the allow-list; nothing was run.
    """
    path = Path(path)
    if not path.is_file():
        raise ArtefactNotFoundError(f"no checkpoint at {path}")
    if path.stat().st_size == 0:
        raise EmptyFileError(f"{path} is empty (0 bytes); download or copy it again")
    with path.open("rb") as file:
        try:
            if file.read(4) == b"PK\x03\x04":
                return _load_zip(path, file)
            file.seek(0)
            return _load_legacy(path, file)
        except (EOFError, zipfile.BadZipFile) as error:
            raise TruncatedFileError(
                f"{path} ends too early ({error}); download or copy it again"
            ) from error
        except (UnsafePickleError, ForeignFileError, TruncatedFileError):
            raise
        # A damaged pickle can fail in any of these ways inside the unpickler.
        except (
            pickle.UnpicklingError, ValueError, IndexError, KeyError, TypeError, AttributeError,
            OverflowError, MemoryError, RuntimeError, NotImplementedError,
        ) as error:  # fmt: skip
            raise ForeignFileError(
                f"{path} is no readable checkpoint of torch.save "
                f"({type(error).__name__}: {error}); it may be damaged or of another kind"
            ) from error


class _Unpickler(pickle._Unpickler):
    """The interpreter in Python: that in C reserves memory for whatever index a file names."""

    def __init__(
        self, file: IO[bytes], path: Path, storage: Callable[[tuple[Any, ...]], Tensor]
    ) -> None:
        super().__init__(file, encoding="latin1")
        self._path = path
        self._storage = storage
        self._stubs: dict[str, type[Stub]] = {}

    def find_class(self, module: str, name: str) -> Any:
        """The only door to code: allow-listed names, stubs, or a refusal."""
        found = ALLOWED.get((module, name))
        if found is not None:
            return found
        if module in ("torch", "torch.storage") and name in STORAGES:
            return STORAGES[name]
        if (
            module in STUB_MODULES
            or module.startswith(STUB_PACKAGES)
            or (module, name) in STUB_GLOBALS
        ) and "." not in name:
            kind = f"{module}.{name}"
            return self._stubs.setdefault(kind, type(name, (Stub,), {"kind": kind}))
        raise UnsafePickleError(
            f"{self._path} asks for {module}.{name}, which a checkpoint of weights does not need; "
            "nothing of it was run. If you trust the file, save its state_dict with the program "
            "that made it and import that"
        )

    def persistent_load(self, pid: Any) -> Any:
        """A storage: ("storage", dtype, key, location, number of elements, ...).

        The older format also has ("module", class, file, source text): the class is a stub
        already, and its source text is ignored.
        """
        if isinstance(pid, tuple) and len(pid) == 4 and pid[0] == "module":
            return pid[1]
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise pickle.UnpicklingError(f"unknown persistent id {str(pid)[:80]!r}")
        return self._storage(pid)


def _rebuild_tensor(
    storage: Tensor, offset: int, size: Sequence[int], stride: Sequence[int], *_: Any
) -> Tensor:
    """torch._utils._rebuild_tensor_v2 on a flat tensor, with its bounds checked."""
    if not isinstance(storage, Tensor) or len(size) != len(stride):
        raise pickle.UnpicklingError("a tensor without a storage")
    numbers = (offset, *size, *stride)
    if not all(isinstance(n, int) and n >= 0 for n in numbers):
        raise pickle.UnpicklingError(f"a tensor of impossible shape {tuple(size)}")
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    values = math.prod(int(n) for n in size)
    # Strides of zero could announce more values than there are.
    if values > storage.numel() or (values and last >= storage.numel()):
        raise TruncatedFileError("a tensor reaches past the end of its storage")
    return torch.as_strided(storage, tuple(size), tuple(stride), offset)


def _rebuild_parameter(data: Tensor, *_: Any) -> Tensor:
    return data


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Bytes as old protocols write them: a string to be encoded."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in the encoding {encoding!r}")
    return text.encode("latin1")


ALLOWED: Final[dict[tuple[str, str], Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "set"): set,
    ("builtins", "set"): set,
}


def _load_zip(path: Path, file: IO[bytes]) -> Any:
    with zipfile.ZipFile(file) as archive:
        pickles = [n for n in archive.namelist() if n.split("/", 1)[-1] == "data.pkl"]
        if len(pickles) != 1:
            raise ForeignFileError(f"{path} is a zip archive, but not one of torch.save")
        if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            # torch.save never compresses; a small file must not unfold to a huge one
            raise ForeignFileError(f"{path} has compressed entries, so torch.save did not write it")
        root = pickles[0].removesuffix("data.pkl")
        if root + "byteorder" in archive.namelist():
            order = archive.read(root + "byteorder")
            if order != b"little":
                raise ForeignFileError(f"{path} was written on a big-endian machine")
        cache: dict[str, Tensor] = {}

        def storage(pid: tuple[Any, ...]) -> Tensor:
            _, dtype, key, _, numel = pid[:5]
            if key not in cache:
                info = archive.getinfo(f"{root}data/{key}")
                _check_bytes(path, info.file_size, dtype, numel)
                cache[key] = _flat(archive.read(info), dtype)
            return cache[key]

        with archive.open(pickles[0]) as stream:
            return _Unpickler(io.BytesIO(stream.read()), path, storage).load()


def _load_legacy(path: Path, file: IO[bytes]) -> Any:
    """Magic number, protocol, system, object, storage keys, then each storage's bytes.

    Tensors are views of storages that follow later in the file, so these are made first and
    filled afterwards.
    """

    def refuse(pid: tuple[Any, ...]) -> Tensor:
        raise pickle.UnpicklingError("a storage in the header")

    if file.read(1) != b"\x80" or file.seek(0) != 0:
        raise ForeignFileError(
            f"{path} is no checkpoint of torch.save; a .safetensors, .onnx or .weights file "
            "is read by its own suffix"
        )
    if _Unpickler(file, path, refuse).load() != LEGACY_MAGIC:
        raise ForeignFileError(f"{path} is a pickle, but not a checkpoint of torch.save")
    protocol = _Unpickler(file, path, refuse).load()
    system = _Unpickler(file, path, refuse).load()
    if protocol != LEGACY_PROTOCOL or not isinstance(system, dict):
        raise ForeignFileError(f"{path} has the unknown protocol {protocol!r}")
    if system.get("little_endian") is False:
        raise ForeignFileError(f"{path} was written on a big-endian machine")
    storages: dict[str, Tensor] = {}
    size = path.stat().st_size

    def storage(pid: tuple[Any, ...]) -> Tensor:
        _, dtype, key, _, numel = pid[:5]
        if len(pid) > 5 and pid[5] is not None:
            raise pickle.UnpicklingError("a view of a storage, written by torch before 0.4")
        if key not in storages:
            announced = sum(s.numel() * s.element_size() for s in storages.values())
            if not isinstance(numel, int) or not 0 <= numel * dtype.itemsize <= size - announced:
                raise TruncatedFileError(f"{path} is shorter than the tensors it announces")
            storages[key] = torch.zeros(numel, dtype=dtype)
        return storages[key]

    result = _Unpickler(file, path, storage).load()
    for key in _Unpickler(file, path, refuse).load():
        flat = storages[key]
        numel = int.from_bytes(file.read(8), "little", signed=True)
        if numel != flat.numel():
            raise TruncatedFileError(f"{path} announces {flat.numel()} values and has {numel}")
        data = file.read(numel * flat.element_size())
        _check_bytes(path, len(data), flat.dtype, numel)
        flat.copy_(_flat(data, flat.dtype))
    return result


def _check_bytes(path: Path, found: int, dtype: torch.dtype, numel: Any) -> None:
    if not isinstance(dtype, torch.dtype) or not isinstance(numel, int):
        raise pickle.UnpicklingError("a storage without type or length")
    expected = numel * dtype.itemsize
    if found != expected:
        raise TruncatedFileError(
            f"{path}: a tensor's data has {found} bytes, {expected} were announced; "
            "download or copy the file again"
        )


def _flat(data: bytes, dtype: torch.dtype) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)
