"""A machine that reads pickles, and makes plain values and tensors only.

A pickle is a program: it names functions and calls them with what it has built. Here a name gives
a maker of an allow-list, a kind of inert objects, or a refusal (`pickle_names`); the opcodes are
those that torch.save writes; steps, objects and bytes are counted. So a file costs a small multiple
of its size, and nothing that it says reaches the program around it.
"""

from __future__ import annotations

import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import IO, Any, Final

from torch import Tensor

from ..system.bounds import OBJECTS, OPCODES, PICKLE_BYTES, TENSORS
from .pickle_names import Kind, Maker, Storage, StorageKind, Stub, cheap_key, find, malformed

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
                raise malformed(f"more than {OPCODES:,} steps")
            code = self._read(1)
            if code == b".":
                return self._stack.pop()
            step = _STEPS.get(code)
            if step is None:
                raise malformed(f"the opcode {code!r}, which torch.save does not write")
            step(self)

    # -- bytes -------------------------------------------------------------------------------

    def _read(self, count: int) -> bytes:
        self._bytes -= count
        if self._bytes < 0:
            raise malformed(f"a pickle of more than {PICKLE_BYTES >> 20} MiB")
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
            raise malformed("a name that does not end")
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
            raise malformed(f"more than {OBJECTS:,} objects")
        self._stack.append(value)

    def _tuple(self, count: int) -> None:
        items = tuple(self._stack[-count:])
        if len(items) < count:
            raise malformed("a tuple of nothing")
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
            raise malformed("items for what is not a list")

    def _set_items(self, items: Sequence[Any]) -> None:
        target = self._stack[-1]
        if type(target) is Stub:
            return
        if type(target) not in (dict, OrderedDict) or len(items) % 2:
            raise malformed("entries for what is not a mapping")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[cheap_key(key)] = value

    def _append(self) -> None:
        self._extend([self._stack.pop()])

    def _set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set_items([key, value])

    def _add_items(self) -> None:
        items, target = self._above_mark(), self._stack[-1]
        if type(target) is not set:
            raise malformed("members for what is not a set")
        target.update(map(cheap_key, items))

    # -- names, calls and storages -----------------------------------------------------------

    def _name(self, module: Any, name: Any) -> None:
        self._push_new(find(module, name, self._source))

    def _stack_name(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._name(module, name)

    def _call(self) -> None:
        args, function = self._stack.pop(), self._stack.pop()
        if type(args) is not tuple:
            raise malformed("a call without arguments")
        if type(function) is Kind:
            self._push_new(Stub(function.name, args))
        elif type(function) is Maker:
            made = function.make(*args)
            if isinstance(made, Tensor):
                self._tensors -= 1
            elif isinstance(made, bytes):  # one text may be encoded many times
                self._encoded -= len(made)
            if min(self._tensors, self._encoded) < 0:
                raise malformed(f"more than {TENSORS:,} tensors, or texts encoded again and again")
            self._push_new(made)
        else:
            raise malformed(f"a call of what is not a function ({type(function).__name__})")

    def _build(self) -> None:
        """State for the object below it: attributes of a stub; nothing else has any."""
        state, target = self._stack.pop(), self._stack[-1]
        if type(target) is OrderedDict:  # `_metadata` of a state_dict
            return
        if type(target) is not Stub:
            raise malformed(f"a state for an object of type {type(target).__name__}")
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
            raise malformed("an unknown persistent id")
        if len(pid) == 4 and pid[0] == "module" and type(pid[1]) is Kind:
            self._stack.append(pid[1])
            return
        name, kind, key, _, count = (*pid, None)[:5]
        if name != "storage" or type(kind) is not StorageKind:
            raise malformed("a storage without a type")
        if type(key) is not str or type(count) is not int or count < 0:
            raise malformed("a storage without a name or a length")
        self._push_new(self._storage(pid))


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
    pickle.FROZENSET: lambda m: m._push_new(frozenset(map(cheap_key, m._above_mark()))),
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
