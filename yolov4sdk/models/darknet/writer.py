"""A network as Darknet's two files: the text of a .cfg and the values of its .weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...errors import ExportError
from ..model import ARCHITECTURE_KEY, Model
from .cfg import Option, Section, parse_cfg
from .graph import Graph, load_graph
from .layers import Convolution, Head
from .modules import DarknetConv, DarknetShortcut
from .network import DarknetModel
from .values import anchor_text, conv_values
from .weights import HEADER_KEY, Header, LayerWeights


@dataclass(frozen=True)
class DarknetFiles:
    """What `write_weights` and a text file take.

    Attributes:
        cfg: the text.
        graph: the same, parsed.
        header: of the .weights, the one that was imported or the usual one.
        values: of each layer that has some, by its index.
    """

    cfg: str
    graph: Graph
    header: Header
    values: Mapping[int, LayerWeights]


def to_darknet(model: Model) -> DarknetFiles:
    """The files of a network that was imported from Darknet, or is made of blocks that it has.

    What was imported and not changed since comes out bit for bit.

    Raises:
        ExportError: the network is folded, or has a block that no section of Darknet stands for.
    """
    if isinstance(model, DarknetModel):
        text = _updated(model)
        graph = load_graph(text, "the cfg")
        values = _graph_values(model, graph)
    else:
        from .native_writer import native_files

        text, values = native_files(model)
        graph = load_graph(text, "the cfg")
    header = Header.from_text(model.spec.provenance.get(HEADER_KEY, ""))
    return DarknetFiles(text, graph, header, values)


def _graph_values(model: DarknetModel, graph: Graph) -> dict[int, LayerWeights]:
    levels = {head.sources[0]: level for level, head in enumerate(graph.heads)}
    values = {}
    for layer in graph.weighted:
        module: nn.Module = model.model[layer.index]
        if layer.index in levels:
            module = model.detect.m[levels[layer.index]]
            assert isinstance(module, nn.Conv2d)
            values[layer.index] = conv_values(module, nn.Identity())
        elif isinstance(module, DarknetShortcut):
            assert module.weight is not None
            values[layer.index] = LayerWeights(module.weight.detach())
        else:
            assert isinstance(module, DarknetConv) and isinstance(layer, Convolution)
            if isinstance(module.bn, nn.BatchNorm2d) != layer.batch_normalize:
                raise ExportError("the network is folded; export the checkpoint it was made of")
            values[layer.index] = conv_values(module.conv, module.bn)
    return values


def _updated(model: DarknetModel) -> str:
    """The cfg that was imported, at the model's size, and with its classes and anchors."""
    architecture, spec = model.spec.architecture, model.spec
    assert isinstance(architecture, Mapping)
    text = str(architecture[ARCHITECTURE_KEY])
    graph = load_graph(text, "the Darknet graph in the ModelSpec")
    net, *sections = parse_cfg(text)
    height, width = spec.input_size
    _set(net, width=width, height=height, channels=3)
    for head, anchors in zip(graph.heads, spec.anchors, strict=True):
        section = sections[head.index]
        if len(spec.names) != graph.classes:
            filters = len(anchors) * (head.values + len(spec.names))
            _set(section, classes=len(spec.names))
            _set(sections[head.sources[0]], filters=filters)
        if anchors != head.anchors:
            _set(section, num=len(anchors), anchors=_anchors(head, anchors))
            section.options.pop("mask", None)
    return section_text([net, *sections])


def _anchors(head: Head, anchors: tuple[tuple[float, float], ...]) -> str:
    unit = float(head.stride) if head.kind == "region" else 1.0
    return anchor_text([(w / unit, h / unit) for w, h in anchors])


def section_text(sections: list[Section]) -> str:
    """Sections as a cfg."""
    blocks = (
        f"[{s.kind}]\n" + "".join(f"{key}={o.value}\n" for key, o in s.options.items())
        for s in sections
    )
    return "\n".join(blocks)


def _set(section: Section, **values: object) -> None:
    section.options |= {key: Option(str(value), section.line) for key, value in values.items()}


def equal(one: LayerWeights, other: LayerWeights) -> bool:
    """Whether two layers have the same values, bit for bit."""
    pairs: list[tuple[Tensor, Tensor]] = list(zip(one.parts, other.parts, strict=True))
    return all(torch.equal(a.cpu(), b.cpu()) for a, b in pairs)
