"""The header of a safetensors file: its spec and tensor table, read without any library.

A safetensors file is an 8-byte little-endian length, that many bytes of JSON, then the data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from ..errors import (
    ArtefactNotFoundError,
    EmptyFileError,
    ForeignFileError,
    SpecError,
    TruncatedFileError,
)
from .spec import METADATA_KEY, ModelSpec

MAX_HEADER: Final = 100_000_000


def check_file(path: str | Path) -> Path:
    """Return `path` when it is a file that is not empty.

    Raises:
        ArtefactNotFoundError, EmptyFileError: as they say.
    """
    path = Path(path)
    if not path.is_file():
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
        if start != b"{" or length > MAX_HEADER:
            raise ForeignFileError(
                f"{path} is no safetensors file; a foreign checkpoint is converted with "
                "`yolov4sdk import FILE -o model.safetensors`"
            )
        text = start + file.read(length - 1)
    if len(text) < length:
        raise TruncatedFileError(f"{path} ends inside its header; download or copy it again")
    try:
        header: dict[str, Any] = json.loads(text)
        entries = [v for k, v in header.items() if k != "__metadata__"]
        end = 8 + length + max((int(v["data_offsets"][1]) for v in entries), default=0)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ForeignFileError(f"{path} has a damaged safetensors header: {error}") from error
    if size < end:
        raise TruncatedFileError(
            f"{path} has {size:,} bytes, its header announces {end:,}; download or copy it again"
        )
    return header


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
