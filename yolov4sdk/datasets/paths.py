"""Paths and texts of data-set files: absolute paths, or inside the data set."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from yolov4sdk.errors import DatasetError
from yolov4sdk.imaging.images import SUFFIXES
from yolov4sdk.system.bounds import brief
from yolov4sdk.system.text import decode_text

_SPELLINGS = {"val": ("val", "valid", "validation")}


def spellings(split: str) -> tuple[str, ...]:
    """The names under which files and folders keep a split: "val" is also "valid"."""
    return _SPELLINGS.get(split, (split,))


def resolve_inside(text: str, folder: Path, root: Path, source: Path) -> Path:
    """A path from a data-set file: absolute as it stands, else relative to `folder`.

    Symbolic links are left alone: they were made on this machine, not by the file.

    Raises:
        DatasetError: a relative path that leaves `root`.
    """
    longest = max(map(len, re.split(r"[/\\]", text)))
    if "\0" in text or len(text) > 2000 or longest > 255:
        raise DatasetError(f"{source}: {brief(text)} can be no path")
    if "://" in text:
        raise DatasetError(f"{source}: {text!r} is a URL; nothing is downloaded, give a local path")
    if Path(text).is_absolute():
        return Path(text)
    path = Path(os.path.normpath(folder / text))
    top = Path(os.path.normpath(root))
    if path != top and top not in path.parents:
        raise DatasetError(
            f"{source}: the path {text!r} leaves the data set ({top}); write it absolute if that "
            "is meant"
        )
    return path


def images_in(folder: Path) -> list[Path]:
    """All image files in a folder and those below it, linked ones too, sorted.

    Hidden files are passed over. A link to a folder above itself is followed once.
    """
    return sorted(path for path in files_in(folder) if path.suffix.lower() in SUFFIXES)


def files_in(folder: Path) -> list[Path]:
    """All files in a folder and those below it, through links; hidden files are passed over.

    Raises:
        DatasetError: a folder that cannot be read.
    """
    return list(_walk(folder, frozenset()))


def _walk(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in above:  # a link to a folder that it lies in
        return
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DatasetError(f"the folder {folder} cannot be read: {error.strerror}") from error
    for entry in entries:
        if entry.is_dir():
            yield from _walk(entry, above | {real})
        elif not entry.name.startswith("."):
            yield entry


def read_text(path: Path, limit: int = 64 << 20) -> str:
    """The text of a label file, UTF-8 or UTF-16.

    Raises:
        DatasetError: it is missing, no such text, or larger than `limit` bytes.
    """
    try:
        if path.stat().st_size > limit:
            raise DatasetError(f"{path} has more than {limit >> 20} MiB; is it a label file?")
        return decode_text(path.read_bytes())
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{path} cannot be read: {error}") from error
