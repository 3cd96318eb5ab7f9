"""What exporters leave in a file or beside it, turned into a declaration; nothing is run.

Read are the metadata of ultralytics, LibreYOLO and OpenVINO's Model API, Roboflow's
`inference_config.json`, transformers' `config.json` with `preprocessor_config.json`, Paddle's
`infer_cfg.yml` and mmdeploy's `pipeline.json`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ..contract.contract import Size
from ..contract.onnx_graph import GraphFacts
from ..errors import SpecError
from ..system.bounds import JSON_BYTES
from ..system.documents import load_yaml, parse_json, read_bounded
from .declaration import Declared, declare

_NAME: Final = re.compile(r"""(\d{1,6})\s*:\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")""")
"""An entry of a Python dict of class names, as ultralytics writes it: {0: 'person', ...}."""


@dataclass(frozen=True)
class Hint:
    """What a sidecar says.

    Attributes:
        source: in words, "metadata of ultralytics".
        convention: by name; None where it does not say.
        changes: as `fit.changed` takes them.
        names: class names.
    """

    source: str
    convention: str | None = None
    changes: tuple[str, ...] = ()
    names: tuple[str, ...] | None = None


def declaration_of(
    path: Path,
    facts: GraphFacts,
    convention: str | None = None,
    names: Sequence[str] | None = None,
    size: Size | None = None,
    changes: Sequence[str] = (),
) -> tuple[Declared, tuple[str, ...] | None]:
    """The declaration of a file and its class names: what is given, else what its sidecars say.

    Raises:
        SpecError: a sidecar that cannot be read or contradicts the file, or nothing decides.
        SettingError: an unknown convention, or a wrong change.
    """
    hint = read_hint(path, facts)
    known = tuple(names) if names is not None else hint.names if hint else None
    count = None if known is None else len(known)
    if convention is None and hint is not None and hint.convention is not None:
        made = declare(
            facts, path.name, hint.convention, classes=count, size=size,
            changes=(*hint.changes, *changes),
        )  # fmt: skip
        return replace(made, reason=hint.source), known
    given = (*(hint.changes if hint else ()), *changes) if convention is None else changes
    made = declare(facts, path.name, convention, classes=count, size=size, changes=given)
    return made, known


def read_hint(path: Path, facts: GraphFacts) -> Hint | None:
    """What the file's metadata or the files beside it say; the first that is there.

    Raises:
        SpecError: a sidecar that cannot be read.
        MissingExtraError: a YAML sidecar, and PyYAML is not installed.
    """
    for reader in (_libreyolo, _ultralytics, _modelapi):
        hint = reader(facts)
        if hint is not None:
            return hint
    for name, beside in _BESIDE.items():
        file = path.parent / name
        if file.is_file():
            return beside(file, facts)
    return None


# -- in the file --------------------------------------------------------------------------------


def python_names(text: str) -> tuple[str, ...] | None:
    """Class names out of a Python dict's text, read by a pattern and never evaluated."""
    found = {int(number): a or b for number, a, b in _NAME.findall(text)}
    names = tuple(re.sub(r"\\(.)", r"\1", found[i]) for i in range(len(found)) if i in found)
    return names if names and len(names) == len(found) else None


def _ultralytics(facts: GraphFacts) -> Hint | None:
    data = facts.metadata
    if not {"stride", "names"} <= set(data):
        return None
    task = data.get("task", "detect")
    if task != "detect":
        raise SpecError(f"the file is a model for the task {task!r}; only detectors are read")
    names = python_names(data["names"])
    shape = facts.outputs[0].shape
    ends = "'nms': True" in data.get("args", "")
    if len(shape) == 3 and shape[-1] == 6 and (ends or data.get("end2end") == "True"):
        convention = "yolo-nms" if ends else "yolo-end2end"
    elif names and len(shape) == 3 and shape[1] == 4 + len(names):
        convention = "yolov8"
    elif names and len(shape) == 3 and shape[2] == 5 + len(names):
        convention = "yolov5"
    else:
        return Hint("metadata of ultralytics", None, (), names)
    return Hint("metadata of ultralytics", convention, (), names)


_LIBREYOLO: Final = {
    "yolox": "yolox", "rtmdet": "libreyolo-rows", "picodet": "libreyolo-rows",
    "dfine": "rtdetr-hf", "rtdetr": "rtdetr-hf", "deim": "rtdetr-hf", "ppyoloe": "yolonas-raw",
}  # fmt: skip
"""Family in LibreYOLO's metadata to a declaration; YOLO 1 to 9 have one of their own."""


def _libreyolo(facts: GraphFacts) -> Hint | None:
    data = facts.metadata
    if "libreyolo_version" not in data or "model_family" not in data:
        return None
    names = parse_json(data.get("names", "null"), "LibreYOLO's names", SpecError)
    if isinstance(names, Mapping):
        names = [names[key] for key in sorted(names, key=_number)]
    listed = tuple(map(str, names)) if isinstance(names, list) and names else None
    family = data["model_family"].lower()
    if data.get("nms", "").lower() == "true":
        return Hint("metadata of LibreYOLO", "yolo-nms", (), listed)
    convention = _LIBREYOLO.get(family)
    if convention is None and re.fullmatch(r"yolo[1-9]\w*", family):
        convention = "libreyolo"
    return Hint("metadata of LibreYOLO", convention, (), listed)


def _number(key: Any) -> int:
    text = str(key)
    return int(text) if text.isdigit() else -1


_RESIZE: Final = {
    "standard": "stretch", "fit_to_window": "letterbox-top-left",
    "fit_to_window_letterbox": "letterbox",
}  # fmt: skip
"""Model API's names of ways to resize."""


def _modelapi(facts: GraphFacts) -> Hint | None:
    prefix = "model_info/"
    data = {k.removeprefix(prefix): v for k, v in facts.metadata.items() if k.startswith(prefix)}
    if "model_type" not in data:
        return None
    policy = data.get("resize_type", "standard")
    if policy not in _RESIZE:
        raise SpecError(f"model_info: resize_type {policy!r} is not one of {', '.join(_RESIZE)}")
    # Model API's images are RGB unless it reverses them; scale and mean are of values 0..255.
    color = "BGR" if data.get("reverse_input_channels", "").lower() in ("true", "yes") else "RGB"
    changes = [
        f"input.color={color}", f"input.resize.policy={_RESIZE[policy]}",
        f"input.resize.pad={data.get('pad_value') or 0}", "input.scale=1",
        f"input.mean={_three(data.get('mean_values'), 0)}",
        f"input.std={_three(data.get('scale_values'), 1)}",
    ]  # fmt: skip
    names = {tensor.name for tensor in facts.outputs}
    convention = "modelapi" if data["model_type"].lower() == "ssd" and "boxes" in names else None
    labels = tuple(data.get("labels", "").split()) or None
    return Hint("rt_info/model_info", convention, tuple(changes), labels)


def _three(text: str | None, missing: int) -> list[float]:
    """Three numbers, from as many or one."""
    try:
        numbers = [float(word) for word in (text or "").replace(",", " ").split()]
    except ValueError:
        raise SpecError(f"model_info holds no numbers: {text!r}") from None
    numbers = numbers or [missing]
    return numbers * 3 if len(numbers) == 1 else numbers


# -- beside it ----------------------------------------------------------------------------------


def _json(file: Path) -> Mapping[str, Any]:
    value = parse_json(read_bounded(file, JSON_BYTES, SpecError), file.name, SpecError)
    if not isinstance(value, Mapping):
        raise SpecError(f"{file.name} must hold an object, got {type(value).__name__}")
    return value


_TRANSFORMERS: Final = {
    "rt_detr": "rtdetr-hf", "rt_detr_v2": "rtdetr-hf", "d_fine": "rtdetr-hf",
    "deimv2": "rtdetr-hf", "rf_detr": "rtdetr-hf", "lw_detr": "rtdetr-hf",
    "detr": "detr", "yolos": "detr", "table-transformer": "detr",
    "conditional_detr": "deformable-detr", "deformable_detr": "deformable-detr",
}  # fmt: skip


def _transformers(file: Path, facts: GraphFacts) -> Hint:
    config = _json(file)
    labels = config.get("id2label")
    names = None
    if isinstance(labels, Mapping) and labels:
        ordered = sorted(labels.items(), key=lambda item: _number(item[0]))
        names = _distinct([str(value) for _, value in ordered])
    changes: list[str] = []
    processor = file.with_name("preprocessor_config.json")
    if processor.is_file():
        changes = _processor(_json(processor))
    kind = str(config.get("model_type", ""))
    return Hint(f"{file.name} ({kind})", _TRANSFORMERS.get(kind), tuple(changes), names)


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """COCO's unused ids are all called "N/A" there; a spec wants names that differ."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return tuple(result)


def _processor(values: Mapping[str, Any]) -> list[str]:
    changes = []
    if values.get("do_normalize") is True:
        for ours, theirs in (("mean", "image_mean"), ("std", "image_std")):
            if isinstance(values.get(theirs), list):
                changes.append(f"input.{ours}={values[theirs]}")
    elif values.get("do_normalize") is False:
        changes += ["input.mean=[0, 0, 0]", "input.std=[1, 1, 1]"]
    factor = values.get("rescale_factor")
    if values.get("do_rescale") is False:
        changes.append("input.scale=1")
    elif isinstance(factor, float):
        changes.append(f"input.scale={factor!r}")
    size = values.get("size")
    if isinstance(size, Mapping) and {"shortest_edge", "longest_edge"} <= set(size):
        changes += [
            f"input.resize.shortest={size['shortest_edge']}",
            f"input.resize.longest={size['longest_edge']}",
        ]
    elif isinstance(size, Mapping) and {"height", "width"} <= set(size):
        changes += [
            "input.resize.policy=stretch", "input.resize.shortest=null",
            "input.resize.longest=null", f"input.size=[{size['height']}, {size['width']}]",
        ]  # fmt: skip
    return changes


_RESIZES: Final = {
    "stretch": "stretch", "stretch to": "stretch", "letterbox": "letterbox",
    "fit-longer-edge": "letterbox-top-left",
}  # fmt: skip


def _roboflow(file: Path, facts: GraphFacts) -> Hint:
    config = _json(file)
    given = config.get("network_input")
    taken: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    changes = []
    color = str(taken.get("color_mode", "")).upper()
    if color in ("RGB", "BGR"):
        changes.append(f"input.color={color}")
    policy = str(taken.get("resize_mode", "")).lower()
    if policy:
        if policy not in _RESIZES:
            raise SpecError(
                f"{file.name} resizes by {policy!r}, which is not known here; declare it with "
                "--as FILE.yaml"
            )
        changes.append(f"input.resize.policy={_RESIZES[policy]}")
    if isinstance(taken.get("padding_value"), int):
        changes.append(f"input.resize.pad={taken['padding_value']}")
    factor = taken.get("scaling_factor")
    if isinstance(factor, int | float) and factor > 0:
        changes.append(f"input.scale={1 / factor!r}")
    normalization = taken.get("normalization")
    if isinstance(normalization, list) and len(normalization) == 2:
        changes += [f"input.mean={list(normalization[0])}", f"input.std={list(normalization[1])}"]
    return Hint(file.name, None, tuple(changes), _listed(config.get("class_names")))


def _listed(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return tuple(value)
    return None


def _paddle(file: Path, facts: GraphFacts) -> Hint:
    config = load_yaml(file, SpecError)
    if not isinstance(config, Mapping):
        raise SpecError(f"{file.name} must hold keys and values")
    changes: list[str] = []
    steps = config.get("Preprocess")
    for step in steps if isinstance(steps, list) else []:
        if not isinstance(step, Mapping):
            continue
        if step.get("type") == "Resize":
            kept = step.get("keep_ratio")
            changes.append(f"input.resize.policy={'letterbox-top-left' if kept else 'stretch'}")
            changes.append(
                f"input.resize.interpolation={'linear' if step.get('interp') == 1 else 'cubic'}"
            )
        if step.get("type") == "NormalizeImage":
            changes.append(f"input.scale={1 / 255 if step.get('is_scale', True) else 1}")
            if step.get("norm_type") != "none":
                changes += [f"input.mean={step.get('mean')}", f"input.std={step.get('std')}"]
    shapes = [len(t.shape) for t in facts.outputs]
    last = facts.outputs[0].shape[-1]
    convention = None
    if shapes[0] == 2 and last == 6:
        convention = "paddle"
    elif len(shapes) == 2 and shapes[:2] == [3, 3]:
        convention = "ppyoloe"
    elif shapes == [3]:
        convention = "ppyoloe-joined"
    return Hint(file.name, convention, tuple(changes), _listed(config.get("label_list")))


def _mmdeploy(file: Path, facts: GraphFacts) -> Hint:
    pipeline = _json(file).get("pipeline")
    tasks = pipeline.get("tasks") if isinstance(pipeline, Mapping) else None
    changes: list[str] = []
    for task in tasks if isinstance(tasks, list) else []:
        transforms = task.get("transforms") if isinstance(task, Mapping) else None
        for step in transforms if isinstance(transforms, list) else []:
            changes += _mm_step(step) if isinstance(step, Mapping) else []
    return Hint(file.name, "mmdeploy", tuple(changes), None)


def _mm_step(step: Mapping[str, Any]) -> list[str]:
    if step.get("type") == "Normalize":
        color = "RGB" if step.get("to_rgb") else "BGR"
        return [
            f"input.color={color}",
            f"input.mean={step.get('mean')}",
            f"input.std={step.get('std')}",
        ]
    if step.get("type") == "Resize":
        return [
            f"input.resize.policy={'letterbox-top-left' if step.get('keep_ratio') else 'stretch'}"
        ]
    if step.get("type") == "Pad":
        values = step.get("pad_val")
        grey = values.get("img") if isinstance(values, Mapping) else values
        grey = grey[0] if isinstance(grey, list) and grey else grey
        return [f"input.resize.pad={int(grey)}"] if isinstance(grey, int | float) else []
    return []


_BESIDE: Final[Mapping[str, Callable[[Path, GraphFacts], Hint]]] = {
    "inference_config.json": _roboflow,
    "config.json": _transformers,
    "infer_cfg.yml": _paddle,
    "pipeline.json": _mmdeploy,
}
"""File beside the model to its reader."""
