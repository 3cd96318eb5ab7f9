"""A network built from a definition: layers by index, and the forward pass through them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import repeat
from typing import Any, Final

import torch
from torch import Tensor, nn

from ..contract.spec import ModelSpec, check_size
from ..errors import InputSizeError, ModelConfigError
from ..system.bounds import (
    CHANNELS,
    FACTOR,
    KERNEL,
    PARAMETERS,
    STRIDE,
    brief,
    is_integer,
)
from .blocks import (
    SPPCSP,
    Bottleneck,
    BottleneckCSP,
    BottleneckCSP2,
    Concat,
    Conv,
    DarknetCSP2,
    DarknetSPPCSP,
)
from .definition import Definition, Layer
from .detect import Detect, cxcywh_to_xyxy

ARCHITECTURE_KEY: Final = "darknet"
"""Key of a ModelSpec's architecture that holds the text of a Darknet cfg."""


class Model(nn.Module):
    """A Scaled-YOLOv4 detector.

    In training mode `forward` returns the raw maps, in evaluation mode boxes and scores.

    Attributes:
        spec: names, anchors, strides, size; what is written into artefacts.
        model: the layers by index, so that keys are `model.<index>.<submodule>...`.
    """

    def __init__(self, definition: Definition) -> None:
        super().__init__()
        layers, strides = _checked_layers(definition)
        size = (definition.input_size, definition.input_size)
        try:
            check_size(size, max(strides))
        except InputSizeError as error:
            raise ModelConfigError(f"{definition.source}: input_size: {error}") from error
        spec = ModelSpec(
            architecture=definition.architecture,
            names=definition.names,
            strides=strides,
            anchors=definition.anchors,
            input_size=size,
        )
        for module in layers.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = definition.epsilon
        self._assemble(layers, [layer.sources for layer in definition.layers], spec)

    def _assemble(
        self, layers: nn.ModuleList, sources: Sequence[tuple[int, ...]], spec: ModelSpec
    ) -> None:
        """Take the layers, the indices that each one reads, and the spec; the last is Detect."""
        self.model = layers
        self.sources: tuple[tuple[int, ...], ...] = tuple(sources)
        self._kept = {s for indices in sources for s in indices}
        self.spec = spec

    @property
    def detect(self) -> Detect:
        """The head."""
        head = self.model[-1]
        assert isinstance(head, Detect)
        return head

    def raw(self, images: Tensor) -> list[Tensor]:
        """Images [B, 3, H, W], RGB in 0..1 -> for each level [B, na, ny, nx, 5+nc] (logits).

        Raises:
            InputSizeError: H or W is not a multiple of the largest stride.
        """
        self.spec.check_size([int(side) for side in images.shape[-2:]])
        outputs: list[Any] = []
        for index, (module, sources) in enumerate(zip(self.model, self.sources, strict=True)):
            inputs = [images if s < 0 else outputs[s] for s in sources]
            out = module(inputs) if isinstance(module, Detect) else module(*inputs)
            outputs.append(out if index in self._kept or module is self.model[-1] else None)
        maps: list[Tensor] = outputs[-1]
        return maps

    def forward(self, images: Tensor) -> list[Tensor] | tuple[Tensor, Tensor]:
        """Raw maps in training mode; in evaluation mode boxes and scores.

        Args:
            images: [B, 3, H, W], RGB in 0..1.

        Returns:
            boxes [B, N, 4], xyxy in input pixels, and scores [B, N, nc] = objectness x class.
        """
        maps = self.raw(images)
        if self.training:
            return maps
        boxes, objectness, classes = self.detect.decode(maps)
        return cxcywh_to_xyxy(boxes), objectness * classes


Shape = tuple[int, Fraction]
"""Channels of a feature map, and its stride with respect to the image."""
Scale = Callable[[int], int]
"""From the channels in a layer's arguments to those of the network."""
Builder = Callable[[str, Layer, Sequence[Shape], Scale], tuple[nn.Module, Shape]]


def _checked_layers(definition: Definition) -> tuple[nn.ModuleList, tuple[int, ...]]:
    """`_build_layers`, of a network that can be held: its size is known before it is allocated."""
    with torch.device("meta"):
        layers, strides = _build_layers(definition)
    if (count := sum(p.numel() for p in layers.parameters())) > PARAMETERS:
        raise ModelConfigError(
            f"{definition.source}: {count:,} parameters, at most {PARAMETERS:,} are built; check "
            "width_multiple, nc and the channels"
        )
    if torch.get_default_device().type == "meta":
        return layers, strides
    return _build_layers(definition)


def _build_layers(definition: Definition) -> tuple[nn.ModuleList, tuple[int, ...]]:
    """Modules in order, and the strides of the detection levels in pixels."""
    shapes: list[Shape] = []
    modules = nn.ModuleList()
    strides: tuple[int, ...] = ()
    for layer in definition.layers:
        where = f"{definition.source}, layer {layer.index} ({layer.module})"
        inputs = [(3, Fraction(1)) if s < 0 else shapes[s] for s in layer.sources]
        if layer.module == "Detect":
            if layer is not definition.layers[-1]:
                raise ModelConfigError(f"{where}: Detect must be the last layer")
            module, strides = _detect(where, layer, inputs, definition)
            shape = inputs[0]
        else:
            builder = _BUILDERS.get(layer.module)
            if builder is None:
                known = ", ".join([*_BUILDERS, "Detect"])
                raise ModelConfigError(f"{where}: unknown module; there are {known}")
            module, shape = builder(where, layer, inputs, definition.channels)
        channels, stride = shape
        if not (0 < channels <= CHANNELS and Fraction(1, FACTOR) <= stride <= STRIDE):
            raise ModelConfigError(
                f"{where}: gives {brief(channels)} channels of stride {brief(str(stride))}; at "
                f"most {CHANNELS:,} and {STRIDE:,} are built"
            )
        modules.append(module)
        shapes.append(shape)
    return modules, strides


def _detect(
    where: str, layer: Layer, inputs: Sequence[Shape], definition: Definition
) -> tuple[nn.Module, tuple[int, ...]]:
    if layer.args != ("nc", "anchors"):
        raise ModelConfigError(
            f"{where}: args must be [nc, anchors], got {brief(list(layer.args))}"
        )
    if len(inputs) != len(definition.anchors):
        raise ModelConfigError(
            f"{where}: {len(inputs)} levels, but {len(definition.anchors)} lists of anchors"
        )
    strides = tuple(int(stride) for _, stride in inputs)
    if any(stride.denominator != 1 for _, stride in inputs) or list(strides) != sorted(strides):
        raise ModelConfigError(f"{where}: levels must come smallest stride first, got {strides}")
    channels = [c for c, _ in inputs]
    return Detect(channels, definition.nc, definition.anchors, strides), strides


def _integers(where: str, layer: Layer, counts: tuple[int, ...], expected: str) -> list[int]:
    """The arguments as positive integers, or an error that says what was expected."""
    args = layer.args
    highest = (CHANNELS, KERNEL, FACTOR)
    if len(args) not in counts or not all(map(is_integer, args, repeat(1), highest)):
        raise ModelConfigError(
            f"{where}: args must be {expected}, positive integers up to "
            f"{', '.join(map(str, highest[: max(counts)]))}, got {brief(list(args))}"
        )
    return list(args)


def _single(where: str, inputs: Sequence[Shape]) -> Shape:
    if len(inputs) != 1:
        raise ModelConfigError(f"{where}: takes one input, got {len(inputs)}")
    return inputs[0]


def _conv(
    where: str, layer: Layer, inputs: Sequence[Shape], scale: Scale
) -> tuple[nn.Module, Shape]:
    c_in, stride = _single(where, inputs)
    channels, *rest = _integers(where, layer, (1, 2, 3), "[channels, kernel=1, stride=1]")
    k, s = (rest + [1, 1][len(rest) :])[:2]
    if k % 2 == 0:
        raise ModelConfigError(f"{where}: the kernel must be odd, got {k}")
    c_out = scale(channels)
    convs = [Conv(c_in if i == 0 else c_out, c_out, k, s) for i in range(layer.number)]
    module = convs[0] if layer.number == 1 else nn.Sequential(*convs)
    return module, (c_out, stride * s**layer.number)


def _bottleneck(
    where: str, layer: Layer, inputs: Sequence[Shape], scale: Scale
) -> tuple[nn.Module, Shape]:
    c_in, stride = _single(where, inputs)
    c_out = scale(_integers(where, layer, (1,), "[channels]")[0])
    blocks = [Bottleneck(c_in if i == 0 else c_out, c_out) for i in range(layer.number)]
    module = blocks[0] if layer.number == 1 else nn.Sequential(*blocks)
    return module, (c_out, stride)


def _csp(
    kind: type[BottleneckCSP] | type[BottleneckCSP2] | type[DarknetCSP2],
) -> Builder:
    def build(
        where: str, layer: Layer, inputs: Sequence[Shape], scale: Scale
    ) -> tuple[nn.Module, Shape]:
        c_in, stride = _single(where, inputs)
        c_out = scale(_integers(where, layer, (1,), "[channels]")[0])
        return kind(c_in, c_out, n=layer.number), (c_out, stride)

    return build


def _sppcsp(kind: type[SPPCSP] | type[DarknetSPPCSP]) -> Builder:
    def build(
        where: str, layer: Layer, inputs: Sequence[Shape], scale: Scale
    ) -> tuple[nn.Module, Shape]:
        c_in, stride = _single(where, inputs)
        _once(where, layer)
        c_out = scale(_integers(where, layer, (1,), "[channels]")[0])
        return kind(c_in, c_out), (c_out, stride)

    return build


def _upsample(
    where: str, layer: Layer, inputs: Sequence[Shape], scale: Scale
) -> tuple[nn.Module, Shape]:
    channels, stride = _single(where, inputs)
    _once(where, layer)
    match layer.args:
        case ("None" | None, int(factor), "nearest") if 1 < factor <= FACTOR:
            return nn.Upsample(scale_factor=float(factor), mode="nearest"), (
                channels,
                stride / factor,
            )
    raise ModelConfigError(
        f"{where}: args must be [None, factor, nearest], got {brief(list(layer.args))}"
    )


def _concat(
    where: str, layer: Layer, inputs: Sequence[Shape], scale: Scale
) -> tuple[nn.Module, Shape]:
    _once(where, layer)
    if layer.args != (1,):
        raise ModelConfigError(f"{where}: args must be [1], got {brief(list(layer.args))}")
    strides = {stride for _, stride in inputs}
    if len(strides) != 1:
        found = sorted(float(s) for s in strides)
        raise ModelConfigError(f"{where}: its inputs have different strides {found}")
    return Concat(), (sum(c for c, _ in inputs), strides.pop())


def _once(where: str, layer: Layer) -> None:
    if layer.number != 1:
        raise ModelConfigError(f"{where}: number must be 1, got {layer.number}")


_BUILDERS: Final[Mapping[str, Builder]] = {
    "Conv": _conv,
    "Bottleneck": _bottleneck,
    "BottleneckCSP": _csp(BottleneckCSP),
    "BottleneckCSP2": _csp(BottleneckCSP2),
    "DarknetCSP2": _csp(DarknetCSP2),
    "SPPCSP": _sppcsp(SPPCSP),
    "DarknetSPPCSP": _sppcsp(DarknetSPPCSP),
    "nn.Upsample": _upsample,
    "Concat": _concat,
}
MODULES: Final = frozenset({*_BUILDERS, "Detect"})
"""Names of the modules that a definition may have."""
