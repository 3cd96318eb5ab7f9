"""PASCAL VOC labels: XML files, in a VOC folder with lists of images or beside the images."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final
from xml.parsers import expat

from yolov4sdk.datasets.cleaning import assemble
from yolov4sdk.datasets.dataset import DetectionDataset
from yolov4sdk.datasets.paths import files_in, images_in, read_text, resolve_inside, spellings
from yolov4sdk.datasets.raw import RawImage
from yolov4sdk.datasets.report import DatasetReport, such_as
from yolov4sdk.errors import DatasetError
from yolov4sdk.imaging.images import SUFFIXES
from yolov4sdk.imaging.preprocess import Size
from yolov4sdk.system.text import lines_of

_CORNERS: Final = ("xmin", "ymin", "xmax", "ymax")
_MAX_XML: Final = 16 << 20  # bytes
_LABEL_FOLDERS: Final = ("annotations", "Annotations", "labels", "xmls", "xml")
"""In place of a folder "images"."""

_FLAGGED: Final = re.compile(r"(.*\S)\s+(?:-1|0|1)")
"""A line of VOC's lists of one class: whether the image has it."""

Trees = Mapping[str, ElementTree.Element]


def read_voc(folder: Path, split: str) -> DetectionDataset:
    """A split of a VOC folder. Boxes marked difficult go to `ignored`.

    The classes are those of labels.txt or classes.txt in the folder when it is there, else all
    names in all annotation files, in alphabetical order, so that splits agree. JPEGImages and
    Annotations may have subfolders, which the lists then name too ("sub/000012").

    Raises:
        DatasetError: the folder or a file breaks the format, or there is no such split.
    """
    lists = folder / "ImageSets" / "Main"
    listing = next(
        (file for name in spellings(split) if (file := lists / f"{name}.txt").is_file()), None
    )
    if listing is None:
        found = sorted(path.stem for path in lists.glob("*.txt"))
        raise DatasetError(
            f"{folder} has no split {split!r} ({lists / f'{split}.txt'} is missing); "
            f"it has {', '.join(found) or 'none; list the names of its images there, one a line'}"
        )
    report = DatasetReport()
    trees = {
        _stem(path, folder / "Annotations"): parse_xml(path)
        for path in sorted(files_in(folder / "Annotations"))
        if path.suffix.lower() == ".xml"
    }
    names = _names(folder, trees)
    images: dict[str, list[Path]] = {}
    for path in images_in(folder / "JPEGImages"):
        images.setdefault(_stem(path, folder / "JPEGImages"), []).append(path)
    stems = _listed(lines_of(read_text(listing)), images.keys() | trees.keys())
    if not stems:
        raise DatasetError(f"{listing} lists no images")
    raw = []
    several: list[str] = []
    for stem in stems:
        label = resolve_inside(f"{stem}.xml", folder / "Annotations", folder, listing)
        fallback = resolve_inside(f"{stem}.jpg", folder / "JPEGImages", folder, listing)
        tree = trees.get(stem)
        candidates = images.get(stem, [fallback])
        several += [stem] if len(candidates) > 1 else []
        image = _named(candidates, tree)
        if tree is None:
            report.count("missing_labels", label)
            raw.append(RawImage(image))
        else:
            raw.append(_described(image, tree, names, label))
    if several:
        report.notes.append(
            f"{len(several)} names belong to several images; the one that the XML names is read, "
            f"else the first ({such_as(several)})"
        )
    return assemble(raw, names, split=split, source=folder, report=report)


def label_beside(image: Path) -> Path | None:
    """The XML file of an image: beside it, or in a folder of labels in place of "images"."""
    paths = (place / f"{image.stem}.xml" for place in _label_places(image.parent))
    return next((path for path in paths if path.is_file()), None)


def _label_places(folder: Path) -> list[Path]:
    """Where the XML files of a folder of images may be: there, or in a folder of labels."""
    parts = list(folder.parts)
    for i in range(len(parts) - 1, -1, -1):
        if parts[i] in ("images", "JPEGImages"):
            others = [Path(*parts[:i], name, *parts[i + 1 :]) for name in _LABEL_FOLDERS]
            return [folder, *(path for path in others if path.is_dir())]
    return [folder]


def read_beside(
    folder: Path,
    place: Path,
    images: Sequence[Path],
    split: str,
    names: tuple[str, ...] = (),
) -> DetectionDataset:
    """Images with an XML file each, beside them or in a folder of labels.

    Args:
        folder: the data set; without `names` the classes are all those of the XML files in it,
            so that splits agree.
        place: the folder of the split's images.
        images: of the split.
        split: its name.
        names: the classes, where a file of names gives them.

    Raises:
        DatasetError: a file breaks the format.
    """
    report = DatasetReport()
    labels = {image: label_beside(image) for image in images}
    trees = {str(path): parse_xml(path) for path in labels.values() if path is not None}
    others = {
        str(path): tree
        for path in files_in(folder)
        if path.suffix.lower() == ".xml" and str(path) not in trees
        and (tree := _annotation(path)) is not None
    }  # fmt: skip
    names = names or _names(folder, {**trees, **others})
    raw = []
    for image, label in labels.items():
        if label is None:
            report.count("missing_labels", image.with_suffix(".xml"))
            raw.append(RawImage(image))
        else:
            raw.append(_described(image, trees[str(label)], names, label))
    places = _label_places(place)
    for name, tree in others.items():
        own = any(parent in places for parent in Path(name).parents)
        if own and (boxes := len(tree.findall("object"))):
            report.written += boxes
            report.count("without_image", name, boxes)
    return assemble(raw, names, split=split, source=folder, report=report)


def _annotation(path: Path) -> ElementTree.Element | None:
    """The root of an XML file that is an annotation, None of any other file."""
    try:
        return parse_xml(path)
    except DatasetError:
        return None


def _stem(path: Path, folder: Path) -> str:
    """ "sub/000012" of a file in a folder."""
    return path.relative_to(folder).with_suffix("").as_posix()


def _listed(lines: Iterable[str], known: Iterable[str]) -> list[str]:
    """The names in a list, which may hold blanks.

    A whole line is a name where an image or a label is called so. VOC's lists of one class have a
    second column, 1, 0 or -1; the first is always the image's name.
    """
    known = set(known)
    stems = []
    for line in lines:
        whole = line.strip()
        if not whole:
            continue
        column = _FLAGGED.fullmatch(whole)
        likely = column[1] if column else whole
        forms = [line, whole, likely, whole.replace("\\", "/")]
        if Path(whole).suffix.lower() in SUFFIXES:
            forms.append(Path(whole).with_suffix("").as_posix())
        stems.append(next((form for form in forms if form in known), likely))
    return stems


def _named(candidates: Sequence[Path], tree: ElementTree.Element | None) -> Path:
    """The image that the XML file names, else the first."""
    wanted = _text(tree, "filename") if tree is not None else ""
    return next((path for path in candidates if path.name == wanted), candidates[0])


def _described(
    image: Path, tree: ElementTree.Element, names: tuple[str, ...], label: Path
) -> RawImage:
    boxes, ignored = _objects(tree, names, label)
    return RawImage(image, boxes, ignored=ignored, label=label, size=_size(tree))


def _size(tree: ElementTree.Element) -> Size | None:
    """Height and width that the file gives; None where it does not (some tools write 0)."""
    try:
        height, width = (round(float(_text(tree, f"size/{tag}"))) for tag in ("height", "width"))
    except (ValueError, OverflowError):
        return None
    return (height, width) if height > 0 and width > 0 else None


def parse_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file. A document type (which could define entities) is refused.

    Raises:
        DatasetError: the file is too large, broken, or has a document type.
    """
    if path.stat().st_size > _MAX_XML:
        raise DatasetError(f"{path} has more than {_MAX_XML >> 20} MiB; is it an annotation?")
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def refuse(*_: object) -> None:
        raise DatasetError(
            f"{path} has a document type declaration; entities are never expanded, remove it"
        )

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(path.read_bytes(), True)
        root = builder.close()
    except (expat.ExpatError, AssertionError) as error:
        raise DatasetError(f"{path} is not valid XML: {error}") from error
    if root.tag != "annotation":
        raise DatasetError(f"{path}: expected an <annotation>, got <{root.tag}>")
    return root


def _names(folder: Path, trees: Trees) -> tuple[str, ...]:
    for name in ("labels.txt", "classes.txt"):
        if (folder / name).is_file():
            lines = lines_of(read_text(folder / name))
            return tuple(line.strip() for line in lines if line.strip())
    found = {_text(item, "name") for tree in trees.values() for item in tree.iter("object")}
    return tuple(sorted(found - {""}))


def _objects(
    tree: ElementTree.Element, names: tuple[str, ...], label: Path
) -> tuple[list[list[float]], list[bool]]:
    """Rows (class, x1, y1, x2, y2) in pixels, and which of them are difficult."""
    boxes, ignored = [], []
    for number, item in enumerate(tree.findall("object"), 1):
        name = _text(item, "name")
        if name not in names:
            raise DatasetError(f"{label}: object {number} has the class {name!r}, not in the list")
        box = item.find("bndbox")
        try:
            if box is None:
                raise ValueError("no <bndbox>")
            corners = [float(_text(box, corner)) for corner in _CORNERS]
        except ValueError as error:
            raise DatasetError(f"{label}: object {number} has no proper box: {error}") from error
        boxes.append([float(names.index(name)), *corners])
        ignored.append(_text(item, "difficult") == "1")
    return boxes, ignored


def _text(item: ElementTree.Element, tag: str) -> str:
    return (item.findtext(tag) or "").strip()
