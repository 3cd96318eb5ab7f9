"""Classes of a model and of a data set that are one, whatever each calls them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolov4sdk.backends.base import Outputs
from yolov4sdk.datasets import DetectionDataset
from yolov4sdk.errors import SettingError, UnknownClassError
from yolov4sdk.system.text import some_of

_SHOWN = 10  # names in a note


def parse_map(items: Sequence[str]) -> dict[str, str]:
    """ "potted plant=pottedplant" to {the model's name: the data set's}.

    Raises:
        SettingError: an item that is not MODEL=DATA, or a class that is mapped twice.
    """
    result: dict[str, str] = {}
    for item in items:
        model, equals, data = (part.strip() for part in item.partition("="))
        if not (equals and model and data) or model in result:
            raise SettingError(
                f"--map takes 'model name=data name', each name of the model once, got {item!r}"
            )
        result[model] = data
    return result


@dataclass(frozen=True)
class SharedClasses:
    """The classes that are measured, and where a model has them.

    Attributes:
        names: of the classes, as the data set calls them, in the model's order.
        members: for each class the model's class ids that mean it.
        ignored: the model's classes that the data set does not have.
        unknown: the data set's classes that the model does not have; no image shows them.
    """

    names: tuple[str, ...]
    members: tuple[tuple[int, ...], ...]
    ignored: tuple[str, ...]
    unknown: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether the classes are the model's, one for one."""
        return not self.ignored and self.members == tuple((i,) for i in range(len(self.members)))

    def notes(self) -> list[str]:
        """Sentences on the classes that are left out."""
        notes = []
        if self.unknown:
            notes.append(
                f"the model does not know {', '.join(self.unknown[:_SHOWN])}, of which there is no "
                "box"
            )
        return notes + ([self._ignored_note()] if self.ignored else [])

    def _ignored_note(self) -> str:
        total = sum(map(len, self.members)) + len(self.ignored)
        return (
            f"{len(self.ignored)} of the model's {total} classes are not in the data set and are "
            f"ignored: {some_of(self.ignored, _SHOWN)}"
        )

    def select(self, outputs: Outputs, row: int) -> tuple[Any, Any, Any]:
        """One image's outputs in these classes only.

        Args:
            outputs: boxes [B, N, 4], and scores [B, N, model classes], or scores and class ids
                [B, N] of a reduced graph.
            row: of the batch.

        Returns:
            Boxes [M, 4], and scores [M, classes] (the best where several classes mean one), or
            scores and class ids [M].
        """
        boxes, scores, class_ids = outputs
        if class_ids is None:
            columns = [scores[row][:, list(ids)].max(axis=1) for ids in self.members]
            return boxes[row], np.stack(columns, axis=1), None
        table = np.full(1 + max(int(class_ids.max(initial=0)), self._last), -1, np.int64)
        for new, ids in enumerate(self.members):
            table[list(ids)] = new
        new_ids: NDArray[np.int64] = table[class_ids[row]]
        kept = new_ids >= 0
        return boxes[row][kept], scores[row][kept], new_ids[kept]

    @property
    def _last(self) -> int:
        return max(max(ids) for ids in self.members)


def share_classes(
    names: Sequence[str], dataset: DetectionDataset, renamed: Mapping[str, str] | None = None
) -> tuple[SharedClasses, DetectionDataset]:
    """What a model and a data set have in common, and the data set in those classes.

    Args:
        names: of the model's classes.
        dataset: every class that it has boxes of must be one of the model's.
        renamed: the model's name -> the data set's name, where they differ; several of the model's
            classes may be one of the data set's.

    Raises:
        UnknownClassError: `renamed` names a class that the model or the data set does not have.
        DatasetError: the data set labels a class that the model does not know.
        SettingError: they have no class in common.
    """
    renamed = renamed or {}
    for given, known, owner in (
        (renamed.keys(), names, "the model"), (renamed.values(), dataset.names, "the data set"),
    ):  # fmt: skip
        for name in given:
            if name not in known:
                raise UnknownClassError(
                    f"{owner} has no class {name!r} to map; it has {', '.join(known[:20])}"
                )
    called = [renamed.get(name, name) for name in names]
    shared = tuple(dict.fromkeys(name for name in called if name in dataset.names))
    if not shared:
        raise SettingError(
            f"the model ({', '.join(names[:10])}) and the data set "
            f"({', '.join(dataset.names[:10])}) have no class in common; map names that mean the "
            "same: --map 'model name=data name'"
        )
    members = tuple(
        tuple(i for i, name in enumerate(called) if name == wanted) for wanted in shared
    )
    ignored = tuple(n for n, c in zip(names, called, strict=True) if c not in shared)
    unknown = tuple(name for name in dataset.names if name not in shared)
    return SharedClasses(shared, members, ignored, unknown), dataset.with_names(shared)
