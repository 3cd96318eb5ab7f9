"""YOLO labels: a text file per image with lines `class cx cy w h [score]`, normalised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from yolov4sdk.datasets.cleaning import assemble
from yolov4sdk.datasets.dataset import DetectionDataset
from yolov4sdk.datasets.paths import files_in, images_in, read_text, resolve_inside, spellings
from yolov4sdk.datasets.raw import RawImage
from yolov4sdk.datasets.report import DatasetReport, such_as
from yolov4sdk.datasets.voc import label_beside
from yolov4sdk.datasets.yaml_file import DataFile, read_data_file
from yolov4sdk.errors import DatasetError
from yolov4sdk.system.text import lines_of

_NAME_FILES = ("classes.txt", "obj.names", "names.txt", "labels.txt")
_NORMALISED_MAX = 4.0  # a normalised coordinate past this is a pixel


def read_yaml(file: Path, split: str) -> DetectionDataset:
    """A split of a data set described by a YAML file with `path`, `train`, `val` and `names`.

    Raises:
        DatasetError: the file or a label breaks the format; the split is not in it, is empty, or
            training images lie in the validation folder.
        MissingExtraError: PyYAML is not installed.
    """
    source = read_data_file(file)
    entries = source.paths(split)
    _check_nesting(source)
    images = [image for entry in entries for image in _listed_images(entry, source.root)]
    absent = [other for other in source.entries if not source.present(other)]
    if absent:
        lacking = ", ".join(f"{other} ({', '.join(source.entries[other])})" for other in absent)
        source.notes.append(f"the file also names what is not there: {lacking}")
    report = DatasetReport(notes=list(source.notes))
    folders = [entry for entry in entries if entry.is_dir()]
    return _build(images, source.names, split, file, report, folders)


def yaml_splits(file: Path) -> tuple[list[str], list[str]]:
    """The splits that a YAML file names ("valid" is "val"): those that are there, and the others.

    Raises:
        DatasetError, MissingExtraError: see `read_yaml`.
    """
    source = read_data_file(file)
    present = [split for split in source.entries if source.present(split)]
    return present, [split for split in source.entries if split not in present]


def read_list(file: Path, split: str) -> DetectionDataset:
    """The images that a text file lists, one path a line, relative to its folder or absolute.

    Class names come from classes.txt (or obj.names, names.txt, labels.txt) beside it, else they
    are class0, class1, ...
    """
    return _build(
        _listed_images(file, file.parent), names_beside(file.parent), split, file, DatasetReport()
    )


def image_folder(folder: Path, split: str) -> tuple[Path, list[Path]]:
    """The images of a split in a folder without a data.yaml, and the folder that holds them.

    Looked for in images/<split>, <split>/images, <split>, images and the folder itself.

    Raises:
        DatasetError: it holds no image.
    """
    names = spellings(split)
    candidates = [folder / "images" / name for name in names]
    candidates += [folder / name / "images" for name in names] + [folder / name for name in names]
    for candidate in [*candidates, folder / "images", folder]:
        images = images_in(candidate) if candidate.is_dir() else []
        if images:
            return candidate, images
    raise DatasetError(
        f"{folder} holds no images; looked in images/{split}, {split}/images, {split}, images and "
        "the folder itself"
    )


def read_folder(folder: Path, split: str, found: Path, images: Sequence[Path]) -> DetectionDataset:
    """The images of `image_folder` with YOLO labels; names come from classes.txt in `folder`."""
    names = names_beside(folder)
    return _build(images, names, split, folder, DatasetReport(), [found])


def _build(
    images: Sequence[Path],
    names: tuple[str, ...],
    split: str,
    source: Path,
    report: DatasetReport,
    folders: Sequence[Path] = (),
) -> DetectionDataset:
    raw = list(_labelled(images, names, report))
    _count_lone_labels(folders, raw, report)
    if not names:
        top = int(max((row[0] for entry in raw for row in entry.boxes), default=-1))
        names = tuple(f"class{i}" for i in range(top + 1))
        report.notes.append("no class names found; they are class0, class1, ...")
    if not any(entry.boxes for entry in raw) and (file := _xml_of(images)):
        raise DatasetError(
            f"{source}: split {split!r} has no YOLO labels, but PASCAL VOC labels (such as {file});"
            " give the folder of the data set itself to read those"
        )
    return assemble(raw, names, split=split, source=source, report=report)


def _xml_of(images: Sequence[Path]) -> Path | None:
    return next((label for image in images[:20] if (label := label_beside(image))), None)


def _labelled(
    images: Sequence[Path], names: tuple[str, ...], report: DatasetReport
) -> Iterator[RawImage]:
    users: dict[Path, Path] = {}
    shared: list[str] = []
    for image in images:
        label = label_path(image)
        if not label.is_file():
            report.count("missing_labels", label)
            yield RawImage(image)
            continue
        if users.setdefault(label, image) != image:
            shared.append(f"{image.name} and {users[label].name}")
        rows = parse_labels(read_text(label), label, len(names) or None)
        yield RawImage(
            image, [row[:5] for row in rows], normalised=True, label=label,
            ignored=[row[5] == 0 for row in rows], scores=[row[5] for row in rows],
        )  # fmt: skip
    if shared:
        report.notes.append(
            f"{len(shared)} images share their label file with an image of the same name "
            f"({such_as(shared)})"
        )


def _count_lone_labels(
    folders: Sequence[Path], raw: Sequence[RawImage], report: DatasetReport
) -> None:
    """Count the boxes of label files in the folders of a split that belong to no image."""
    used = {entry.label for entry in raw}
    places = [place for f in folders for place in (f, label_path(f / "x.jpg").parent)]
    for folder in dict.fromkeys(places):
        for file in files_in(folder) if folder.is_dir() else ():
            if file.suffix != ".txt" or file in used or file.name in _NAME_FILES:
                continue
            used.add(file)
            try:
                boxes = len(parse_labels(read_text(file), file, None))
            except DatasetError:  # some other text
                continue
            report.written += boxes
            report.count("without_image", file, boxes)


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
    """Rows (class, x1, y1, x2, y2, score), normalised, of one label file.

    A line of a class and three or more points (a segment) gives the points' bounding box. A sixth
    number is the label's score, as a model gives it: how sure it is, 0 to 1. A box of score 0 is
    not to be judged: neither an object nor background.

    Args:
        text: the file's text.
        label: the file, for messages.
        nc: the number of classes; None when it is not known.

    Raises:
        DatasetError: a line that is not of this form, a class id past the list, coordinates in
            pixels, or a score outside 0 to 1.
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
        if len(values) not in (5, 6) and not segment:
            raise DatasetError(
                f"{where}: expected 5 numbers 'class cx cy w h', got {len(values)}: {line!r}"
            )
        score = values.pop() if len(values) == 6 else 1.0
        if not 0 <= score <= 1:
            raise DatasetError(
                f"{where}: the sixth number is the label's score, 0 to 1, got {score:g}: {line!r}"
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
        rows.append([values[0], *_corners(values[1:], segment), score])
    return rows


def _corners(values: list[float], segment: bool) -> list[float]:
    """x1, y1, x2, y2 of a centre and size, or of a list of points."""
    if segment:
        xs, ys = values[0::2], values[1::2]
        return [min(xs), min(ys), max(xs), max(ys)]
    cx, cy, w, h = values
    return [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]


def _check_nesting(source: DataFile) -> None:
    """Images are looked for in subfolders too, so a train folder inside val would leak."""
    splits = [source.paths(name) for name in ("train", "val") if name in source.entries]
    for train in splits[0] if len(splits) == 2 else []:
        for val in splits[1]:
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
    lines = [line.strip() for line in lines_of(read_text(entry))]
    images = []
    for line in filter(None, lines):
        # "./" means the list's own folder; other relative paths start at the data set's root.
        folder = entry.parent if line.startswith("./") else root
        images.append(resolve_inside(line, folder, root, entry))
    if not images:
        raise DatasetError(f"{entry} lists no images")
    return images


def names_beside(folder: Path) -> tuple[str, ...]:
    """The classes in classes.txt or another file of names in a folder; () without one."""
    for name in _NAME_FILES:
        if (folder / name).is_file():
            lines = lines_of(read_text(folder / name))
            return tuple(line.strip() for line in lines if line.strip())
    return ()
