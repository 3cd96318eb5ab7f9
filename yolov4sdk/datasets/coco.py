"""COCO labels: one JSON file with `images`, `annotations` and `categories`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from yolov4sdk.datasets.cleaning import assemble
from yolov4sdk.datasets.dataset import DetectionDataset
from yolov4sdk.datasets.paths import read_text, resolve_inside, spellings
from yolov4sdk.datasets.raw import RawImage
from yolov4sdk.datasets.report import DatasetReport, such_as
from yolov4sdk.errors import DatasetError

_KEYS: Final = ("images", "annotations", "categories")

Id = int | str


def read_coco(file: Path, split: str, images: Path | None = None) -> DetectionDataset:
    """The images and boxes of a COCO detection file.

    Category ids become contiguous class ids in the order of the ids (COCO's 1..90 -> 0..79).
    Crowd boxes go to `ignored`. Ids may be numbers or text ("7" is 7); polygons without a box give
    the box around them. Entries of one image file are put together.

    Args:
        file: the JSON file.
        split: the split's name; also where to look for images.
        images: the folder of the images; None looks beside the file and in the usual places.

    Raises:
        DatasetError: the file breaks the format, an id is used for two things, or the images are
            not found.
    """
    text = read_text(file, limit=4 << 30)
    try:
        data = json.loads(text)
    except ValueError as error:  # no JSON, or an integer of thousands of digits
        raise DatasetError(f"{file} is not valid JSON: {error}") from error
    except RecursionError:
        raise DatasetError(f"{file} is not valid JSON: it is nested too deeply") from None
    lists = [data.get(key) if isinstance(data, dict) else None for key in _KEYS]
    if not all(isinstance(entries, list) for entries in lists):
        raise DatasetError(f"{file}: expected the lists {', '.join(_KEYS)} (a COCO detection file)")
    images_listed, annotated, categories = (rows or () for rows in lists)
    entries = [_Entry(value, file, "image") for value in images_listed]
    annotations = (_Entry(value, file, "annotation") for value in annotated)
    names, class_ids = _classes([_Entry(value, file, "category") for value in categories], file)
    if not entries:
        raise DatasetError(f"{file} lists no images")
    report = DatasetReport()
    raw = _images(entries, file, split, images)
    _add_boxes(raw, annotations, class_ids, file, report)
    dataset = assemble(raw.values(), names, split=split, source=file, report=report)
    return replace(dataset, category_ids={names[i]: number for number, i in class_ids.items()})


class _Entry:
    """One object of a list, read key by key with messages that name it."""

    __slots__ = ("_file", "_kind", "_value")

    def __init__(self, value: Any, file: Path, kind: str) -> None:
        self._kind, self._file = kind, file
        self._value: dict[str, Any] = value if isinstance(value, dict) else {}
        if not isinstance(value, dict):
            raise self.error(f"expected an object, got {_short(value)}")

    def error(self, text: str) -> DatasetError:
        number = self._value.get("id")
        title = self._kind if number is None else f"{self._kind} {_short(number)}"
        return DatasetError(f"{self._file}: {title} breaks the COCO format: {text}")

    def get(self, key: str) -> Any:
        return self._value.get(key)

    def text(self, key: str) -> str:
        value = self._value.get(key)
        if not isinstance(value, str | int | float) or isinstance(value, bool) or value == "":
            raise self.error(f"{key} must be a text, got {_short(value)}")
        return str(value)

    def id(self, key: str) -> Id:
        """A whole number, also one written as text; other texts as they are."""
        value = self._value.get(key)
        if type(value) is int:  # nearly always, and a large file has millions
            return value
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise self.error(f"{key} must be a whole number, got {_short(value)}")
        return value

    def numbers(self, value: Any, what: str) -> list[float]:
        try:
            if not isinstance(value, list):
                raise TypeError
            return [float(number) for number in value]
        except (TypeError, ValueError):
            raise self.error(f"{what} must be numbers, got {_short(value)}") from None


def _classes(categories: list[_Entry], file: Path) -> tuple[tuple[str, ...], dict[int, int]]:
    """Class names, and the class id of each category id."""
    by_id: dict[int, str] = {}
    for entry in categories:
        number, name = entry.id("id"), entry.text("name")
        if isinstance(number, str):
            raise entry.error(f"id must be a whole number, got {number!r}")
        if by_id.setdefault(number, name) != name:
            raise DatasetError(
                f"{file}: the category id {number} is used twice, for {by_id[number]!r} and "
                f"{name!r}; give each category an id of its own"
            )
    ordered = sorted(by_id)
    names = tuple(by_id[number] for number in ordered)
    if len(set(names)) != len(names):
        raise DatasetError(f"{file}: two categories have one name: {', '.join(names)}")
    return names, {number: i for i, number in enumerate(ordered)}


def _images(
    entries: list[_Entry], file: Path, split: str, folder: Path | None
) -> dict[Id, RawImage]:
    """The images by id, without boxes."""
    folder = folder or _image_folder(file, split, [_file_name(e) for e in entries[:20]])
    raw: dict[Id, RawImage] = {}
    for entry in entries:
        number = entry.id("id")
        path = resolve_inside(_file_name(entry), folder, folder, file)
        if number in raw and raw[number].path != path:
            raise DatasetError(
                f"{file}: the image id {number} is used twice, for {raw[number].path.name} and "
                f"{path.name}, so nobody can tell which boxes are whose; give each an id of its own"
            )
        sides = [entry.get("height"), entry.get("width")]
        size = None
        if None not in sides:
            height, width = entry.numbers(sides, "height and width")
            size = (round(height), round(width)) if height > 0 and width > 0 else None
        raw[number] = RawImage(path, label=Path(f"{file}#{number}"), size=size, id=number)
    return raw


def _add_boxes(
    raw: dict[Id, RawImage],
    annotations: Iterable[_Entry],
    class_ids: dict[int, int],
    file: Path,
    report: DatasetReport,
) -> None:
    """Give the images their boxes; boxes of images that are not listed are counted and left out."""
    rows: dict[Id, list[tuple[list[float], bool, float]]] = {number: [] for number in raw}
    orphans: list[Id] = []
    seen: set[Id] = set()
    repeated: list[Id] = []
    for annotation in annotations:
        image, category = annotation.id("image_id"), annotation.id("category_id")
        if category not in class_ids:
            raise DatasetError(
                f"{file}: annotation {annotation.get('id')} has category {category}, which is not "
                f"among the {len(class_ids)} categories"
            )
        if annotation.get("id") is not None:
            number = annotation.id("id")
            repeated += [number] if number in seen else []
            seen.add(number)
        if image not in rows:
            orphans.append(image)
            continue
        row = [float(class_ids[int(category)]), *_corners(annotation)]
        rows[image].append((row, bool(annotation.get("iscrowd") or 0), _area(annotation)))
    report.written += len(orphans)
    report.count("without_image", file, len(orphans))
    if orphans:
        listed = such_as([f"image {number}" for number in dict.fromkeys(orphans)])
        report.notes.append(
            f"{len(orphans)} annotations name an image that is not listed; left out ({listed})"
        )
    if repeated:
        report.notes.append(
            f"{len(repeated)} annotations have the id of another one; all are read "
            f"({such_as(repeated)})"
        )
    for number, item in raw.items():
        item.boxes = [row for row, _, _ in rows[number]]
        item.ignored = [crowd for _, crowd, _ in rows[number]]
        item.areas = [area for *_, area in rows[number]]


def _corners(annotation: _Entry) -> tuple[float, float, float, float]:
    """x1, y1, x2, y2 in pixels, from the box or, without one, around the polygons."""
    box = annotation.get("bbox")
    if box is not None and box != []:
        values = annotation.numbers(box, "bbox")
        if len(values) != 4:
            raise annotation.error(f"bbox must be [x, y, width, height], got {_short(box)}")
        x, y, w, h = values
        return x, y, x + w, y + h
    shapes = annotation.get("segmentation")
    if not isinstance(shapes, list) or not shapes:
        given = "a mask that is not a polygon" if shapes else "no segmentation"
        raise annotation.error(f"it has no bbox and {given}; give it a bbox")
    points = [n for polygon in shapes for n in annotation.numbers(polygon, "segmentation")]
    if len(points) < 4 or len(points) % 2:
        raise annotation.error("it has no bbox, and its segmentation has too few points for one")
    return min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])


def _area(annotation: _Entry) -> float:
    """The object's area in square pixels; NaN where there is none."""
    value = annotation.get("area")
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        return float("nan")
    return float(value)


def _short(value: Any) -> str:
    """A value of a message, cut."""
    text = repr(value) if isinstance(value, str | int | float | None) else type(value).__name__
    if isinstance(value, list) and all(isinstance(v, str | int | float | None) for v in value[:9]):
        text = repr(value[:8])
    return text if len(text) <= 60 else text[:57] + "..."


def _file_name(entry: _Entry) -> str:
    """The image's path; files written on Windows may divide folders by backslashes."""
    return entry.text("file_name").replace("\\", "/")


def _image_folder(file: Path, split: str, examples: Sequence[str]) -> Path:
    """The first of the usual places that holds one of the example images."""
    near, top = file.parent, file.parent.parent
    stem = file.stem.removeprefix("instances_")
    folders = dict.fromkeys([stem, split, *spellings(split)])
    candidates = [near, near / "images", *(near / name for name in folders)]
    candidates += [near / "images" / name for name in folders]
    candidates += [top / name for name in folders] + [top / "images" / name for name in folders]
    candidates += [top / "images", top]
    for candidate in candidates:
        if any(Path(name).is_absolute() or (candidate / name).is_file() for name in examples):
            return candidate
    raise DatasetError(
        f"{file}: its images (such as {examples[0]}) were not found; looked in "
        + ", ".join(dict.fromkeys(map(str, candidates)))
    )
