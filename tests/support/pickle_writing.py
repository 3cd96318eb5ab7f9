"""Pickles and checkpoints written opcode by opcode, as only a hostile program writes them."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

NAN = pickle.BINFLOAT + struct.pack(">d", float("nan"))


def text(value: str) -> bytes:
    data = value.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    data = pickle.encode_long(value)
    return pickle.LONG1 + bytes([len(data)]) + data


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def group(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def listed(*parts: bytes) -> bytes:
    return b"](" + b"".join(parts) + b"e"


def mapping(**entries: bytes) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in entries.items()) + b"u"


def storage(key: bytes, count: int, kind: str = "FloatStorage", *more: bytes) -> bytes:
    pid = group(text("storage"), name("torch", kind), key, text("cpu"), number(count), *more)
    return pid + b"Q"


def tensor(stored: bytes, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    shape, steps = (group(*map(number, numbers)) for numbers in (size, stride))
    hooks = name("collections", "OrderedDict") + b")R"
    args = group(stored, number(offset), shape, steps, b"\x89", hooks)
    return name("torch._utils", "_rebuild_tensor_v2") + args + b"R"


def module(kind: str = "Model", **state: bytes) -> bytes:
    return name("models.yolo", kind) + b")\x81" + mapping(**state) + b"b"


def doubling(levels: int) -> bytes:
    """A tuple that prints as 2^levels empty ones and takes six bytes a level."""
    level = pickle.BINPUT + b"\x00" + pickle.BINGET + b"\x00" + pickle.TUPLE2
    return b")" + level * levels


def checkpoint(path: Path, body: bytes, storages: Mapping[str, bytes] | None = None) -> Path:
    """The zip of torch.save around a pickle without its first and last opcode."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + body + b".")
        archive.writestr("archive/version", "3\n")
        for key, data in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", data)
    return path


def legacy(path: Path, body: bytes, keys: bytes = b"]", tail: bytes = b"") -> Path:
    """The stream that torch.save wrote before it wrote zips."""
    out = io.BytesIO()
    for head in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
        pickle.dump(head, out, 2)
    path.write_bytes(out.getvalue() + b"\x80\x02" + body + b".\x80\x02" + keys + b"." + tail)
    return path
