"""Which declaration is that of a foreign file? Those that its shapes allow, tried on pictures.

With labels they are ranked by AP, without by how far detections stay when a picture is mirrored,
shifted, made smaller or its colors are swapped (`probe_runs.consistency`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..contract.contract import GraphContract
from ..contract.onnx_graph import GraphFacts, read_onnx_graph
from ..contract.spec import METADATA_KEY, ModelInfo, ModelSpec
from ..conventions.base import Convention
from ..conventions.coco import IDS
from ..conventions.declaration import foreign
from ..conventions.declared import decode
from ..conventions.fit import changed, fitting
from ..conventions.sidecars import read_hint
from ..datasets import DetectionDataset
from ..errors import SettingError, SpecError, YOLOv4Error
from .classes import SharedClasses, share_classes
from .metrics import coco_metrics
from .probe_runs import PLAIN, VIEWS, Reading, consistency, read_pictures
from .probe_variants import Candidate, colored, crossed, distinct, resized, same, varied

if TYPE_CHECKING:
    from ..backends.onnxruntime_backend import OnnxRuntimeBackend

_FEW: Final = 8
"""Pictures of the first stages."""
_MARGIN: Final = {"AP": 0.02, "agreement": 0.05}
"""Scores nearer than this to the best are not told apart."""
_SHARE: Final = 0.1
"""The same as a share of the best score; the larger of the two counts."""
_LEAST: Final = {"AP": 0.05, "agreement": 0.15}
"""Below this the best is not a detector that works."""
_GROUPS: Final = 3
"""Readings of the outputs that are followed into the later stages."""
_CLASSES: Final = (
    "output.background=none", "output.background=first", "output.background=last",
    "output.class_offset=0", "output.class_offset=1",
)  # fmt: skip


@dataclass(frozen=True)
class Ranked:
    """A candidate and how it did: `score` 0 to 1, and why it cannot be right, or ""."""

    candidate: Candidate
    score: float
    fault: str = ""


@dataclass(frozen=True)
class Ranking:
    """What a probe found.

    Attributes:
        ranked: the last stage's candidates, best first.
        others: declarations that dropped out before, best first.
        measure: "AP" or "agreement".
        margin: scores nearer than this are not told apart.
        winner: the declaration; None is undecided.
        reason: why it is undecided, or what was left as the declaration has it.
        pictures: how many were looked at.
    """

    ranked: tuple[Ranked, ...]
    others: tuple[Ranked, ...]
    measure: str
    margin: float
    winner: Candidate | None
    reason: str
    pictures: int


def probe(
    model: str | Path,
    pictures: Sequence[Path] = (),
    *,
    dataset: DetectionDataset | None = None,
    names: Sequence[str] | None = None,
    class_map: Mapping[str, str] | None = None,
    count: int = 40,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Ranking:
    """Rank the declarations that a foreign ONNX file allows.

    Args:
        model: the file.
        pictures: image files; beside a data set, those of it to take (none: all).
        dataset: labelled pictures.
        names: the model's class names; None is those of its metadata or sidecar.
        class_map: the model's name of a class -> the data set's, where they differ.
        count: pictures at most, evenly taken.
        progress: called with (stages done, all stages).

    Raises:
        SettingError: no pictures, or labels without class names.
        SpecError: a file of this SDK, or no declaration fits.
        ArtefactError: the file cannot be read or run.
        MissingExtraError: ONNX Runtime is not installed, or with labels faster-coco-eval.
    """
    from ..backends.onnxruntime_backend import OnnxRuntimeBackend

    model = Path(model)
    facts = read_onnx_graph(model)
    if METADATA_KEY in facts.metadata:
        raise SpecError(f"{model} is a file of this SDK; it needs no declaration")
    if names is None:
        hint = read_hint(model, facts)
        names = hint.names if hint is not None else None
    shared: SharedClasses | None = None
    if dataset is not None:
        if names is None:
            raise SettingError(
                f"{model.name} does not name its classes, and labels are compared by name; give "
                "--names FILE, --names a,b,c or --names coco"
            )
        dataset = _few(dataset, pictures, count)
        shared, dataset = share_classes(names, dataset, class_map)
        pictures = dataset.images
    else:
        pictures = [pictures[i] for i in _evenly(len(pictures), count)]
    if not pictures:
        raise SettingError("there are no pictures to probe on; give --images DIR or --labels DATA")
    found = [
        Candidate(foreign()[name], contract)
        for name, contract in fitting(foreign(), facts, len(names) if names else None).items()
    ]
    if not found:
        raise SpecError(
            f"no known declaration fits {model.name}; write one (docs/conventions.md) and try it "
            "with `yolov4sdk adopt --as FILE.yaml`"
        )
    first = found[0].contract
    spec = ModelSpec.of(_info(first.output.classes), first, "fp32")
    with OnnxRuntimeBackend(model, "cpu", spec=spec) as backend:
        return _Probe(backend, pictures, dataset, shared, facts, names).rank(found, progress)


def _info(classes: int) -> ModelInfo:
    return ModelInfo(architecture="foreign", names=tuple(map(str, range(classes))))


def _evenly(total: int, count: int) -> list[int]:
    if total <= count:
        return list(range(total))
    return [i * total // count for i in range(count)]


def _few(dataset: DetectionDataset, pictures: Sequence[Path], count: int) -> DetectionDataset:
    """At most `count` labelled pictures."""
    wanted = {path.resolve() for path in pictures}
    labelled = [
        i
        for i, path in enumerate(dataset.images)
        if len(dataset.boxes[i]) and (not wanted or path.resolve() in wanted)
    ]
    return dataset.subset([labelled[i] for i in _evenly(len(labelled), count)])


class _Probe:
    """The stages: readings of the outputs, colors and scales, resizing and classes, all again."""

    def __init__(
        self, backend: OnnxRuntimeBackend, pictures: Sequence[Path],
        dataset: DetectionDataset | None, shared: SharedClasses | None, facts: GraphFacts,
        names: Sequence[str] | None,
    ) -> None:  # fmt: skip
        self._backend, self._pictures, self._dataset = backend, pictures, dataset
        self._shared, self._facts, self._names = shared, facts, names
        self.measure = "AP" if dataset is not None else "agreement"

    def rank(self, found: Sequence[Candidate], progress: Callable[[int, int], None]) -> Ranking:
        """All stages; see `probe`."""
        few = _evenly(len(self._pictures), _FEW)
        known: dict[GraphContract, Ranked] = {}

        def stage(candidates: Sequence[Candidate], number: int) -> list[Ranked]:
            new = [c for c in distinct(candidates) if same(c.contract) not in known]
            for ranked in self._scored(new, few):
                known[same(ranked.candidate.contract)] = ranked
            progress(number, 4)
            return sorted(known.values(), key=lambda one: -one.score)

        ranked = stage([*found, *crossed(found)], 1)
        works = ranked[0].score >= _LEAST[self.measure]
        leaders = _leaders(ranked, _GROUPS if works else len(ranked))
        ranked = stage([v for one in leaders for v in colored(one)], 2)
        leaders = _leaders(ranked, _GROUPS)
        ranked = stage([v for one in leaders for v in (*resized(one), *self._classes(one))], 3)
        kept = self._finalists(ranked)
        last = sorted(self._scored(kept, range(len(self._pictures))), key=lambda one: -one.score)
        progress(4, 4)
        seen = {one.candidate.row.name for one in last}
        others = []
        for one in ranked:
            if one.candidate.row.name not in seen:
                seen.add(one.candidate.row.name)
                others.append(one)
        margin = max(_MARGIN[self.measure], _SHARE * last[0].score)
        winner, reason = decide(last, margin, _LEAST[self.measure], self._dataset is not None)
        return Ranking(
            tuple(last), tuple(others), self.measure, margin, winner, reason, len(self._pictures)
        )

    def _finalists(self, ranked: Sequence[Ranked]) -> list[Candidate]:
        """The best of each leading reading, those near it, and the declarations themselves."""
        good = [one for one in ranked if not one.fault] or list(ranked[:1])
        best = good[0].score
        near = [one for one in good if one.score >= best * 0.7][:8]
        leaders = _leaders(good, _GROUPS)
        shapes = [one.shape for one in leaders]
        declared = [
            o.candidate for o in good if not o.candidate.changes and o.candidate.shape in shapes
        ]
        return distinct([*declared, *leaders, *(one.candidate for one in near)])

    def _scored(self, candidates: Sequence[Candidate], at: Sequence[int]) -> list[Ranked]:
        labelled = self._dataset is not None
        readings = read_pictures(
            self._backend.raw, [self._pictures[i] for i in at],
            [one.contract for one in candidates],
            views=(PLAIN,) if labelled else VIEWS, swap=not labelled,
            conf=0.01 if labelled else 0.1, shared=self._shared,
        )  # fmt: skip
        return [
            Ranked(one, 0.0 if reading.fault else self._score(reading, at), reading.fault)
            for one, reading in zip(candidates, readings, strict=True)
        ]

    def _score(self, reading: Reading, at: Sequence[int]) -> float:
        if self._dataset is None:
            return consistency(reading.found)
        predictions = [views[PLAIN.name] for views in reading.found]
        ap = coco_metrics(self._dataset.subset(list(at)), predictions).ap
        return ap if ap == ap else 0.0  # NaN where nothing can be measured

    def _classes(self, one: Candidate) -> list[Candidate]:
        """Other places of the background and of the first class; only labels tell these apart."""
        if self._dataset is None or self._names is None:
            return []
        made = []
        for change in _CLASSES:
            try:
                output = changed(one.contract, [change]).output
            except YOLOv4Error:
                continue
            made.append((output, change.removeprefix("output.")))
        if one.contract.output.selection == "given" and len(self._names) == len(IDS):
            made.append((replace(one.contract.output, class_ids=IDS), "class_ids of COCO"))
        return [
            varied(one, replace(one.contract, output=output), said)
            for output, said in made
            if output != one.contract.output and self._fits(output)
        ]

    def _fits(self, output: Any) -> bool:
        """Whether the file's columns of scores are as many as these classes need."""
        row = Convention("", "", "", output, decode)
        classes = len(self._names) if self._names else None
        return bool(fitting({"": row}, self._facts, classes)) or output.selection == "given"


def _leaders(ranked: Sequence[Ranked], count: int) -> list[Candidate]:
    """The best candidate of each of the best readings of the outputs."""
    best: dict[Any, Candidate] = {}
    for one in ranked:
        if not one.fault:
            best.setdefault(one.candidate.output, one.candidate)
    return list(best.values())[:count]


def decide(
    ranked: Sequence[Ranked], margin: float, least: float, labelled: bool = True
) -> tuple[Candidate | None, str]:
    """The winner, or None and why there is none.

    Candidates within the margin are not told apart. They are one answer when they read the outputs
    alike; of these a declaration as it stands goes before one with other values. Without labels
    readings that differ only in which class is which are never told apart.
    """
    best = ranked[0]
    if best.score < least:
        return None, (
            f"undecided: the best of these scores {best.score:.3f}, below {least}; perhaps none is "
            "this file's declaration, or the pictures show nothing that it knows"
        )
    if not labelled:
        rivals = {
            o.candidate.output: o for o in ranked if o.candidate.shape == best.candidate.shape
        }
        if len(rivals) > 1:
            return None, (
                "undecided: without labels nothing tells which class is which, and "
                f"{', '.join(o.candidate.row.name for o in rivals.values())} differ in that only"
            )
    near = [one for one in ranked if best.score - one.score < margin]
    shown = ", ".join(one.candidate.title for one in near)
    if len({one.candidate.output for one in near}) > 1:
        return None, f"undecided: within the margin of {margin:.3f} are {shown}"
    declared = [one for one in near if not one.candidate.changes]
    if len({one.candidate.pixels for one in declared or near}) > 1:
        return None, f"undecided: within the margin of {margin:.3f} are {shown}"
    winner = (declared or near)[0].candidate
    if any(one.candidate.pixels != winner.pixels for one in near):
        return winner, (
            "the pictures do not tell its colors and scale from those of "
            f"{', '.join(o.candidate.title for o in near if o.candidate.pixels != winner.pixels)}; "
            "the declaration's own are kept"
        )
    return winner, ""
