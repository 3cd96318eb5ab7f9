"""What a name in a pickle stands for: a maker of an allow-list, or a kind of inert objects."""

from __future__ import annotations

import math
import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from ..errors import ForeignFileError, TruncatedFileError, UnsafePickleError
from ..system.bounds import brief

DTYPES: Final = {
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

KIND_MODULES: Final = frozenset(
    {"models.common", "models.experimental", "models.yolo", "mish_cuda"}
)
KIND_PACKAGES: Final = ("torch.nn.modules.", "torch.nn.parallel.", "torch.optim.")
KINDS: Final = frozenset({
    ("numpy", "ndarray"), ("numpy", "dtype"), ("torch", "device"), ("torch", "Size"),
    ("argparse", "Namespace"), ("collections", "Counter"), ("collections", "defaultdict"),
    ("datetime", "date"), ("datetime", "datetime"), ("datetime", "timedelta"),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core")
      for name in ("_reconstruct", "scalar")),
    *(("pathlib", f"{pure}{kind}Path") for pure in ("", "Pure") for kind in ("Posix", "Windows")),
    *((builtins, kind) for builtins in ("builtins", "__builtin__")
      for kind in ("bool", "dict", "float", "int", "list", "object", "str", "tuple")),
    *(("torch", str(dtype).removeprefix("torch.")) for dtype in DTYPES.values()),
})  # fmt: skip
"""Names beside those of networks that real checkpoints hold; their objects are of no interest."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A foreign class."""

    name: str


class Stub:
    """An object of a foreign class: its attributes and nothing else.

    Attributes:
        kind: the class's name, "models.yolo.Detect".
        args: what it was made with.
    """

    # Slots are found before what a file puts into __dict__.
    __slots__ = ("__dict__", "args", "kind")

    def __init__(self, kind: str, args: tuple[Any, ...]) -> None:
        self.kind: str
        self.args: tuple[Any, ...]
        self.kind, self.args = kind, args


@dataclass(frozen=True, slots=True)
class Maker:
    """A function of the allow-list, which nothing in a file can change."""

    make: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class StorageKind:
    """The type of a storage."""

    dtype: torch.dtype


@dataclass(frozen=True, slots=True)
class Storage:
    """The values that tensors are views of: a flat tensor."""

    flat: Tensor


def next_step(path: Path) -> str:
    """The way in for a network of another family."""
    return (
        f"export it to ONNX with the program that made it (`yolo export model={path.name} "
        f"format=onnx`, or its export.py), then `yolov4sdk adopt {path.stem}.onnx`"
    )


def malformed(what: str) -> pickle.UnpicklingError:
    """The error about something that no checkpoint holds."""
    return pickle.UnpicklingError(f"it holds {what}")


def cheap_key(key: Any) -> Any:
    """A key that is cheap to find again.

    The hash of tuples in tuples takes 2^depth steps; those of flat tuples and of large integers
    can be made equal by the thousand, and NaN is not equal to itself.
    """
    large = isinstance(key, int) and abs(key) >= 1 << 60
    if not isinstance(key, str | bytes | int | float | None | Stub | Kind) or large or key != key:
        raise malformed(f"a key of type {type(key).__name__} that real files do not have")
    return key


def find(module: Any, name: Any, source: str) -> Maker | Kind | StorageKind:
    """The only door to code: a maker, a kind, or a refusal.

    Args:
        module, name: what the pickle asks for.
        source: what to call the file in messages.
    """
    if not isinstance(module, str) or not isinstance(name, str):
        raise malformed("a name that is not a text")
    if (module, name) in MAKERS:
        return MAKERS[module, name]
    if module in ("torch", "torch.storage") and name in DTYPES:
        return StorageKind(DTYPES[name])
    known = module in KIND_MODULES or module.startswith(KIND_PACKAGES)
    if "." not in name and (known or (module, name) in KINDS):
        return Kind(f"{module}.{name}")
    asked = brief(f"{module}.{name}")[1:-1]
    if module.startswith("ultralytics"):
        raise ForeignFileError(
            f"{source} is a checkpoint of ultralytics ({asked}); nothing of it was run; "
            f"{next_step(Path(source))}"
        )
    raise UnsafePickleError(
        f"{source} asks for {asked}, which a checkpoint of weights does not need; nothing of it "
        "was run. If you trust the file, save its state_dict with the program that made it and "
        "import that; of another detector, export it to ONNX there and `yolov4sdk adopt` that"
    )


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """torch._utils._rebuild_tensor_v2, with its bounds checked."""
    if type(storage) is not Storage or type(size) is not tuple or type(stride) is not tuple:
        raise malformed("a tensor without a storage")
    numbers = (offset, *size, *stride)
    possible = all(type(n) is int and 0 <= n < 1 << 40 for n in numbers)
    if not possible or len(size) != len(stride) or len(size) > 8:
        raise malformed("a tensor of an impossible shape")
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    values = math.prod(size)
    # Strides of zero could announce more values than there are.
    if values > storage.flat.numel() or (values and last >= storage.flat.numel()):
        raise TruncatedFileError("a tensor reaches past the end of its storage")
    return torch.as_strided(storage.flat, size, stride, offset if values else 0)


def _rebuild_parameter(data: Any, *_: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise malformed("a parameter without a tensor")
    return data


def _rebuild_from_type(function: Any, _kind: Any, args: Any, _state: Any) -> Tensor:
    """A tensor with attributes; these are of no interest."""
    if function not in (_TENSOR, _PARAMETER) or type(args) is not tuple:
        raise malformed("a tensor of another type")
    tensor: Tensor = function.make(*args)
    return tensor


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """Bytes as protocol 2 writes them: a text to be encoded."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise malformed("bytes in an unknown encoding")
    return text.encode("latin1")


def _ordered_dict(items: Any = ()) -> OrderedDict[Any, Any]:
    """From nothing, or from a list of pairs as Python 2 wrote it."""
    if type(items) not in (list, tuple) or not all(
        type(pair) in (list, tuple) and len(pair) == 2 for pair in items
    ):
        raise malformed("an OrderedDict of what are not pairs")
    return OrderedDict((cheap_key(key), value) for key, value in items)


def _set(items: Any = ()) -> set[Any]:
    if type(items) not in (list, tuple):
        raise malformed("a set of what is not a list")
    return set(map(cheap_key, items))


_TENSOR: Final = Maker(_rebuild_tensor)
_PARAMETER: Final = Maker(_rebuild_parameter)
MAKERS: Final[dict[tuple[str, str], Maker]] = {
    ("collections", "OrderedDict"): Maker(_ordered_dict),
    ("torch._utils", "_rebuild_tensor"): _TENSOR,
    ("torch._utils", "_rebuild_tensor_v2"): _TENSOR,
    ("torch._utils", "_rebuild_parameter"): _PARAMETER,
    ("torch._utils", "_rebuild_parameter_with_state"): _PARAMETER,
    ("torch._tensor", "_rebuild_from_type_v2"): Maker(_rebuild_from_type),
    ("_codecs", "encode"): Maker(_encode),
    ("__builtin__", "set"): Maker(_set),
    ("builtins", "set"): Maker(_set),
}
