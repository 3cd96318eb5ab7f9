"""`export --for`: a detector rewritten to a consumer's contract, and read back by its rules."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from yolov4sdk.backends.artefacts import default_model
from yolov4sdk.contract.contract import OUTPUTS, InputContract
from yolov4sdk.contract.onnx_header import read_onnx_spec
from yolov4sdk.contract.spec import ModelSpec
from yolov4sdk.errors import ExportError, SettingError
from yolov4sdk.results.postprocess import check_thresholds
from yolov4sdk.system.text import first_line

from ..adopt.nodes import GraphWriter, Node
from ..adopt.rewrite import rename
from . import consumer as row_of
from .agreement import Agreement, Own, check
from .base import INPUT, Candidates, Consumer, Wanted

_INNER = "inner/"


@dataclass(frozen=True)
class Made:
    """What was written for a consumer.

    Attributes:
        title: whose contract it follows.
        path: the model's file.
        files: the configuration, the labels, and the model's last.
        config: the configuration's text.
        agreement: with the model's own detections.
        notes: what the consumer does otherwise, in sentences.
    """

    title: str
    path: Path
    files: tuple[Path, ...]
    config: str
    agreement: Agreement
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "path": str(self.path), "files": [str(file) for file in self.files],
            "config": self.config, "agreement": self.agreement.to_dict(),
            "notes": list(self.notes),
        }  # fmt: skip


def export_for(
    model: str | Path | None,
    consumer: str,
    output: str | Path | None = None,
    *,
    size: tuple[int, int] | None = None,
    conf: float | None = None,
    iou: float | None = None,
    max_det: int | None = None,
    overwrite: bool = False,
) -> Made:
    """Write a detector as another program reads it: names, layout, metadata, labels, configuration.

    Args:
        model: a native checkpoint, or an ONNX file of this SDK, adopted ones too; None is the
            embedded default.
        consumer: a name of `CONSUMERS`.
        output: the model's file; default: the model's name with "-" and the consumer's name.
        size: (height, width) in pixels, where the model leaves it open.
        conf, iou, max_det: of the suppression; None is the consumer's usual.
        overwrite: whether files that are there are replaced; the model itself never is.

    Raises:
        SettingError: an unknown consumer, a threshold that it does not let one choose, a size or a
            batch that the file does not have, a file that is there already.
        ExportError: a graph that the consumer cannot read.
        VerificationError: decoded by the consumer's rules, the file does not say what the model
            says; nothing was kept.
        MissingExtraError: onnx or the runtime that checks the file is not installed.
    """
    row = row_of(consumer)
    chosen = {"conf": conf, "iou": iou, "max_det": max_det}
    given = {name: value for name, value in chosen.items() if value is not None}
    if row.fixed and given:
        raise SettingError(
            f"{row.title} has fixed thresholds (conf {row.conf:g}, iou {row.iou:g}, max_det "
            f"{row.max_det}); {', '.join(given)} cannot be chosen"
        )
    row = replace(row, **given)  # type: ignore[arg-type]
    check_thresholds(row.conf, row.iou, row.max_det)
    named = Path(model) if model is not None else Path("yolov4sdk")
    target = Path(output or named.with_name(f"{named.stem}-{row.name}{row.suffix}"))
    if target.suffix.lower() != row.suffix:
        raise SettingError(f"for {row.title} the output ends in {row.suffix}, got {target.name!r}")
    finals = _names(row, target)
    for file in finals:
        if file.exists() and (not overwrite or (model is not None and file.samefile(model))):
            raise SettingError(f"{file} exists; choose another name with -o, or give --overwrite")
    target.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        if model is None:
            model = stack.enter_context(default_model())
        folder = Path(stack.enter_context(
            tempfile.TemporaryDirectory(prefix=f".{target.stem}.", dir=target.parent)
        ))  # fmt: skip
        source, spec = _source(Path(model), folder, size)
        made = _write(source, spec, row, folder, finals)
        for file in finals:
            (folder / file.name).replace(file)
    return made


def _names(row: Consumer, target: Path) -> tuple[Path, ...]:
    """All files, the model's last."""
    weights = (target.with_suffix(".bin"),) if row.suffix == ".xml" else ()
    labels = target.with_name(f"{target.stem}-labels.txt")
    return target.with_suffix(row.config_suffix), labels, *weights, target


def _source(model: Path, folder: Path, size: tuple[int, int] | None) -> tuple[Path, ModelSpec]:
    """An ONNX file of the model, of one image and one size, and its spec."""
    if model.suffix.lower() != ".onnx":
        from ..api import export_model

        path = folder / "source.onnx"
        chosen: dict[str, Any] = {} if size is None else {"size": size}
        made = export_model(
            model, "onnx", path, batch=1, dynamic=False, float_input=True, raw_outputs=True,
            precision="fp32", **chosen,
        )  # fmt: skip
        return path, made.spec
    spec = read_onnx_spec(model)
    wanted = spec.input_size if size is None else spec.check_size(size)
    if wanted != spec.input_size and not spec.dynamic_size:
        raise SettingError(f"{model.name} takes {spec.input_size} (height, width), not {wanted}")
    if spec.batch not in (None, 1):
        raise SettingError(
            f"{model.name} takes batches of {spec.batch}, the file for another program one image; "
            "export it again with --batch 1"
        )
    return model, spec.replace(input_size=wanted)


def _write(
    source: Path, spec: ModelSpec, row: Consumer, folder: Path, finals: Sequence[Path]
) -> Made:
    """Everything into the folder; the check comes last."""
    target = finals[-1]
    own = Own(source, spec)
    given = spec.contract.input
    taken = given if row.any_input else replace(
        INPUT, resize=given.resize, multiple=given.multiple
    )  # fmt: skip
    wanted = Wanted(
        target.name, spec.names, replace(taken, size=spec.input_size, dynamic=False),
        spec.contract.output, own.rows, row.conf, row.iou, row.max_det, finals[1].name,
    )  # fmt: skip
    path = folder / target.name
    _save(rewritten(source, spec, row, wanted), path, row, wanted)
    config = row.config(wanted)
    (folder / finals[0].name).write_text(config, encoding="utf-8")
    labels = "".join(f"{name}\n" for name in row.labels(wanted))
    (folder / finals[1].name).write_text(labels, encoding="utf-8")
    agreement = check(path, row, wanted, own)
    return Made(row.title, target, tuple(finals), config, agreement, _notes(row, wanted, agreement))


def rewritten(source: Path, spec: ModelSpec, row: Consumer, wanted: Wanted) -> onnx.ModelProto:
    """The source with the consumer's input and outputs; nothing of our metadata."""
    model = onnx.load(source)
    graph = model.graph
    own = spec.contract.input
    names = {name: f"{_INNER}{name}" for name in (own.name, *OUTPUTS)}
    rename(graph, names)
    before = _in_front(wanted.taken, own, names[own.name])
    after = GraphWriter("consumer/out/")
    outputs = row.outputs(Candidates(after, spec.contract.output, wanted.rows, names), wanted)
    rename(graph, {name: f"{_INNER}{name}" for name in (wanted.taken.name, *outputs)})
    del graph.input[:], graph.output[:], graph.value_info[:], model.metadata_props[:]
    kind = TensorProto.UINT8 if wanted.taken.dtype == "uint8" else TensorProto.FLOAT
    shape = wanted.taken.shape(1, wanted.size)
    graph.input.append(helper.make_tensor_value_info(wanted.taken.name, kind, shape))
    for name, node in outputs.items():
        after.rename(node, name)
        graph.output.append(onnx.ValueInfoProto(name=name))
    nodes = [*before.nodes, *graph.node, *after.nodes]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend([*before.constants, *after.constants])
    helper.set_model_props(model, row.metadata(wanted))
    inferred = onnx.shape_inference.infer_shapes(model)
    del graph.output[:]
    graph.output.extend(inferred.graph.output)
    return model


def _in_front(taken: InputContract, own: InputContract, name: str) -> GraphWriter:
    """From what the consumer feeds to the graph's own input."""
    writer = GraphWriter("consumer/in/")
    x: Node = writer.value(taken.name)
    if taken.dtype == "float32" and own.dtype == "uint8":
        x = writer.node("Clip", writer.node("Round", x * np.float32(255)), *_bounds())
        x = writer.node("Cast", x, to=TensorProto.UINT8)
    if taken.planar and not own.planar:
        x = writer.node("Transpose", x, perm=[0, 2, 3, 1])
    writer.rename(x, name)
    return writer


def _bounds() -> tuple[Any, Any]:
    return np.float32(0), np.float32(255)


def _save(model: onnx.ModelProto, path: Path, row: Consumer, wanted: Wanted) -> None:
    try:
        onnx.checker.check_model(model)
        written = path.with_suffix(".onnx")
        onnx.save(model, written)
    except Exception as error:  # protobuf's and onnx's share no base class
        line = first_line(error)[:300]
        raise ExportError(f"the graph for {row.title} is not valid ONNX: {line}") from error
    if row.suffix == ".xml":
        from ..openvino_export import convert

        convert(written, path, {("model_info", k): v for k, v in row.metadata(wanted).items()})
        written.unlink()


def _notes(row: Consumer, wanted: Wanted, found: Agreement) -> tuple[str, ...]:
    policy, said = wanted.taken.resize.policy, []
    if policy not in row.resize:
        said.append(
            f"{row.title} resizes by {row.resize[0]}, the model's own way is {policy}: on images "
            "of another shape than the network's the boxes will be less exact"
        )
    if row.pad is not None and policy != "stretch" and row.pad != wanted.taken.resize.pad:
        said.append(
            f"{row.title} pads with grey {row.pad}, the model's own padding is "
            f"{wanted.taken.resize.pad}"
        )
    if row.suppressed and not wanted.output.suppressed:
        said.append(
            f"overlapping boxes are suppressed in the graph, at conf {wanted.conf:g} and iou "
            f"{wanted.iou:g}"
        )
    if not found.candidates:
        said.append(f"nothing scored above {row.conf:g} on the photograph: no box was compared")
    if found.unmatched:
        said.append(
            f"by its own suppression {row.title} keeps {found.detections} boxes of the photograph, "
            f"the model itself {found.own}; {found.unmatched} have no partner"
        )
    return tuple(said)


__all__ = ["Made", "export_for", "rewritten"]
