"""Darknet .cfg files with the structure of the published ones, at any width, and random weights.

The texts keep what makes the published files hard to read: keys of training, comments, blank
lines, spaces around `=` and behind values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

NET: Final = """\
[net]
# Testing
#batch=1
#subdivisions=1
# Training
batch=64
subdivisions=8
width={width}
height={height}
channels=3
momentum=0.949
decay=0.0005
angle=0
saturation = 1.5
exposure = 1.5
hue=.1

learning_rate=0.001
burn_in=1000
max_batches = 500500
policy=steps
steps=400000,450000
scales=.1,.1

#cutmix=1
mosaic=1
letter_box=1
ema_alpha=0.9998
optimized_memory=1
"""

TRAINING: Final = """\
jitter=.1
objectness_smooth=1
ignore_thresh = .7
truth_thresh = 1
random=1
resize=1.5
iou_thresh=0.2
iou_normalizer=0.05
cls_normalizer=0.5
obj_normalizer=1.0
iou_loss=ciou
nms_kind=diounms
beta_nms=0.6
max_delta=2
"""

ANCHORS: Final = {
    "csp": "12, 16, 19, 36, 40, 28, 36, 75, 76, 55, 72, 146, 142, 110, 192, 243, 459, 401",
    "tiny": "10,14,  23,27,  37,58,  81,82,  135,169,  344,319",
    "p5": "13,17,  31,25,  24,51,  61,45,  48,102,  119,96,  97,189,  217,184,  171,384,  324,451,"
    "  616,618,  800,800",
    "p6": "13,17,  31,25,  24,51,  61,45,  61,45,  48,102,  119,96,  97,189,  97,189,  217,184,  "
    "171,384,  324,451,  324,451,  545,357,  616,618,  1024,1024",
}


class CfgWriter:
    """Sections one after another; each method returns the index of its last layer."""

    def __init__(self, size: tuple[int, int], activation: str, width: float, classes: int) -> None:
        self.sections = [NET.format(height=size[0], width=size[1])]
        self.activation = activation
        self.width = width
        self.classes = classes

    @property
    def text(self) -> str:
        """The cfg so far."""
        return "\n".join(self.sections)

    def add(self, kind: str, *lines: str) -> int:
        """A section."""
        self.sections.append(f"[{kind}]\n" + "\n".join(lines) + "\n")
        return len(self.sections) - 2

    def channels(self, filters: int) -> int:
        """Filters at this width."""
        return max(2, round(filters * self.width))

    def conv(self, filters: int, size: int = 1, stride: int = 1) -> int:
        """Convolution with batch normalisation; some published files state size before filters."""
        lines = [f"filters={self.channels(filters)}", f"size={size}", f"stride={stride}", "pad=1"]
        if size == 3:
            lines = [*lines[1:], lines[0]]
        return self.add(
            "convolutional", "batch_normalize=1", *lines, f"activation={self.activation}"
        )

    def convs(self, *shapes: tuple[int, int]) -> int:
        """Convolutions of (filters, size) in a row."""
        return [self.conv(*shape) for shape in shapes][-1]

    def route(self, *indices: int, options: Sequence[str] = ()) -> int:
        """Concatenation; near layers by negative indices, far ones by their own."""
        own = len(self.sections) - 1
        shown = [str(i if own - i > 60 else i - own) for i in indices]
        return self.add("route", "layers = " + ", ".join(shown) + " ", *options)

    def shortcut(self) -> int:
        """Around two convolutions."""
        return self.add("shortcut", "from=-3", "activation=linear")

    def residuals(self, inner: int, outer: int, number: int) -> int:
        """Bottlenecks with shortcuts."""
        last = 0
        for _ in range(number):
            self.convs((inner, 1), (outer, 3))
            last = self.shortcut()
        return last

    def csp(self, filters: int, number: int, hidden: int | None = None) -> int:
        """A stage: strided convolution, two branches, bottlenecks in one of them."""
        hidden = hidden or filters // 2
        down = self.conv(filters, 3, 2)
        side = self.conv(hidden)
        self.route(down)
        self.conv(hidden)
        self.residuals(hidden if hidden < filters else hidden // 2, hidden, number)
        self.route(self.conv(hidden), side)
        return self.conv(filters)

    def csp2(self, filters: int, number: int) -> int:
        """The neck's block: squeezed, then two branches."""
        squeezed = self.conv(filters)
        side = self.conv(filters)
        self.route(squeezed)
        last = self.convs(*[(filters, 1), (filters, 3)] * number)
        self.route(last, side)
        return self.conv(filters)

    def pools(self) -> int:
        """Three max-pools over the layer before, joined with it."""
        self.add("maxpool", "stride=1", "size=5")
        self.add("route", "layers=-2")
        self.add("maxpool", "stride=1", "size=9")
        self.add("route", "layers=-4")
        self.add("maxpool", "stride=1", "size=13")
        return self.add("route", "layers=-1,-3,-5,-6")

    def sppcsp(self, filters: int) -> int:
        """Pyramid pooling in one of two branches."""
        before = len(self.sections) - 2
        side = self.conv(filters)
        self.route(before)
        self.convs((filters, 1), (filters, 3), (filters, 1))
        self.pools()
        self.route(self.convs((filters, 1), (filters, 3)), side)
        return self.conv(filters)

    def up(self, filters: int, source: int) -> int:
        """One level up: upsampled, beside the backbone's map."""
        self.conv(filters)
        above = self.add("upsample", "stride=2")
        self.route(source)
        return self.route(self.conv(filters), above)

    def yolo(
        self, mask: Sequence[int], anchors: str, scale_x_y: float = 2.0, new_coords: bool = True
    ) -> int:
        """The last convolution and its [yolo]."""
        filters = f"filters={len(mask) * (5 + self.classes)}"
        last = "logistic" if new_coords else "linear"
        self.add("convolutional", "size=1", "stride=1", "pad=1", filters, f"activation={last}")
        return self.add(
            "yolo",
            f"mask = {','.join(map(str, mask))}",
            f"anchors = {anchors}",
            f"classes={self.classes}",
            f"num={(anchors.count(',') + 1) // 2}",
            f"scale_x_y = {scale_x_y}",
            TRAINING + ("new_coords=1" if new_coords else ""),
        )


def csp(
    size: tuple[int, int],
    width: float = 1.0,
    classes: int = 80,
    activation: str = "mish",
    stages: Sequence[int] = (1, 2, 8, 8, 4),
    neck: int = 2,
) -> str:
    """yolov4-csp; -csp-x and yolov4x-mish are wider and deeper, -csp-s narrower and flatter."""
    w = CfgWriter(size, activation, width, classes)
    w.conv(32, 3)
    w.conv(64, 3, 2)
    w.residuals(32, 64, stages[0])
    maps = [w.csp(64 * 2**i, n) for i, n in enumerate(stages[1:], 1)]
    deep = w.sppcsp(512)
    w.up(256, maps[-2])
    middle = w.csp2(256, neck)
    w.up(128, maps[-3])
    end = w.csp2(128, neck)
    for level, (filters, below) in enumerate(((128, -1), (256, middle), (512, deep))):
        if level:
            w.route(end)
            w.route(w.conv(filters, 3, 2), below)
            end = w.csp2(filters, neck)
        w.conv(2 * filters, 3)
        w.yolo(range(3 * level, 3 * level + 3), ANCHORS["csp"])
    return w.text


def large(
    size: tuple[int, int],
    width: float = 1.0,
    classes: int = 80,
    activation: str = "mish",
    stages: Sequence[int] = (1, 3, 15, 15, 7),
) -> str:
    """yolov4-p5 and, with a sixth stage, yolov4-p6: heads at the end of the file."""
    w = CfgWriter(size, activation, width, classes)
    w.conv(32, 3)
    widths = [64, 128, 256, 512, 1024, 1024][: len(stages)]
    maps = [w.csp(filters, n) for filters, n in zip(widths, stages, strict=True)]
    necks = [128, 256, 512, 512][: len(stages) - 2]
    tops = [w.sppcsp(512)]
    for filters, source in zip(necks[-2::-1], maps[-2::-1], strict=False):
        w.up(filters, source)
        tops.insert(0, w.csp2(filters, 3))
    ends = [tops[0]]
    for filters, top in zip(necks[1:], tops[1:], strict=True):
        w.route(w.conv(filters, 3, 2), top)
        ends.append(w.csp2(filters, 3))
    for level, (filters, end) in enumerate(zip(necks, ends, strict=True)):
        w.route(end)
        w.conv(2 * filters, 3)
        w.yolo(range(4 * level, 4 * level + 4), ANCHORS[f"p{len(stages)}"])
    return w.text


def yolov4(size: tuple[int, int], width: float = 1.0, classes: int = 80) -> str:
    """yolov4: CSPDarknet53 with Mish, a PAN neck with leaky ReLU, the exponential decoding."""
    w = CfgWriter(size, "mish", width, classes)
    w.conv(32, 3)
    w.csp(64, 1, hidden=64)
    maps = [w.csp(64 * 2**i, n) for i, n in enumerate((2, 8, 8, 4), 1)]
    w.activation = "leaky"
    w.convs((512, 1), (1024, 3), (512, 1))
    w.pools()
    deep = w.convs((512, 1), (1024, 3), (512, 1))
    w.up(256, maps[-2])
    middle = w.convs(*[(256, 1), (512, 3)] * 2, (256, 1))
    w.up(128, maps[-3])
    end = w.convs(*[(128, 1), (256, 3)] * 2, (128, 1))
    for level, (filters, below) in enumerate(((128, -1), (256, middle), (512, deep))):
        if level:
            w.route(end)
            w.route(w.conv(filters, 3, 2), below)
            end = w.convs(*[(filters, 1), (2 * filters, 3)] * 2, (filters, 1))
        w.conv(2 * filters, 3)
        mask = range(3 * level, 3 * level + 3)
        w.yolo(mask, ANCHORS["csp"], scale_x_y=(1.2, 1.1, 1.05)[level], new_coords=False)
    return w.text


def tiny(size: tuple[int, int], width: float = 1.0, classes: int = 80, levels: int = 2) -> str:
    """yolov4-tiny and, with three levels, yolov4-tiny-3l: routes of half of the channels."""
    w = CfgWriter(size, "leaky", width, classes)
    w.conv(32, 3, 2)
    w.conv(64, 3, 2)
    maps = []
    for filters in (64, 128, 256):
        whole = w.conv(filters, 3)
        w.add("route", "layers=-1", "groups=2", "group_id=1")
        first = w.conv(filters // 2, 3)
        w.route(w.conv(filters // 2, 3), first)
        maps.append(w.conv(filters))
        w.route(whole, maps[-1])
        w.add("maxpool", "size=2", "stride=2")
    w.conv(512, 3)
    end = w.conv(256)
    masks, anchors = [(3, 4, 5), (1, 2, 3)], ANCHORS["tiny"]
    if levels == 3:
        masks, anchors = [(6, 7, 8), (3, 4, 5), (0, 1, 2)], ANCHORS["csp"]
    for level, mask in enumerate(masks):
        if level:
            w.route(end)
            w.conv(256 // 2**level)
            w.route(w.add("upsample", "stride=2"), maps[-level])
            end = w.conv(512 // 2**level, 3)
        else:
            w.conv(512, 3)
        w.yolo(mask, anchors, scale_x_y=1.05, new_coords=False)
    return w.text


X: Final = {"stages": (1, 3, 10, 10, 5), "neck": 3}

NETS: Final[Mapping[str, tuple[Callable[..., str], int, Mapping[str, object]]]] = {
    # name: (function, usual side in pixels, arguments)
    "yolov4-csp": (csp, 512, {}),
    "yolov4-csp-swish": (csp, 640, {"activation": "swish"}),
    "yolov4-csp-s-mish": (csp, 640, {"stages": (1, 1, 3, 3, 1), "neck": 1, "width": 0.5}),
    "yolov4-csp-x-mish": (csp, 640, {**X, "width": 1.25}),
    "yolov4-csp-x-swish": (csp, 640, {**X, "width": 1.25, "activation": "swish"}),
    "yolov4x-mish": (csp, 640, {**X, "width": 1.25}),
    "yolov4-p5": (large, 896, {}),
    "yolov4-p6": (large, 1280, {"stages": (1, 3, 15, 15, 7, 7)}),
    "yolov4": (yolov4, 608, {}),
    "yolov4-tiny": (tiny, 416, {}),
    "yolov4-tiny-3l": (tiny, 608, {"levels": 3}),
}


def cfg_text(
    name: str, size: tuple[int, int] | None = None, width: float = 1.0, **more: object
) -> str:
    """The cfg of a published name.

    Args:
        name: a key of `NETS`.
        size: (height, width) in pixels; default: the published one.
        width: multiple of the published number of filters.
        more: in place of the net's arguments, for example `classes`.
    """
    build, side, options = NETS[name]
    own = options.get("width", 1.0)
    assert isinstance(own, float)
    return build(size or (side, side), **{**options, "width": own * width, **more})


def write_weights(path: Path, cfg: str, version: tuple[int, int] = (0, 2), seed: int = 0) -> int:
    """Random weights for a cfg that keep activations near one; returns the number of values."""
    from yolov4sdk.models.darknet.graph import load_graph
    from yolov4sdk.models.darknet.layers import Shortcut

    rng = np.random.default_rng(seed)
    seen = np.array([32_013_312], "<i8" if version >= (0, 2) else "<i4")
    count = 0
    with path.open("wb") as file:
        file.write(np.array([*version, 5], "<i4").tobytes() + seen.tobytes())
        for layer in load_graph(cfg).weighted:
            if isinstance(layer, Shortcut):
                part = rng.uniform(-0.2, 1.2, math.prod(layer.parts[0]))
                count += len(part)
                file.write(part.astype("<f4").tobytes())
                continue
            n, fan_in = layer.channels, layer.c_in // layer.groups * layer.size**2
            parts = [rng.normal(0, 0.1, n)]
            if layer.batch_normalize:
                parts += [rng.uniform(0.8, 1.2, n), rng.normal(0, 0.1, n), rng.uniform(0.3, 1.2, n)]
            parts.append(rng.standard_normal(n * fan_in, np.float32) * fan_in**-0.5)
            for part in parts:
                count += len(part)
                file.write(part.astype("<f4").tobytes())
    return count
