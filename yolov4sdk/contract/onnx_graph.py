"""Inputs and outputs of an ONNX file, read without any library and without its weights.

Numbers of the fields: onnx.proto of the ONNX project (ModelProto, GraphProto, ValueInfoProto).
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from ..errors import ForeignFileError
from .onnx_header import read_onnx_metadata
from .protobuf import BYTES, VARINT, fields, foreign

Shape = tuple[int | None, ...]
"""None where a dimension is not fixed."""

_GRAPH, _INITIALIZER, _INPUT, _OUTPUT = 7, 5, 11, 12
_TENSOR_NAME: Final = 8
_DTYPES: Final = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64",
    9: "bool", 10: "float16", 11: "float64", 16: "bfloat16",
}  # fmt: skip
_LARGEST: Final = 1_000_000
"""Bytes of a description of one tensor; real ones have some hundred."""


@dataclass(frozen=True)
class GraphTensor:
    """Name, NumPy dtype and shape of an input or output."""

    name: str
    dtype: str
    shape: Shape


@dataclass(frozen=True)
class GraphFacts:
    """What a file says of its graph without being run.

    Attributes:
        inputs, outputs: in the graph's order; initialisers are not inputs.
        metadata: the strings that the exporter left in the file.
    """

    inputs: tuple[GraphTensor, ...]
    outputs: tuple[GraphTensor, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_onnx_graph(path: str | Path) -> GraphFacts:
    """Inputs, outputs and metadata of an ONNX file.

    Raises:
        ArtefactNotFoundError, EmptyFileError, TruncatedFileError, ForeignFileError: as they say.
    """
    path = Path(path)
    metadata = read_onnx_metadata(path)  # checks the file's outer structure too
    inputs: list[GraphTensor] = []
    outputs: list[GraphTensor] = []
    constants: set[str] = set()
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        for number, start, stop in _fields(file, size, path):
            if number != _GRAPH:
                continue
            file.seek(start)
            for inner, begin, end in _fields(file, stop, path):
                if inner in (_INPUT, _OUTPUT):
                    tensor = _tensor(_bytes(file, begin, end, path), path)
                    (inputs if inner == _INPUT else outputs).append(tensor)
                elif inner == _INITIALIZER:
                    file.seek(begin)
                    for name, a, b in _fields(file, end, path):
                        if name == _TENSOR_NAME:
                            constants.add(_text(_bytes(file, a, b, path), path))
                file.seek(end)
    if not outputs:
        raise ForeignFileError(f"{path} is not an ONNX model: it has no outputs")
    return GraphFacts(tuple(t for t in inputs if t.name not in constants), tuple(outputs), metadata)


def _fields(file: IO[bytes], stop: int, path: Path) -> Iterator[tuple[int, int, int]]:
    """(number, first byte, end) of each field with a length; leaves the file behind it."""
    return ((f.number, f.start, f.end) for f in fields(file, stop, path) if f.wire == BYTES)


def _bytes(file: IO[bytes], start: int, stop: int, path: Path) -> bytes:
    if stop - start > _LARGEST:
        raise ForeignFileError(f"{path}: a description of {stop - start} bytes is not a tensor's")
    file.seek(start)
    return file.read(stop - start)


def _text(data: bytes, path: Path) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ForeignFileError(f"{path} has a name that is not UTF-8") from error


def _values(data: bytes, path: Path) -> list[tuple[int, int | bytes]]:
    """(number, value) of all fields of a small message."""
    stream = io.BytesIO(data)
    found: list[tuple[int, int | bytes]] = []
    for part in fields(stream, len(data), path):
        if part.wire == VARINT:
            found.append((part.number, part.value))
        elif part.wire == BYTES:
            found.append((part.number, stream.read(part.end - part.start)))
        else:
            raise foreign(path)
    return found


def _tensor(data: bytes, path: Path) -> GraphTensor:
    """ValueInfoProto: name (1), type (2) -> tensor_type (1) -> elem_type (1), shape (2)."""
    name, dtype, shape = "", "", []
    for number, value in _values(data, path):
        if number == 1 and isinstance(value, bytes):
            name = _text(value, path)
        if number != 2 or not isinstance(value, bytes):
            continue
        for kind, tensor in _values(value, path):
            if kind != 1 or not isinstance(tensor, bytes):
                continue
            for part, content in _values(tensor, path):
                if part == 1 and isinstance(content, int):
                    dtype = _DTYPES.get(content, f"type {content}")
                elif part == 2 and isinstance(content, bytes):
                    shape = [_dim(d, path) for n, d in _values(content, path) if n == 1]
    return GraphTensor(name, dtype, tuple(shape))


def _dim(data: int | bytes, path: Path) -> int | None:
    values = dict(_values(data, path)) if isinstance(data, bytes) else {}
    value = values.get(1)
    return value if isinstance(value, int) and 0 < value < 2**31 else None
