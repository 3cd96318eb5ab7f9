"""COCO labels: one JSON file with `images`, `annotations` and `categories`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from yolov4sdk.datasets.cleaning import RawImage, assemble
from yolov4sdk.datasets.dataset import DatasetReport, DetectionDataset
from yolov4sdk.datasets.paths import read_text, resolve_inside
from yolov4sdk.errors import DatasetError


def read_coco(file: Path, split: str, images: Path | None = None) -> DetectionDataset:
    """The images and boxes of a COCO detection file.

    Category ids become contiguous class ids in the order of the ids (COCO's 1..90 -> 0..79).
    Crowd boxes go to `ignored`.

    Args:
        file: the JSON file.
        split: the split's name; also where to look for images.
        images: the folder of the images; None looks beside the file and in the usual places.

    Raises:
        DatasetError: the file breaks the format, or the images are not found.
    """
    try:
        data = json.loads(read_text(file, limit=4 << 30))
    except json.JSONDecodeError as error:
        raise DatasetError(f"{file} is not valid JSON: {error}") from error
    lists = [data.get(key) if isinstance(data, dict) else None for key in _KEYS]
    if not all(isinstance(entries, list) for entries in lists):
        raise DatasetError(f"{file}: expected the lists {', '.join(_KEYS)} (a COCO detection file)")
    try:
        return _convert(file, split, images, *lists)  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{file}: an entry breaks the COCO format: {error!r}") from error


_KEYS = ("images", "annotations", "categories")


def _convert(
    file: Path,
    split: str,
    folder: Path | None,
    images: list[dict[str, Any]],
    annotations: list[dict[str, Any]],
    categories: list[dict[str, Any]],
) -> DetectionDataset:
    report = DatasetReport()
    ordered = sorted(categories, key=lambda category: int(category["id"]))
    names = tuple(str(category["name"]) for category in ordered)
    if len(set(names)) != len(names):
        raise DatasetError(f"{file}: two categories have one name: {', '.join(names)}")
    class_ids = {int(category["id"]): i for i, category in enumerate(ordered)}
    if not images:
        raise DatasetError(f"{file} lists no images")
    folder = folder or _image_folder(file, split, [str(e["file_name"]) for e in images[:20]])
    raw: dict[Any, RawImage] = {}
    boxes: dict[Any, list[list[float]]] = {}
    crowd: dict[Any, list[bool]] = {}
    for entry in images:
        path = resolve_inside(str(entry["file_name"]), folder, folder, file)
        raw[entry["id"]] = RawImage(path, label=Path(f"{file}#{entry['id']}"))
        boxes[entry["id"]], crowd[entry["id"]] = [], []
    orphans = 0
    for annotation in annotations:
        image, category = annotation["image_id"], int(annotation["category_id"])
        if category not in class_ids:
            raise DatasetError(
                f"{file}: annotation {annotation.get('id')} has category {category}, which is not "
                f"among the {len(names)} categories"
            )
        if image not in raw:
            orphans += 1
            continue
        x, y, w, h = (float(value) for value in annotation["bbox"])
        boxes[image].append([class_ids[category], x, y, x + w, y + h])
        crowd[image].append(bool(annotation.get("iscrowd", 0)))
    if orphans:
        report.notes.append(f"{orphans} annotations name an image that is not listed; left out")
    for key, item in raw.items():
        item.boxes, item.ignored = boxes[key], crowd[key]
    return assemble(raw.values(), names, split=split, source=file, report=report)


def _image_folder(file: Path, split: str, examples: list[str]) -> Path:
    """The first of the usual places that holds one of the example images."""
    near, top = file.parent, file.parent.parent
    stem = file.stem.removeprefix("instances_")
    candidates = [near, near / "images", near / stem, near / split]
    candidates += [near / "images" / stem, near / "images" / split]
    candidates += [top / stem, top / split, top / "images" / stem, top / "images" / split]
    candidates += [top / "images", top]
    for candidate in candidates:
        if any(Path(name).is_absolute() or (candidate / name).is_file() for name in examples):
            return candidate
    raise DatasetError(
        f"{file}: its images (such as {examples[0]}) were not found; looked in "
        + ", ".join(dict.fromkeys(map(str, candidates)))
    )
