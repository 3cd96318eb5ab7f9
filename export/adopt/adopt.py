"""`adopt`: a foreign file becomes one of ours, after it was run beside the original."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import yolov4sdk
from yolov4sdk.backends.foreign import graph_facts
from yolov4sdk.backends.runtimes import runtime
from yolov4sdk.contract.contract import GraphContract, InputContract, Size
from yolov4sdk.contract.onnx_graph import GraphFacts
from yolov4sdk.contract.spec import METADATA_KEY, ModelInfo, ModelSpec
from yolov4sdk.conventions import Outputs
from yolov4sdk.conventions.declaration import Declared
from yolov4sdk.conventions.sidecars import declaration_of
from yolov4sdk.errors import (
    ExportError,
    ForeignFileError,
    MissingExtraError,
    SettingError,
    SpecError,
    VerificationError,
)
from yolov4sdk.imaging.preprocess import letterbox, letterbox_plan, to_input
from yolov4sdk.system.files import atomic_write, sha256
from yolov4sdk.system.text import first_line

from ..check import real_image
from .rewrite import FOREIGN, rewrite

_BOX_ERROR: Final = 1e-3
"""Pixels; exp and softmax differ in their last bits between NumPy and a runtime."""
_SCORE_ERROR: Final = 1e-5
_FAINT: Final = 1e-3
"""Boxes that score less are not compared."""
_SHOWN: Final = 0.25
"""Confidence from which boxes are counted in the trial run."""
_MANY: Final = 1000
_STANDARD: Final = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.ms.internal.nhwc"}


@dataclass(frozen=True)
class Adopted:
    """What an adoption wrote.

    Attributes:
        path: the new file.
        spec: inside it.
        declared: the declaration, and where it came from.
        warnings: what the trial run makes doubtful; empty when it looks right.
        box_error: pixels, against a NumPy decode of the original's outputs.
        score_error: the same for scores.
    """

    path: Path
    spec: ModelSpec
    declared: Declared
    warnings: tuple[str, ...]
    box_error: float
    score_error: float


def adopt(
    source: str | Path,
    target: str | Path,
    convention: str | None = None,
    *,
    names: Sequence[str] | None = None,
    size: Size | None = None,
    changes: Sequence[str] = (),
    overwrite: bool = False,
) -> Adopted:
    """Write a foreign detector as one of ours: decoding in the graph, ModelSpec inside.

    Args:
        source: the foreign file, .onnx or .xml.
        target: the new one, of the same suffix.
        convention: name of a declaration or a file with one; None: what the file, its metadata
            or the files beside it say.
        names: class names in the order of the model; None: the file's own.
        size: (height, width) for a graph that takes any size.
        changes: "input.color=RGB" and the like.
        overwrite: whether an existing target is replaced.

    Raises:
        ArtefactError: the source cannot be read, or nothing decides how to decode it.
        ExportError: custom operators, an opset too old, or a rewritten graph that does not agree.
        SettingError: a wrong option.
        MissingExtraError: onnx, ONNX Runtime or (for .xml) OpenVINO is not installed.
    """
    source, target = Path(source), Path(target)
    suffix = source.suffix.lower()
    facts = graph_facts(source)
    if target.suffix.lower() != suffix:
        raise SettingError(f"the output must end in {suffix}, as {source.name} does, got {target}")
    for file in (target, *([target.with_suffix(".bin")] if suffix == ".xml" else [])):
        read = (one for one in (source, source.with_suffix(".bin")) if one.exists())
        if file.exists() and (not overwrite or any(map(file.samefile, read))):
            raise SettingError(f"{file} exists; choose another name, or give --overwrite")
    if METADATA_KEY in facts.metadata:
        raise SettingError(f"{source} is a file of this SDK already; use it as it is")
    declared, known = declaration_of(source, facts, convention, names, size, changes)
    if known is None:
        raise SpecError(
            f"{source} does not name its {declared.contract.output.classes} classes; give "
            "--names FILE, --names a,b,c or --names coco"
        )
    if len(known) != declared.contract.output.classes:
        raise SpecError(
            f"{len(known)} class names for {declared.contract.output.classes} classes of {source}"
        )
    write = _onnx if suffix == ".onnx" else _openvino
    with _files(target) as temporary:
        spec = write(source, temporary, facts, declared, tuple(known))
        warnings, box_error, score_error = _trial(source, temporary, declared, spec)
    return Adopted(target, spec, declared, warnings, box_error, score_error)


@contextmanager
def _files(target: Path) -> Iterator[Path]:
    """`atomic_write`, of x.bin beside x.xml too."""
    with atomic_write(target) as temporary:
        weights = temporary.with_suffix(".bin")
        try:
            yield temporary
            if weights.exists():
                weights.replace(target.with_suffix(".bin"))
        finally:
            weights.unlink(missing_ok=True)


def _onnx(
    source: Path, target: Path, facts: GraphFacts, declared: Declared, names: tuple[str, ...]
) -> ModelSpec:
    model, contract = rewrite(_load(source), declared.contract)
    spec = _spec(source, declared, contract, names, _quantised(model))
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, spec.to_json()
    _save(model, target)
    return spec


def _openvino(
    source: Path, target: Path, facts: GraphFacts, declared: Declared, names: tuple[str, ...]
) -> ModelSpec:
    from .openvino_graph import is_quantised, rewrite_openvino, save

    model, contract = rewrite_openvino(source, facts, declared.contract)
    spec = _spec(source, declared, contract, names, is_quantised(source))
    save(model, spec, target)
    return spec


def _spec(
    source: Path, declared: Declared, contract: GraphContract, names: tuple[str, ...], int8: bool
) -> ModelSpec:
    provenance = {
        "source": source.name, "sha256": sha256(source), "convention": declared.row.name,
        "sdk_version": yolov4sdk.__version__,
    }  # fmt: skip
    info = ModelInfo(
        f"adopted:{declared.row.name}", names, train_size=max(contract.input.size),
        provenance=provenance,
    )  # fmt: skip
    return ModelSpec.of(info, contract, "int8" if int8 else "fp32")


def _load(path: Path) -> Any:
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("Adopting", "export", "onnx") from error
    try:
        model = onnx.load(path)
    except FileNotFoundError as error:
        raise ForeignFileError(
            f"{path} keeps weights in {Path(str(error.filename or error)).name}, which is not "
            "beside it; copy that file there"
        ) from error
    except Exception as error:  # protobuf's and onnx's share no base class
        raise ForeignFileError(
            f"{path} cannot be read as ONNX: {first_line(error)[:300]}"
        ) from error
    plugins = sorted({n.op_type for n in model.graph.node if n.op_type.endswith(("_TRT", "_RTX"))})
    if plugins:
        raise ExportError(
            f"{path} ends in {', '.join(plugins)}, a plug-in that only TensorRT has; export the "
            "model again without suppression in the graph, then adopt that file"
        )
    own = {function.domain for function in model.functions}
    custom = sorted(
        {f"{n.domain}.{n.op_type}" for n in model.graph.node if n.domain not in _STANDARD | own}
    )
    if custom:
        raise ExportError(
            f"{path} uses the operators {', '.join(custom[:5])}, which are not ONNX's own; export "
            "it without them"
        )
    return model


def _quantised(model: Any) -> bool:
    kinds = ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger")
    return any(node.op_type in kinds for node in model.graph.node)


def _save(model: Any, path: Path) -> None:
    import onnx

    try:
        onnx.checker.check_model(model)
        onnx.save(model, path)
    except Exception as error:
        raise ExportError(
            f"the rewritten graph is not valid ONNX: {first_line(error)[:300]}"
        ) from error


def _trial(
    source: Path, written: Path, declared: Declared, spec: ModelSpec
) -> tuple[tuple[str, ...], float, float]:
    """Run both on a photograph: the new graph against a NumPy decode of the old one's outputs."""
    taken = declared.contract.input
    photo, _ = real_image(taken.size)
    plan = letterbox_plan(
        (photo.shape[0], photo.shape[1]), taken.size, stride=taken.multiple, resize=taken.resize
    )
    canvas = letterbox(photo, plan, resize=taken.resize)[None]
    batch = np.repeat(canvas, declared.contract.batch or 1, axis=0)
    row = runtime("onnxruntime" if source.suffix.lower() == ".onnx" else "openvino")
    foreign = ModelSpec.of(spec.model, declared.contract, spec.precision)
    with (
        row.loaded(source, device="cpu", spec=foreign) as original,
        row.loaded(written, device="cpu") as rewritten,
    ):
        pixels, shown = (to_input(batch, form, bgr=True) for form in (taken, spec.contract.input))
        if source.suffix.lower() == ".onnx":
            pixels = _seen(written, taken, shown, pixels)
        expected = original.infer(pixels)
        found = rewritten.infer(shown)
    box_error, score_error = _errors(expected, found)
    if not (box_error <= _BOX_ERROR and score_error <= _SCORE_ERROR):
        raise VerificationError(
            f"the rewritten graph differs from {source.name} by {box_error:.3g} px and "
            f"{score_error:.3g} in scores; nothing was written"
        )
    return doubts(expected, plan.canvas), box_error, score_error


def _seen(
    written: Path, taken: InputContract, shown: NDArray[Any], pixels: NDArray[Any]
) -> NDArray[Any]:
    """What the original's own part of a written graph sees, which has to be `pixels`.

    The original is run on exactly this: a DETR may choose other queries for a last bit.
    """
    import onnx

    from ..plain_graph import PlainGraph

    model = onnx.load(written)
    names = {name for node in model.graph.node for name in node.output}
    name = taken.name if taken.name in names else FOREIGN + taken.name
    del model.graph.output[:]
    model.graph.output.append(onnx.ValueInfoProto(name=name))
    with PlainGraph(model.SerializeToString()) as graph:
        (seen,) = graph.results(shown)
    seen = np.asarray(seen).reshape(pixels.shape)
    error = np.abs(seen.astype(np.float32) - pixels.astype(np.float32)).max()
    if not error <= _BOX_ERROR:
        raise VerificationError(
            f"the rewritten graph gives its network other pixels than the declaration says, by "
            f"{error:.3g}; nothing was written"
        )
    return seen


def _errors(expected: Outputs, found: Outputs) -> tuple[float, float]:
    """Largest differences of boxes that score at all, and of scores; infinite for other classes."""
    if (expected.class_ids is None) != (found.class_ids is None):
        return math.inf, math.inf
    if expected.class_ids is not None:
        both = [_beside(expected, found), _beside(found, expected)]
        return max(one[0] for one in both), max(one[1] for one in both)
    if expected.scores.shape != found.scores.shape:
        return math.inf, math.inf
    used = expected.scores.max(-1) > _FAINT
    boxes = np.abs(expected.boxes - found.boxes)[used]
    return (
        float(boxes.max()) if boxes.size else 0.0,
        float(np.abs(expected.scores - found.scores).max()) if found.scores.size else 0.0,
    )


def _beside(one: Outputs, other: Outputs) -> tuple[float, float]:
    """Errors of rows that have one class, each beside the nearest of its class.

    Their order is no matter: scores may tie. Nor are rows that score nothing, or as little as the
    last of the others, behind which a list of the best ends.
    """
    assert one.class_ids is not None and other.class_ids is not None
    box_error = score_error = 0.0
    for image in range(len(one.scores)):
        least = max(_FAINT, float(other.scores[image].min(initial=1)) + _SCORE_ERROR)
        for row in np.flatnonzero(one.scores[image] > least):
            same = other.class_ids[image] == one.class_ids[image, row]
            away = np.abs(other.boxes[image] - one.boxes[image, row]).max(axis=1)
            score = np.abs(other.scores[image] - one.scores[image, row])
            away[~same | np.isnan(away) | ~(score <= _SCORE_ERROR)] = math.inf
            nearest = int(away.argmin())
            box_error = max(box_error, float(away[nearest]))
            score_error = max(score_error, float(score[nearest]))
    return box_error, score_error


def doubts(outputs: Outputs, canvas: Size) -> tuple[str, ...]:
    """What candidates of a photograph say against a declaration, in sentences."""
    scores, boxes = outputs.scores, outputs.boxes
    said = []
    if not np.isfinite(scores).all() or not np.isfinite(boxes).all():
        said.append("some scores or boxes are NaN or infinite")
    if scores.size and (scores.min() < -1e-3 or scores.max() > 1 + 1e-3):
        said.append(
            f"scores lie between {scores.min():.3g} and {scores.max():.3g}, not in 0..1: is an "
            "activation missing (output.activation)?"
        )
    best = scores if outputs.class_ids is not None else scores.max(-1)
    shown = boxes[best > _SHOWN]
    if len(shown) > _MANY:
        said.append(f"{len(shown)} boxes score above {_SHOWN}: are the scores decoded right?")
    if len(shown):
        said += _places(shown, canvas)
    return tuple(said)


def _places(shown: NDArray[np.float32], canvas: Size) -> list[str]:
    height, width = canvas
    inside = (shown[:, 2] > 0) & (shown[:, 3] > 0) & (shown[:, 0] < width) & (shown[:, 1] < height)
    ordered = (shown[:, 2] >= shown[:, 0]) & (shown[:, 3] >= shown[:, 1])
    small = np.abs(shown).max() <= 2
    said = []
    if inside.mean() < 0.9:
        said.append(f"{(~inside).sum()} of {len(shown)} boxes lie outside the canvas")
    if ordered.mean() < 0.9:
        said.append("corners are in the wrong order: is the box code right (output.box)?")
    if small:
        said.append('all boxes are smaller than two pixels: is the unit "fraction" (output.unit)?')
    return said


__all__ = ["Adopted", "adopt", "doubts"]
