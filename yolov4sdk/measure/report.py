"""An evaluation as one HTML file: figures, curves, tables, and pictures of what went wrong."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from yolov4sdk.datasets import DetectionDataset
from yolov4sdk.imaging.images import read_image
from yolov4sdk.measure.diagnosis import Diagnosis, diagnose, diagnosis_figure
from yolov4sdk.measure.evaluation import EvaluationResult
from yolov4sdk.measure.metrics import CONFUSION_CONF
from yolov4sdk.measure.mistakes import Mistake, confusions, find_mistakes, worst, worst_images
from yolov4sdk.measure.pictures import colors_of, comparison, tile
from yolov4sdk.measure.plots import evaluation_figures
from yolov4sdk.system.files import atomic_write

_IMAGES: Final = 8  # worst images shown
_BOXES: Final = 12  # crops shown of each kind of mistake
_PAIRS: Final = 10  # confusions listed
_EXAMPLES: Final = 3  # crops of a confusion
_CROP: Final = 160  # pixels of a crop
_CONTEXT: Final = 0.6  # of the box's longer side, shown around it
_QUALITY: Final = 82
_WHITE: Final = (255, 255, 255)


def write_report(
    result: EvaluationResult, path: Path, title: str, diagnosis: Diagnosis | None = None
) -> None:
    """Write the report; nothing in it is loaded from elsewhere.

    Args:
        result: of `evaluate`.
        path: an .html file.
        title: what was measured on what.
        diagnosis: of the result; None makes it here.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ImageError: an image can no longer be read.
    """
    mistakes = find_mistakes(result.dataset, result.predictions)
    diagnosis = diagnosis or diagnose(result)
    parts = [
        _summary(result),
        _section("Diagnosis", _diagnosis(result, diagnosis)),
        _section("By class and size", _class_table(result)),
        _section("Curves", _figures(result)),
        _section("Biggest confusions", _confusions(result, mistakes)),
        _section("Worst misses", _crops(result, worst(mistakes, "missed", _BOXES)),
                 "Labelled objects that were not found, the largest in their image first."),
        _section("Most certain false detections", _crops(result, worst(mistakes, "false", _BOXES)),
                 "Detections where nothing is labelled, the highest score first. Some are objects "
                 "that nobody labelled."),
        _section("Worst images", _worst_images(result, mistakes),
                 f"The most mistakes at confidence {CONFUSION_CONF:g}. Left: found; right, in "
                 "white: labelled."),
    ]  # fmt: skip
    style = files("yolov4sdk.measure").joinpath("report.css").read_text(encoding="utf-8")
    html = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>"
        f"<body><h1>{escape(title)}</h1>{''.join(parts)}</body></html>\n"
    )
    with atomic_write(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def _section(title: str, body: str, note: str = "") -> str:
    below = f"<p>{escape(note)}</p>" if note and body != _NONE else ""
    return f"<section><h2>{escape(title)}</h2>{below}{body}</section>"


_NONE: Final = "<p>None.</p>"


def _summary(result: EvaluationResult) -> str:
    coco = result.coco
    tiles = [
        ("AP50-95", coco.ap), ("AP50", coco.ap50), ("AP75", coco.ap75), ("AP small", coco.ap_small),
        ("AP medium", coco.ap_medium), ("AP large", coco.ap_large), ("AR100", coco.ar100),
    ]  # fmt: skip
    figures = "".join(f"<div><b>{_number(value)}</b>{name}</div>" for name, value in tiles)
    settings = ", ".join(f"{key} {value}" for key, value in result.settings.items())
    lines = [f"{result.images} images, {result.boxes} boxes; {settings}.", *result.notes]
    return f'<div class="figures">{figures}</div>' + "".join(f"<p>{escape(s)}</p>" for s in lines)


def _class_table(result: EvaluationResult) -> str:
    heads = ("class", "labels", "AP50-95", "AP50", "AP75", "small", "medium", "large",
             "precision", "recall", "F1")  # fmt: skip
    keys = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "precision", "recall", "f1")
    rows = [
        [escape(row["name"]), str(row["labels"]), *(_number(row[key]) for key in keys)]
        for row in result.per_class()
    ]
    confidence = result.curves.confidence[result.curves.best]
    return _table(heads, rows) + (
        "<p>Small, medium and large: AP50-95 of objects under 32 x 32 pixels, up to 96 x 96, and "
        f"above. Precision, recall and F1 at confidence {confidence:.2f}, where F1 is best.</p>"
    )


def _diagnosis(result: EvaluationResult, diagnosis: Diagnosis) -> str:
    picture = _plot(diagnosis_figure(result, diagnosis), "Figures of the diagnosis")
    return f"<p>{escape(diagnosis.paragraph())}</p>{picture}"


def _figures(result: EvaluationResult) -> str:
    texts = ("Precision over recall", "F1 over confidence", "Confusion matrix")
    return "".join(map(_plot, evaluation_figures(result), texts))


def _plot(figure: Any, text: str) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=90)
    return _image(stream.getvalue(), "png", text)


def _confusions(result: EvaluationResult, mistakes: Sequence[Mistake]) -> str:
    totals = result.confusion.sum(axis=1)
    rows = []
    for (label, found), members in confusions(mistakes)[:_PAIRS]:
        examples = sorted(members, key=lambda m: -m.score)[:_EXAMPLES]
        share = f"{len(members) / totals[label]:.0%} of {totals[label]}"
        pictures = "".join(_crop(result.dataset, m) for m in examples)
        names = (escape(result.names[label]), escape(result.names[found]))
        rows.append([*names, str(len(members)), share, pictures])
    heads = ("labelled", "taken for", "times", "share of the labels", "examples")
    return _table(heads, rows, "words") if rows else _NONE


def _crops(result: EvaluationResult, mistakes: Iterable[Mistake]) -> str:
    pictures = "".join(_crop(result.dataset, mistake) for mistake in mistakes)
    return f'<div class="crops">{pictures}</div>' if pictures else _NONE


def _worst_images(result: EvaluationResult, mistakes: Sequence[Mistake]) -> str:
    parts = []
    for index, members in worst_images(mistakes, _IMAGES):
        counts = [
            f"{number} {text}"
            for kind, text in (("missed", "missed"), ("confused", "confused"), ("false", "false"))
            if (number := sum(m.kind == kind for m in members))
        ]
        name = result.dataset.images[index].name
        pair = comparison(result.dataset, result.predictions, index, CONFUSION_CONF)
        parts.append(_figure(np.hstack(pair), ", ".join(counts), name))
    return f'<div class="pairs">{"".join(parts)}</div>' if parts else _NONE


def _crop(dataset: DetectionDataset, mistake: Mistake) -> str:
    """The part of the image around a mistake, with its box."""
    image = read_image(dataset.images[mistake.image])
    x1, y1, x2, y2 = mistake.xyxy.astype(np.float64).tolist()
    reach = max(x2 - x1, y2 - y1) * (0.5 + _CONTEXT)
    centre = (x1 + x2) / 2, (y1 + y2) / 2
    left, top = (max(0, math.floor(c - reach)) for c in centre)
    right, bottom = math.ceil(centre[0] + reach), math.ceil(centre[1] + reach)
    part = np.ascontiguousarray(image[top:bottom, left:right])
    box = np.array([[x1 - left, y1 - top, x2 - left, y2 - top]])
    found = mistake.found
    color = _WHITE if found is None else colors_of(np.array([found]))[0]
    names = dataset.names
    text = names[mistake.label] if mistake.label is not None else ""
    if found is not None:
        text = f"{text} as {names[found]}" if text else names[found]
        text += f" {mistake.score:.2f}"
    pixels = tile(part, box, [""], [color], side=_CROP)
    return _figure(pixels, text, dataset.images[mistake.image].name)


def _figure(pixels: NDArray[np.uint8], text: str, file: str) -> str:
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
    image = _image(data, "jpeg", f"{text} ({file})")
    caption = f"<span>{escape(text)}</span><span>{escape(file)}</span>"
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _image(data: bytes, kind: str, text: str) -> str:
    code = base64.b64encode(data).decode()
    return (
        f'<img alt="{escape(text)}" title="{escape(text)}" src="data:image/{kind};base64,{code}">'
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "numbers") -> str:
    """A table; heads are escaped here, cells are HTML."""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _number(value: Any) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
