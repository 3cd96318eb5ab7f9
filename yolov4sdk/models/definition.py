"""Model definitions: reading and checking the YAML form. Nothing in it is ever evaluated.

A definition has `nc`, `depth_multiple`, `width_multiple`, `anchors`, `backbone`, `head`, and may
have `names`, `input_size`, `divisor` (of the channels, 8 unless said otherwise) and `epsilon` (of
the batch normalisations, 1e-3 unless said otherwise). A layer is `[from, number, module, args]`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..contract.names import default_names
from ..contract.spec import Anchors
from ..errors import ModelConfigError, NamesError
from ..system.bounds import (
    ANCHORS,
    CHANNELS,
    CLASSES,
    LAYERS,
    LEVELS,
    PIXELS,
    SIDE,
    brief,
    is_integer,
    is_number,
)
from ..system.documents import load_yaml, plain
from .blocks import BN_EPS

FOLDER: Final = Path(__file__).parent

BUILT_IN: Final[Mapping[str, tuple[str, float | None, float | None]]] = {
    # name: (file, depth multiple, width multiple); None keeps the file's own.
    "yolov4-csp-n": ("yolov4-csp", 0.33, 0.25),
    "yolov4-csp-s": ("yolov4-csp", 0.33, 0.50),
    "yolov4-csp-m": ("yolov4-csp", 0.67, 0.75),
    "yolov4-csp": ("yolov4-csp", None, None),
    "yolov4-p5": ("yolov4-p5", None, None),
    "yolov4-p6": ("yolov4-p6", None, None),
    "yolov4-p7": ("yolov4-p7", None, None),
}

KEYS: Final = {
    "nc", "depth_multiple", "width_multiple", "anchors", "backbone", "head", "names", "input_size",
    "divisor", "epsilon",
}  # fmt: skip
REQUIRED: Final = KEYS - {"names", "input_size", "divisor", "epsilon"}


@dataclass(frozen=True)
class Layer:
    """One line of a definition, checked: where from, how often, which module, its arguments."""

    index: int
    sources: tuple[int, ...]
    number: int
    module: str
    args: tuple[Any, ...]


@dataclass(frozen=True)
class Definition:
    """A checked model definition.

    Attributes:
        source: what to call it in messages (a file, or a name).
        architecture: name of the built-in, or the whole mapping.
        anchors: for each level (w, h) pairs in pixels.
        input_size: long side in pixels that the model is meant for.
        layers: in order; the last is Detect.
        divisor: channels are rounded up to a multiple of it.
        epsilon: what batch normalisation adds to a variance.
        backbone: how many of the layers are the backbone's.
    """

    source: str
    architecture: str | Mapping[str, Any]
    names: tuple[str, ...]
    anchors: Anchors
    width_multiple: float
    input_size: int
    layers: tuple[Layer, ...]
    divisor: int = 8
    epsilon: float = BN_EPS
    backbone: int = 0

    def channels(self, given: int) -> int:
        """Channels of a layer: those in its arguments, scaled by the width multiple."""
        return scaled_channels(given, self.width_multiple, self.divisor)

    @property
    def nc(self) -> int:
        """Number of classes."""
        return len(self.names)


def load_definition(
    architecture: str | Path | Mapping[str, Any],
    names: Sequence[str] | None = None,
    anchors: Anchors | None = None,
) -> Definition:
    """Read a built-in model by name, a YAML file, or a mapping.

    Args:
        architecture: "yolov4-csp", ..., a path that ends in .yaml or .yml, or the mapping itself.
        names: class names in place of the definition's own; their count sets the head.
        anchors: (w, h) pairs in pixels for each level, in place of the definition's own.

    Raises:
        ModelConfigError: the file, the layer's index and what was expected.
        NamesError: names that do not fit.
    """
    data: Mapping[str, Any]
    identity: str | Mapping[str, Any]
    if isinstance(architecture, Mapping):
        source, data = "model definition", architecture
        identity = _plain(source, data)
    elif str(architecture) in BUILT_IN:
        file, depth, width = BUILT_IN[str(architecture)]
        source = f"{file}.yaml"
        own = _read_yaml(FOLDER / source)
        data = {**own}
        if depth is not None:
            data = {**own, "depth_multiple": depth, "width_multiple": width}
        identity = str(architecture)
    else:
        path = Path(architecture)
        if path.suffix not in {".yaml", ".yml"}:
            raise ModelConfigError(
                f"no built-in model {str(architecture)!r}; there are {', '.join(BUILT_IN)}, "
                "or give the path of a .yaml file"
            )
        source, data = str(path), _read_yaml(path)
        identity = _plain(source, data)
    return _check(source, identity, data, names, anchors)


def _read_yaml(path: Path) -> Mapping[str, Any]:
    if not path.exists():
        raise ModelConfigError(f"no model definition at {path}")
    data = load_yaml(path, ModelConfigError)
    if not isinstance(data, dict):
        raise ModelConfigError(f"{path}: expected a mapping with {sorted(REQUIRED)}")
    return data


def _plain(source: str, data: Mapping[str, Any]) -> dict[str, Any]:
    try:
        copy: dict[str, Any] = plain(data)
    except ValueError as error:  # such as a date, or a list that holds itself
        raise ModelConfigError(f"{source}: {error}; a definition has plain values only") from error
    return copy


def _check(
    source: str,
    identity: str | Mapping[str, Any],
    data: Mapping[str, Any],
    names: Sequence[str] | None,
    anchors: Anchors | None,
) -> Definition:
    missing, unknown = sorted(REQUIRED - set(data)), sorted(map(str, set(data) - KEYS))
    if missing or unknown:
        raise ModelConfigError(f"{source}: missing keys {missing}, unknown keys {brief(unknown)}")
    depth = _positive(source, "depth_multiple", data["depth_multiple"])
    width = _positive(source, "width_multiple", data["width_multiple"])
    lines = [*_list(source, "backbone", data["backbone"]), *_list(source, "head", data["head"])]
    if len(lines) > LAYERS:
        raise ModelConfigError(f"{source}: {len(lines):,} layers, at most {LAYERS:,} are read")
    layers = tuple(_layer(source, i, line, depth) for i, line in enumerate(lines))
    if sum(layer.number for layer in layers) > 2 * LAYERS:
        raise ModelConfigError(f"{source}: its numbers give more than {2 * LAYERS:,} blocks")
    if not layers or layers[-1].module != "Detect":
        raise ModelConfigError(f"{source}: the last layer of the head must be Detect")
    size = data.get("input_size", 640)
    if not is_integer(size, 1, SIDE):
        raise ModelConfigError(
            f"{source}: input_size must be a positive integer up to {SIDE:,}, got {brief(size)}"
        )
    divisor = data.get("divisor", 8)
    if not is_integer(divisor, 1, CHANNELS):
        raise ModelConfigError(
            f"{source}: divisor must be a positive integer up to {CHANNELS:,}, got {brief(divisor)}"
        )
    return Definition(
        source=source,
        architecture=identity,
        names=_names(source, data, names),
        anchors=_anchors(source, data["anchors"] if anchors is None else anchors),
        width_multiple=width,
        input_size=size,
        layers=layers,
        divisor=divisor,
        epsilon=_positive(source, "epsilon", data.get("epsilon", BN_EPS)),
        backbone=len(data["backbone"]),
    )


def _positive(source: str, key: str, value: Any) -> float:
    if not is_number(value, 0, 100) or not 0 < value < 100:
        raise ModelConfigError(f"{source}: {key} must be a number in (0, 100), got {brief(value)}")
    return float(value)


def _list(source: str, key: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ModelConfigError(f"{source}: {key} must be a list of layers, got {brief(value)}")
    return value


def _names(source: str, data: Mapping[str, Any], names: Sequence[str] | None) -> tuple[str, ...]:
    if names is not None:
        return tuple(names)
    nc = data["nc"]
    if not is_integer(nc, 1, CLASSES):
        raise ModelConfigError(
            f"{source}: nc must be a positive integer up to {CLASSES:,}, got {brief(nc)}"
        )
    own = data.get("names")
    if own is None:
        return default_names(nc)
    if not isinstance(own, list) or len(own) != nc:
        count = len(own) if isinstance(own, list) else "no list of"
        raise NamesError(f"{source}: nc is {nc}, but there are {count} names")
    return tuple(str(name) for name in own)


def _anchors(source: str, value: Any) -> Anchors:
    expected = (
        f"{source}: anchors must be one list a level of w, h, w, h, ... in pixels, all positive "
        f"and up to {PIXELS:,}, the same number in every level; got {brief(value)}"
    )
    try:
        levels = []
        for level in value:
            flat = [float(x) for item in level for x in _flat(item)]
            levels.append(tuple(zip(flat[::2], flat[1::2], strict=True)))
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelConfigError(expected) from error
    good = all(0 < x <= PIXELS for level in levels for pair in level for x in pair)
    counts = {len(level) for level in levels}
    if not good or len(levels) > LEVELS or len(counts) != 1 or not 0 < min(counts) <= ANCHORS:
        raise ModelConfigError(expected)
    return tuple(levels)


def _flat(item: Any) -> Sequence[Any]:
    return item if isinstance(item, list | tuple) else (item,)


def _layer(source: str, index: int, line: Any, depth: float) -> Layer:
    where = f"{source}, layer {index}"
    if not isinstance(line, list) or len(line) != 4:
        raise ModelConfigError(f"{where}: expected [from, number, module, args], got {brief(line)}")
    origin, number, module, args = line
    origins = origin if isinstance(origin, list) else [origin]
    if not origins or not all(is_integer(f, -LAYERS, LAYERS) for f in origins):
        raise ModelConfigError(
            f"{where}: from must be a layer index or a list, got {brief(origin)}"
        )
    sources = tuple(index + f if f < 0 else f for f in origins)
    # -1 of the first layer is the image itself.
    if any(not -1 <= s < index or (s == -1 and index > 0) for s in sources):
        raise ModelConfigError(f"{where}: from {brief(origin)} points to no earlier layer")
    if not is_integer(number, 1, LAYERS):
        raise ModelConfigError(
            f"{where}: number must be a positive integer up to {LAYERS:,}, got {brief(number)}"
        )
    named = isinstance(module, str) and len(module) <= 60 and module.isprintable()
    if not named or not isinstance(args, list):
        raise ModelConfigError(f"{where}: module must be a name and args a list, got {brief(line)}")
    scaled = max(round(number * depth), 1) if number > 1 else number
    return Layer(index, sources, scaled, module, tuple(args))


def scaled_channels(channels: int, width: float, divisor: int = 8) -> int:
    """Channels times the width multiple, rounded up to a multiple of the divisor."""
    return math.ceil(channels * width / divisor) * divisor
