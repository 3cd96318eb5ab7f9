"""The detection head: raw maps, and their decoding to boxes and scores."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Detect(nn.Module):
    """A 1x1 convolution a level; each cell and anchor predicts x, y, w, h, objectness, classes.

    Buffers (published names): `anchors` [nl, na, 2] in stride units, `anchor_grid`
    [nl, 1, na, 1, 1, 2] in pixels.

    Args:
        channels: input channels of each level.
        nc: number of classes.
        anchors: for each level its (w, h) pairs in pixels; the same number in every level.
        strides: stride of each level in pixels.
    """

    anchors: Tensor
    anchor_grid: Tensor

    def __init__(
        self,
        channels: Sequence[int],
        nc: int,
        anchors: Sequence[Sequence[Sequence[float]]],
        strides: Sequence[int],
    ) -> None:
        super().__init__()
        self.nc = nc
        self.no: int = 5 + nc
        self.nl: int = len(anchors)
        self.na: int = len(anchors[0])
        self.strides: tuple[int, ...] = tuple(int(s) for s in strides)
        pixels = torch.tensor(anchors, dtype=torch.float32)  # [nl, na, 2]
        # Not by tensors: on the meta device a division imports a compiler, which takes a second.
        cells = [[[v / s for v in wh] for wh in lv] for lv, s in zip(anchors, strides, strict=True)]
        self.register_buffer("anchors", torch.tensor(cells, dtype=torch.float32))
        self.register_buffer("anchor_grid", pixels.view(self.nl, 1, self.na, 1, 1, 2).clone())
        self.m: nn.ModuleList = nn.ModuleList(nn.Conv2d(c, self.na * self.no, 1) for c in channels)
        self.initialise_biases()

    def _stride_column(self, like: Tensor) -> Tensor:
        return torch.tensor(self.strides, dtype=like.dtype, device=like.device).view(-1, 1, 1)

    def set_anchors(self, anchors: Tensor) -> None:
        """Take other anchors: float [nl, na, 2] in pixels."""
        self.anchor_grid.copy_(anchors.reshape_as(self.anchor_grid))
        self.anchors.copy_(anchors / self._stride_column(anchors))

    @torch.no_grad()
    def initialise_biases(self) -> None:
        """Start from a prior of about eight objects in a 640 x 640 image (RetinaNet, 1708.02002).

        Objectness += log(8 / (640/stride)^2), every class += log(0.6 / (nc - 0.99)).
        """
        for conv, stride in zip(self.m, self.strides, strict=True):
            assert isinstance(conv, nn.Conv2d) and conv.bias is not None
            bias = conv.bias.view(self.na, self.no)
            bias[:, 4] += math.log(8 / (640 / stride) ** 2)
            bias[:, 5:] += math.log(0.6 / (self.nc - 0.99))

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Feature maps [B, C_i, ny_i, nx_i] -> raw maps [B, na, ny_i, nx_i, 5+nc] (logits)."""
        raw = []
        for conv, feature in zip(self.m, features, strict=True):
            x = conv(feature)
            b, _, ny, nx = x.shape
            x = x.view(b, self.na, self.no, ny, nx).permute(0, 1, 3, 4, 2)
            raw.append(x.contiguous())
        return raw

    def decode(self, raw: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Raw maps to boxes, as Scaled-YOLOv4 defines them (see `decode_level`).

        Half-precision maps are decoded in float32: in float16 a coordinate of 1000 px is only
        known to half a pixel.

        Args:
            raw: for each level [B, na, ny, nx, 5+nc].

        Returns:
            cxcywh [B, N, 4] in input pixels, objectness [B, N, 1] and class probabilities
            [B, N, nc], each in 0..1. Rows in the order level, anchor, row, column.
        """
        levels = [self.decode_level(x, level) for level, x in enumerate(raw)]
        y = torch.cat(levels, dim=1)
        return y[..., :4], y[..., 4:5], y[..., 5:]

    def decode_level(self, x: Tensor, level: int) -> Tensor:
        """One level [B, na, ny, nx, 5+nc] -> [B, na*ny*nx, 5+nc], boxes as cxcywh in pixels.

        With s = sigmoid(x): centre = (2 s_xy - 0.5 + cell) stride, size = (2 s_wh)^2 anchor.
        """
        b, na, ny, nx, no = x.shape
        s = (x if x.dtype == torch.float64 else x.float()).sigmoid()
        cell = cell_grid(ny, nx, like=s)
        anchor = self.anchor_grid[level].to(s.dtype)
        xy = (s[..., 0:2] * 2 - 0.5 + cell) * self.strides[level]
        wh = (s[..., 2:4] * 2) ** 2 * anchor
        return torch.cat((xy, wh, s[..., 4:]), dim=-1).view(b, na * ny * nx, no)

    def decode_best(self, x: Tensor, level: int) -> tuple[Tensor, Tensor, Tensor]:
        """One level [B, na, ny, nx, 5+nc] with the best class of each of its M boxes.

        Returns:
            cxcywh [B, M, 4] in pixels, scores [B, M] and class ids [B, M].
        """
        boxes, objectness, logits = self.decode_parts(x, level)
        score, class_id = self.best_class(logits)
        return boxes, objectness * score, class_id

    def decode_parts(self, x: Tensor, level: int) -> tuple[Tensor, Tensor, Tensor]:
        """One level [B, na, ny, nx, 5+nc] whose classes are left as they are.

        Returns:
            cxcywh [B, M, 4] in pixels, objectness [B, M] in 0..1 and class logits [B, M, nc].
        """
        y = self.decode_level(x[..., :5], level)  # [B, M, 5]
        return y[..., :4], y[..., 4], x[..., 5:].flatten(1, 3)

    def best_class(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Probability [B, M] and id [B, M] of the best class, of logits [B, M, nc].

        The sigmoid grows with its argument, so the best class is found among the logits and one
        sigmoid a box is enough.
        """
        logit, class_id = logits.max(dim=-1)
        return logit.float().sigmoid(), class_id

    def class_scores(self, logits: Tensor) -> Tensor:
        """Probabilities of all classes, float32, of logits [B, M, nc]."""
        return logits.float().sigmoid()


def cell_grid(ny: int, nx: int, like: Tensor) -> Tensor:
    """Column and row of every cell, [1, 1, ny, nx, 2], with `like`'s dtype and device."""
    rows = torch.arange(ny, dtype=like.dtype, device=like.device)
    columns = torch.arange(nx, dtype=like.dtype, device=like.device)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack((x, y), dim=-1).view(1, 1, ny, nx, 2)


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Centre and size to corners, [..., 4], same units."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat((centre - half, centre + half), dim=-1)
