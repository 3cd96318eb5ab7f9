"""The metadata of an ONNX file, read without any library and without its weights.

An ONNX file is one protobuf message, ModelProto: fields one after the other, each a key
(field number and wire type) and a value. Field 14 holds the metadata entries (key, value);
the rest is skipped by its length, so that a 1 GB file costs a few reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO, Final

from ..errors import ForeignFileError, SpecError, TruncatedFileError
from ..system.bounds import ONNX_FIELDS, ONNX_METADATA_BYTES
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
        for _ in range(ONNX_FIELDS):
            if file.tell() >= size:
                return metadata
            number, wire = _key(file, path)
            if wire == 0:
                _varint(file, path)
            elif wire == 2:
                length = _varint(file, path)
                if file.tell() + length > size:
                    raise TruncatedFileError(
                        f"{path} ends inside its field {number}; download or export it again"
                    )
                if number == METADATA_FIELD:
                    left -= length
                    if left < 0:
                        raise ForeignFileError(
                            f"{path} has more than {ONNX_METADATA_BYTES >> 20} MiB of metadata"
                        )
                    key, value = _entry(file.read(length), path)
                    metadata[key] = value
                else:
                    file.seek(length, 1)
            else:
                raise _foreign(path)
    raise ForeignFileError(f"{path} has more than {ONNX_FIELDS:,} parts; a real graph has some 20")


def copy_with_metadata(source: Path, target: Path, key: str, value: str) -> None:
    """Copy an ONNX file with one metadata entry put in or exchanged; the weights go by in parts.

    Raises:
        TruncatedFileError, ForeignFileError: as they say.
    """
    size = source.stat().st_size
    with source.open("rb") as file, target.open("wb") as out:
        while (start := file.tell()) < size:
            number, wire = _key(file, source)
            length = _varint(file, source)
            body, end = file.tell(), file.tell() + (length if wire == 2 else 0)
            if number == METADATA_FIELD and _entry(file.read(length), source)[0] == key:
                continue
            file.seek(start)
            out.write(file.read(body - start))
            while file.tell() < end:
                out.write(file.read(min(PART, end - file.tell())))
        fields = [(1, key.encode()), (2, value.encode())]
        entry = b"".join(_field(number, data) for number, data in fields)
        out.write(_field(METADATA_FIELD, entry))


def _field(number: int, data: bytes) -> bytes:
    """A field of bytes: its key, its length, itself."""
    length, digits = len(data), bytearray()
    while length > 0x7F:
        digits.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([number * 8 + 2, *digits, length]) + data


def _key(file: IO[bytes], path: Path) -> tuple[int, int]:
    number, wire = divmod(_varint(file, path), 8)
    if not 1 <= number <= 30:  # ModelProto's fields; other files fail here at once
        raise _foreign(path)
    return number, wire


def _varint(file: IO[bytes], path: Path) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise TruncatedFileError(f"{path} ends too early; download or export it again")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise _foreign(path)


def _entry(data: bytes, path: Path) -> tuple[str, str]:
    """StringStringEntryProto: key is field 1, value is field 2."""
    import io

    stream, fields = io.BytesIO(data), dict[int, bytes]()
    while stream.tell() < len(data):
        number, wire = divmod(_varint(stream, path), 8)
        # Each field once: an entry of millions of empty ones would take seconds.
        if wire != 2 or number not in (1, 2) or number in fields:
            raise _foreign(path)
        length = _varint(stream, path)
        if length > len(data) - stream.tell():
            raise _foreign(path)
        fields[number] = stream.read(length)
    try:
        return fields.get(1, b"").decode(), fields.get(2, b"").decode()
    except UnicodeDecodeError as error:
        raise _foreign(path) from error


def _foreign(path: Path) -> ForeignFileError:
    return ForeignFileError(f"{path} is no ONNX file")
