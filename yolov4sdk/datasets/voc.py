"""PASCAL VOC labels: a folder with JPEGImages, Annotations (XML) and ImageSets/Main."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from xml.parsers import expat

from yolov4sdk.datasets.cleaning import RawImage, assemble
from yolov4sdk.datasets.dataset import DatasetReport, DetectionDataset
from yolov4sdk.datasets.paths import read_text
from yolov4sdk.errors import DatasetError
from yolov4sdk.imaging.images import SUFFIXES

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_MAX_XML = 16 << 20  # bytes


def read_voc(folder: Path, split: str) -> DetectionDataset:
    """A split of a VOC folder. Boxes marked difficult go to `ignored`.

    The classes are those of labels.txt or classes.txt in the folder when it is there, else all
    names in all annotation files, in alphabetical order, so that splits agree.

    Raises:
        DatasetError: the folder or a file breaks the format, or there is no such split.
    """
    listing = folder / "ImageSets" / "Main" / f"{split}.txt"
    if not listing.is_file():
        found = sorted(path.stem for path in listing.parent.glob("*.txt"))
        raise DatasetError(
            f"{folder} has no split {split!r} ({listing} is missing); "
            f"it has {', '.join(found) or 'none'}"
        )
    # VOC's class-wise lists have a second column; the first is always the image's name.
    stems = [line.split()[0] for line in read_text(listing).splitlines() if line.strip()]
    if not stems:
        raise DatasetError(f"{listing} lists no images")
    report = DatasetReport()
    trees = {path.stem: parse_xml(path) for path in sorted((folder / "Annotations").glob("*.xml"))}
    names = _names(folder, trees)
    by_stem = {
        path.stem: path
        for path in sorted((folder / "JPEGImages").iterdir())
        if path.suffix.lower() in SUFFIXES
    }
    raw = []
    for stem in stems:
        image = by_stem.get(stem, folder / "JPEGImages" / f"{Path(stem).name}.jpg")
        label = folder / "Annotations" / f"{Path(stem).name}.xml"
        if stem not in trees:
            report.count("missing_labels", label)
            raw.append(RawImage(image))
            continue
        boxes, ignored = _objects(trees[stem], names, label)
        raw.append(RawImage(image, boxes, ignored=ignored, label=label))
    return assemble(raw, names, split=split, source=folder, report=report)


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


def _names(folder: Path, trees: dict[str, ElementTree.Element]) -> tuple[str, ...]:
    for name in ("labels.txt", "classes.txt"):
        if (folder / name).is_file():
            lines = read_text(folder / name).splitlines()
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
