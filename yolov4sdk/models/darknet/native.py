"""The native architecture in a Darknet graph, whatever its widths and depths are.

What is found becomes a model definition, with `DarknetCSP2` and `DarknetSPPCSP` in the neck.

Darknet adds 1e-6 to a variance under the root, the built-in models 1e-3: the definition says it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .graph import Graph
from .layers import Convolution, Upsample
from .matching import Block, Matcher, NoMatchError, Stage, require
from .modules import BN_EPS
from .weights import LayerWeights


@dataclass
class Native:
    """The definition, and where each of its convolutions is in the cfg.

    Attributes:
        definition: what `load_definition` takes.
        convolutions: key without `.weight` to Darknet layer.
        norms: key of a BN to the Darknet layers whose statistics it joins.
        orders: for a convolution's layer index, the channels of its input in the native order.
        heads: key without `.weight` to Darknet layer.
    """

    definition: dict[str, Any]
    convolutions: dict[str, Convolution]
    norms: dict[str, tuple[Convolution, ...]]
    orders: dict[int, list[int]]
    heads: dict[str, Convolution]

    def state_dict(self, weights: Mapping[int, LayerWeights]) -> dict[str, Tensor]:
        """The native model's state_dict, but for the head's anchors."""
        state = {}
        for key, layer in self.convolutions.items():
            weight, order = weights[layer.index].weight, self.orders.get(layer.index)
            state[f"{key}.weight"] = weight[:, order] if order else weight
        for key, layers in self.norms.items():
            parts = [_norm(weights[layer.index]) for layer in layers]
            names = ("weight", "bias", "running_mean", "running_var")
            for name, tensors in zip(names, zip(*parts, strict=True), strict=True):
                state[f"{key}.{name}"] = torch.cat(tensors)
            state[f"{key}.num_batches_tracked"] = torch.tensor(0)
        for key, layer in self.heads.items():
            state[f"{key}.weight"] = weights[layer.index].weight
            bias = weights[layer.index].bias
            assert bias is not None
            state[f"{key}.bias"] = bias
        return state


def _norm(values: LayerWeights) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scale, shift, mean and variance."""
    assert values.bias is not None
    assert values.scale is not None and values.mean is not None and values.variance is not None
    return values.scale, values.bias, values.mean, values.variance


def find_native(graph: Graph) -> Native | None:
    """The native form of a graph, or None where it is another architecture."""
    heads = graph.heads
    same = len({len(head.anchors) for head in heads}) == 1
    if not same or graph.decoding != "scaled" or any(head.scale_x_y != 2 for head in heads):
        return None
    matcher = Matcher(graph)
    try:
        neck = _find_neck(matcher)
        stem, stages = matcher.backbone(neck.spp.source)
        return _write(matcher, neck, stem, stages)
    except NoMatchError:
        return None


@dataclass(frozen=True)
class _Neck:
    """The parts of the neck, each list smallest stride first.

    Attributes:
        heads: the convolutions before [yolo]; outs: the 3x3 ones before these.
        spp: the block of the largest stride; tops: Darknet layers that end the top-down path.
        reduces, laterals, merges: top-down, from level i + 1 to i.
        ends: Darknet layers that end the bottom-up path; downs, ups: from level i to i + 1.
    """

    heads: list[Convolution]
    outs: list[Convolution]
    spp: Block
    tops: list[int]
    reduces: list[Convolution]
    laterals: list[Convolution]
    merges: list[Block]
    ends: list[int]
    downs: list[Convolution]
    ups: list[Block]


def _find_neck(m: Matcher) -> _Neck:
    heads = [m.layer(head.sources[0], Convolution) for head in m.graph.heads]
    outs = [m.conv(head.sources[0], 3) for head in heads]
    ends = [m.before(out) for out in outs]
    ups = [m.csp2(index) for index in ends[1:]]
    downs, tops = [], [ends[0]]
    for block, end in zip(ups, ends, strict=False):
        down, top = m.parts(block.source, 2)
        downs.append(m.conv(down, 3, step=2))
        require(m.before(downs[-1]) == end)
        tops.append(top)
    laterals, reduces, merges = [], [], [m.csp2(index) for index in tops[:-1]]
    for block, top in zip(merges, tops[1:], strict=True):
        lateral, up = m.parts(block.source, 2)
        laterals.append(m.conv(lateral, 1))
        upsample = m.layer(up, Upsample)
        require(upsample.factor == 2)
        reduces.append(m.conv(upsample.sources[0], 1))
        require(m.before(reduces[-1]) == top)
    spp = m.sppcsp(tops[-1])
    return _Neck(heads, outs, spp, tops, reduces, laterals, merges, ends, downs, ups)


def _write(m: Matcher, neck: _Neck, stem: Convolution, stages: Sequence[Stage]) -> Native:
    """The layers in the order of the built-in definitions."""
    writer = _Writer(m)
    writer.conv(stem)
    for stage in stages:
        writer.conv(stage.down)
        writer.block(stage.block, stage.index)
    backbone_length = len(writer.layers)
    writer.block(neck.spp, neck.tops[-1])
    for level in reversed(range(len(neck.merges))):
        reduced = writer.conv(neck.reduces[level])
        upsampled = writer.add("nn.Upsample", [reduced], args=["None", 2, "nearest"])
        lateral = writer.conv(neck.laterals[level])
        joined = writer.add("Concat", [lateral, upsampled], args=[1])
        writer.block(neck.merges[level], neck.tops[level], joined)
    features = [writer.conv(neck.outs[0])]
    for level, block in enumerate(neck.ups):
        down = writer.conv(neck.downs[level])
        joined = writer.add("Concat", [down, writer.at(neck.tops[level + 1])], args=[1])
        writer.block(block, neck.ends[level + 1], joined)
        features.append(writer.conv(neck.outs[level + 1]))
    head = writer.add("Detect", features, args=["nc", "anchors"])
    return Native(
        definition=_definition(m.graph, writer.layers, backbone_length),
        convolutions=writer.convolutions,
        norms=writer.norms,
        orders=m.orders,
        heads={f"model.{head}.m.{level}": conv for level, conv in enumerate(neck.heads)},
    )


def _definition(graph: Graph, layers: list[list[Any]], backbone_length: int) -> dict[str, Any]:
    definition = {
        "nc": graph.classes,
        "depth_multiple": 1.0,
        "width_multiple": 1.0,
        "input_size": max(graph.size),
        "epsilon": BN_EPS,
        "anchors": [[side for pair in level for side in pair] for level in graph.anchors],
        "backbone": layers[:backbone_length],
        "head": layers[backbone_length:],
    }
    if any(conv.channels % 8 for conv in graph.convolutions if conv.batch_normalize):
        definition["divisor"] = 1
    return definition


class _Writer:
    """Layers of a definition, and where their convolutions come from."""

    def __init__(self, matcher: Matcher) -> None:
        self.layers: list[list[Any]] = []
        self.convolutions: dict[str, Convolution] = {}
        self.norms: dict[str, tuple[Convolution, ...]] = {}
        self._matcher = matcher
        self._places = {-1: -1}

    def at(self, index: int) -> int:
        """The definition's layer that gives what a Darknet layer gives."""
        require(index in self._places)
        return self._places[index]

    def add(
        self, module: str, sources: list[int], number: int = 1, args: Sequence[Any] = ()
    ) -> int:
        """Append a layer; returns its index."""
        origin = sources if len(sources) > 1 else sources[0]
        self.layers.append([origin, number, module, list(args)])
        return len(self.layers) - 1

    def conv(self, layer: Convolution) -> int:
        """Append a Conv."""
        source = self.at(self._matcher.before(layer))
        index = self.add("Conv", [source], args=[layer.channels, layer.size, layer.step])
        self._normalised(f"model.{index}", layer)
        self._places[layer.index] = index
        return index

    def block(self, block: Block, output: int, source: int | None = None) -> None:
        """Append a block that gives the Darknet layer `output`.

        Args:
            block: what was found.
            output: Darknet layer of its output.
            source: the definition's layer that it reads; default: the place of its own source.
        """
        source = self.at(block.source) if source is None else source
        index = self.add(block.module, [source], block.number, block.args)
        convs = dict(block.convolutions)
        if block.module == "BottleneckCSP":  # one BN over both of its plain convolutions
            self.norms[f"model.{index}.bn"] = (convs["cv3"], convs["cv2"])
            for name in ("cv2", "cv3"):
                self.convolutions[f"model.{index}.{name}"] = convs.pop(name)
        for name, conv in convs.items():
            self._normalised(f"model.{index}.{name}", conv)
        self._places[output] = index

    def _normalised(self, key: str, layer: Convolution) -> None:
        """Take a convolution with its own BN."""
        self.convolutions[f"{key}.conv"] = layer
        self.norms[f"{key}.bn"] = (layer,)
