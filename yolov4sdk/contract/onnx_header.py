"""The metadata of an ONNX file, read without any library and without its weights.

An ONNX file is one protobuf message, ModelProto: fields one after the other, each a key
(field number and wire type) and a value. Field 14 holds the metadata entries (key, value);
the rest is skipped by its length, so that a 1 GB file costs a few reads.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from ..errors import ForeignFileError, SpecError, TruncatedFileError
from ..system.bounds import ONNX_FIELDS, ONNX_METADATA_BYTES
from .protobuf import BYTES, VARINT, Field, fields, foreign
from .safetensors_header import check_file
from .spec import METADATA_KEY, ModelSpec

METADATA_FIELD: Final = 14
PART: Final = 1 << 24
"""Bytes that are copied at a time."""


def read_onnx_spec(path: str | Path) -> ModelSpec:
    """The ModelSpec inside an ONNX file.

    Raises:
        ArtefactNotFoundError, EmptyFileError, TruncatedFileError, ForeignFileError: as they say.
        SpecError: an ONNX file without a spec, or with a wrong one.
    """
    text = read_onnx_metadata(path).get(METADATA_KEY)
    if text is None:
        raise SpecError(
            f"{path} holds no ModelSpec, so its outputs and classes are unknown; export the model "
            "with `yolov4sdk export`"
        )
    return ModelSpec.from_json(text)


def read_onnx_metadata(path: str | Path) -> dict[str, str]:
    """The metadata entries of an ONNX file.

    Raises:
        ArtefactNotFoundError, EmptyFileError, TruncatedFileError, ForeignFileError: as they say.
    """
    path = check_file(path)
    size = path.stat().st_size
    metadata: dict[str, str] = {}
    left = ONNX_METADATA_BYTES
    with path.open("rb") as file:
        for count, field in enumerate(_model_fields(file, size, path)):
            if count >= ONNX_FIELDS:
                raise ForeignFileError(
                    f"{path} has more than {ONNX_FIELDS:,} parts; a real graph has some 20"
                )
            if field.number != METADATA_FIELD or field.wire != BYTES:
                continue
            left -= field.end - field.start
            if left < 0:
                raise ForeignFileError(
                    f"{path} has more than {ONNX_METADATA_BYTES >> 20} MiB of metadata"
                )
            key, value = _entry(file.read(field.end - field.start), path)
            metadata[key] = value
    return metadata


def copy_with_metadata(source: Path, target: Path, key: str, value: str) -> None:
    """Copy an ONNX file with one metadata entry put in or exchanged; the weights go by in parts.

    Raises:
        TruncatedFileError, ForeignFileError: as they say.
    """
    size = source.stat().st_size
    with source.open("rb") as file, target.open("wb") as out:
        start = 0
        for field in _model_fields(file, size, source):
            here, start = start, field.end
            if field.number == METADATA_FIELD:
                file.seek(field.start)
                if _entry(file.read(field.end - field.start), source)[0] == key:
                    continue
            file.seek(here)
            while file.tell() < field.end:
                out.write(file.read(min(PART, field.end - file.tell())))
        entry = _field(1, key.encode()) + _field(2, value.encode())
        out.write(_field(METADATA_FIELD, entry))


def _field(number: int, data: bytes) -> bytes:
    """A field of bytes: its key, its length, itself."""
    length, digits = len(data), bytearray()
    while length > 0x7F:
        digits.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([number * 8 + 2, *digits, length]) + data


def _model_fields(file: IO[bytes], size: int, path: Path) -> Iterator[Field]:
    """The fields of a ModelProto, numbers 1 to 30; other files fail here at once."""
    for field in fields(file, size, path, range(1, 31)):
        if field.wire not in (VARINT, BYTES):
            raise foreign(path)
        yield field


def _entry(data: bytes, path: Path) -> tuple[str, str]:
    """StringStringEntryProto: key is field 1, value is field 2."""
    stream, found = io.BytesIO(data), dict[int, bytes]()
    try:
        for field in fields(stream, len(data), path):
            # Each field once: an entry of millions of empty ones would take seconds.
            if field.wire != BYTES or field.number not in (1, 2) or field.number in found:
                raise foreign(path)
            found[field.number] = stream.read(field.end - field.start)
        return found.get(1, b"").decode(), found.get(2, b"").decode()
    except (TruncatedFileError, UnicodeDecodeError) as error:
        raise foreign(path) from error
