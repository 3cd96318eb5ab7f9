"""Paths written in data-set files: absolute, or inside the data set."""

from __future__ import annotations

import os
from pathlib import Path

from yolov4sdk.errors import DatasetError
from yolov4sdk.imaging.images import SUFFIXES


def resolve_inside(text: str, folder: Path, root: Path, source: Path) -> Path:
    """A path from a data-set file: absolute as it stands, else relative to `folder`.

    Symbolic links are left alone: they were made on this machine, not by the file.

    Raises:
        DatasetError: a relative path that leaves `root`.
    """
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
    """All image files in a folder and those below it, sorted; hidden files are passed over."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )


def read_text(path: Path, limit: int = 64 << 20) -> str:
    """The text of a label file.

    Raises:
        DatasetError: it is missing, no UTF-8 text, or larger than `limit` bytes.
    """
    try:
        if path.stat().st_size > limit:
            raise DatasetError(f"{path} has more than {limit >> 20} MiB; is it a label file?")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read as UTF-8 text: {error}") from error
