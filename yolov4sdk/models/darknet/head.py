"""The heads of a Darknet network: raw maps, and their decoding to boxes and scores."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...contract.spec import Anchors
from ...errors import ModelConfigError
from ..detect import Detect, cell_grid
from .graph import Graph


class DarknetDetect(Detect):
    """The sections of one kind of head together; they may differ in their number of anchors.

    The raw maps are what the convolutions give before their logistic activation. With
    `new_coords` they are decoded as Scaled-YOLOv4 does, otherwise with s = sigmoid(x):
    centre = (k s_xy - (k-1)/2 + cell) stride, size = exp(x_wh) anchor, k being `scale_x_y`.

    [region] has a softmax over its classes in place of sigmoids. [Gaussian_yolo] (Gaussian YOLOv3,
    1904.04620) has x, sx, y, sy, w, sw, h, sh, objectness, classes; the mean of the four sigmoids
    of the s, the uncertainty u of the box, lowers its objectness to s_objectness (1 - u), as
    Darknet uses it.

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
        self.kind = graph.heads[0].kind
        self.no: int = graph.heads[0].values + nc
        self.counts: tuple[int, ...] = tuple(map(len, anchors))
        self.m: nn.ModuleList = nn.ModuleList(
            nn.Conv2d(c, na * self.no, 1) for c, na in zip(channels, self.counts, strict=True)
        )
        self.scales: tuple[float, ...] = tuple(head.scale_x_y for head in graph.heads)
        self.new_coords: bool = graph.decoding == "scaled"

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
        boxes, objectness, classes = self._decoded(x, level)
        found = classes.softmax(-1) if self.kind == "region" else classes.sigmoid()
        return torch.cat((boxes, objectness, found), dim=-1).flatten(1, 3)

    def decode_parts(self, x: Tensor, level: int) -> tuple[Tensor, Tensor, Tensor]:
        """See `Detect.decode_parts`."""
        boxes, objectness, classes = (part.flatten(1, 3) for part in self._decoded(x, level))
        return boxes, objectness[..., 0], classes

    def best_class(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """See `Detect.best_class`."""
        if self.kind != "region":
            return super().best_class(logits)
        score, class_id = logits.softmax(-1).max(dim=-1)
        return score, class_id

    def class_scores(self, logits: Tensor) -> Tensor:
        """See `Detect.class_scores`."""
        return logits.softmax(-1) if self.kind == "region" else super().class_scores(logits)

    def _decoded(self, x: Tensor, level: int) -> tuple[Tensor, Tensor, Tensor]:
        """Raw [B, na, ny, nx, no] to cxcywh, objectness 0..1 and the classes' logits, the same."""
        _, na, ny, nx, _ = x.shape
        x = x if x.dtype == torch.float64 else x.float()
        uncertainty: Tensor | float = 0.0
        if self.kind == "Gaussian_yolo":
            uncertainty = x[..., 1:8:2].sigmoid().mean(-1, keepdim=True)
            x = torch.cat((x[..., 0:8:2], x[..., 8:]), dim=-1)
        s, scale = x[..., :5].sigmoid(), self.scales[level]
        anchor = self.anchor_grid[level][:, :na].to(s.dtype)
        cell = cell_grid(ny, nx, like=s)
        xy = (s[..., 0:2] * scale - (scale - 1) / 2 + cell) * self.strides[level]
        wh = ((s[..., 2:4] * 2) ** 2 if self.new_coords else x[..., 2:4].exp()) * anchor
        return torch.cat((xy, wh), dim=-1), s[..., 4:5] * (1 - uncertainty), x[..., 5:]


def filled(anchors: Anchors) -> Anchors:
    """Levels of equal length: the missing anchors are ones, which nothing reads."""
    most = max(map(len, anchors))
    return tuple((*level, *[(1.0, 1.0)] * (most - len(level))) for level in anchors)
