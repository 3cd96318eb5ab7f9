"""Detections: what was found in one image."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import MissingExtraError, SettingError, TensorError, UnknownClassError

if TYPE_CHECKING:
    import supervision

    from .imaging.draw import Style


@dataclass(frozen=True, eq=False)
class Detections:
    """The boxes of one image, best first.

    Attributes:
        xyxy: float32 [N, 4], corners in pixels of the source image.
        scores: float32 [N], objectness x class probability, in 0..1.
        class_ids: int64 [N], indices into `names`.
        names: class names of the model.
        image_size: (height, width) of the source image in pixels.
        track_ids: int64 [N], or None where nothing was tracked.

    Raises:
        TensorError: arrays whose shapes do not belong together.
    """

    xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    names: tuple[str, ...]
    image_size: tuple[int, int]
    track_ids: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        n = len(self.xyxy)
        tracks = self.track_ids
        if (
            self.xyxy.shape != (n, 4)
            or self.scores.shape != (n,)
            or self.class_ids.shape != (n,)
            or (tracks is not None and tracks.shape != (n,))
        ):
            raise TensorError(
                f"expected xyxy [N, 4], scores [N], class_ids [N] and track_ids [N] or None, got "
                f"{self.xyxy.shape}, {self.scores.shape}, {self.class_ids.shape}, "
                f"{None if tracks is None else tracks.shape}"
            )

    def __len__(self) -> int:
        return len(self.xyxy)

    def __iter__(self) -> Iterator[Detections]:
        """One Detections of length 1 for each box."""
        return (self[i : i + 1] for i in range(len(self)))

    def __getitem__(self, index: int | slice | Sequence[int] | NDArray[Any]) -> Detections:
        """Select boxes by position, slice, list of positions or boolean mask [N]."""
        if isinstance(index, int | np.integer):
            index = [int(index)]
        return Detections(
            self.xyxy[index],
            self.scores[index],
            self.class_ids[index],
            self.names,
            self.image_size,
            None if self.track_ids is None else self.track_ids[index],
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Detections):
            return NotImplemented
        if self.track_ids is None or other.track_ids is None:
            same_tracks = self.track_ids is other.track_ids
        else:
            same_tracks = np.array_equal(self.track_ids, other.track_ids)
        return (
            same_tracks
            and (self.names, self.image_size) == (other.names, other.image_size)
            and np.array_equal(self.xyxy, other.xyxy)
            and np.array_equal(self.scores, other.scores)
            and np.array_equal(self.class_ids, other.class_ids)
        )

    __hash__ = None  # type: ignore[assignment]

    def filter(
        self, classes: Sequence[str | int] | None = None, min_score: float = 0.0
    ) -> Detections:
        """Boxes of some classes, by name or id, with at least a score."""
        mask = self.scores >= min_score
        if classes is not None:
            mask &= np.isin(self.class_ids, resolve_classes(classes, self.names))
        return self[mask]

    @property
    def labels(self) -> list[str]:
        """The class name of each box."""
        return [self.names[i] for i in self.class_ids]

    @property
    def xywh(self) -> NDArray[np.float32]:
        """Left, top, width, height in pixels, float32 [N, 4]."""
        return np.concatenate((self.xyxy[:, :2], self.xyxy[:, 2:] - self.xyxy[:, :2]), axis=1)

    @property
    def cxcywh(self) -> NDArray[np.float32]:
        """Centre x, centre y, width, height in pixels, float32 [N, 4]."""
        size = self.xyxy[:, 2:] - self.xyxy[:, :2]
        return np.concatenate((self.xyxy[:, :2] + size / 2, size), axis=1)

    @property
    def xyxy_normalised(self) -> NDArray[np.float32]:
        """Corners as fractions of the image's width and height, float32 [N, 4]."""
        return self._normalise(self.xyxy)

    @property
    def cxcywh_normalised(self) -> NDArray[np.float32]:
        """Centre and size as fractions of the image (the YOLO label format), float32 [N, 4]."""
        return self._normalise(self.cxcywh)

    def _normalise(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        height, width = self.image_size
        return (boxes / (width, height, width, height)).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: image size, and for each box its name, id, score and corners."""
        height, width = self.image_size
        boxes = []
        for i, (box, score, class_id) in enumerate(
            zip(self.xyxy.tolist(), self.scores.tolist(), self.class_ids.tolist(), strict=True)
        ):
            entry = {
                "name": self.names[class_id],
                "class_id": class_id,
                "score": round(score, 6),
                "box": dict(zip(("x1", "y1", "x2", "y2"), (round(v, 3) for v in box), strict=True)),
            }
            if self.track_ids is not None:
                entry["track_id"] = int(self.track_ids[i])
            boxes.append(entry)
        return {"image": {"height": height, "width": width}, "detections": boxes}

    def to_json(self, indent: int | None = None) -> str:
        """`to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False)

    def to_coco(
        self, image_id: int | str = 0, category_ids: Mapping[int, int] | None = None
    ) -> list[dict[str, Any]]:
        """COCO result entries: image_id, category_id, bbox (left, top, width, height), score.

        Args:
            image_id: of the image in the annotation file.
            category_ids: class id to category id, where the file's ids are not 0, 1, 2, ...
        """
        return [
            {
                "image_id": image_id,
                "category_id": category_ids[class_id] if category_ids else class_id,
                "bbox": [round(v, 3) for v in box],
                "score": round(score, 6),
            }
            for box, score, class_id in zip(
                self.xywh.tolist(), self.scores.tolist(), self.class_ids.tolist(), strict=True
            )
        ]

    def to_yolo(self, scores: bool = True) -> str:
        """YOLO label lines: class id, normalised centre and size, the score and the track id.

        Args:
            scores: False leaves out scores and track ids, as labels for training have none.
        """
        lines = []
        for i, box in enumerate(self.cxcywh_normalised):
            values = [*box, self.scores[i]] if scores else [*box]
            track = f" {self.track_ids[i]}" if scores and self.track_ids is not None else ""
            lines.append(f"{self.class_ids[i]} " + " ".join(f"{v:.6f}" for v in values) + track)
        return "".join(line + "\n" for line in lines)

    def to_supervision(self) -> supervision.Detections:
        """As `supervision.Detections`, with the names in `data["class_name"]`.

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
            xyxy=self.xyxy.copy(),
            confidence=self.scores.copy(),
            class_id=self.class_ids.copy(),
            tracker_id=None if self.track_ids is None else self.track_ids.copy(),
            data={"class_name": np.array(self.labels, dtype=str)},
        )

    def crop(self, image: Any) -> list[NDArray[np.uint8]]:
        """The picture inside each box.

        Args:
            image: the source image, as `Detector` takes it (arrays: BGR).

        Returns:
            For each box uint8 BGR [h, w, 3] with h, w >= 1; copies.
        """
        pixels = self._pixels(image)
        height, width = pixels.shape[:2]
        crops = []
        for x1, y1, x2, y2 in self.xyxy:
            left, top = min(int(x1), width - 1), min(int(y1), height - 1)
            right, bottom = max(left + 1, int(np.ceil(x2))), max(top + 1, int(np.ceil(y2)))
            crops.append(pixels[top:bottom, left:right].copy())
        return crops

    def draw(self, image: Any, style: Style | None = None) -> NDArray[np.uint8]:
        """A copy of the source image with boxes, names and scores, uint8 BGR [H, W, 3].

        Args:
            image: the source image, as `Detector` takes it (arrays: BGR).
            style: width, letters, colours and labels; see `yolov4sdk.imaging.draw.Style`.
        """
        from .imaging.draw import draw

        return draw(self._pixels(image), self, style)

    def save(self, path: str | Path, image: Any, style: Style | None = None) -> Path:
        """Write the drawn image; the suffix sets the format. `image` and `style` as for `draw`.

        Raises:
            SettingError: a suffix that OpenCV does not write, or the source image's own path.
        """
        from .imaging.draw import write_image

        if isinstance(image, str | Path) and os.path.realpath(path) == os.path.realpath(image):
            raise SettingError(f"{path} is the source image; the drawn one needs another name")
        return write_image(path, self.draw(image, style))

    def _pixels(self, image: Any) -> NDArray[np.uint8]:
        from .imaging.images import read_image

        pixels = read_image(image)
        if pixels.shape[:2] != self.image_size:
            raise TensorError(
                f"the image is {pixels.shape[:2]} (height, width), these detections belong to "
                f"one of {self.image_size}"
            )
        return pixels

    def __str__(self) -> str:
        """A table, a line for each box."""
        height, width = self.image_size
        if not len(self):
            return f"no detections in an image of {width} x {height}"
        wide = max(5, *(len(label) for label in self.labels))
        lines = [f"{'class':<{wide}}  score      x1      y1      x2      y2"]
        for label, score, box in zip(self.labels, self.scores, self.xyxy, strict=True):
            lines.append(f"{label:<{wide}}  {score:5.3f} " + "".join(f"{v:8.1f}" for v in box))
        return "\n".join(lines)

    __repr__ = __str__


def resolve_classes(
    classes: str | int | Sequence[str | int], names: Sequence[str], owner: str = "the model"
) -> list[int]:
    """Class ids for names or ids.

    A text is a name first. A text of digits that is no name is an id, unless the names themselves
    are numbers: with the classes "30" and "50", "1" is refused, not taken for "50". A Python
    integer is always an id.

    Args:
        classes: names or ids, or a single one.
        names: of all classes.
        owner: whose classes they are, for messages.

    Raises:
        UnknownClassError: the message lists the classes, the nearest first.
    """
    single = isinstance(classes, str | int | np.integer)
    return [_class_id(item, names, owner) for item in ([classes] if single else classes)]  # type: ignore[union-attr, list-item]


def _class_id(item: object, names: Sequence[str], owner: str) -> int:
    reason = ""
    if isinstance(item, str):
        if item in names:
            return names.index(item)
        if item.isascii() and item.isdigit():
            if any(name.isascii() and name.isdigit() for name in names):
                reason = " (its names are numbers, so numbers mean names here, not ids)"
            elif len(item) < 10 and int(item) < len(names):
                return int(item)
    elif (
        isinstance(item, int | np.integer) and not isinstance(item, bool) and 0 <= item < len(names)
    ):
        return int(item)
    from difflib import get_close_matches

    near = get_close_matches(str(item), names, n=1)
    hint = f"; did you mean {near[0]!r}? It has" if near else "; it has"
    listed = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    raise UnknownClassError(f"{owner} has no class {item!r}{reason}{hint} {listed}")


DEFAULT_KEY = "default"
"""In per-class thresholds: the classes that are not named."""


def resolve_conf(
    conf: float | Mapping[str | int, float], names: Sequence[str], default: float = 0.25
) -> float | NDArray[np.float32]:
    """A threshold for all classes as it is; thresholds by class as float32 [C].

    Args:
        conf: a number, or a mapping of class names or ids to numbers; its key "default" (unless
            a class is called so) sets the other classes.
        names: of the model's classes.
        default: for the other classes, where the mapping does not say.

    Raises:
        UnknownClassError: a class that the model does not have.
        SettingError: a threshold that is no number.
    """
    if not isinstance(conf, Mapping):
        return conf
    entries = dict(conf)
    if DEFAULT_KEY not in names:
        default = entries.pop(DEFAULT_KEY, default)
    ids = resolve_classes(list(entries), names)
    try:
        result = np.full(len(names), default, np.float32)
        result[ids] = list(entries.values())
    except (TypeError, ValueError) as error:
        raise SettingError(f"thresholds must be numbers, got {conf!r}") from error
    return result
