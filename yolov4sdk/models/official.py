"""Importing checkpoints that the authors of Scaled-YOLOv4 published, and plain state_dicts."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from ..contract.names import default_names
from ..contract.safetensors_header import check_file
from ..contract.spec import Anchors
from ..errors import (
    ForeignFileError,
    ModelConfigError,
    NamesError,
    SpecError,
    StateDictError,
)
from ..system.bounds import ANCHORS, CLASSES, LEVELS, MODULE_PARTS, brief, is_number
from ..system.documents import plain
from ..system.files import sha256
from .blocks import BN_EPS
from .checkpoints import check_weights
from .definition import BUILT_IN, KEYS, Definition, load_definition
from .model import MODULES, Model
from .pickle_names import next_step
from .pickles import Stub, load_pickled
from .widths import with_widths_of

KEY_LENGTH: Final = 300
"""Characters of the dotted name of a module."""
USUAL_SIZE: Final = {32: 640, 64: 1280, 128: 1536}
"""Input size in pixels by largest stride, where a checkpoint does not say it."""


def import_official(
    path: str | Path,
    names: Sequence[str] | None = None,
    architecture: str | Path | Mapping[str, Any] | None = None,
    size: int | None = None,
) -> Model:
    """Read a checkpoint of the authors' code, or a state_dict, into a model.

    The EMA weights are taken where the file has them beside the raw ones. Class names, anchors
    and the architecture come from the file; a plain state_dict has none of them, so its
    architecture is recognised by its shapes.

    Args:
        path: a file of torch.save (zip or the older format), half or float.
        names: class names in place of the file's.
        architecture: in place of what the file says; needed for an unusual state_dict.
        size: long side in pixels that the model is meant for; must fit the strides.

    Returns:
        The model in evaluation mode, float32; its spec names the source and its SHA-256.

    Raises:
        UnsafePickleError: the file asks for code; nothing of it was run.
        StateDictError: the weights do not fit the architecture.
        NamesError: the names do not fit the head.
        ArtefactError: missing, empty, truncated or foreign file.
    """
    path = check_file(path)
    content = load_pickled(path)
    if isinstance(content, dict) and {"identity", "position", "ema"} <= set(content):
        raise ForeignFileError(
            f"{path} is the state of a training run of this SDK, for `yolov4sdk train --resume "
            f"{path.parent}`; the model is last.safetensors beside it, which needs no import"
        )
    module = _find_module(content)
    _check_family(module, path)
    tensors, differences = (
        _module_tensors(module, path) if module else (_plain_tensors(content, path), {})
    )
    if sum(v.numel() for v in tensors.values()) > path.stat().st_size:
        raise ForeignFileError(f"{path} gives more values than it holds: its tensors overlap")
    _harmonise_epsilon(tensors, differences)
    tensors = {k.removeprefix("module."): v for k, v in tensors.items()}
    head_classes = _head_classes(tensors, path)
    if names is None:
        names = _names(module, head_classes, path)
    if len(names) != head_classes:
        raise NamesError(
            f"{path}: the head has {head_classes} classes, but there are {len(names)} names"
        )
    definition = _definition(path, module, tensors, names, architecture)
    model = _model(with_widths_of(definition, tensors), tensors, path)
    # Half-precision files hold rounded anchors in stride units: compute these anew from pixels.
    model.detect.set_anchors(model.detect.anchor_grid.clone().view_as(model.detect.anchors))
    side = size or (
        model.spec.input_size[0]
        if isinstance(model.spec.architecture, str)
        else USUAL_SIZE.get(model.spec.max_stride, 640)
    )
    model.spec = model.spec.replace(
        input_size=(side, side),
        train_size=size,
        provenance={
            "source": path.name,
            "sha256": sha256(path),
            "licence": "as stated by the source of the weights",
        },
    )
    return model.eval()


def _model(definition: Definition, tensors: Mapping[str, Tensor], path: Path) -> Model:
    """The network, whose weights are those of the file: none are made before they are known."""
    with torch.device("meta"):
        model = Model(definition)
    check_weights(model, tensors, str(path))
    own = model.state_dict()
    zero = torch.tensor(0)  # of the buffers that old files lack
    state = {k: tensors.get(k, zero).to(v.dtype, copy=True) for k, v in own.items()}
    model.load_state_dict(state, assign=True)
    return model


def _check_family(module: Stub | None, path: Path) -> None:
    """Raise for a network whose own words name layers that this family has not."""
    own = None if module is None else module.__dict__.get("yaml")
    found: set[str] = set()
    for part in ("backbone", "head"):
        lines = own.get(part) if isinstance(own, dict) else None
        for line in lines if isinstance(lines, list) else ():
            if isinstance(line, list) and len(line) > 2 and isinstance(line[2], str):
                found.add(line[2])
    if other := sorted(found - MODULES):
        shown = ", ".join(brief(name).strip("'") for name in other[:6])
        raise ForeignFileError(
            f"{path} holds a network of another family, such as YOLOv5 or YOLOv7 (it has {shown}); "
            f"{next_step(path)}"
        )


def _find_module(content: Any) -> Stub | None:
    """The pickled network: the EMA if there, else the model; None for plain tensors."""
    candidates = [content]
    if isinstance(content, Mapping):
        candidates = [content.get("ema"), content.get("model")]
    for candidate in candidates:
        if isinstance(candidate, Stub) and "_modules" in candidate.__dict__:
            return candidate
    return None


def _module_tensors(module: Stub, path: Path) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Parameters and persistent buffers of a tree of stubs, by dotted key; what `_harmonise` adds.

    Raises:
        ForeignFileError: no tree of modules, or modules that hold themselves or one another so
            often that they would never end.
    """
    tensors: dict[str, Tensor] = {}
    differences: dict[str, float] = {}
    pending: list[tuple[str, Any]] = [("", module)]
    left = MODULE_PARTS
    while pending:
        prefix, stub = pending.pop()
        where = f"{path}: {prefix[:80] or 'the model'}"
        if not isinstance(stub, Stub) or len(prefix) > KEY_LENGTH:
            raise ForeignFileError(f"{where} is not a tree of modules")
        found = [stub.__dict__.get(name, {}) for name in ("_parameters", "_buffers", "_modules")]
        transient = stub.__dict__.get("_non_persistent_buffers_set", set())
        if not all(isinstance(part, dict) for part in found) or not isinstance(transient, set):
            raise ForeignFileError(f"{where} has damaged parts")
        parameters, buffers, children = found
        left -= 1 + len(parameters) + len(buffers) + len(children)
        if left < 0:
            raise ForeignFileError(f"{path} has more than {MODULE_PARTS:,} parts of modules")
        own = {**parameters, **{k: v for k, v in buffers.items() if k not in transient}}
        if stub.kind.endswith("BatchNorm2d"):
            eps = stub.__dict__.get("eps", BN_EPS)
            if not is_number(eps, 0, 1):
                raise ForeignFileError(f"{where} has the epsilon {brief(eps)}")
            differences[f"{prefix}running_var"] = eps - BN_EPS
        tensors.update({f"{prefix}{k}": v for k, v in own.items() if isinstance(v, Tensor)})
        pending += [(f"{prefix}{_short(k)}.", v) for k, v in children.items() if v is not None]
    return tensors, differences


def _short(key: Any) -> str:
    return key if isinstance(key, str) and len(key) <= KEY_LENGTH else brief(key)


def _harmonise_epsilon(tensors: dict[str, Tensor], differences: Mapping[str, float]) -> None:
    """Let a BN trained with another epsilon give the same result with ours.

    Only var + eps enters the formula, so the difference moves into the variance.
    """
    for key, difference in differences.items():
        if difference and key in tensors:
            tensors[key] = tensors[key].double() + difference


def _plain_tensors(content: Any, path: Path) -> dict[str, Tensor]:
    candidates = [content]
    if isinstance(content, Mapping):
        candidates += [content.get(k) for k in ("ema", "state_dict", "model")]
    for candidate in candidates:
        if isinstance(candidate, Mapping):
            tensors = {
                k: v for k, v in candidate.items() if isinstance(k, str) and isinstance(v, Tensor)
            }
            if tensors:
                return tensors
    raise ForeignFileError(
        f"{path} holds neither a model nor a state_dict; expected a checkpoint of Scaled-YOLOv4 "
        "or a mapping from keys to tensors"
    )


def _head_classes(tensors: Mapping[str, Tensor], path: Path) -> int:
    """Number of classes from the head's shapes: na * (5 + nc) outputs for na anchors."""
    for key, anchors in tensors.items():
        stem = key.removesuffix(".anchor_grid")
        conv = tensors.get(f"{stem}.m.0.weight")
        if stem != key and conv is not None and conv.ndim == 4 and _is_anchor_grid(anchors):
            per_anchor, rest = divmod(conv.shape[0], anchors.shape[2])
            if rest == 0 and 5 < per_anchor <= 5 + CLASSES:
                return per_anchor - 5
    raise ForeignFileError(
        f"{path} has no detection head of this family (no model.<i>.anchor_grid with "
        f"model.<i>.m.0.weight); {next_step(path)}"
    )


def _is_anchor_grid(tensor: Tensor) -> bool:
    """[nl, 1, na, 1, 1, 2], as small as real ones."""
    shape = tuple(tensor.shape)
    levels, anchors = shape[0] if shape else 0, shape[2] if len(shape) == 6 else 0
    return (
        0 < levels <= LEVELS and 0 < anchors <= ANCHORS and shape == (levels, 1, anchors, 1, 1, 2)
    )


def _names(module: Stub | None, nc: int, path: Path) -> tuple[str, ...]:
    found = None if module is None else module.__dict__.get("names")
    if isinstance(found, dict):
        if set(map(type, found)) not in ({int}, {str}, set()):
            raise NamesError(f"{path}: the ids of its names are not integers; give --names")
        found = [found[k] for k in sorted(found)]
    if not isinstance(found, list | tuple):
        return default_names(nc)
    for name in found:
        if not isinstance(name, str | int | float):
            raise NamesError(f"{path}: a class has the name {brief(name)}; give --names")
    return tuple(str(name) for name in found)


def _definition(
    path: Path,
    module: Stub | None,
    tensors: Mapping[str, Tensor],
    names: Sequence[str],
    architecture: str | Path | Mapping[str, Any] | None,
) -> Definition:
    anchors = _pixel_anchors(tensors)
    own = None if module is None else module.__dict__.get("yaml")
    if architecture is None and isinstance(own, dict):
        try:
            own = plain({k: v for k, v in own.items() if k in KEYS - {"names", "nc"}})
        except ValueError as error:
            raise ModelConfigError(f"{path}: its architecture holds {error}") from error
        architecture = own | {"nc": len(names)}
    if architecture is None:
        return _recognise(path, tensors, names, anchors)
    definition = load_definition(architecture, names, anchors)
    for name in BUILT_IN:
        known = load_definition(name, names, anchors)
        same = (known.layers, known.width_multiple) == (
            definition.layers,
            definition.width_multiple,
        )
        if same:
            return known
    return definition


def _pixel_anchors(tensors: Mapping[str, Tensor]) -> Anchors:
    grid = next(v for k, v in tensors.items() if k.endswith(".anchor_grid") and _is_anchor_grid(v))
    levels = grid.double().reshape(grid.shape[0], grid.shape[2], 2).tolist()
    return tuple(tuple((w, h) for w, h in level) for level in levels)


def _recognise(
    path: Path, tensors: Mapping[str, Tensor], names: Sequence[str], anchors: Anchors
) -> Definition:
    """The built-in whose keys and shapes are those of the tensors, or whose keys are."""
    closest: StateDictError | None = None
    alike: list[Definition] = []
    for name in BUILT_IN:
        try:
            definition = load_definition(name, names, anchors)
            _check(definition, tensors, f"{path} as {name}")
            return definition
        except ModelConfigError:
            continue
        except StateDictError as error:
            if closest is None or _misfits(error) < _misfits(closest):
                closest = error
            if not error.missing and not error.unexpected:
                alike.append(definition)
    for definition in alike:  # the same layers in other widths
        with contextlib.suppress(StateDictError, ModelConfigError):
            _check(with_widths_of(definition, tensors), tensors, str(path))
            return definition
    raise closest or SpecError(f"{path} fits none of the built-in models; give --architecture")


def _check(definition: Definition, tensors: Mapping[str, Tensor], source: str) -> None:
    with torch.device("meta"):
        check_weights(Model(definition), tensors, source)


def _misfits(error: StateDictError) -> int:
    return len(error.missing) + len(error.unexpected) + len(error.misshaped)
