"""A Darknet graph as a network: the layers of the cfg, by its own indices, and one head."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from ...contract.names import default_names
from ...contract.spec import Anchors, ModelSpec
from ...errors import ModelConfigError
from ..model import ARCHITECTURE_KEY, Model
from .graph import Graph, load_graph
from .head import DarknetDetect
from .modules import module_of


class DarknetModel(Model):
    """A network that is not one of the native ones; runs, folds, saves and exports as they do.

    `model.<i>` is the cfg's layer i. A [yolo] section and the convolution before it leave an
    identity there: their weights are in the head, `model.<number of layers>`.
    """

    def __init__(
        self, graph: Graph, names: Sequence[str] | None = None, anchors: Anchors | None = None
    ) -> None:
        """
        Args:
            graph: a checked cfg.
            names: their count sets the head; default: COCO's or class0, ... for the cfg's count.
            anchors: (w, h) pairs in pixels for each head, smallest stride first, in place of the
                cfg's.
        """
        nn.Module.__init__(self)  # Model's own takes a definition
        names = tuple(names) if names is not None else default_names(graph.classes)
        anchors = graph.anchors if anchors is None else anchors
        head = DarknetDetect(graph, len(names), anchors)
        ends = {head.sources[0] for head in graph.heads}
        layers = [nn.Identity() if n.index in ends else module_of(n) for n in graph.layers]
        spec = ModelSpec(
            architecture={ARCHITECTURE_KEY: graph.text},
            names=names,
            strides=graph.strides,
            anchors=anchors,
            decoding=graph.decoding,
            input_size=graph.size,
        )
        taken = dataclasses.replace(spec.contract.input, multiple=graph.multiple)
        spec = ModelSpec.of(spec.model, dataclasses.replace(spec.contract, input=taken))
        sources = [n.sources for n in graph.layers] + [tuple(h.sources[0] for h in graph.heads)]
        self._assemble(nn.ModuleList([*layers, head]), sources, spec)

    @classmethod
    def from_architecture(
        cls,
        architecture: Mapping[str, Any],
        names: Sequence[str] | None = None,
        anchors: Anchors | None = None,
    ) -> DarknetModel:
        """Rebuild what a ModelSpec describes; weights are fresh.

        Raises:
            ModelConfigError: the text inside is not a cfg that is read here.
        """
        text = architecture[ARCHITECTURE_KEY]
        if not isinstance(text, str) or len(architecture) != 1:
            raise ModelConfigError(
                f"a Darknet architecture is {{{ARCHITECTURE_KEY!r}: text of the cfg}}"
            )
        return cls(load_graph(text, "the Darknet graph in the ModelSpec"), names, anchors)
