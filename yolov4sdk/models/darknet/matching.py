"""Finding the native blocks in a Darknet graph, by following it backwards.

Neither the order of the sections nor detours through [route] matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from .graph import Graph
from .layers import Convolution, DarknetLayer, MaxPool, Route, Shortcut

POOLS: Final = (5, 9, 13)
"""Kernels of the pyramid pooling."""

Kind = TypeVar("Kind", bound=DarknetLayer)
Pair = tuple[Convolution, Convolution]
"""The 1x1 and the 3x3 convolution of a bottleneck."""


class NoMatchError(Exception):
    """The graph is not of the native architecture; it stays a graph."""


def require(condition: bool) -> None:
    """Raise NoMatchError unless the condition holds."""
    if not condition:
        raise NoMatchError


@dataclass(frozen=True)
class Block:
    """A native module, found in the graph.

    Attributes:
        module, number, args: as in a model definition.
        source: index of the Darknet layer that it reads; -1 is the image.
        convolutions: submodule, as in the module's state_dict, to Darknet layer.
    """

    module: str
    source: int
    args: tuple[int, ...]
    convolutions: Mapping[str, Convolution]
    number: int = 1


@dataclass(frozen=True)
class Stage:
    """A backbone stage: the Darknet layer of its output, the convolution before it, its block."""

    index: int
    down: Convolution
    block: Block


class Matcher:
    """Blocks of a graph by the Darknet layer of their output; NoMatchError for anything else.

    Attributes:
        orders: for a convolution's layer index, the channels of its input in the native order.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.orders: dict[int, list[int]] = {}

    def backbone(self, index: int) -> tuple[Convolution, list[Stage]]:
        """The first convolution and the stages up to the one whose output is layer `index`."""
        stages: list[Stage] = []
        while not (isinstance(at := self.graph.layers[index], Convolution) and at.sources == (-1,)):
            residual = isinstance(at, Shortcut)
            block = self.bottlenecks(index) if residual else self.csp(index)
            down = self.conv(block.source, 3, step=2)
            stages.append(Stage(index, down, block))
            index = self.before(down)
            require(index >= 0)
        return self.conv(index, 3), stages[::-1]

    def bottlenecks(self, index: int) -> Block:
        """Bottlenecks with shortcuts, whose inner convolution has half of the channels."""
        channels = self.graph.layers[index].channels
        pairs, source = self._residuals(index, channels // 2, channels)
        names = [""] if len(pairs) == 1 else [f"{i}." for i in range(len(pairs))]
        return Block("Bottleneck", source, (channels,), _named(names, pairs), len(pairs))

    def csp(self, index: int) -> Block:
        """BottleneckCSP: two branches over the same map, one of them through bottlenecks."""
        cv4 = self.conv(index, 1)
        hidden = cv4.channels // 2
        left, right = self.parts(cv4.sources[0], 2)
        cv3, cv2 = self.conv(left, 1, hidden), self.conv(right, 1, hidden)
        pairs, inner = self._residuals(self.before(cv3), hidden, hidden)
        cv1 = self.conv(inner, 1, hidden)
        require(bool(pairs) and self.before(cv1) == self.before(cv2))
        own = {"cv1": cv1, "cv2": cv2, "cv3": cv3, "cv4": cv4}
        inside = _named([f"m.{i}." for i in range(len(pairs))], pairs)
        source = self.before(cv1)
        return Block("BottleneckCSP", source, (cv4.channels,), own | inside, len(pairs))

    def csp2(self, index: int) -> Block:
        """DarknetCSP2: the map is squeezed first, then goes both ways."""
        cv3 = self.conv(index, 1)
        channels = cv3.channels
        at, right = self.parts(cv3.sources[0], 2)
        cv2 = self.conv(right, 1, channels)
        squeezed = self.before(cv2)
        pairs: list[Pair] = []
        while at != squeezed:
            outer = self.conv(at, 3, channels)
            inner = self.conv(outer.sources[0], 1, channels)
            pairs.insert(0, (inner, outer))
            at = self.before(inner)
        cv1 = self.conv(squeezed, 1, channels)
        require(bool(pairs))
        own = {"cv1": cv1, "cv2": cv2, "cv3": cv3}
        inside = _named([f"m.{i}." for i in range(len(pairs))], pairs)
        return Block("DarknetCSP2", self.before(cv1), (channels,), own | inside, len(pairs))

    def sppcsp(self, index: int) -> Block:
        """DarknetSPPCSP, with the pooled maps in any order."""
        cv7 = self.conv(index, 1)
        channels = cv7.channels
        left, right = self.parts(cv7.sources[0], 2)
        cv2, cv6 = self.conv(right, 1, channels), self.conv(left, 3, channels)
        cv5 = self.conv(cv6.sources[0], 1, channels)
        parts = self.parts(cv5.sources[0], 1 + len(POOLS))
        sizes = [self._pool_size(part) for part in parts]
        require(sorted(sizes) == [1, *POOLS])
        pooled = parts[sizes.index(1)]
        for part in set(parts) - {pooled}:
            require(self.resolve(self.graph.layers[part].sources[0]) == pooled)
        self.orders[cv5.index] = [
            sizes.index(size) * channels + c for size in (1, *POOLS) for c in range(channels)
        ]
        cv4 = self.conv(pooled, 1, channels)
        cv3 = self.conv(cv4.sources[0], 3, channels)
        cv1 = self.conv(cv3.sources[0], 1, channels)
        require(self.before(cv1) == self.before(cv2))
        found = (cv1, cv2, cv3, cv4, cv5, cv6, cv7)
        convs = {f"cv{i}": conv for i, conv in enumerate(found, 1)}
        return Block("DarknetSPPCSP", self.before(cv1), (channels,), convs)

    def _pool_size(self, index: int) -> int:
        layer = self.graph.layers[index]
        if not isinstance(layer, MaxPool):
            return 1
        require(layer.step == 1 and layer.padding == layer.size - 1)
        return layer.size

    def _residuals(self, index: int, inner_channels: int, channels: int) -> tuple[list[Pair], int]:
        """Pairs of 1x1 and 3x3 convolutions with a shortcut around each, and what they read."""
        require(index >= 0)
        pairs: list[Pair] = []
        while isinstance(layer := self.graph.layers[index], Shortcut):
            require(layer.activation == "linear" and len(layer.sources) == 2)
            outer = self.conv(layer.sources[0], 3, channels)
            inner = self.conv(outer.sources[0], 1, inner_channels)
            index = self.resolve(layer.sources[1])
            require(self.before(inner) == index >= 0)
            pairs.insert(0, (inner, outer))
        return pairs, index

    def resolve(self, index: int) -> int:
        """The layer itself, behind any [route] that only points to it."""
        while index >= 0:
            layer = self.graph.layers[index]
            if not isinstance(layer, Route) or len(layer.sources) != 1 or layer.groups != 1:
                break
            index = layer.sources[0]
        return index

    def before(self, layer: DarknetLayer) -> int:
        """What a layer with one input reads."""
        return self.resolve(layer.sources[0])

    def layer(self, index: int, kind: type[Kind]) -> Kind:
        """The layer, which must be of a kind."""
        index = self.resolve(index)
        require(index >= 0)
        layer = self.graph.layers[index]
        if not isinstance(layer, kind):
            raise NoMatchError
        return layer

    def conv(
        self, index: int, size: int, channels: int | None = None, step: int = 1
    ) -> Convolution:
        """The convolution with BN and Mish at an index; of these properties."""
        conv = self.layer(index, Convolution)
        require(conv.batch_normalize and conv.activation == "mish" and conv.groups == 1)
        require((conv.size, conv.step, conv.padding) == (size, step, size // 2))
        require(channels is None or conv.channels == channels)
        return conv

    def parts(self, index: int, count: int) -> list[int]:
        """What a concatenation joins."""
        route = self.layer(index, Route)
        require(len(route.sources) == count and route.groups == 1)
        return [self.resolve(source) for source in route.sources]


def _named(prefixes: Sequence[str], pairs: Sequence[Pair]) -> dict[str, Convolution]:
    """Bottlenecks' convolutions by the names of their submodules."""
    return {
        f"{prefix}cv{i}": conv
        for prefix, pair in zip(prefixes, pairs, strict=True)
        for i, conv in enumerate(pair, 1)
    }
