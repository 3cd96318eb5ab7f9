"""A machine that reads pickles, and makes plain values and tensors only.

A pickle is a program: it names functions and calls them with what it has built. Here a name gives
a `Maker` of an allow-list, a `Kind` whose instances only hold attributes, or a refusal; the
opcodes are those that torch.save writes; steps, objects and bytes are counted. So a file costs a
small multiple of its size, and nothing that it says reaches the program around it.
"""

from __future__ import annotations

import math
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final

import torch
from torch import Tensor

from ..errors import TruncatedFileError, UnsafePickleError
from ..system.bounds import OBJECTS, OPCODES, PICKLE_BYTES, TENSORS, brief

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


StorageReader = Callable[[tuple[Any, ...]], Storage]


class Machine:
    """Reads the pickles of one file; all of them share one budget."""

    def __init__(self, source: str, storage: StorageReader) -> None:
        """
        Args:
            source: what to call the file in messages.
            storage: gives the storage that a persistent id names.
        """
        self._source = source
        self._storage = storage
        self._steps, self._objects, self._tensors = OPCODES, OBJECTS, TENSORS
        self._bytes = self._encoded = PICKLE_BYTES

    def load(self, file: IO[bytes]) -> Any:
        """Read one pickle from where the file stands.

        Raises:
            pickle.UnpicklingError, EOFError and errors of damaged values: no such pickle.
            UnsafePickleError: it names something outside the allow-list.
        """
        self._file = file
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        while True:
            self._steps -= 1
            if self._steps < 0:
                raise _malformed(f"more than {OPCODES:,} steps")
            code = self._read(1)
            if code == b".":
                return self._stack.pop()
            step = _STEPS.get(code)
            if step is None:
                raise _malformed(f"the opcode {code!r}, which torch.save does not write")
            step(self)

    # -- bytes -------------------------------------------------------------------------------

    def _read(self, count: int) -> bytes:
        self._bytes -= count
        if self._bytes < 0:
            raise _malformed(f"a pickle of more than {PICKLE_BYTES >> 20} MiB")
        data = self._file.read(count)
        if len(data) < count:
            raise EOFError("inside its pickle")
        return data

    def _integer(self, form: str) -> int:
        value: int = struct.unpack(form, self._read(struct.calcsize(form)))[0]
        return value

    def _text(self, form: str) -> str:
        return self._read(self._integer(form)).decode(errors="replace")

    def _line(self) -> str:
        line = self._file.readline(256)
        self._bytes -= len(line)
        if not line.endswith(b"\n"):
            raise _malformed("a name that does not end")
        return line[:-1].decode("ascii")

    # -- the stack ---------------------------------------------------------------------------

    def _above_mark(self) -> list[Any]:
        at = self._marks.pop()
        items = self._stack[at:]
        del self._stack[at:]
        return items

    def _push_new(self, value: Any) -> None:
        self._objects -= 1
        if self._objects < 0:
            raise _malformed(f"more than {OBJECTS:,} objects")
        self._stack.append(value)

    def _tuple(self, count: int) -> None:
        items = tuple(self._stack[-count:])
        if len(items) < count:
            raise _malformed("a tuple of nothing")
        del self._stack[-count:]
        self._push_new(items)

    def _recall(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def _remember(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def _extend(self, items: Sequence[Any]) -> None:
        target = self._stack[-1]
        if type(target) is list:
            target.extend(items)
        elif type(target) is not Stub:  # what foreign containers hold is of no interest
            raise _malformed("items for what is no list")

    def _set_items(self, items: Sequence[Any]) -> None:
        target = self._stack[-1]
        if type(target) is Stub:
            return
        if type(target) not in (dict, OrderedDict) or len(items) % 2:
            raise _malformed("entries for what is no mapping")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value

    def _append(self) -> None:
        self._extend([self._stack.pop()])

    def _set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set_items([key, value])

    def _add_items(self) -> None:
        items, target = self._above_mark(), self._stack[-1]
        if type(target) is not set:
            raise _malformed("members for what is no set")
        target.update(map(_key, items))

    # -- names, calls and storages -----------------------------------------------------------

    def _name(self, module: Any, name: Any) -> None:
        """The only door to code: a maker, a kind, or a refusal."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise _malformed("a name that is no text")
        found: Any = _MAKERS.get((module, name))
        if found is None and module in ("torch", "torch.storage") and name in DTYPES:
            found = StorageKind(DTYPES[name])
        known = module in KIND_MODULES or module.startswith(KIND_PACKAGES)
        if found is None and "." not in name and (known or (module, name) in KINDS):
            found = Kind(f"{module}.{name}")
        if found is None:
            raise UnsafePickleError(
                f"{self._source} asks for {brief(f'{module}.{name}')[1:-1]}, which a checkpoint of "
                "weights does not need; nothing of it was run. If you trust the file, save its "
                "state_dict with the program that made it and import that"
            )
        self._push_new(found)

    def _stack_name(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._name(module, name)

    def _call(self) -> None:
        args, function = self._stack.pop(), self._stack.pop()
        if type(args) is not tuple:
            raise _malformed("a call without arguments")
        if type(function) is Kind:
            self._push_new(Stub(function.name, args))
        elif type(function) is Maker:
            made = function.make(*args)
            if isinstance(made, Tensor):
                self._tensors -= 1
            elif isinstance(made, bytes):  # one text may be encoded many times
                self._encoded -= len(made)
            if min(self._tensors, self._encoded) < 0:
                raise _malformed(f"more than {TENSORS:,} tensors, or texts encoded again and again")
            self._push_new(made)
        else:
            raise _malformed(f"a call of what is no function ({type(function).__name__})")

    def _build(self) -> None:
        """State for the object below it: attributes of a stub; nothing else has any."""
        state, target = self._stack.pop(), self._stack[-1]
        if type(target) is OrderedDict:  # `_metadata` of a state_dict
            return
        if type(target) is not Stub:
            raise _malformed(f"a state for an object of type {type(target).__name__}")
        for part in state if type(state) is tuple and len(state) == 2 else (state,):
            if type(part) is dict:
                target.__dict__.update({k: v for k, v in part.items() if isinstance(k, str)})

    def _persistent(self) -> None:
        """A storage: ("storage", type, key, location, number of elements, ...).

        The older format also has ("module", class, file, source text): the class is a kind
        already, and its source text is ignored.
        """
        pid = self._stack.pop()
        if type(pid) is not tuple or not 4 <= len(pid) <= 6:
            raise _malformed("an unknown persistent id")
        if len(pid) == 4 and pid[0] == "module" and type(pid[1]) is Kind:
            self._stack.append(pid[1])
            return
        name, kind, key, _, count = (*pid, None)[:5]
        if name != "storage" or type(kind) is not StorageKind:
            raise _malformed("a storage without a type")
        if type(key) is not str or type(count) is not int or count < 0:
            raise _malformed("a storage without a name or a length")
        self._push_new(self._storage(pid))


def _malformed(what: str) -> pickle.UnpicklingError:
    return pickle.UnpicklingError(f"it holds {what}")


def _key(key: Any) -> Any:
    """A key that is cheap to find again.

    The hash of tuples in tuples takes 2^depth steps; those of flat tuples and of large integers
    can be made equal by the thousand, and NaN is not equal to itself.
    """
    large = isinstance(key, int) and abs(key) >= 1 << 60
    if not isinstance(key, str | bytes | int | float | None | Stub | Kind) or large or key != key:
        raise _malformed(f"a key of type {type(key).__name__} that real files do not have")
    return key


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """torch._utils._rebuild_tensor_v2, with its bounds checked."""
    if type(storage) is not Storage or type(size) is not tuple or type(stride) is not tuple:
        raise _malformed("a tensor without a storage")
    numbers = (offset, *size, *stride)
    possible = all(type(n) is int and 0 <= n < 1 << 40 for n in numbers)
    if not possible or len(size) != len(stride) or len(size) > 8:
        raise _malformed("a tensor of an impossible shape")
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    values = math.prod(size)
    # Strides of zero could announce more values than there are.
    if values > storage.flat.numel() or (values and last >= storage.flat.numel()):
        raise TruncatedFileError("a tensor reaches past the end of its storage")
    return torch.as_strided(storage.flat, size, stride, offset if values else 0)


def _rebuild_parameter(data: Any, *_: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise _malformed("a parameter without a tensor")
    return data


def _rebuild_from_type(function: Any, _kind: Any, args: Any, _state: Any) -> Tensor:
    """A tensor with attributes; these are of no interest."""
    if function not in (_TENSOR, _PARAMETER) or type(args) is not tuple:
        raise _malformed("a tensor of another type")
    tensor: Tensor = function.make(*args)
    return tensor


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """Bytes as protocol 2 writes them: a text to be encoded."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise _malformed("bytes in an unknown encoding")
    return text.encode("latin1")


def _ordered_dict(items: Any = ()) -> OrderedDict[Any, Any]:
    """From nothing, or from a list of pairs as Python 2 wrote it."""
    if type(items) not in (list, tuple) or not all(
        type(pair) in (list, tuple) and len(pair) == 2 for pair in items
    ):
        raise _malformed("an OrderedDict of what are no pairs")
    return OrderedDict((_key(key), value) for key, value in items)


def _set(items: Any = ()) -> set[Any]:
    if type(items) not in (list, tuple):
        raise _malformed("a set of what is no list")
    return set(map(_key, items))


_TENSOR: Final = Maker(_rebuild_tensor)
_PARAMETER: Final = Maker(_rebuild_parameter)
_MAKERS: Final[dict[tuple[str, str], Maker]] = {
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

_STEPS: Final[dict[bytes, Callable[[Machine], Any]]] = {
    pickle.PROTO: lambda m: m._read(1),
    pickle.FRAME: lambda m: m._read(8),
    pickle.MARK: lambda m: m._marks.append(len(m._stack)),
    pickle.POP: lambda m: m._stack.pop(),
    pickle.POP_MARK: lambda m: m._above_mark(),
    pickle.NONE: lambda m: m._stack.append(None),
    pickle.NEWTRUE: lambda m: m._stack.append(True),
    pickle.NEWFALSE: lambda m: m._stack.append(False),
    pickle.BININT: lambda m: m._stack.append(m._integer("<i")),
    pickle.BININT1: lambda m: m._stack.append(m._integer("B")),
    pickle.BININT2: lambda m: m._stack.append(m._integer("<H")),
    pickle.LONG1: lambda m: m._stack.append(pickle.decode_long(m._read(m._integer("B")))),
    pickle.BINFLOAT: lambda m: m._stack.append(struct.unpack(">d", m._read(8))[0]),
    pickle.BINSTRING: lambda m: m._stack.append(m._read(m._integer("<I")).decode("latin1")),
    pickle.SHORT_BINSTRING: lambda m: m._stack.append(m._read(m._integer("B")).decode("latin1")),
    pickle.BINUNICODE: lambda m: m._stack.append(m._text("<I")),
    pickle.SHORT_BINUNICODE: lambda m: m._stack.append(m._text("B")),
    pickle.BINBYTES: lambda m: m._stack.append(m._read(m._integer("<I"))),
    pickle.SHORT_BINBYTES: lambda m: m._stack.append(m._read(m._integer("B"))),
    pickle.EMPTY_TUPLE: lambda m: m._stack.append(()),
    pickle.TUPLE: lambda m: m._push_new(tuple(m._above_mark())),
    pickle.TUPLE1: lambda m: m._tuple(1),
    pickle.TUPLE2: lambda m: m._tuple(2),
    pickle.TUPLE3: lambda m: m._tuple(3),
    pickle.EMPTY_LIST: lambda m: m._push_new([]),
    pickle.EMPTY_DICT: lambda m: m._push_new({}),
    pickle.EMPTY_SET: lambda m: m._push_new(set()),
    pickle.FROZENSET: lambda m: m._push_new(frozenset(map(_key, m._above_mark()))),
    pickle.APPEND: lambda m: m._append(),
    pickle.APPENDS: lambda m: m._extend(m._above_mark()),
    pickle.SETITEM: lambda m: m._set_item(),
    pickle.SETITEMS: lambda m: m._set_items(m._above_mark()),
    pickle.ADDITEMS: lambda m: m._add_items(),
    pickle.BINGET: lambda m: m._recall(m._integer("B")),
    pickle.LONG_BINGET: lambda m: m._recall(m._integer("<I")),
    pickle.BINPUT: lambda m: m._remember(m._integer("B")),
    pickle.LONG_BINPUT: lambda m: m._remember(m._integer("<I")),
    pickle.MEMOIZE: lambda m: m._remember(len(m._memo)),
    pickle.GLOBAL: lambda m: m._name(m._line(), m._line()),
    pickle.STACK_GLOBAL: lambda m: m._stack_name(),
    pickle.REDUCE: lambda m: m._call(),
    pickle.NEWOBJ: lambda m: m._call(),
    pickle.BUILD: lambda m: m._build(),
    pickle.BINPERSID: lambda m: m._persistent(),
}
