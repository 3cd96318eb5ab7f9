"""data.yaml: where the splits of a YOLO data set are and what its classes are called."""

from __future__ import annotations

import re
import reprlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from yolov4sdk.datasets.paths import read_text, resolve_inside
from yolov4sdk.errors import DatasetError, MissingExtraError

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
    data = _load(file)
    if not isinstance(data, dict):
        raise DatasetError(f"{file}: expected a mapping with train, val and names")
    notes = []
    if data.get("download"):
        notes.append("the download key was ignored: nothing in a data-set file is run or fetched")
    root = file.parent
    path = data.get("path", "")
    if not isinstance(path, str):
        raise DatasetError(f"{file}: path must be a folder, got {reprlib.repr(path)}")
    if path not in _EMPTY:
        root = resolve_inside(path, file.parent, file.parent, file)
    entries: dict[str, list[str]] = {}
    for split in ("train", "val", "valid", "validation", "test"):
        value = data.get(split, "")
        listed = value if isinstance(value, list) else [] if value in _EMPTY else [value]
        for entry in listed:
            if not isinstance(entry, str) or not _is_path(entry):
                raise DatasetError(
                    f"{file}: {split} must be a path or a list of paths, got {reprlib.repr(value)}"
                )
        if listed:
            entries.setdefault(_ALIASES.get(split, split), listed)
    return DataFile(file, root, _names(data, file), entries, notes)


def _is_path(text: str) -> bool:
    """Whether a value can be a path; a bare number is a mistake."""
    return text not in _EMPTY and not text.replace(".", "", 1).isdigit()


def _load(file: Path) -> Any:
    """The file's content, every scalar as the text that is written there.

    YAML reads the names no, 1.10, 007 and ~ as False, 1.1, 7 and None; class names are texts.
    """
    try:
        import yaml
    except ImportError:
        raise MissingExtraError("Reading a data.yaml", "eval", "pyyaml") from None

    class Texts(yaml.SafeLoader):
        yaml_implicit_resolvers: dict[str, Any] = {  # noqa: RUF012 - PyYAML's own attribute
            "<": [("tag:yaml.org,2002:merge", re.compile("^(?:<<)$"))]
        }

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            values: dict[str, Any] = {}
            for key, value in getattr(node, "value", ()):
                if key.tag == "tag:yaml.org,2002:merge":
                    continue
                written = key.value
                if isinstance(written, str) and written in values:
                    raise DatasetError(
                        f"{file}, line {key.start_mark.line + 1}: the key {written!r} is there "
                        f"twice ({_shown(values[written])} and {_shown(value)}); keep one"
                    )
                values[written if isinstance(written, str) else ""] = value
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(read_text(file, limit=4 << 20), Texts)
    except yaml.YAMLError as error:
        raise DatasetError(f"{file} is not valid YAML: {error}") from error
    except RecursionError:
        raise DatasetError(f"{file} is not valid YAML: it is nested too deeply") from None


def _shown(node: Any) -> str:
    return repr(node.value) if isinstance(node.value, str) else "a list or mapping"


def _names(data: dict[Any, Any], file: Path) -> tuple[str, ...]:
    """Class names from `names` (list or mapping of ids), or class0, ... from `nc`."""
    names, nc = data.get("names"), data.get("nc")
    count = int(nc) if isinstance(nc, str) and nc.isascii() and nc.isdigit() else None
    if nc is not None and nc not in _EMPTY and count is None:
        raise DatasetError(f"{file}: nc must be the number of classes, got {reprlib.repr(nc)}")
    if names is None and count:
        names = [f"class{i}" for i in range(min(count, 1 << 20))]
    if isinstance(names, dict):
        names = _by_id(names, file)
    if not isinstance(names, list) or not names:
        raise DatasetError(f"{file}: names must list the classes, as a list or id: name")
    for number, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise DatasetError(
                f"{file}: the name of class {number} must be a text, got {reprlib.repr(name)}"
            )
    if len(set(names)) != len(names):
        raise DatasetError(f"{file}: two classes have one name: {', '.join(names)}")
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
                f"{file}: names has the id {int(key)} twice, for {by_id[int(key)]!r} and {name!r}"
            )
        by_id[int(key)] = name
    if sorted(by_id) != list(range(len(names))):
        raise DatasetError(
            f"{file}: the ids in names must be 0 to {len(names) - 1}, each once; got "
            f"{', '.join(map(str, names))}"
        )
    return [by_id[i] for i in range(len(names))]
