"""What a user points at (files, folders, globs) to a list of image files."""

from __future__ import annotations

import functools
import glob
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TypeVar

from ..errors import ImageNotFoundError
from ..system.outputs import MANIFEST, earlier_results, is_result
from .images import SUFFIXES, is_image_url

P = TypeVar("P", bound=PurePath)

logger: logging.Logger = logging.getLogger(__name__)


@dataclass
class Found:
    """Image files, and what was passed over in the search for them.

    Attributes:
        files: in natural order within each source, each once.
        urls: addresses of images.
        unreadable: folders that may not be read, and why.
        skipped: names of what was passed over, by the reason.
    """

    files: list[Path] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    unreadable: dict[Path, str] = field(default_factory=dict)
    skipped: dict[str, list[Path]] = field(default_factory=dict)

    def skip(self, path: Path, reason: str) -> None:
        """Remember a file or folder that is not read."""
        self.skipped.setdefault(reason, []).append(path)

    def notes(self) -> list[str]:
        """A line for each reason: how many, and examples."""
        lines = []
        for reason, paths in self.skipped.items():
            if reason == _OTHER:
                kinds = Counter(path.suffix.lower() or "no suffix" for path in paths)
                shown = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common(8))
                shown += ", ..." * (len(kinds) > 8)
            else:
                shown = ", ".join(map(str, paths[:3])) + ", ..." * (len(paths) > 3)
            lines.append(f"skipped {len(paths)} {reason}: {shown}")
        return lines


_OTHER = "of other kinds (GIF and video are given by themselves)"
_RESULTS = "written by an earlier run (a glob reads them all the same)"
_SPECIAL = "that are not regular files"
_LOOP = "linked folders that lead to what is read already"
_FOLDERS = "folders that the pattern names (give them without one)"


def expand(sources: Iterable[str | Path], all_of_them: bool = False) -> list[Path]:
    """As `search`, the files only; what was passed over goes to the log as warnings.

    Args:
        all_of_them: a folder that may not be read is an error too.
    """
    found = search(sources)
    for path, reason in found.unreadable.items():
        if all_of_them:
            raise ImageNotFoundError(f"{path} cannot be read: {reason}")
        logger.warning("%s cannot be read: %s", path, reason)
    for line in found.notes():
        logger.warning("%s", line)
    return found.files


def search(sources: Iterable[str | Path], allow_urls: bool = False) -> Found:
    """Files as they are, folders and globs to the images in them.

    Of a folder, its subfolders are read too, linked ones included. Results that an earlier run
    wrote there are passed over.

    Args:
        sources: paths of images, folders or globs ("shots/**/*.jpg").
        allow_urls: whether addresses that end in an image's suffix are kept too.

    Raises:
        ImageNotFoundError: a source that does not exist, or holds no image.
    """
    found = Found()
    files: dict[tuple[str, str], Path] = {}
    real = functools.cache(os.path.realpath)  # of folders: a link to a file counts by its own name
    for source in sources:
        if allow_urls and isinstance(source, str) and is_image_url(source):
            found.urls.append(source)
            continue
        paths = list(_search_one(source, found))
        if not paths:
            raise ImageNotFoundError(_nothing(source, found))
        for path in paths:
            files.setdefault((real(path.parent), path.name), path)
    found.files = list(files.values())
    return found


def _search_one(source: str | Path, found: Found) -> Iterator[Path]:
    text = os.fspath(source)
    if os.path.isdir(text):  # noqa: PTH112 - no error for a name that is too long
        yield from _walk(Path(source), found)
    elif os.path.lexists(text):
        yield Path(source)
    elif glob.has_magic(text):
        matches = map(Path, glob.glob(text, recursive=True))  # noqa: PTH207 - takes absolute patterns
        for path in natural(matches):
            if path.is_dir():
                found.skip(path, _FOLDERS)
            elif path.suffix.lower() in SUFFIXES:
                yield path
            else:
                found.skip(path, _OTHER)
    else:
        raise ImageNotFoundError(f"no image, folder or match at {source}")


def _walk(root: Path, found: Found) -> Iterator[Path]:
    """The images of a folder and of those below it, in natural order."""
    images: list[Path] = []
    top = os.path.realpath(root)
    seen = {top}
    waiting: list[tuple[Path, str, dict[str, tuple[int, int]]]] = [(root, top, {})]
    while waiting:
        folder, real, results = waiting.pop()
        results = results | earlier_results(folder)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            found.unreadable[folder] = error.strerror or str(error)
            continue
        for entry in entries:
            path = folder / entry.name
            if entry.is_dir():
                inside = os.path.join(real, entry.name)  # noqa: PTH118
                if entry.is_symlink():
                    inside = os.path.realpath(path)
                if inside in seen or (entry.is_symlink() and _holds(inside, top)):
                    found.skip(path, _LOOP)
                else:
                    seen.add(inside)
                    waiting.append((path, inside, results))
            elif entry.name == MANIFEST or is_result(path, results):
                found.skip(path, _RESULTS)
            elif path.suffix.lower() not in SUFFIXES:
                found.skip(path, _OTHER)
            elif os.path.exists(path) and not entry.is_file():  # noqa: PTH110
                found.skip(path, _SPECIAL)  # reading a pipe would wait for ever
            else:
                images.append(path)
    for paths in found.skipped.values():
        paths.sort(key=_natural_key)
    yield from natural(images)


def _holds(folder: str, top: str) -> bool:
    """Whether a linked folder lies in the one that is searched, or around it."""
    return os.path.commonpath([folder, top]) in (folder, top)


def natural(paths: Iterable[P]) -> list[P]:
    """Sorted as people count: frame2 before frame10, folder by folder."""
    return sorted(paths, key=_natural_key)


def _natural_key(path: PurePath) -> tuple[list[list[str | int]], str]:
    parts: list[list[str | int]] = [
        [int(piece) if piece.isdecimal() else piece for piece in re.split(r"(\d+)", part)]
        for part in path.parts
    ]
    return parts, str(path)


def _nothing(source: str | Path, found: Found) -> str:
    path = Path(source)
    if path in found.unreadable:
        return f"{source} cannot be read: {found.unreadable[path]}"
    notes = "".join(f"; {line}" for line in found.notes())
    closed = "".join(f"; {path} cannot be read: {why}" for path, why in found.unreadable.items())
    return (
        f"no images in {source}; the suffixes read are {' '.join(sorted(SUFFIXES))}{notes}{closed}"
    )
