"""Where results go: named after their sources, and nothing of the user's is ever replaced.

A run names all its files before it reads the first input, and is refused where one of them is
there already. What it writes is noted in the folder's manifest with size and time, by which a
later run knows it: `--overwrite` replaces these files, and a search for images passes them over.
A result that was edited since is the user's.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

from ..errors import OutputError, SettingError
from .files import atomic_write

MANIFEST: Final = ".yolov4sdk-results.jsonl"
Writing = Callable[[Path], AbstractContextManager[Path]]
"""What gives a temporary path for a file and puts it in its place, as `atomic_write`."""

_NAME_BYTES: Final = 240
"""Of a result's name without suffix: file systems take 255 bytes."""


class OutputFiles:
    """The files that one run writes.

    Args:
        folder: that holds the manifest.
        files: all that the run will write, in `folder` or below.
        inputs: files that it reads.
        overwrite: whether results of an earlier run may be replaced.

    Raises:
        SettingError: a file is there already.
        OutputError: what should be a folder is not.
    """

    def __init__(
        self,
        folder: str | Path,
        files: Iterable[Path],
        inputs: Iterable[str | Path] = (),
        overwrite: bool = False,
    ) -> None:
        self._folder = Path(folder)
        files = list(files)
        for parent in {self._folder, *(file.parent for file in files)}:
            if os.path.lexists(parent) and not parent.is_dir():
                raise OutputError(f"{parent} cannot be written: it is there and is not a folder")
        taken = [file for file in files if os.path.lexists(file)]
        read = {os.path.realpath(path) for path in inputs} if taken else set()
        results = earlier_results(self._folder) if taken else {}
        for file in taken:
            if os.path.realpath(file) in read:
                raise SettingError(f"the result would replace its source {file}{_ELSE}")
            if not is_result(file, results):
                raise SettingError(
                    f"{file} is there already and is not an unchanged result of an earlier run; "
                    f"it is not replaced{_ELSE}"
                )
        if taken and not overwrite:
            more = f" (so are {len(taken) - 1} more)" if len(taken) > 1 else ""
            raise SettingError(
                f"{taken[0]} is a result of an earlier run{more}; replace it with --overwrite, or "
                "give another folder with -o"
            )
        self._replaced = frozenset(taken)

    @contextmanager
    def writing(self, path: Path) -> Iterator[Path]:
        """As `atomic_write`, for one of the files; it is noted in the manifest.

        Raises:
            OutputError: it cannot be written, or another program has put a file there.
        """
        with atomic_write(path, replace=path in self._replaced) as temporary:
            yield temporary
            state = temporary.stat()
            entry = {
                "file": path.relative_to(self._folder).as_posix(),
                "bytes": state.st_size,
                "mtime_ns": state.st_mtime_ns,
            }
            with (self._folder / MANIFEST).open("a", encoding="utf-8") as manifest:
                manifest.write(json.dumps(entry) + "\n")


_ELSE: Final = "; give another folder with -o"


def refuse_existing(
    files: Iterable[str | Path],
    inputs: Iterable[str | Path] = (),
    *,
    overwrite: bool,
    is_ours: Callable[[Path], bool],
) -> None:
    """For a command that writes single files: none that is there may be replaced.

    Args:
        files: that will be written.
        inputs: that will be read.
        overwrite: whether files of our own may be replaced.
        is_ours: what knows them.

    Raises:
        SettingError: a file is there.
    """
    read = {os.path.realpath(path) for path in inputs}
    for file in map(Path, files):
        if not os.path.lexists(file):
            continue
        if os.path.realpath(file) in read:
            raise SettingError(f"the result would replace its source {file}; give another name")
        if not is_ours(file):
            raise SettingError(
                f"{file} is there already and was not written by this program; it is not "
                "replaced, give another name with -o"
            )
        if not overwrite:
            raise SettingError(
                f"{file} is there already; replace it with --overwrite, or give another name with "
                "-o"
            )


def earlier_results(folder: str | Path) -> dict[str, tuple[int, int]]:
    """Path, bytes and time of modification (ns) of what earlier runs wrote into a folder."""
    found: dict[str, tuple[int, int]] = {}
    try:
        lines = (Path(folder) / MANIFEST).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return found
    for line in lines.splitlines():
        try:
            entry: Any = json.loads(line)
            file, size, time = entry["file"], entry["bytes"], entry["mtime_ns"]
            found[str(Path(folder, file))] = (int(size), int(time))
        except (ValueError, TypeError, KeyError):  # a line that was cut off, or not ours
            continue
    return found


def is_result(path: str | Path, results: dict[str, tuple[int, int]]) -> bool:
    """Whether a file is one of `earlier_results`, as it was written."""
    known = results.get(os.fspath(path))
    if known is None:
        return False
    try:
        state = os.stat(path, follow_symlinks=False)  # noqa: PTH116
    except OSError:
        return False
    return known == (state.st_size, state.st_mtime_ns)


def result_names(sources: Sequence[Path], suffixes: Iterable[str]) -> list[Path]:
    """A relative path without suffix for the results of each source; no two are the same.

    It is the path that the user gave, below the folder that all have in common. Where two differ
    in the suffix only, the later ones get theirs as part of the name, and a number if need be.

    Args:
        sources: files; links are taken by their own names.
        suffixes: that are taken off ("dog.jpg" to "dog", but "v1.2" stays).
    """
    if not sources:
        return []
    known = set(suffixes)
    paths = [Path(os.path.abspath(path)) for path in sources]  # noqa: PTH100 - links stay
    common = os.path.commonpath([path.parent for path in paths])
    relative = [path.relative_to(common) for path in paths]
    folders = {_key(parent) for path in relative for parent in path.parents}
    taken: set[str] = set()
    names: list[Path | None] = []

    def take(name: Path) -> Path | None:
        # a folder d.jpg beside an image d.png: no result may be called like the folder
        clash = any(_key(name.with_name(name.name + end)) in folders for end in (".jpg", ".txt"))
        if clash or _key(name) in taken:
            return None
        taken.add(_key(name))
        return name

    for path in relative:  # those that keep their own name first
        names.append(take(path.with_name(_stem(path.name, known))))
    for i, path in enumerate(relative):
        if names[i] is None:
            stem, suffix = _stem(path.name, known), path.suffix.lstrip(".")
            for number in itertools.count(1):
                parts = [stem, *([suffix] if suffix and stem != path.name else [])]
                parts += [str(number)] if number > 1 or len(parts) == 1 else []
                if found := take(path.with_name("_".join(parts))):
                    names[i] = found
                    break
    return [name for name in names if name is not None]


def _stem(name: str, suffixes: set[str]) -> str:
    path = Path(name)
    stem = path.stem if path.suffix.lower() in suffixes else name
    if len(data := os.fsencode(stem)) > _NAME_BYTES:
        stem = data[:_NAME_BYTES].decode("utf-8", "ignore")
    return stem


def _key(path: Path) -> str:
    """Names that are one on this system are one here: macOS and Windows ignore case."""
    text = path.as_posix()
    return text.casefold() if sys.platform in ("darwin", "win32") else text
