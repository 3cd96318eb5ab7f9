"""Cells of a map become channels, in both of Darknet's orders."""

from __future__ import annotations

import torch
from torch import Tensor


def reorg(x: Tensor, step: int) -> Tensor:
    """[reorg3d]: channel (dy step + dx) C + c of the result is x[c, step y + dy, step x + dx].

    Args:
        x: [B, C, H, W].
        step: divides H and W.

    Returns:
        [B, C step^2, H / step, W / step].
    """
    parts = [x[:, :, dy::step, dx::step] for dy in range(step) for dx in range(step)]
    return torch.cat(parts, dim=1)


def reorg_mixed(x: Tensor, step: int) -> Tensor:
    """[reorg], as YOLOv2 was trained with it: the same values in an order that mixes rows.

    Darknet takes the sides of the input for those of the output. In memory the map is read as
    [C / step^2, H step, W step], its cells become channels, and what comes out, [C, H, W], is
    taken for [C step^2, H / step, W / step].

    Args:
        x: [B, C, H, W]; step^2 divides C.
        step: divides H and W.
    """
    if torch.compiler.is_exporting():  # sizes are not constants in an exported graph
        mixed: Tensor = torch.ops.yolov4sdk.reorg_mixed(x, step)
        return mixed
    b, c, h, w = x.shape
    cells = x.reshape(b, c // step**2, h, step, w, step).permute(0, 3, 5, 1, 2, 4)
    return cells.reshape(b, c * step**2, h // step, w // step)


@torch.library.custom_op("yolov4sdk::reorg_mixed", mutates_args=())
def traced_reorg_mixed(x: Tensor, step: int) -> Tensor:
    """`reorg_mixed` under a name that an exporter translates."""
    return reorg_mixed(x, step).clone()


@traced_reorg_mixed.register_fake
def _(x: Tensor, step: int) -> Tensor:
    b, c, h, w = x.shape
    return x.new_empty(b, c * step**2, h // step, w // step)
