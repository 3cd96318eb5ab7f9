"""YOLO labels: a text file per image with lines `class cx cy w h`, normalised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolov4sdk.datasets.cleaning import RawImage, assemble
from yolov4sdk.datasets.dataset import DatasetReport, DetectionDataset
from yolov4sdk.datasets.paths import images_in, read_text, resolve_inside
from yolov4sdk.errors import DatasetError, MissingExtraError

_NAME_FILES = ("classes.txt", "obj.names", "names.txt", "labels.txt")
_NORMALISED_MAX = 4.0  # a normalised coordinate past this is a pixel


@dataclass(frozen=True)
class _Source:
    """What a data.yaml says: where the splits are and what the classes are called."""

    file: Path
    root: Path
    names: tuple[str, ...]
    splits: dict[str, list[Path]]
    notes: list[str]


def read_yaml(file: Path, split: str) -> DetectionDataset:
    """A split of a data set described by a YAML file with `path`, `train`, `val` and `names`.

    Raises:
        DatasetError: the file or a label breaks the format; the split is not in it, is empty, or
            training images lie in the validation folder.
        MissingExtraError: PyYAML is not installed.
    """
    source = _parse_yaml(file)
    if split not in source.splits:
        raise DatasetError(
            f"{file} has no split {split!r}; it has {', '.join(source.splits) or 'none'}"
        )
    _check_nesting(source)
    report = DatasetReport(notes=list(source.notes))
    images = [
        image for entry in source.splits[split] for image in _listed_images(entry, source.root)
    ]
    return _build(images, source.names, split, file, report)


def yaml_splits(file: Path) -> list[str]:
    """The splits that a YAML file names ("valid" is "val").

    Raises:
        DatasetError, MissingExtraError: see `read_yaml`.
    """
    return list(_parse_yaml(file).splits)


def read_list(file: Path, split: str) -> DetectionDataset:
    """The images that a text file lists, one path a line, relative to its folder or absolute.

    Class names come from classes.txt (or obj.names, names.txt, labels.txt) beside it, else they
    are class0, class1, ...
    """
    return _build(
        _listed_images(file, file.parent), _names_beside(file.parent), split, file, DatasetReport()
    )


def read_folder(folder: Path, split: str) -> DetectionDataset:
    """A folder without a data.yaml: images/<split>, <split>/images, <split>, images or itself.

    Raises:
        DatasetError: it holds no image.
    """
    candidates = [
        folder / "images" / split,
        folder / split / "images",
        folder / split,
        folder / "images",
        folder,
    ]
    for candidate in candidates:
        images = images_in(candidate) if candidate.is_dir() else []
        if images:
            return _build(images, _names_beside(folder), split, folder, DatasetReport())
    raise DatasetError(
        f"{folder} holds no images; looked in images/{split}, {split}/images, {split}, images and "
        "the folder itself"
    )


def _build(
    images: Sequence[Path],
    names: tuple[str, ...],
    split: str,
    source: Path,
    report: DatasetReport,
) -> DetectionDataset:
    raw = list(_labelled(images, names, report))
    if not names:
        top = int(max((row[0] for entry in raw for row in entry.boxes), default=-1))
        names = tuple(f"class{i}" for i in range(top + 1))
        report.notes.append("no class names found; they are class0, class1, ...")
    return assemble(raw, names, split=split, source=source, report=report)


def _labelled(
    images: Sequence[Path], names: tuple[str, ...], report: DatasetReport
) -> Iterator[RawImage]:
    for image in images:
        label = label_path(image)
        if not label.is_file():
            report.count("missing_labels", label)
            yield RawImage(image)
            continue
        rows = parse_labels(read_text(label), label, len(names) or None)
        yield RawImage(image, rows, normalised=True, label=label)


def label_path(image: Path) -> Path:
    """The label file of an image: beside it, or where the last folder "images" is "labels"."""
    beside = image.with_suffix(".txt")
    parts = list(image.parts)
    for i in range(len(parts) - 2, -1, -1):
        if parts[i] == "images" and not beside.is_file():
            parts[i] = "labels"
            return Path(*parts).with_suffix(".txt")
    return beside


def parse_labels(text: str, label: Path, nc: int | None) -> list[list[float]]:
    """Rows (class, x1, y1, x2, y2), normalised, of one label file.

    A line of a class and three or more points (a segment) gives the points' bounding box.

    Args:
        text: the file's text.
        label: the file, for messages.
        nc: the number of classes; None when it is not known.

    Raises:
        DatasetError: a line that is not of this form, a class id past the list, or coordinates
            in pixels.
    """
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        where = f"{label}, line {number}"
        try:
            values = [float(field) for field in fields]
        except ValueError:
            raise DatasetError(
                f"{where}: expected numbers 'class cx cy w h', got {line!r}"
            ) from None
        segment = len(values) >= 7 and len(values) % 2 == 1
        if len(values) != 5 and not segment:
            raise DatasetError(
                f"{where}: expected 5 numbers 'class cx cy w h', got {len(values)}: {line!r}"
            )
        if values[0] < 0 or not values[0].is_integer():
            raise DatasetError(f"{where}: the class id {fields[0]} is not a whole number from 0")
        if nc is not None and values[0] >= nc:
            raise DatasetError(
                f"{where}: class id {int(values[0])} is past the list of {nc} names (0 to {nc - 1})"
            )
        if any(abs(value) > _NORMALISED_MAX for value in values[1:] if value == value):
            raise DatasetError(
                f"{where}: coordinates must be normalised by the image's size (0 to 1): {line!r}"
            )
        rows.append([values[0], *_corners(values[1:], segment)])
    return rows


def _corners(values: list[float], segment: bool) -> list[float]:
    """x1, y1, x2, y2 of a centre and size, or of a list of points."""
    if segment:
        xs, ys = values[0::2], values[1::2]
        return [min(xs), min(ys), max(xs), max(ys)]
    cx, cy, w, h = values
    return [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]


def _parse_yaml(file: Path) -> _Source:
    try:
        import yaml
    except ImportError:
        raise MissingExtraError("Reading a data.yaml", "torch", "pyyaml") from None
    try:
        data = yaml.safe_load(read_text(file, limit=4 << 20))
    except yaml.YAMLError as error:
        raise DatasetError(f"{file} is not valid YAML: {error}") from error
    if not isinstance(data, dict):
        raise DatasetError(f"{file}: expected a mapping with train, val and names")
    notes = []
    if data.get("download"):
        notes.append("the download key was ignored: nothing in a data-set file is run or fetched")
    root = file.parent
    if data.get("path") is not None:
        root = resolve_inside(str(data["path"]), file.parent, file.parent, file)
    splits: dict[str, list[Path]] = {}
    for split in ("train", "val", "valid", "test"):
        value = data.get(split)
        entries = value if isinstance(value, list) else [] if value is None else [value]
        if not all(isinstance(entry, str) for entry in entries):
            raise DatasetError(f"{file}: {split} must be a path or a list of paths, got {value!r}")
        if entries:
            name = "val" if split == "valid" else split
            splits[name] = [resolve_inside(entry, root, root, file) for entry in entries]
    return _Source(file, root, _yaml_names(data, file), splits, notes)


def _yaml_names(data: dict[Any, Any], file: Path) -> tuple[str, ...]:
    """Class names from `names` (list or mapping of ids), or class0, ... from `nc`."""
    names, nc = data.get("names"), data.get("nc")
    if names is None and isinstance(nc, int) and nc > 0:
        names = [f"class{i}" for i in range(nc)]
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise DatasetError(
                f"{file}: the ids in names must be 0 to {len(names) - 1}, each once; got "
                f"{', '.join(map(str, names))}"
            )
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DatasetError(f"{file}: names must list the classes, as a list or id: name")
    result = tuple(str(name) for name in names)
    if len(set(result)) != len(result):
        raise DatasetError(f"{file}: two classes have one name: {', '.join(result)}")
    if nc is not None and nc != len(result):
        raise DatasetError(f"{file}: nc is {nc!r}, but there are {len(result)} names")
    return result


def _check_nesting(source: _Source) -> None:
    """Images are looked for in subfolders too, so a train folder inside val would leak."""
    for train in source.splits.get("train", []):
        for val in source.splits.get("val", []):
            if train in val.parents or val in train.parents:
                raise DatasetError(
                    f"{source.file}: one of train ({train}) and val ({val}) lies inside the other, "
                    "so images would be in both; give them separate folders"
                )


def _listed_images(entry: Path, root: Path) -> list[Path]:
    """The images of a folder, or those that a text file lists."""
    if entry.is_dir():
        images = images_in(entry)
        if not images:
            raise DatasetError(f"the folder {entry} holds no images")
        return images
    if not entry.is_file():
        raise DatasetError(f"{entry} does not exist; expected a folder of images or a list (.txt)")
    if entry.suffix.lower() != ".txt":
        raise DatasetError(f"{entry}: expected a folder of images or a list (.txt)")
    lines = [line.strip() for line in read_text(entry).splitlines()]
    images = []
    for line in filter(None, lines):
        # "./" means the list's own folder; other relative paths start at the data set's root.
        folder = entry.parent if line.startswith("./") else root
        images.append(resolve_inside(line, folder, root, entry))
    if not images:
        raise DatasetError(f"{entry} lists no images")
    return images


def _names_beside(folder: Path) -> tuple[str, ...]:
    for name in _NAME_FILES:
        if (folder / name).is_file():
            lines = read_text(folder / name).splitlines()
            return tuple(line.strip() for line in lines if line.strip())
    return ()
