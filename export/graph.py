"""The graph that is exported: a folded network, its decoding, and what comes before and after."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from yolov4sdk.contract.contract import grid_rows
from yolov4sdk.contract.spec import ModelSpec
from yolov4sdk.models import Model
from yolov4sdk.models.detect import Detect, cxcywh_to_xyxy

from .options import ExportOptions
from .reduction import Rows, Suppression, best_of_maps


class Layers(nn.Module):
    """Images to the feature maps that the head reads: every layer but the last.

    Args:
        model: folded, in evaluation mode; its weights say the precision of the network.
        uint8: the images are uint8 [B, H, W, 3] and are normalised here.
    """

    def __init__(self, model: Model, uint8: bool) -> None:
        super().__init__()
        self.layers = model.model[:-1]
        self.sources = model.sources
        self.uint8 = uint8
        self.dtype = next(model.parameters()).dtype

    def forward(self, images: Tensor) -> list[Tensor]:
        """Float32 RGB [B, 3, H, W] in 0..1, or uint8 RGB -> for each level [B, C_i, ny, nx].

        As `Model.raw`, without its check of the size: a trace would take it for a condition.
        """
        x = images.to(self.dtype)
        if self.uint8:
            x = x.permute(0, 3, 1, 2) * (1 / 255)
        outputs: list[Tensor] = []
        for layer, sources in zip(self.layers, self.sources[:-1], strict=True):
            outputs.append(layer(*(x if source < 0 else outputs[source] for source in sources)))
        return [outputs[source] for source in self.sources[-1]]


class Head(nn.Module):
    """Feature maps to boxes and scores.

    The decoding runs in float32 whatever the network's precision is: in float16 a coordinate of
    1000 px is only known to half a pixel.

    Args:
        detect: of the folded network.
        options: how boxes are suppressed, where they are.
        spec: of the file; says whether the outputs are reduced.
    """

    def __init__(self, detect: Detect, options: ExportOptions, spec: ModelSpec) -> None:
        super().__init__()
        self.detect = detect
        smallest = (spec.max_stride,) * 2 if spec.dynamic_size else spec.input_size
        fewest = grid_rows(spec.model.grid, smallest)
        self.best = spec.topk if spec.outputs == "best" else None
        self.fewest = fewest
        self.suppression: Suppression | None = None
        if spec.outputs == "nms":
            candidates = None if spec.dynamic_size else fewest
            self.suppression = Suppression(options, detect.nc, fewest, candidates)

    def forward(self, features: list[Tensor]) -> tuple[Tensor, Tensor] | Rows:
        """For each level [B, C_i, ny, nx] -> boxes [B, N, 4] and scores [B, N, C], or `Rows`."""
        maps = self.detect(features)
        if self.suppression is not None:
            rows: Rows = self.suppression(*decode_best(self.detect, maps))
            return rows
        if self.best is not None:
            return best_of_maps(self.detect, maps, self.best, self.fewest)
        boxes, objectness, classes = self.detect.decode(maps)
        return cxcywh_to_xyxy(boxes), objectness * classes


class Halves(nn.Module):
    """The layers and the head side by side, for one trace; `join` then connects them.

    Convolutions do not care for the size of an image, while a trace with symbolic sizes reasons
    about them at every convolution, which takes several times as long as the rest. Only in the
    head do sizes matter, where they become grids of cells: only there are they symbolic.
    """

    def __init__(self, layers: Layers, head: Head) -> None:
        super().__init__()
        self.layers = layers
        self.head = head

    def forward(
        self, images: Tensor, features: list[Tensor]
    ) -> tuple[list[Tensor], tuple[Tensor, Tensor] | Rows]:
        """Feature maps of the images, and boxes and scores of other feature maps."""
        return self.layers(images), self.head(features)


def decode_best(detect: Detect, maps: Sequence[Tensor]) -> Rows:
    """Every box with its best class: xyxy [B, N, 4], scores [B, N], class ids [B, N]."""
    levels = [detect.decode_best(x, level) for level, x in enumerate(maps)]
    boxes, scores, class_ids = (torch.cat(parts, dim=1) for parts in zip(*levels, strict=True))
    return cxcywh_to_xyxy(boxes), scores, class_ids
