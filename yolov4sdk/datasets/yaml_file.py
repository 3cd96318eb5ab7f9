"""data.yaml: where the splits of a YOLO data set are and what its classes are called."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from yolov4sdk.datasets.paths import resolve_inside
from yolov4sdk.errors import DatasetError
from yolov4sdk.system.bounds import CLASSES, NAME_LENGTH, brief
from yolov4sdk.system.documents import load_yaml

_EMPTY = ("", "~", "null", "Null", "NULL")  # YAML's ways to write nothing
_ALIASES = {"valid": "val", "validation": "val"}


@dataclass(frozen=True)
class DataFile:
    """What a data.yaml says.

    Attributes:
        file: the data.yaml.
        root: the folder that its paths start from.
        names: the classes.
        entries: for each split the folders and lists, as they are written.
        notes: on what was read differently from how it is written.
    """

    file: Path
    root: Path
    names: tuple[str, ...]
    entries: dict[str, list[str]]
    notes: list[str] = field(default_factory=list)

    def paths(self, split: str) -> list[Path]:
        """The folders and lists of a split.

        Roboflow writes "../train/images" for a folder beside its data.yaml: a path that would
        leave the data set means the folder of that name inside, where there is one.

        Raises:
            DatasetError: the file has no such split, or a path leaves the data set.
        """
        if split not in self.entries:
            raise DatasetError(
                f"{self.file} has no split {split!r}; it has {', '.join(self.entries) or 'none'}"
            )
        return [self._path(entry) for entry in self.entries[split]]

    def present(self, split: str) -> bool:
        """Whether anything that a split names is there."""
        try:
            return any(path.exists() for path in self.paths(split))
        except DatasetError:
            return False

    def _path(self, entry: str) -> Path:
        parts = PurePosixPath(entry.replace("\\", "/")).parts
        inside = [part for part in parts if part != ".."]
        if parts[:1] == ("..",) and ".." not in parts[len(parts) - len(inside) :]:
            path = self.root.joinpath(*inside)
            if inside and path.exists():
                note = f"{entry} is read as {path}, inside the data set"
                self.notes.extend([note] if note not in self.notes else [])
                return path
        return resolve_inside(entry, self.root, self.root, self.file)


def read_data_file(file: Path) -> DataFile:
    """Read a data.yaml; nothing in it is run or fetched, and names are taken as they are written.

    Raises:
        DatasetError: the file breaks the format; the message says where.
        MissingExtraError: PyYAML is not installed.
    """
    data = load_yaml(file, DatasetError, texts=True)
    if not isinstance(data, dict):
        raise DatasetError(f"{file}: expected a mapping with train, val and names")
    notes = []
    if data.get("download"):
        notes.append("the download key was ignored: nothing in a data-set file is run or fetched")
    root = file.parent
    path = data.get("path", "")
    if not isinstance(path, str):
        raise DatasetError(f"{file}: path must be a folder, got {brief(path)}")
    if path not in _EMPTY:
        root = resolve_inside(path, file.parent, file.parent, file)
    entries: dict[str, list[str]] = {}
    for split in ("train", "val", "valid", "validation", "test"):
        value = data.get(split, "")
        listed = value if isinstance(value, list) else [] if value in _EMPTY else [value]
        for entry in listed:
            if not isinstance(entry, str) or not _is_path(entry):
                raise DatasetError(
                    f"{file}: {split} must be a path or a list of paths, got {brief(value)}"
                )
        if listed:
            entries.setdefault(_ALIASES.get(split, split), listed)
    return DataFile(file, root, _names(data, file), entries, notes)


def _is_path(text: str) -> bool:
    """Whether a value can be a path; a bare number is a mistake."""
    return text not in _EMPTY and not text.replace(".", "", 1).isdigit()


def _names(data: dict[Any, Any], file: Path) -> tuple[str, ...]:
    """Class names from `names` (list or mapping of ids), or class0, ... from `nc`."""
    names, nc = data.get("names"), data.get("nc")
    count = None
    if isinstance(nc, str) and nc.isascii() and nc.isdigit() and len(nc) < 20:
        count = int(nc)
    if nc is not None and nc not in _EMPTY and count is None:
        raise DatasetError(f"{file}: nc must be the number of classes, got {brief(nc)}")
    if count is not None and count > CLASSES:
        raise DatasetError(f"{file}: nc is {brief(count)}; at most {CLASSES:,} classes are read")
    if names is None and count:
        names = [f"class{i}" for i in range(count)]
    if isinstance(names, dict):
        names = _by_id(names, file)
    if not isinstance(names, list) or not names:
        raise DatasetError(f"{file}: names must list the classes, as a list or id: name")
    for number, name in enumerate(names):
        if not isinstance(name, str) or not name.strip() or len(name) > NAME_LENGTH:
            raise DatasetError(
                f"{file}: the name of class {number} must be a text, got {brief(name)}"
            )
    if len(set(names)) != len(names):
        shown = ", ".join(brief(name).strip("'") for name in names[:20])
        raise DatasetError(f"{file}: two classes have one name: {shown}")
    if count is not None and count != len(names):
        raise DatasetError(f"{file}: nc is {count}, but there are {len(names)} names")
    return tuple(names)


def _by_id(names: dict[Any, Any], file: Path) -> list[Any]:
    """The names in the order of their ids, which may be quoted."""
    by_id: dict[int, Any] = {}
    for key, name in names.items():
        if not (isinstance(key, str) and key.isascii() and key.isdigit() and len(key) < 10):
            by_id = {}
            break
        if int(key) in by_id:
            raise DatasetError(
                f"{file}: names has the id {int(key)} twice, for {brief(by_id[int(key)])} and "
                f"{brief(name)}"
            )
        by_id[int(key)] = name
    if sorted(by_id) != list(range(len(names))):
        shown = ", ".join(brief(key).strip("'") for key in list(names)[:20])
        raise DatasetError(
            f"{file}: the ids in names must be 0 to {len(names) - 1}, each once; got {shown}"
        )
    return [by_id[i] for i in range(len(names))]
