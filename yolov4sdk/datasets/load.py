"""Recognise a data set's format and read one split of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from yolov4sdk.datasets import coco, voc, yolo
from yolov4sdk.datasets.dataset import DetectionDataset
from yolov4sdk.datasets.paths import spellings
from yolov4sdk.errors import DatasetError
from yolov4sdk.imaging.sources import expand

SPLITS: Final = ("train", "val", "test")


def load_dataset(
    path: str | Path, split: str = "train", *, names: Sequence[str] | None = None
) -> DetectionDataset:
    """Read one split of a YOLO, COCO or PASCAL VOC data set.

    Nothing in the data set's files is executed or downloaded, and relative paths in them stay
    inside the data set.

    Args:
        path: a data.yaml, a COCO JSON file, a text file that lists images, or a folder: a VOC
            folder, one with a data.yaml, with COCO JSON files (`annotations/instances_val2017.json`
            or `val/_annotations.coco.json`), or plain `images` and `labels`.
        split: "train", "val", "test" or another name that the data set has.
        names: the classes in the order wanted (a model's), when the data set's order differs or,
            as in VOC, is not given.

    Raises:
        DatasetError: nothing readable is there; the message says what was looked for.
    """
    source = Path(path)
    if source.is_dir():
        dataset = _read_folder(source, split)
    elif not source.is_file():
        raise DatasetError(f"{source} does not exist; expected a data.yaml, a JSON, or a folder")
    elif source.suffix.lower() in {".yaml", ".yml"}:
        dataset = yolo.read_yaml(source, split)
    elif source.suffix.lower() == ".json":
        dataset = coco.read_coco(source, split)
    elif source.suffix.lower() == ".txt":
        dataset = yolo.read_list(source, split)
    else:
        raise DatasetError(
            f"{source}: expected a data.yaml, a COCO .json, a .txt list of images, or a folder"
        )
    return dataset if names is None else dataset.with_names(names)


def find_images(source: str | Path, split: str = "train") -> list[Path]:
    """The image files of a data set's split, a folder (with its subfolders), a glob or one file.

    Args:
        source: as `load_dataset` takes it, or as `yolov4sdk.imaging.sources.expand` does.
        split: of a data set; a plain folder has none.

    Raises:
        ImageNotFoundError: nothing there, or no image in it.
        DatasetError: a data set that cannot be read, or whose split is empty.
    """
    path = Path(source)
    described = path.is_dir() and (
        (path / "Annotations").is_dir() or any(path.glob("data.y*ml")) or any(path.glob("*.json"))
    )
    if not described and path.suffix.lower() not in {".yaml", ".yml", ".json", ".txt"}:
        return expand([source])
    images = load_dataset(path, split).images
    if not images:
        raise DatasetError(f"the split {split!r} of {source} has no images")
    return images


def _read_folder(folder: Path, split: str) -> DetectionDataset:
    if _is_voc(folder):
        return voc.read_voc(folder, split)
    if file := _described(folder):
        return yolo.read_yaml(file, split)
    if found := _coco_files(folder, split):
        if len(found) > 1:
            raise DatasetError(
                f"{folder}: several files could be the split {split!r} "
                f"({', '.join(file.name for file in found)}); give the file itself"
            )
        return coco.read_coco(found[0], split)
    nested = [path.parent for path in sorted(folder.glob("*/JPEGImages")) if _is_voc(path.parent)]
    nested += [p.parent for p in sorted(folder.glob("*/*/JPEGImages")) if _is_voc(p.parent)]
    if len(nested) == 1:
        return voc.read_voc(nested[0], split)
    if nested:
        raise DatasetError(
            f"{folder} holds several PASCAL VOC folders ({', '.join(map(str, nested))}); give one"
        )
    place, images = yolo.image_folder(folder, split)
    labelled = any(yolo.label_path(image).is_file() for image in images)
    if not labelled and any(voc.label_beside(image) for image in images):
        return voc.read_beside(folder, place, images, split, yolo.names_beside(folder))
    return yolo.read_folder(folder, split, place, images)


def _is_voc(folder: Path) -> bool:
    return all((folder / name).is_dir() for name in ("Annotations", "JPEGImages"))


def _described(folder: Path) -> Path | None:
    """The folder's YAML file."""
    candidates = [folder / "data.yaml", folder / "data.yml", *sorted(folder.glob("*.y*ml"))]
    return next((file for file in candidates if file.is_file()), None)


def _coco_files(folder: Path, split: str) -> list[Path]:
    """The JSON files of a split that fit the first pattern that any fits."""
    for form in (
        "{}/_annotations.coco.json",
        "annotations/instances_{}.json",
        "annotations/instances_{}*.json",
        "annotations/*{}*.json",
        "*{}*.json",
    ):
        for name in spellings(split):
            if found := sorted(folder.glob(form.format(name))):
                return found
    return []


def find_splits(path: str | Path) -> list[str]:
    """Which of the splits "train", "val" and "test" a data set has; see `load_dataset`.

    A single list or COCO file is one split, named as its file says, else "train"; so is a folder
    of images that is not divided. VOC's other lists ("trainval") repeat images and are not given.

    Raises:
        DatasetError: the data set names none of the three.
    """
    source = Path(path)
    if not source.exists():
        raise DatasetError(f"{source} does not exist; expected a data.yaml, a JSON, or a folder")
    file = source if source.is_file() else _described(source)
    if file is None and (listings := source / "ImageSets" / "Main").is_dir():
        found = [
            split
            for split in SPLITS
            if any((listings / f"{name}.txt").is_file() for name in spellings(split))
        ]
    elif file is not None and file.suffix.lower() in {".yaml", ".yml"}:
        present, absent = yolo.yaml_splits(file)
        found = [split for split in SPLITS if split in (present or absent)]
    elif file is not None:
        return [split for split in SPLITS if split in file.stem][:1] or ["train"]
    else:
        found = [
            split
            for split in SPLITS
            if _coco_files(source, split)
            or any(
                (source / form.format(name)).is_dir()
                for form in ("images/{}", "{}")
                for name in spellings(split)
            )
        ]
        found = found or ["train"]
    if not found:
        raise DatasetError(f"{source} has none of the splits {', '.join(SPLITS)}; name its own")
    return found
