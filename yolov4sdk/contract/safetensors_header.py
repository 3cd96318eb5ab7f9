"""The header of a safetensors file: its spec and tensor table, read without any library.

A safetensors file is an 8-byte little-endian length, that many bytes of JSON, then the data.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from ..errors import (
    ArtefactError,
    ArtefactNotFoundError,
    EmptyFileError,
    ForeignFileError,
    SpecError,
    TruncatedFileError,
)
from ..system.bounds import JSON_BYTES, brief, is_integer
from ..system.documents import parse_json
from .spec import METADATA_KEY, ModelSpec


def check_file(path: str | Path) -> Path:
    """Return `path` when it is a file that may be read and is not empty.

    Raises:
        ArtefactNotFoundError, EmptyFileError: as they say.
        ArtefactError: it may not be read.
    """
    path = Path(path)
    try:
        is_file = stat.S_ISREG(path.stat().st_mode)
        if is_file:
            path.open("rb").close()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        is_file = False
    except OSError as error:
        raise ArtefactError(f"{path} cannot be read: {error.strerror}") from error
    if not is_file:
        raise ArtefactNotFoundError(f"no model file at {path}; check the path")
    if path.stat().st_size == 0:
        raise EmptyFileError(f"{path} is empty (0 bytes); download, copy or export it again")
    return path


def read_header(path: str | Path) -> dict[str, Any]:
    """The JSON header: tensor names to dtype, shape and offsets, and `__metadata__`.

    Raises:
        ArtefactNotFoundError, EmptyFileError, TruncatedFileError, ForeignFileError: as they say.
    """
    path = check_file(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        start = file.read(1)
        if start != b"{" or length > JSON_BYTES:
            raise ForeignFileError(
                f"{path} is not a safetensors file; a foreign checkpoint is converted with "
                "`yolov4sdk import FILE -o model.safetensors`"
            )
        text = start + file.read(length - 1)
    if len(text) < length:
        raise TruncatedFileError(f"{path} ends inside its header; download or copy it again")
    header: dict[str, Any] = parse_json(text, f"the header of {path}", ForeignFileError)
    end = 8 + length + max((_end(k, v, path) for k, v in header.items()), default=0)
    if size < end:
        raise TruncatedFileError(
            f"{path} has {size:,} bytes, its header announces {end:,}; download or copy it again"
        )
    return header


def _end(key: str, entry: Any, path: Path) -> int:
    """Where a tensor's bytes end, behind the header."""
    if key == "__metadata__":
        return 0
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(
        is_integer(offset, 0, 1 << 60) for offset in offsets
    ):  # fmt: skip
        raise ForeignFileError(
            f"{path} has a damaged safetensors header: {brief(key)} has no data_offsets"
        )
    end: int = offsets[1]
    return end


def spec_of(header: dict[str, Any], path: str | Path) -> ModelSpec:
    """The ModelSpec in a header.

    Raises:
        SpecError: there is none, or it is wrong.
    """
    metadata = header.get("__metadata__")
    text = metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None
    if text is None:
        raise SpecError(
            f"{path} holds no ModelSpec, so its classes and anchors are unknown; convert the "
            "original with `yolov4sdk import FILE -o model.safetensors`"
        )
    return ModelSpec.from_json(text)
