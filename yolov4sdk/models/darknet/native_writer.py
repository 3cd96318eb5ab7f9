"""A native network as a cfg: each block of a definition in the sections that it was found in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import torch
from torch import nn

from ...errors import ExportError
from ..blocks import (
    SPPCSP,
    Bottleneck,
    BottleneckCSP,
    BottleneckCSP2,
    Concat,
    Conv,
    DarknetCSP2,
    DarknetSPPCSP,
)
from ..detect import Detect
from ..model import Model
from .matching import POOLS
from .values import anchor_text, conv_values
from .weights import LayerWeights


def native_files(model: Model) -> tuple[str, dict[int, LayerWeights]]:
    """The text of the cfg, and the values of its layers by their index.

    Raises:
        ExportError: a block that no section of Darknet stands for.
    """
    writer = _Writer(model)
    detect = model.detect
    # As published: yolov4-csp has each head behind its level, p5 and p6 have them at the end.
    at_end = detect.nl > 3 or detect.na > 3
    features = model.sources[-1]
    levels = {index: level for level, index in enumerate(features)}
    later: list[int] = []
    for index, module in enumerate(model.model[:-1]):
        if index in levels and at_end:
            later.append(index)
            continue
        writer.module(index, module)
        if index in levels:
            writer.head(index, levels[index])
    for index in later:
        writer.module(index, model.model[index])
        writer.head(index, levels[index])
    return writer.text, writer.values


class _Writer:
    """Sections one after another.

    Attributes:
        values: of the convolutions, by their index.
        places: Darknet layer of the output of each layer of the definition; -1 is the image.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        height, width = model.spec.input_size
        self._sections = [f"[net]\nwidth={width}\nheight={height}\nchannels=3\n"]
        self.values: dict[int, LayerWeights] = {}
        self.places = {-1: -1}

    @property
    def text(self) -> str:
        """The cfg so far."""
        return "\n".join(self._sections)

    @property
    def last(self) -> int:
        """Index of the last section."""
        return len(self._sections) - 2

    def add(self, kind: str, **options: object) -> int:
        """A section; returns its index."""
        lines = "".join(f"{key}={value}\n" for key, value in options.items())
        self._sections.append(f"[{kind}]\n{lines}")
        return self.last

    def module(self, index: int, module: nn.Module) -> None:
        """The sections of one layer of the definition."""
        sources = [self.places[s] for s in self._model.sources[index]]
        build = _BUILDERS.get(type(module))
        if build is None:
            reason = _REASONS.get(type(module), f"it has no section for {type(module).__name__}")
            raise ExportError(f"layer {index} cannot be said in a Darknet cfg: {reason}")
        self.places[index] = build(self, module, sources)

    def at(self, source: int) -> None:
        """Make `source` the layer before the next section."""
        if source != self.last:
            self.add("route", layers=source if source >= 0 else source - self.last - 1)

    def conv(self, source: int, conv: nn.Conv2d, values: LayerWeights) -> int:
        """A convolution with batch normalisation and Mish."""
        self.at(source)
        (size, _), (step, _) = conv.kernel_size, conv.stride
        index = self.add(
            "convolutional", batch_normalize=1, filters=conv.out_channels, size=size, stride=step,
            pad=1, activation="mish",
        )  # fmt: skip
        self.values[index] = values
        return index

    def normalised(self, source: int, module: Conv) -> int:
        """A `Conv`."""
        if not isinstance(module.bn, nn.BatchNorm2d):
            raise ExportError("the network is folded; export the checkpoint it was made of")
        if not isinstance(module.act, nn.Mish):
            raise ExportError("only Mish stands in a native Darknet cfg")
        return self.conv(source, module.conv, conv_values(module.conv, module.bn))

    def bottleneck(self, source: int, module: Bottleneck) -> int:
        """Two convolutions and perhaps a shortcut around them."""
        self.at(source)
        before = self.last
        self.normalised(self.last, module.cv1)
        self.normalised(self.last, module.cv2)
        if module.add:
            self.add("shortcut", **{"from": before - self.last - 1}, activation="linear")
        return self.last

    def head(self, source: int, level: int) -> None:
        """The last convolution of a level and its [yolo]."""
        detect, spec = self._model.detect, self._model.spec
        conv = detect.m[level]
        assert isinstance(conv, nn.Conv2d)
        self.at(self.places[source])
        index = self.add(
            "convolutional", size=1, stride=1, pad=1, filters=conv.out_channels,
            activation="logistic",
        )  # fmt: skip
        self.values[index] = conv_values(conv, nn.Identity())
        pairs = [pair for anchors in spec.anchors for pair in anchors]
        first = level * detect.na
        self.add(
            "yolo", mask=",".join(map(str, range(first, first + detect.na))),
            anchors=anchor_text(pairs), classes=detect.nc, num=len(pairs), scale_x_y=2.0,
            new_coords=1,
        )  # fmt: skip


def _conv(w: _Writer, module: Any, sources: list[int]) -> int:
    return w.normalised(sources[0], module)


def _sequence(w: _Writer, module: Any, sources: list[int]) -> int:
    at = sources[0]
    for part in module:
        at = w.bottleneck(at, part) if isinstance(part, Bottleneck) else w.normalised(at, part)
    return at


def _bottleneck(w: _Writer, module: Any, sources: list[int]) -> int:
    return w.bottleneck(sources[0], module)


def _csp(w: _Writer, module: Any, sources: list[int]) -> int:
    """The joint normalisation is over cv3, then cv2."""
    half = module.cv3.out_channels
    side = w.conv(sources[0], module.cv2, conv_values(module.cv2, module.bn, slice(half, 2 * half)))
    at = w.normalised(sources[0], module.cv1)
    for part in module.m:
        at = w.bottleneck(at, part)
    end = w.conv(at, module.cv3, conv_values(module.cv3, module.bn, slice(half)))
    w.add("route", layers=f"{end},{side}")
    return w.normalised(w.last, module.cv4)


def _csp2(w: _Writer, module: Any, sources: list[int]) -> int:
    squeezed = w.normalised(sources[0], module.cv1)
    side = w.normalised(squeezed, module.cv2)
    at = squeezed
    for part in module.m:
        at = w.bottleneck(at, part)
    w.add("route", layers=f"{at},{side}")
    return w.normalised(w.last, module.cv3)


def _sppcsp(w: _Writer, module: Any, sources: list[int]) -> int:
    side = w.normalised(sources[0], module.cv2)
    at = sources[0]
    for part in (module.cv1, module.cv3, module.cv4):
        at = w.normalised(at, part)
    pools = []
    for size in POOLS:
        w.at(at)
        pools.append(w.add("maxpool", stride=1, size=size))
    w.add("route", layers=",".join(map(str, [*pools[::-1], at])))
    values = conv_values(module.cv5.conv, module.cv5.bn)
    parts = values.weight.chunk(len(pools) + 1, dim=1)  # the native order is the reverse
    reordered = replace(values, weight=torch.cat(parts[::-1], dim=1))
    end = w.normalised(w.conv(w.last, module.cv5.conv, reordered), module.cv6)
    w.add("route", layers=f"{end},{side}")
    return w.normalised(w.last, module.cv7)


def _upsample(w: _Writer, module: Any, sources: list[int]) -> int:
    w.at(sources[0])
    return w.add("upsample", stride=int(module.scale_factor))


def _concat(w: _Writer, module: Any, sources: list[int]) -> int:
    return w.add("route", layers=",".join(map(str, sources)))


_BUILDERS: Final[Mapping[type[nn.Module], Callable[[_Writer, Any, list[int]], int]]] = {
    Conv: _conv,
    nn.Sequential: _sequence,
    Bottleneck: _bottleneck,
    BottleneckCSP: _csp,
    DarknetCSP2: _csp2,
    DarknetSPPCSP: _sppcsp,
    nn.Upsample: _upsample,
    Concat: _concat,
}
_JOINT: Final = (
    "its block normalises and activates both halves of a concatenation once more, as the "
    "authors' PyTorch code has it; models imported from a Darknet cfg do not"
)
_REASONS: Final[Mapping[type[nn.Module], str]] = {
    BottleneckCSP2: _JOINT,
    SPPCSP: _JOINT,
    Detect: "a head must be its last layer",
}
