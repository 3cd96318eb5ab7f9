"""Darknet's forward pass in NumPy, float64, section by section and value by value as it counts.

It shares nothing with the product: a second reading of the definitions, slow and plain.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Map = NDArray[np.float64]
Section = tuple[str, dict[str, str]]


def logistic(x: Map) -> Map:
    return 1 / (1 + np.exp(-x))


ACTIVATIONS: dict[str, Callable[[Map], Map]] = {
    "linear": lambda x: x,
    "leaky": lambda x: np.where(x > 0, x, 0.1 * x),
    "relu": lambda x: np.where(x > 0, x, 0),
    "relu6": lambda x: np.minimum(np.maximum(x, 0), 6),
    "logistic": logistic,
    "swish": lambda x: x * logistic(x),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "hard_mish": lambda x: np.where(x > 0, x, np.where(x > -2, x * x / 2 + x, 0)),
}


def sections_of(cfg: str) -> list[Section]:
    found: list[Section] = []
    for raw in cfg.splitlines():
        line = raw.split("#")[0].strip()
        if line.startswith("["):
            found.append((line[1:-1], {}))
        elif line:
            key, value = line.split("=", 1)
            found[-1][1].setdefault(key.strip(), value.strip())
    return found


class Reference:
    """A cfg with its values; `maps` are the outputs of all layers after `run`."""

    def __init__(self, cfg: str, values: NDArray[np.float32]) -> None:
        (_, self.net), *self.sections = sections_of(cfg)
        self.values = values.astype(np.float64)
        self.maps: list[Map] = []
        self.rows: list[tuple[int, Map, Map]] = []

    def run(self, image: Map) -> tuple[Map, Map]:
        """Image [3, H, W] -> cxcywh [N, 4] in pixels and scores [N, classes].

        Rows in the order stride, anchor, row, column.
        """
        self.image, self.position, self.maps, self.rows = image, 0, [], []
        for kind, options in self.sections:
            self.maps.append(getattr(self, f"do_{kind.lower()}")(options))
        assert self.position == len(self.values)
        self.rows.sort(key=lambda level: level[0])
        return (
            np.concatenate([boxes for _, boxes, _ in self.rows]),
            np.concatenate([scores for _, _, scores in self.rows]),
        )

    @property
    def before(self) -> Map:
        return self.maps[-1] if self.maps else self.image

    def take(self, *shape: int) -> Map:
        count = int(np.prod(shape))
        part = self.values[self.position : self.position + count]
        self.position += count
        return part.reshape(shape)

    def indices(self, text: str) -> list[int]:
        return [len(self.maps) + i if i < 0 else i for i in map(int, text.split(","))]

    def do_convolutional(self, o: dict[str, str]) -> Map:
        x = self.before
        n, size, groups = int(o["filters"]), int(o.get("size", 1)), int(o.get("groups", 1))
        step = int(o.get("stride", 1))
        pad = size // 2 if int(o.get("pad", 0)) else int(o.get("padding", 0))
        bias = self.take(n)
        norm = int(o.get("batch_normalize", 0))
        if norm:
            scale, mean, variance = self.take(n), self.take(n), self.take(n)
        weight = self.take(n, len(x) // groups, size, size)
        padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
        windows = sliding_window_view(padded, (size, size), (1, 2))[:, ::step, ::step]
        parts = [
            np.einsum("chwij,ocij->ohw", w, k, optimize=True)
            for w, k in zip(np.split(windows, groups), np.split(weight, groups), strict=True)
        ]
        out = np.concatenate(parts)
        if norm:
            out = (out - column(mean)) / np.sqrt(column(variance) + 1e-6) * column(scale)
        return ACTIVATIONS[o.get("activation", "logistic")](out + column(bias))

    def pool(self, o: dict[str, str], what: Callable[[Map], Map]) -> Map:
        x, step = self.before, int(o.get("stride", 1))
        size = int(o.get("size", step))
        pad = int(o.get("padding", size - 1))
        height, width = ((side + pad - size) // step + 1 for side in x.shape[1:])
        out = np.empty((len(x), height, width))
        for i in range(height):
            for j in range(width):
                top, left = i * step - pad // 2, j * step - pad // 2
                window = x[:, max(top, 0) : top + size, max(left, 0) : left + size]
                out[:, i, j] = what(window)
        return out

    def do_maxpool(self, o: dict[str, str]) -> Map:
        return self.pool(o, lambda w: w.max((1, 2)))

    def do_local_avgpool(self, o: dict[str, str]) -> Map:
        return self.pool(o, lambda w: w.mean((1, 2)))

    def do_avgpool(self, o: dict[str, str]) -> Map:
        return self.before.mean((1, 2), keepdims=True)

    def do_route(self, o: dict[str, str]) -> Map:
        groups, part = int(o.get("groups", 1)), int(o.get("group_id", 0))
        maps = [np.split(self.maps[i], groups)[part] for i in self.indices(o["layers"])]
        return np.concatenate(maps)

    def do_shortcut(self, o: dict[str, str]) -> Map:
        x = self.before
        sources = [x, *(self.maps[i] for i in self.indices(o["from"]))]
        kind = o.get("weights_type", "none")
        weights = np.ones((len(sources), 1))
        if kind != "none":
            weights = self.take(len(sources), 1 if kind in ("per_feature", "per_layer") else len(x))
        normal = o.get("weights_normalization", "none")
        if normal in ("relu", "avg_relu"):
            weights = np.maximum(weights, 0)
        elif normal == "softmax":
            weights = np.exp(weights - weights.max(0))
        if normal != "none":
            weights = weights / (weights.sum(0) + 1e-4)
        weights = np.broadcast_to(weights, (len(sources), len(x)))
        out = np.zeros_like(x)
        for source, weight in zip(sources, weights, strict=True):
            common = min(len(x), len(source))
            out[:common] += source[:common] * column(weight[:common])
        return ACTIVATIONS[o.get("activation", "linear")](out)

    def do_scale_channels(self, o: dict[str, str]) -> Map:
        (index,) = self.indices(o["from"])
        return ACTIVATIONS[o.get("activation", "linear")](self.before * self.maps[index])

    do_sam = do_scale_channels

    def do_upsample(self, o: dict[str, str]) -> Map:
        factor = int(o.get("stride", 2))
        return self.before.repeat(factor, 1).repeat(factor, 2)

    def do_reorg3d(self, o: dict[str, str]) -> Map:
        x, s = self.before, int(o["stride"])
        c, h, w = x.shape
        out = np.empty((c * s * s, h // s, w // s))
        for k in range(c * s * s):
            c2, offset = k % c, k // c
            out[k] = x[c2, offset // s :: s, offset % s :: s]
        return out

    def do_reorg(self, o: dict[str, str]) -> Map:
        x, s = self.before, int(o["stride"])
        c, h, w = x.shape
        flat, out = x.reshape(-1), np.empty(x.size)
        few = c // (s * s)
        for k in range(c):
            c2, offset = k % few, k // few
            for j in range(h):
                for i in range(w):
                    w2, h2 = i * s + offset % s, j * s + offset // s
                    out[i + w * (j + h * k)] = flat[w2 + w * s * (h2 + h * s * c2)]
        return out.reshape(c * s * s, h // s, w // s)

    def do_dropout(self, o: dict[str, str]) -> Map:
        return self.before

    do_contrastive = do_dropout

    def anchors(self, o: dict[str, str]) -> Map:
        return np.array([float(v) for v in o["anchors"].split(",") if v.strip()]).reshape(-1, 2)

    def cells(self, o: dict[str, str], values: int, count: int) -> tuple[Map, int]:
        """Raw map as [anchors, values + classes, ny, nx], and its stride."""
        _, ny, nx = self.before.shape
        raw = self.before.reshape(count, values + int(o["classes"]), ny, nx)
        return raw, self.image.shape[1] // ny

    def add(self, centre: Map, size: Map, scores: Map, stride: int) -> None:
        """Values [anchors, 2 or classes, ny, nx] as rows."""
        boxes = np.concatenate([centre, size], 1).transpose(0, 2, 3, 1).reshape(-1, 4)
        classes = scores.transpose(0, 2, 3, 1).reshape(len(boxes), -1)
        self.rows.append((stride, boxes, classes))

    def do_yolo(self, o: dict[str, str]) -> Map:
        mask = [int(i) for i in o["mask"].split(",")] if "mask" in o else range(int(o["num"]))
        anchors = self.anchors(o)[list(mask)][:, :, None, None]
        x, stride = self.cells(o, 5, len(anchors))
        new, k = int(o.get("new_coords", 0)), float(o.get("scale_x_y", 1))
        # With new_coords the convolution before it is logistic already.
        s = x if new else logistic(x)
        centre = (s[:, :2] * k - (k - 1) / 2 + grid(x)) * stride
        size = (x[:, 2:4] ** 2 * 4 if new else np.exp(x[:, 2:4])) * anchors
        self.add(centre, size, s[:, 4:5] * s[:, 5:], stride)
        return self.before

    def do_gaussian_yolo(self, o: dict[str, str]) -> Map:
        mask = [int(i) for i in o["mask"].split(",")]
        anchors = self.anchors(o)[mask][:, :, None, None]
        x, stride = self.cells(o, 9, len(anchors))
        k = float(o.get("scale_x_y", 1))
        centre = (logistic(x[:, [0, 2]]) * k - (k - 1) / 2 + grid(x)) * stride
        size = np.exp(x[:, [4, 6]]) * anchors
        uncertainty = logistic(x[:, [1, 3, 5, 7]]).mean(1, keepdims=True)
        self.add(centre, size, logistic(x[:, 8:9]) * logistic(x[:, 9:]) * (1 - uncertainty), stride)
        return self.before

    def do_region(self, o: dict[str, str]) -> Map:
        anchors = self.anchors(o)[: int(o["num"])][:, :, None, None]
        x, stride = self.cells(o, 5, len(anchors))
        centre = (logistic(x[:, :2]) + grid(x)) * stride
        size = np.exp(x[:, 2:4]) * anchors * stride
        classes = np.exp(x[:, 5:] - x[:, 5:].max(1, keepdims=True))
        self.add(
            centre, size, logistic(x[:, 4:5]) * classes / classes.sum(1, keepdims=True), stride
        )
        return self.before


def column(values: Map) -> Map:
    return values[:, None, None]


def grid(x: Map) -> Map:
    """(column, row) of each cell, [2, ny, nx]."""
    ny, nx = x.shape[2:]
    return np.stack(np.meshgrid(np.arange(nx), np.arange(ny), indexing="xy")).astype(float)
