"""Widths that are taken from weights, where a program's own rule gave other ones.

The authors' code scales a layer's width by the width multiple unless it equals anchors x
(classes + 5), which it takes for the width of a head. With four anchors and 3, 11, 27, 59, 123 or
251 classes a layer of the body has that width (32, 64, ... 1024) and stays as it is: the stem of a
P7 (width multiple 1.25) trained on 3 classes has 32 channels, not 40.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from torch import Tensor

from .definition import Definition, Layer

_LAST_CONVOLUTION: Final = {
    "Conv": "conv",
    "Bottleneck": "cv2.conv",
    "BottleneckCSP": "cv4.conv",
    "BottleneckCSP2": "cv3.conv",
    "DarknetCSP2": "cv3.conv",
    "SPPCSP": "cv7.conv",
    "DarknetSPPCSP": "cv7.conv",
}
"""Submodule that gives a module's output channels."""
_REPEATED: Final = ("Conv", "Bottleneck")
"""Modules that a number repeats as a whole, under the names 0, 1, ..."""


def with_widths_of(definition: Definition, tensors: Mapping[str, Tensor]) -> Definition:
    """The definition with the widths that the tensors have.

    Args:
        definition: names the layers and how often they are repeated.
        tensors: by the keys of a state_dict.

    Returns:
        The definition itself where its own rule gives these widths. Otherwise one that says each
        layer's true width, with width and depth multiples of 1.
    """
    widths = [_width(layer, tensors) for layer in definition.layers]
    if all(
        width is None or width == definition.channels(layer.args[0])
        for layer, width in zip(definition.layers, widths, strict=True)
    ):
        return definition
    layers = tuple(
        layer if width is None else replace(layer, args=(width, *layer.args[1:]))
        for layer, width in zip(definition.layers, widths, strict=True)
    )
    return replace(
        definition, architecture=_mapping(definition, layers), layers=layers,
        width_multiple=1.0, divisor=1,
    )  # fmt: skip


def _width(layer: Layer, tensors: Mapping[str, Tensor]) -> int | None:
    """Output channels of a layer in the tensors; None where it has none of its own."""
    name = _LAST_CONVOLUTION.get(layer.module)
    if name is None or not layer.args or not isinstance(layer.args[0], int):
        return None
    place = f"{layer.number - 1}." if layer.number > 1 and layer.module in _REPEATED else ""
    weight = tensors.get(f"model.{layer.index}.{place}{name}.weight")
    return None if weight is None or weight.ndim != 4 else weight.shape[0]


def _mapping(definition: Definition, layers: tuple[Layer, ...]) -> dict[str, Any]:
    """What a definition file of these layers holds."""
    lines = [
        [list(layer.sources) if len(layer.sources) > 1 else layer.sources[0],
         layer.number, layer.module, list(layer.args)]
        for layer in layers
    ]  # fmt: skip
    return {
        "nc": definition.nc,
        "depth_multiple": 1.0,
        "width_multiple": 1.0,
        "divisor": 1,
        "epsilon": definition.epsilon,
        "input_size": definition.input_size,
        "anchors": [[side for pair in level for side in pair] for level in definition.anchors],
        "backbone": lines[: definition.backbone],
        "head": lines[definition.backbone :],
    }
