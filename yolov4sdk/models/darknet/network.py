"""A Darknet graph as a network: the layers of the cfg, by its own indices, and one head."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...contract.names import default_names
from ...contract.spec import Anchors, ModelSpec
from ...errors import ModelConfigError
from ..blocks import BN_MOMENTUM, Conv
from ..detect import Detect, cell_grid
from ..model import ARCHITECTURE_KEY, Model
from .graph import Convolution, Graph, Layer, MaxPool, Route, Shortcut, Upsample, Yolo, load_graph

BN_EPS: Final = 1e-6
"""What Darknet adds to the variance under the root."""

_ACTIVATIONS: Final[Mapping[str, Callable[[], nn.Module]]] = {
    "linear": nn.Identity,
    "leaky": lambda: nn.LeakyReLU(0.1, inplace=True),
    "mish": lambda: nn.Mish(inplace=True),
    "swish": lambda: nn.SiLU(inplace=True),
    "logistic": nn.Sigmoid,
    "relu": lambda: nn.ReLU(inplace=True),
}


class DarknetModel(Model):
    """A network that is none of the native ones; runs, folds, saves and exports as they do.

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
        layers = [nn.Identity() if n.index in ends else _module(n) for n in graph.layers]
        spec = ModelSpec(
            architecture={ARCHITECTURE_KEY: graph.text},
            names=names,
            strides=graph.strides,
            anchors=anchors,
            decoding=graph.decoding,
            input_size=graph.size,
        )
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
            ModelConfigError: the text inside is no cfg that is read here.
        """
        text = architecture[ARCHITECTURE_KEY]
        if not isinstance(text, str) or len(architecture) != 1:
            raise ModelConfigError(
                f"a Darknet architecture is {{{ARCHITECTURE_KEY!r}: text of the cfg}}"
            )
        return cls(load_graph(text, "the Darknet graph in the ModelSpec"), names, anchors)


class DarknetConv(Conv):
    """Convolution with groups, batch normalisation or bias, and any of Darknet's activations."""

    def __init__(self, layer: Convolution) -> None:
        nn.Module.__init__(self)  # Conv's own makes other submodules
        self.conv = nn.Conv2d(
            layer.c_in,
            layer.channels,
            layer.size,
            layer.step,
            layer.padding,
            groups=layer.groups,
            bias=not layer.batch_normalize,
        )
        self.bn = nn.Identity()
        if layer.batch_normalize:
            self.bn = nn.BatchNorm2d(layer.channels, eps=BN_EPS, momentum=BN_MOMENTUM)
        self.act = _ACTIVATIONS[layer.activation]()


class DarknetMaxPool(nn.Module):
    """Max-pooling with Darknet's padding: where it is odd, one cell more right and below."""

    def __init__(self, layer: MaxPool) -> None:
        super().__init__()
        before = layer.padding // 2
        after = layer.padding - before
        # Of maps that the stride divides, windows end at size - padding <= stride: cells behind
        # the map are only reached where windows overlap.
        self.margin = (0, 0)
        if after > before and layer.size > layer.step:
            self.margin, before = (before, after), 0
        self.pool = nn.MaxPool2d(layer.size, layer.step, before)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H / stride, W / stride]."""
        if any(self.margin):
            x = F.pad(x, self.margin * 2, value=-torch.inf)
        pooled: Tensor = self.pool(x)
        return pooled


class DarknetRoute(nn.Module):
    """Concatenation of a part of each map's channels."""

    def __init__(self, layer: Route) -> None:
        super().__init__()
        self.groups, self.group_id = layer.groups, layer.group_id

    def forward(self, *maps: Tensor) -> Tensor:
        """n maps [B, C_i, H, W] -> [B, sum of C_i / groups, H, W]."""
        parts = [x.chunk(self.groups, dim=1)[self.group_id] if self.groups > 1 else x for x in maps]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


class DarknetShortcut(nn.Module):
    """Sum and activation."""

    def __init__(self, layer: Shortcut) -> None:
        super().__init__()
        self.act = _ACTIVATIONS[layer.activation]()

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        """Maps of one shape -> a map of that shape."""
        for other in others:
            first = first + other
        out: Tensor = self.act(first)
        return out


class DarknetDetect(Detect):
    """The [yolo] sections as one head; heads may differ in their number of anchors.

    The raw maps are what the convolutions give before their logistic activation. With
    `new_coords` they are decoded as Scaled-YOLOv4 does, otherwise with s = sigmoid(x):
    centre = (k s_xy - (k-1)/2 + cell) stride, size = exp(x_wh) anchor, k being `scale_x_y`.
    `anchors` and `anchor_grid` are filled up with ones to the largest number of anchors.
    """

    def __init__(self, graph: Graph, nc: int, anchors: Anchors) -> None:
        if len(anchors) != len(graph.heads):
            raise ModelConfigError(
                f"{graph.source}: {len(anchors)} levels of anchors for "
                f"{len(graph.heads)} [yolo] sections"
            )
        channels = [
            graph.layers[graph.layers[h.sources[0]].sources[0]].channels for h in graph.heads
        ]
        super().__init__(channels, nc, filled(anchors), graph.strides)
        self.counts = tuple(map(len, anchors))
        self.m = nn.ModuleList(
            nn.Conv2d(c, na * self.no, 1) for c, na in zip(channels, self.counts, strict=True)
        )
        self.scales = tuple(head.scale_x_y for head in graph.heads)
        self.new_coords = graph.decoding == "scaled"

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """See `Detect.forward`; na is the level's own."""
        raw = []
        for conv, feature, na in zip(self.m, features, self.counts, strict=True):
            x = conv(feature)
            b, _, ny, nx = x.shape
            raw.append(x.view(b, na, self.no, ny, nx).permute(0, 1, 3, 4, 2).contiguous())
        return raw

    def decode_level(self, x: Tensor, level: int) -> Tensor:
        """See `Detect.decode_level`."""
        b, na, ny, nx, no = x.shape
        x = x if x.dtype == torch.float64 else x.float()
        s, scale = x.sigmoid(), self.scales[level]
        anchor = self.anchor_grid[level][:, :na].to(s.dtype)
        cell = cell_grid(ny, nx, like=s)
        xy = (s[..., 0:2] * scale - (scale - 1) / 2 + cell) * self.strides[level]
        wh = ((s[..., 2:4] * 2) ** 2 if self.new_coords else x[..., 2:4].exp()) * anchor
        return torch.cat((xy, wh, s[..., 4:]), dim=-1).view(b, na * ny * nx, no)


def filled(anchors: Anchors) -> Anchors:
    """Levels of equal length: the missing anchors are ones, which nothing reads."""
    most = max(map(len, anchors))
    return tuple((*level, *[(1.0, 1.0)] * (most - len(level))) for level in anchors)


def _module(layer: Layer) -> nn.Module:
    match layer:
        case Convolution():
            return DarknetConv(layer)
        case MaxPool():
            return DarknetMaxPool(layer)
        case Route():
            return DarknetRoute(layer)
        case Shortcut():
            return DarknetShortcut(layer)
        case Upsample():
            return nn.Upsample(scale_factor=float(layer.factor), mode="nearest")
        case Yolo():
            return nn.Identity()
    raise AssertionError(f"no module for {layer}")
