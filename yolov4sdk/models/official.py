"""Importing checkpoints that the authors of Scaled-YOLOv4 published, and plain state_dicts."""

from __future__ import annotations

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
from ..system.files import sha256
from .blocks import BN_EPS
from .checkpoints import load_weights
from .definition import BUILT_IN, KEYS, Definition, load_definition
from .model import Model
from .pickles import Stub, load_pickled

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
    module = _find_module(load_pickled(path))
    if module:
        tensors = _module_tensors(module, path)
    else:
        tensors = _plain_tensors(torch.load(path, map_location="cpu", weights_only=True), path)
    tensors = {k.removeprefix("module."): v for k, v in tensors.items()}
    head_classes = _head_classes(tensors, path)
    if names is None:
        names = _names(module, head_classes)
    if len(names) != head_classes:
        raise NamesError(
            f"{path}: the head has {head_classes} classes, but there are {len(names)} names"
        )
    definition = _definition(path, module, tensors, names, architecture)
    model = Model(definition)
    # Half-precision files hold rounded anchors in stride units: compute these anew from pixels.
    load_weights(model, {k: v.float() for k, v in tensors.items()}, str(path))
    model.detect.set_anchors(model.detect.anchor_grid.clone().view_as(model.detect.anchors))
    side = size or (
        definition.input_size
        if isinstance(definition.architecture, str)
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


def _find_module(content: Any) -> Stub | None:
    """The pickled network: the EMA if there, else the model; None for plain tensors."""
    candidates = [content]
    if isinstance(content, Mapping):
        candidates = [content.get("ema"), content.get("model")]
    for candidate in candidates:
        if isinstance(candidate, Stub) and hasattr(candidate, "_modules"):
            return candidate
    return None


def _module_tensors(module: Stub, path: Path) -> dict[str, Tensor]:
    """Parameters and persistent buffers of a tree of stubs, by dotted key."""
    tensors: dict[str, Tensor] = {}
    # (prefix, stub, stubs above it): a tree that contains itself would never end.
    pending: list[tuple[str, Any, frozenset[int]]] = [("", module, frozenset())]
    while pending:
        prefix, stub, above = pending.pop()
        if not isinstance(stub, Stub) or id(stub) in above:
            raise ForeignFileError(f"{path}: {prefix or 'the model'} is no tree of modules")
        transient: set[str] = getattr(stub, "_non_persistent_buffers_set", set())
        own: dict[str, Any] = {
            **getattr(stub, "_parameters", {}),
            **{k: v for k, v in getattr(stub, "_buffers", {}).items() if k not in transient},
        }
        if stub.kind.endswith("BatchNorm2d"):
            _harmonise_epsilon(stub, own)
        tensors.update({prefix + k: v for k, v in own.items() if isinstance(v, Tensor)})
        children = getattr(stub, "_modules", {})
        pending += [(f"{prefix}{k}.", v, above | {id(stub)}) for k, v in children.items() if v]
    return tensors


def _harmonise_epsilon(stub: Stub, tensors: dict[str, Any]) -> None:
    """Let a BN trained with another epsilon give the same result with ours.

    Only var + eps enters the formula, so the difference moves into the variance.
    """
    difference = float(getattr(stub, "eps", BN_EPS)) - BN_EPS
    if difference and isinstance(tensors.get("running_var"), Tensor):
        tensors["running_var"] = tensors["running_var"].double() + difference


def _plain_tensors(content: Any, path: Path) -> dict[str, Tensor]:
    candidates = [content]
    if isinstance(content, Mapping):
        candidates += [content.get(k) for k in ("ema", "state_dict", "model")]
    for candidate in candidates:
        if isinstance(candidate, Mapping):
            tensors = {str(k): v for k, v in candidate.items() if isinstance(v, Tensor)}
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
        if stem != key and conv is not None and anchors.ndim == 6:
            per_anchor, rest = divmod(conv.shape[0], anchors.shape[2])
            if rest == 0 and per_anchor > 5:
                return per_anchor - 5
    raise ForeignFileError(
        f"{path} has no detection head of this family (no model.<i>.anchor_grid with "
        "model.<i>.m.0.weight)"
    )


def _names(module: Stub | None, nc: int) -> tuple[str, ...]:
    found = getattr(module, "names", None)
    if isinstance(found, dict):
        found = [found[k] for k in sorted(found)]
    return tuple(str(name) for name in found) if isinstance(found, list) else default_names(nc)


def _definition(
    path: Path,
    module: Stub | None,
    tensors: Mapping[str, Tensor],
    names: Sequence[str],
    architecture: str | Path | Mapping[str, Any] | None,
) -> Definition:
    anchors = _pixel_anchors(tensors)
    own = getattr(module, "yaml", None)
    if architecture is None and isinstance(own, dict):
        architecture = {k: v for k, v in own.items() if k in KEYS - {"names", "nc"}}
        architecture["nc"] = len(names)
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
    grid = next(v for k, v in tensors.items() if k.endswith(".anchor_grid"))
    levels = grid.double().reshape(grid.shape[0], grid.shape[2], 2).tolist()
    return tuple(tuple((w, h) for w, h in level) for level in levels)


def _recognise(
    path: Path, tensors: Mapping[str, Tensor], names: Sequence[str], anchors: Anchors
) -> Definition:
    """The built-in whose keys and shapes are those of the tensors."""
    closest: StateDictError | None = None
    for name in BUILT_IN:
        try:
            definition = load_definition(name, names, anchors)
            with torch.device("meta"):
                load_weights(Model(definition), tensors, f"{path} as {name}")
        except ModelConfigError:
            continue
        except StateDictError as error:
            if closest is None or _misfits(error) < _misfits(closest):
                closest = error
            continue
        return definition
    raise closest or SpecError(f"{path} fits none of the built-in models; give --architecture")


def _misfits(error: StateDictError) -> int:
    return len(error.missing) + len(error.unexpected) + len(error.misshaped)
