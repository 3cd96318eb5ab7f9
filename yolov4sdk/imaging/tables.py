"""Boxes as rows: JSON, CSV, COCO, YOLO, pandas, supervision; and back from the last ones."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtraError, TensorError
from ..system.files import atomic_write
from .draw import Boxes

if TYPE_CHECKING:
    import pandas
    import supervision

Parts = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64], tuple[str, ...]]
"""xyxy [N, 4], scores [N], class ids [N] and names."""


class Found(Boxes, Protocol):
    """What is written of `yolov4sdk.Detections`."""

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        ...

    @property
    def labels(self) -> list[str]:
        """The class name of each box."""
        ...

    @property
    def xywh(self) -> NDArray[np.float32]:
        """[N, 4], left, top, width, height in pixels."""
        ...

    @property
    def cxcywh_normalised(self) -> NDArray[np.float32]:
        """[N, 4], centre and size as fractions of the image."""
        ...


def records(found: Found) -> list[dict[str, Any]]:
    """Name, class_id, score, corners and, where boxes are tracked, track_id of each box."""
    rows = []
    for i, (box, score, class_id) in enumerate(
        zip(found.xyxy.tolist(), found.scores.tolist(), found.class_ids.tolist(), strict=True)
    ):
        row = {
            "name": found.names[class_id],
            "class_id": class_id,
            "score": round(score, 6),
            "box": dict(zip(("x1", "y1", "x2", "y2"), (round(v, 3) for v in box), strict=True)),
        }
        if found.track_ids is not None:
            row["track_id"] = int(found.track_ids[i])
        rows.append(row)
    return rows


def columns(tracked: bool) -> list[str]:
    """What a table says of each box."""
    box = ["name", "class_id", "score", "x1", "y1", "x2", "y2"]
    return [*box, "track_id"] if tracked else box


def rows(records: Iterable[Mapping[str, Any]], tracked: bool) -> Iterable[list[Any]]:
    """`records` as rows of these columns."""
    for found in records:
        row = [found["name"], found["class_id"], found["score"], *found["box"].values()]
        yield [*row, found.get("track_id", "")] if tracked else row


def csv_text(found: Found) -> str:
    """A table with a heading."""
    tracked = found.track_ids is not None
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(columns(tracked))
    writer.writerows(rows(records(found), tracked))
    return table.getvalue()


def write_text(path: str | Path, text: str) -> str:
    """Write a text whole or not at all, and give it back."""
    with atomic_write(Path(path)) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")
    return text


def coco(
    found: Found, image_id: int | str, category_ids: Mapping[int, int] | None
) -> list[dict[str, Any]]:
    """Result entries of COCO."""
    return [
        {
            "image_id": image_id,
            "category_id": category_ids[class_id] if category_ids else class_id,
            "bbox": [round(v, 3) for v in box],
            "score": round(score, 6),
        }
        for box, score, class_id in zip(
            found.xywh.tolist(), found.scores.tolist(), found.class_ids.tolist(), strict=True
        )
    ]


def yolo(found: Found, scores: bool) -> str:
    """Lines of YOLO's labels, with scores and track ids or without."""
    lines = []
    for i, box in enumerate(found.cxcywh_normalised):
        values = [*box, found.scores[i]] if scores else [*box]
        track = f" {found.track_ids[i]}" if scores and found.track_ids is not None else ""
        lines.append(f"{found.class_ids[i]} " + " ".join(f"{v:.6f}" for v in values) + track)
    return "".join(line + "\n" for line in lines)


def plain_text(found: Found) -> str:
    """A table for people, a line for each box."""
    height, width = found.image_size
    if not len(found):
        return f"no detections in an image of {width} x {height}"
    labels = found.labels
    wide = max(5, *(len(label) for label in labels))
    lines = [f"{'class':<{wide}}  score      x1      y1      x2      y2"]
    for label, score, box in zip(labels, found.scores, found.xyxy, strict=True):
        lines.append(f"{label:<{wide}}  {score:5.3f} " + "".join(f"{v:8.1f}" for v in box))
    return "\n".join(lines)


def data_frame(found: Found) -> pandas.DataFrame:
    """Columns as of a CSV table, with full precision.

    Raises:
        MissingExtraError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingExtraError("A data frame", "pandas", "pandas") from error
    data: dict[str, Any] = {
        "name": pandas.Series(found.labels, dtype="object"),
        "class_id": np.asarray(found.class_ids, np.int64),
        "score": found.scores,
        **{name: found.xyxy[:, i] for i, name in enumerate(("x1", "y1", "x2", "y2"))},
    }
    if found.track_ids is not None:
        data["track_id"] = np.asarray(found.track_ids, np.int64)
    return pandas.DataFrame(data)


def to_supervision(found: Found) -> supervision.Detections:
    """With the names in `data["class_name"]`.

    Raises:
        MissingExtraError: supervision is not installed.
    """
    try:
        import supervision
    except ImportError as error:
        raise MissingExtraError(
            "Conversion to supervision", "supervision", "supervision"
        ) from error
    return supervision.Detections(
        xyxy=found.xyxy.copy(),
        confidence=found.scores.copy(),
        class_id=found.class_ids.copy(),
        tracker_id=None if found.track_ids is None else found.track_ids.copy(),
        data={"class_name": np.array(found.labels, dtype=str)},
    )


def from_supervision(
    found: supervision.Detections, names: Sequence[str] | None
) -> tuple[Parts, NDArray[np.int64] | None]:
    """The parts of `yolov4sdk.Detections`, best first, and the ids of tracks.

    Raises:
        TensorError: no class ids, or ids without a name.
    """
    if found.class_id is None:
        raise TensorError("these supervision.Detections have no class_id, which names need")
    ids = np.asarray(found.class_id, np.int64)
    if names is None:
        names = _names_of(ids, found.data.get("class_name", ()))
    scores = np.ones(len(ids)) if found.confidence is None else found.confidence
    order, parts = _parts(found.xyxy, scores, ids, names)
    tracks = found.tracker_id
    return parts, None if tracks is None else np.asarray(tracks, np.int64)[order]


def _names_of(ids: NDArray[np.int64], labels: Any) -> list[str]:
    """Names by id; ids between that no box has get their number as a name."""
    if len(labels) != len(ids):
        raise TensorError("these supervision.Detections have no class_name; pass names=")
    known = {int(i): str(label) for i, label in zip(ids, labels, strict=True)}
    return [known.get(i, str(i)) for i in range(max(known, default=-1) + 1)]


def from_coco(
    entries: Iterable[Mapping[str, Any]],
    names: Sequence[str],
    category_ids: Mapping[int, int] | None,
) -> Parts:
    """The parts of `yolov4sdk.Detections`, best first.

    Raises:
        TensorError: an entry without a box, of another image, or of a category without a name.
    """
    found = list(entries)
    if len(images := {entry["image_id"] for entry in found if "image_id" in entry}) > 1:
        raise TensorError(
            f"the entries are of {len(images)} images; choose those of one by image_id"
        )
    class_ids = {c: i for i, c in category_ids.items()} if category_ids else range(len(names))
    boxes, scores, ids = [], [], []
    for entry in found:
        category: Any = entry.get("category_id")
        box = entry.get("bbox")
        if category not in class_ids:
            raise TensorError(
                f"category_id {category!r} has no name among the {len(names)}; pass category_ids="
            )
        if not isinstance(box, Sequence) or len(box) != 4:
            raise TensorError(f"expected bbox (left, top, width, height), got {box!r}")
        boxes.append([box[0], box[1], box[0] + box[2], box[1] + box[3]])
        scores.append(entry.get("score", 1.0))
        ids.append(class_ids[category])
    return _parts(boxes, scores, ids, names)[1]


def _parts(
    boxes: Any, scores: Any, ids: Any, names: Sequence[str]
) -> tuple[NDArray[np.intp], Parts]:
    """The order by score, and arrays of the right types in it."""
    scores, ids = np.asarray(scores, np.float32), np.asarray(ids, np.int64)
    if len(ids) and not 0 <= ids.min() <= ids.max() < len(names):
        raise TensorError(f"class ids {ids.min()} to {ids.max()} for {len(names)} names")
    order = np.argsort(-scores, kind="stable")
    xyxy = np.asarray(boxes, np.float32).reshape(-1, 4)
    return order, (xyxy[order], scores[order], ids[order], tuple(names))
