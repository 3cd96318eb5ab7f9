"""Data sets written in YOLO, COCO or PASCAL VOC form: the inverse of the readers."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_args

from yolov4sdk.datasets.dataset import Boxes, DetectionDataset, to_pixels
from yolov4sdk.datasets.load import SPLITS
from yolov4sdk.errors import DatasetError, SettingError
from yolov4sdk.system.files import atomic_folder

Form = Literal["yolo", "coco", "voc"]
Transfer = Literal["copy", "symlink", "hardlink"]

Part = tuple[DetectionDataset, dict[Path, str]]
"""A split, and the new name of each image file."""

_NAME_BYTES: Final = 250  # of a file's name; systems take 255
_STEM: Final = 50  # characters of a long name that gets a number
_DIGITS: Final = 3  # of a pixel: finer than labels are, and whole pixels come back whole
_TRANSFERS: Final[dict[str, Callable[[Path, Path], object]]] = {
    "copy": shutil.copyfile,
    "symlink": lambda source, target: target.symlink_to(source),
    "hardlink": lambda source, target: os.link(source, target),
}


def write_dataset(
    splits: Sequence[DetectionDataset],
    target: str | Path,
    form: Form,
    images: Transfer = "copy",
) -> list[str]:
    """Write the splits of one data set into a new folder, whole or not at all.

    ``yolo``: data.yaml, images/<split> and labels/<split>. ``coco``: images/<split> and
    annotations/instances_<split>.json, category ids from 1. ``voc``: JPEGImages, Annotations,
    ImageSets/Main and labels.txt. Image files keep their bytes and, where no two collide, names.

    Args:
        splits: at least one, with the same class names; `split` names each.
        target: a folder that does not exist or is empty.
        form: of the labels.
        images: how image files come there.

    Returns:
        Notes on what the form could not hold.

    Raises:
        SettingError: an unknown form, or the folder holds something.
        DatasetError: the splits do not belong together or do not fit the form; an image file
            could not be read or linked.
    """
    for value, kind, title in ((form, Form, "format"), (images, Transfer, "images")):
        if value not in get_args(kind):
            raise SettingError(f"{title} must be one of {get_args(kind)}, got {value!r}")
    _check(splits, form)
    if form == "voc":  # one folder for all
        named = [file_names(path for dataset in splits for path in dataset.images)] * len(splits)
    else:
        named = [file_names(dataset.images) for dataset in splits]
    parts = list(zip(splits, named, strict=True))
    with atomic_folder(target) as folder:
        {"yolo": _write_yolo, "coco": _write_coco, "voc": _write_voc}[form](folder, parts)
        for dataset, files in parts:
            inside = folder / ("JPEGImages" if form == "voc" else f"images/{dataset.split}")
            _transfer(files, inside, images)
    dropped = sum(len(rows) for part in splits if not part.scores for rows in part.ignored)
    if form == "yolo" and dropped:
        return [f"{dropped} crowd or difficult boxes left out: YOLO labels have no form for them"]
    return []


def file_names(paths: Iterable[Path]) -> dict[Path, str]:
    """A file name for each image; no two have one stem, since labels go by the stem.

    Its own name, where that is taken with its folder's name before it, else with a number.
    White space, a dot in front and bytes that are not UTF-8, which lists of names cannot hold, give
    way.
    """
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for path in dict.fromkeys(paths):
        for name in _candidates(path):
            if (stem := Path(name).stem.lower()) not in taken:
                break
        taken.add(stem)
        names[path] = name
    return names


def _candidates(path: Path) -> Iterator[str]:
    name, folder = (
        "_".join(_utf8(text).split()).lstrip(".") for text in (path.name, path.parent.name)
    )
    yield name
    if len(f"{folder}_{name}".encode()) < _NAME_BYTES:
        yield f"{folder}_{name}"
    for number in itertools.count(2):
        yield f"{Path(name).stem[:_STEM]}_{number}{Path(name).suffix}"


def _utf8(text: str) -> str:
    """A file name with "_" for bytes that are not UTF-8: lists and tables cannot hold these."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\ufffd", "_")


def _check(splits: Sequence[DetectionDataset], form: Form) -> None:
    if not splits:
        raise DatasetError("there is no split to write")
    titles = [dataset.split for dataset in splits]
    if len(set(titles)) != len(titles):
        raise DatasetError(f"each split is written once, got {', '.join(titles)}")
    for dataset in splits[1:]:
        if dataset.names != splits[0].names:
            raise DatasetError(
                f"the classes of {splits[0].split} ({', '.join(splits[0].names)}) and "
                f"{dataset.split} ({', '.join(dataset.names)}) differ; read one with the other's"
            )
    for name in splits[0].names:
        if name != name.strip() or not name.isprintable() or not name:
            raise DatasetError(f"the class name {name!r} cannot be written to a list of names")
    unknown = [split for split in titles if split not in SPLITS or Path(split).name != split]
    if form == "yolo" and unknown:
        raise DatasetError(
            f"a data.yaml holds the splits {', '.join(SPLITS)}, not {', '.join(unknown)}; rename "
            f"them, such as train={unknown[0]}"
        )


def _transfer(files: dict[Path, str], folder: Path, how: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path, name in files.items():
        target = folder / name
        if target.is_symlink() or target.exists():  # in two splits of a VOC folder
            continue
        try:
            _TRANSFERS[how](path.resolve(), target)
        except OSError as error:
            raise DatasetError(f"{path}: {how} failed: {error.strerror}") from error


def _write_yolo(folder: Path, parts: Sequence[Part]) -> None:
    for dataset, files in parts:
        labels = folder / "labels" / dataset.split
        labels.mkdir(parents=True)
        for index, path in enumerate(dataset.images):
            rows: list[list[float]] = dataset.boxes[index].tolist()
            if dataset.scores:  # a sixth number; 0 is a box that is not to be judged
                scores = dataset.scores[index].tolist()
                rows = [[*row, score] for row, score in zip(rows, scores, strict=True)]
                rows += [[*row, 0.0] for row in dataset.ignored[index].tolist()]
            lines = [
                f"{int(row[0])} " + " ".join(format(value, ".9g") for value in row[1:])
                for row in rows
            ]
            text = "".join(line + "\n" for line in lines)
            _write((labels / files[path]).with_suffix(".txt"), text)
    # JSON strings are YAML strings, so that names of any kind are safe.
    lines = [f"{dataset.split}: images/{dataset.split}" for dataset, _ in parts]
    lines += ["names:"]
    lines += [
        f"  {i}: {json.dumps(n, ensure_ascii=False)}" for i, n in enumerate(parts[0][0].names)
    ]
    _write(folder / "data.yaml", "\n".join(lines) + "\n")


def _write_coco(folder: Path, parts: Sequence[Part]) -> None:
    (folder / "annotations").mkdir()
    for dataset, files in parts:
        annotations: list[dict[str, Any]] = []
        for index in range(len(dataset)):
            for crowd, rows in enumerate((dataset.boxes[index], dataset.ignored[index])):
                for class_id, (x1, y1, x2, y2) in _corners(rows, dataset.sizes[index]):
                    width, height = round(x2 - x1, _DIGITS), round(y2 - y1, _DIGITS)
                    annotations.append(
                        {
                            "id": len(annotations) + 1,
                            "image_id": index + 1,
                            "category_id": class_id + 1,
                            "bbox": [x1, y1, width, height],
                            "area": round(width * height, _DIGITS),
                            "iscrowd": crowd,
                        }
                    )
        entries = [
            {"id": i, "file_name": files[path], "height": int(h), "width": int(w)}
            for i, (path, (h, w)) in enumerate(zip(dataset.images, dataset.sizes, strict=True), 1)
        ]
        categories = [{"id": i, "name": name} for i, name in enumerate(dataset.names, 1)]
        content = {"images": entries, "annotations": annotations, "categories": categories}
        _write(
            folder / "annotations" / f"instances_{dataset.split}.json",
            json.dumps(content, ensure_ascii=False) + "\n",
        )


def _write_voc(folder: Path, parts: Sequence[Part]) -> None:
    listings, annotations = folder / "ImageSets" / "Main", folder / "Annotations"
    listings.mkdir(parents=True)
    annotations.mkdir()
    for dataset, files in parts:
        for index, path in enumerate(dataset.images):
            tree = _voc_tree(dataset, index, files[path])
            text = ElementTree.tostring(tree, encoding="unicode") + "\n"
            _write((annotations / files[path]).with_suffix(".xml"), text)
        stems = [Path(files[path]).stem for path in dataset.images]
        _write(listings / f"{dataset.split}.txt", "".join(stem + "\n" for stem in stems))
    _write(folder / "labels.txt", "".join(name + "\n" for name in parts[0][0].names))


def _voc_tree(dataset: DetectionDataset, index: int, file: str) -> ElementTree.Element:
    def add(parent: ElementTree.Element, tag: str, text: object = "") -> ElementTree.Element:
        item = ElementTree.SubElement(parent, tag)
        item.text = str(text) or None
        return item

    height, width = (int(n) for n in dataset.sizes[index])
    root = ElementTree.Element("annotation")
    add(root, "folder", "JPEGImages")
    add(root, "filename", file)
    size = add(root, "size")
    for tag, number in (("width", width), ("height", height), ("depth", 3)):
        add(size, tag, number)
    add(root, "segmented", 0)
    for difficult, rows in enumerate((dataset.boxes[index], dataset.ignored[index])):
        for class_id, corners in _corners(rows, dataset.sizes[index]):
            item = add(root, "object")
            add(item, "name", dataset.names[class_id])
            add(item, "pose", "Unspecified")
            add(item, "truncated", 0)
            add(item, "difficult", difficult)
            box = add(item, "bndbox")
            for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True):
                add(box, tag, f"{value:.{_DIGITS}f}".rstrip("0").rstrip("."))
    ElementTree.indent(root)
    return root


def _corners(rows: Boxes, size: Any) -> list[tuple[int, tuple[float, ...]]]:
    """Class id and x1, y1, x2, y2 in pixels, rounded, of normalised (class, cx, cy, w, h) rows."""
    xyxy, ids = to_pixels(rows, size)
    corners = [tuple(round(value, _DIGITS) for value in box) for box in xyxy.tolist()]
    return list(zip(ids.tolist(), corners, strict=True))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="")
