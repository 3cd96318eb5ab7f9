"""What decides which candidates are reported: one frozen value, from every way in to the boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ..contract.contract import OutputContract
from ..contract.outputs import Outputs
from ..errors import SettingError
from ..system.classes import resolve_classes, resolve_conf
from ..system.option import about
from .postprocess import Kept, check_thresholds, nms, suppress

IOU: Final = 0.45
"""Where no overlap is given."""
SUPPRESSED: Final = "this graph has suppressed overlapping boxes itself (--nms), so {} no effect"


@dataclass(frozen=True)
class Thresholds:
    """See `yolov4sdk.results.postprocess.nms`.

    Attributes:
        conf: a number; classes (names or ids) to numbers; or float32 [C].
        iou: None is 0.45; only a graph that leaves suppression to its caller takes a number.
        classes: names or ids to report; None is all.
    """

    conf: Any = field(default=0.25, metadata=about("Least score.", low=0, high=1))
    iou: float | None = field(
        default=None,
        metadata=about("Overlap above which the lesser box goes.", low=0, high=1, shown="0.45"),
    )
    max_det: int = field(default=300, metadata=about("Boxes an image at most.", low=1))
    classes: Sequence[str | int] | None = None
    agnostic: bool = field(
        default=False,
        metadata=about(
            "Boxes of different classes remove one another too.",
            names=("--agnostic/--no-agnostic",),
        ),
    )
    multi_label: bool = False

    @property
    def overlap(self) -> float:
        """`iou` as a number."""
        return IOU if self.iou is None else self.iou

    def resolved(
        self, names: Sequence[str], output: OutputContract, *, merging: bool = False
    ) -> Thresholds:
        """With class ids and thresholds by class, checked for a graph.

        Args:
            names: of the model's classes.
            output: what the graph leaves to be done.
            merging: boxes of several views are merged (tiles), which takes an overlap always.

        Raises:
            SettingError: outside its range, or without effect on this graph.
            UnknownClassError: a class that the model does not have.
        """
        conf = resolve_conf(self.conf, names) if isinstance(self.conf, Mapping) else self.conf
        check_thresholds(conf, self.overlap, self.max_det)
        self.check(output, merging)
        classes = self.classes
        if classes is not None:
            classes = tuple(resolve_classes(classes, names))
        return replace(self, conf=conf, classes=classes)

    def check(self, output: OutputContract, merging: bool = False) -> None:
        """Raise SettingError for what has no effect on a graph; see `resolved`."""
        if output.suppressed and not merging:
            if self.iou is not None:
                raise SettingError(SUPPRESSED.format(f"iou {self.iou} has"))
            if self.agnostic:
                raise SettingError(SUPPRESSED.format("`agnostic` has"))
        if self.multi_label and not output.per_class:
            raise SettingError(
                f"multi_label needs all scores; this graph gives {output.convention}"
            )

    def choose(self, outputs: Outputs, row: int, output: OutputContract) -> Kept:
        """The boxes of one image that are reported: the only place that decides on suppression.

        Args:
            outputs: of a batch.
            row: of the image in it.
            output: what the graph leaves to be done.

        Returns:
            xyxy [M, 4] in input pixels, scores [M] and class ids [M], best first.
        """
        boxes, scores, class_ids = outputs
        options: dict[str, Any] = {
            "conf": self.conf,
            "iou": None if output.suppressed else self.overlap,
            "max_det": self.max_det,
            "classes": self.classes,
            "agnostic": self.agnostic or output.suppression == "agnostic",
        }
        if class_ids is None:
            return nms(boxes[row], scores[row], multi_label=self.multi_label, **options)
        return suppress(boxes[row], scores[row], class_ids[row], **options)
