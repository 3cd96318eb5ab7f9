"""Detections: what was found in one image."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, overload

import numpy as np
from numpy.typing import NDArray

from .errors import ImageError, SettingError, TensorError
from .imaging import tables
from .imaging.draw import Style, draw, write_image
from .imaging.images import read_image
from .system.classes import resolve_classes as resolve_classes
from .system.classes import resolve_conf as resolve_conf

if TYPE_CHECKING:
    import matplotlib.axes
    import pandas
    import supervision


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
        source: the image: a path, or uint8 BGR [H, W, 3] where the Detector was called with
            `keep_images=True`; None where it was neither. Not compared by `==`.

    Raises:
        TensorError: arrays whose shapes do not belong together.
    """

    xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    names: tuple[str, ...]
    image_size: tuple[int, int]
    track_ids: NDArray[np.int64] | None = None
    source: str | Path | NDArray[np.uint8] | None = None

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

    def __iter__(self) -> Iterator[Detection]:
        """Each box, as a Detections of length 1 that has `name`, `score` and `box` too."""
        return (self[i] for i in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Detection: ...

    @overload
    def __getitem__(self, index: slice | Sequence[int] | NDArray[Any]) -> Detections: ...

    def __getitem__(self, index: int | slice | Sequence[int] | NDArray[Any]) -> Detections:
        """Select boxes by position, slice, list of positions or boolean mask [N]."""
        single = isinstance(index, int | np.integer)
        if isinstance(index, int | np.integer):
            index = [int(index)]
        return (Detection if single else Detections)(
            self.xyxy[index],
            self.scores[index],
            self.class_ids[index],
            self.names,
            self.image_size,
            None if self.track_ids is None else self.track_ids[index],
            self.source,
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

    __hash__: ClassVar[None]  # type: ignore[assignment]  # equal, but never a key

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
        return {"image": {"height": height, "width": width}, "detections": tables.records(self)}

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
        return tables.coco(self, image_id, category_ids)

    def to_yolo(self, scores: bool = True) -> str:
        """YOLO label lines: class id, normalised centre and size, the score and the track id.

        Args:
            scores: False leaves out scores and track ids, as labels for training have none.
        """
        return tables.yolo(self, scores)

    def to_csv(self, path: str | Path | None = None) -> str:
        """A table, a line for each box: name, class_id, score, x1, y1, x2, y2 in pixels, track_id.

        Args:
            path: of a file to write it to as well; None writes none.
        """
        text = tables.csv_text(self)
        return text if path is None else tables.write_text(path, text)

    def to_pandas(self) -> pandas.DataFrame:
        """As a `pandas.DataFrame` with the columns of `to_csv`, a row for each box.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return tables.data_frame(self)

    def to_supervision(self) -> supervision.Detections:
        """As `supervision.Detections`, with the names in `data["class_name"]`.

        Raises:
            MissingExtraError: supervision is not installed.
        """
        return tables.to_supervision(self)

    @classmethod
    def from_supervision(
        cls,
        detections: supervision.Detections,
        image_size: tuple[int, int],
        names: Sequence[str] | None = None,
        source: str | Path | None = None,
    ) -> Self:
        """From `supervision.Detections`, best first; where it has no scores they are 1.

        Args:
            detections: with class ids.
            image_size: (height, width) of the image in pixels, which supervision does not keep.
            names: of all classes; None takes those of `data["class_name"]`.
            source: path of the image.

        Raises:
            TensorError: no class ids, or ids without a name.
        """
        parts, tracks = tables.from_supervision(detections, names)
        return cls(*parts, image_size, tracks, source)

    @classmethod
    def from_coco(
        cls,
        entries: Iterable[Mapping[str, Any]],
        image_size: tuple[int, int],
        names: Sequence[str],
        category_ids: Mapping[int, int] | None = None,
        source: str | Path | None = None,
    ) -> Self:
        """From COCO result entries or annotations of one image, best first; no score means 1.

        Args:
            entries: with category_id, bbox (left, top, width, height in pixels) and score.
            image_size: (height, width) of the image in pixels.
            names: of all classes.
            category_ids: class id to category id, as for `to_coco`.
            source: path of the image.

        Raises:
            TensorError: an entry without a box, of another image, or of a category without a name.
        """
        return cls(*tables.from_coco(entries, names, category_ids), image_size, source=source)

    def crop(self, image: Any = None) -> list[NDArray[np.uint8]]:
        """The picture inside each box.

        Args:
            image: as for `draw`.

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

    def draw(self, image: Any = None, style: Style | None = None) -> NDArray[np.uint8]:
        """A copy of the source image with boxes, names and scores, uint8 BGR [H, W, 3].

        Args:
            image: the source image, as `Detector` takes it (arrays: BGR); None is `source`.
            style: width, letters, colors and labels; see `yolov4sdk.imaging.draw.Style`.

        Raises:
            SettingError: no image was given, and `source` is None.
            ImageError: the image cannot be read any more.
            TensorError: an image of another size.
        """
        return draw(self._pixels(image), self, style)

    def save(self, path: str | Path, image: Any = None, style: Style | None = None) -> Path:
        """Write the drawn image; the suffix sets the format. `image` and `style` as for `draw`.

        Raises:
            SettingError: a suffix that OpenCV does not write, or the source image's own path.
        """
        for own in (image, self.source):
            if isinstance(own, str | Path) and os.path.realpath(path) == os.path.realpath(own):
                raise SettingError(f"{path} is the source image; the drawn one needs another name")
        return write_image(path, self.draw(image, style))

    def show(self, image: Any = None, style: Style | None = None) -> None:
        """Show the drawn image: in a notebook below the cell, else in a window until it is closed.

        Raises:
            SettingError: no display, or no Tk.
        """
        from .imaging.display import show

        show(self.draw(image, style))

    def plot(
        self,
        image: Any = None,
        style: Style | None = None,
        axes: matplotlib.axes.Axes | None = None,
    ) -> matplotlib.axes.Axes:
        """The drawn image in a Matplotlib figure, to set beside others or to save.

        Args:
            image: as for `draw`, as is `style`.
            axes: of an existing figure; None makes one.

        Raises:
            MissingExtraError: Matplotlib is not installed.
        """
        from .imaging.display import plot

        return plot(self.draw(image, style), axes)

    def _pixels(self, image: Any) -> NDArray[np.uint8]:
        image = self.source if image is None else image
        if image is None:
            raise SettingError(
                "the image is not known here: give it (`found.save(path, image)`), or call the "
                "detector with a path or with keep_images=True"
            )
        pixels = read_image(image)
        if pixels.shape[:2] != self.image_size:
            raise TensorError(
                f"the image is {pixels.shape[:2]} (height, width), these detections belong to "
                f"one of {self.image_size}"
            )
        return pixels

    def _repr_html_(self) -> str:
        """A notebook's view: the picture, where `source` can be read, and a table."""
        from .imaging.display import html

        return html(self, self._picture())

    def _repr_png_(self) -> bytes | None:
        """The picture alone, for programs that show no HTML; None where there is none."""
        from .imaging.display import png

        picture = self._picture()
        return None if picture is None else png(picture)

    def _picture(self) -> NDArray[np.uint8] | None:
        try:
            return self.draw()
        except (SettingError, TensorError, ImageError):  # moved, deleted or never known
            return None

    def __str__(self) -> str:
        """A table, a line for each box."""
        return tables.plain_text(self)

    __repr__ = __str__


class Detection(Detections):
    """One box: `for one in found: print(one.name, one.score, one.box)`."""

    @property
    def name(self) -> str:
        """Of its class."""
        return self.names[self.class_id]

    @property
    def class_id(self) -> int:
        """Index into `names`."""
        return int(self.class_ids[0])

    @property
    def score(self) -> float:
        """Objectness x class probability, 0..1."""
        return float(self.scores[0])

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x1, y1, x2, y2 in pixels of the source image."""
        x1, y1, x2, y2 = self.xyxy[0].tolist()
        return x1, y1, x2, y2

    @property
    def track_id(self) -> int | None:
        """Of the object that is followed; None where nothing was tracked."""
        return None if self.track_ids is None else int(self.track_ids[0])
