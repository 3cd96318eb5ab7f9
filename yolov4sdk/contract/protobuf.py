"""The wire format of protobuf, as far as ONNX files need it: fields are walked, not loaded.

A message is fields one after the other, each a key (field number and wire type) and a value
(protobuf.dev, Encoding).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import IO, Final, NamedTuple

from ..errors import ForeignFileError, TruncatedFileError

VARINT: Final = 0
BYTES: Final = 2
_FIXED: Final = {1: 8, 5: 4}
"""Wire type to bytes."""


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        number: which one.
        wire: `VARINT`, `BYTES` or a fixed one.
        start, end: of its value in the file.
        value: of a varint, else 0.
    """

    number: int
    wire: int
    start: int
    end: int
    value: int = 0


def fields(
    file: IO[bytes], end: int, name: object, numbers: range | None = None
) -> Iterator[Field]:
    """The fields from where the file is to `end`; each is left behind when the next is asked for.

    Args:
        file: binary, seekable.
        end: of the message.
        name: of the file, in messages.
        numbers: that the message's fields may have; others are an error before their value is read.

    Raises:
        TruncatedFileError: a field is longer than the message.
        ForeignFileError: this is not protobuf.
    """
    while file.tell() < end:
        number, wire = divmod(varint(file, name), 8)
        if numbers is not None and number not in numbers:
            raise foreign(name)
        if wire == VARINT:
            start = file.tell()
            value = varint(file, name)
            yield Field(number, wire, start, file.tell(), value)
            continue
        if wire not in (BYTES, *_FIXED):
            raise foreign(name)
        length = varint(file, name) if wire == BYTES else _FIXED[wire]
        start = file.tell()
        if start + length > end:
            raise TruncatedFileError(
                f"{name} ends inside its field {number}; download or export it again"
            )
        yield Field(number, wire, start, start + length)
        file.seek(start + length, os.SEEK_SET)


def varint(file: IO[bytes], name: object) -> int:
    """An integer of seven bits a byte, the lowest first; errors as `fields`."""
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise TruncatedFileError(f"{name} ends too early; download or export it again")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise foreign(name)


def foreign(name: object) -> ForeignFileError:
    """The error of a file that is not an ONNX file."""
    return ForeignFileError(f"{name} is not an ONNX file")
