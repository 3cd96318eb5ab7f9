"""Small cfgs with the structure of published ones that have sections of their own kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from tests.support.darknet_nets import ANCHORS, CfgWriter, cfg_text

CLASSES: Final = 3
REGION: Final = "1.08,1.19,  3.42,4.41,  6.63,11.38,  9.42,5.11,  16.62,10.52"
SIX: Final = "10,14,  23,27,  37,58,  81,82,  135,169,  344,319"


def writer(size: tuple[int, int], activation: str = "leaky", width: float = 0.125) -> CfgWriter:
    return CfgWriter(size, activation, width, CLASSES)


def head(
    w: CfgWriter, kind: str, anchors: str, mask: Sequence[int], values: int = 5, **options: object
) -> None:
    """The last convolution and a head with the keys of training that published files have."""
    w.add(
        "convolutional", "size=1", "stride=1", "pad=1",
        f"filters={len(mask) * (values + CLASSES)}", "activation=linear",
    )  # fmt: skip
    own = [f"{key}={value}" for key, value in options.items()]
    picked = [] if kind == "region" else [f"mask = {','.join(map(str, mask))}"]
    w.add(
        kind, *picked, f"anchors = {anchors}", f"classes={CLASSES}",
        f"num={(anchors.count(',') + 1) // 2}", "jitter=.3", "random=1", *own,
    )  # fmt: skip


def region(size: tuple[int, int], passthrough: bool) -> str:
    """yolov2-tiny, or yolov2 with its passthrough of finer cells."""
    w = writer(size)
    fine = -1
    for filters in (16, 32, 64, 128, 256):
        fine = w.conv(filters, 3)
        w.add("maxpool", "size=2", "stride=2")
    w.conv(512, 3)
    if passthrough:
        w.convs((1024, 3), (1024, 3))
        end = len(w.sections) - 2
        w.route(fine)
        w.conv(64)
        passed = w.add("reorg", "stride=2")
        w.route(passed, end)
        w.conv(1024, 3)
    else:
        w.add("maxpool", "size=2", "stride=1")
        w.convs((1024, 3), (512, 3))
    head(
        w, "region", REGION, range(5), bias_match=1, coords=4, softmax=1, rescore=1,
        object_scale=5, noobject_scale=1, class_scale=1, coord_scale=1, absolute=1, thresh=".6",
    )  # fmt: skip
    return w.text


def resnext(size: tuple[int, int]) -> str:
    """csresnext50-panet-spp: groups, and shortcuts onto more channels than they bring."""
    w = writer(size)
    w.conv(64, 7, 2)
    w.add("maxpool", "size=2", "stride=2")
    maps = []
    for filters in (128, 256, 512):
        step = 1 if filters == 128 else 2
        first = len(w.sections) - 2
        w.conv(filters)
        w.add(
            "convolutional", "batch_normalize=1", f"filters={w.channels(filters)}", "size=3",
            f"stride={step}", "pad=1", "groups=4", "activation=leaky",
        )  # fmt: skip
        w.conv(2 * filters)
        if step == 1:
            w.add("shortcut", f"from={first - len(w.sections) + 1}", "activation=leaky")
        maps.append(len(w.sections) - 2)
    w.pools()
    end = w.conv(256)
    head(w, "yolo", ANCHORS["csp"], (6, 7, 8), scale_x_y=1.05)
    w.route(end)
    w.conv(128)
    up = w.add("upsample", "stride=2")
    w.route(maps[-2])
    w.conv(128)
    w.route(len(w.sections) - 2, up)
    w.conv(128, 3)
    head(w, "yolo", ANCHORS["csp"], (3, 4, 5), scale_x_y=1.1)
    return w.text


def prn(size: tuple[int, int]) -> str:
    """yolov3-tiny-prn: shortcuts of more and of fewer channels in place of routes."""
    w = writer(size)
    for filters in (16, 32, 64, 128):
        fine = w.conv(filters, 3)
        w.add("maxpool", "size=2", "stride=2")
    w.conv(256, 3)
    w.conv(512, 3)
    w.add("shortcut", "from=-2", "activation=leaky")
    end = w.conv(128)
    w.add("shortcut", "activation=leaky", "from=-3")
    head(w, "yolo", SIX, (3, 4, 5))
    w.route(end)
    w.conv(128)
    w.add("upsample", "stride=2")
    w.add("shortcut", f"from={fine}", "activation=leaky")
    w.conv(256, 3)
    head(w, "yolo", SIX, (0, 1, 2))
    return w.text


def efficient(size: tuple[int, int]) -> str:
    """enet-coco: depthwise convolutions, squeeze and excitation, swish, dropout."""
    w = writer(size, "swish", 0.25)
    w.conv(32, 3, 2)
    maps = []
    for filters, step in ((32, 1), (48, 2), (64, 2), (96, 2)):
        wide = w.channels(2 * filters)
        w.conv(2 * filters)
        w.add(
            "convolutional", f"filters={wide}", f"groups={wide}", "size=3", f"stride={step}",
            "pad=1", "batch_normalize=1", "activation=swish",
        )  # fmt: skip
        w.add("avgpool")
        w.add("convolutional", f"filters={max(2, wide // 4)}", "size=1", "activation=swish")
        w.add("convolutional", f"filters={wide}", "size=1", "activation=logistic")
        w.add("scale_channels", "from=-4")
        w.activation = "linear"
        w.conv(filters)
        narrow = w.conv(filters)
        w.activation = "swish"
        w.add("dropout", "probability=.2")
        maps.append(w.add("shortcut", f"from={narrow - len(w.sections)}", "activation=linear"))
    w.activation = "leaky"
    end = w.conv(128, 3)
    head(w, "yolo", SIX, (3, 4, 5))
    w.route(end)
    w.conv(64)
    w.add("upsample", "stride=2")
    w.add("shortcut", "activation=leaky", f"from={maps[-2]}")
    w.conv(96, 3)
    head(w, "yolo", SIX, (1, 2, 3))
    return w.text


def contrastive(size: tuple[int, int]) -> str:
    """yolov4-tiny_contrastive: a branch of embeddings beside one head."""
    w = writer(size)
    start = w.conv(32, 3, 2)
    w.conv(64, 3, 2)
    whole = w.conv(64, 3)
    w.add("route", "layers=-1", "groups=2", "group_id=1")
    first = w.conv(32, 3)
    w.route(w.conv(32, 3), first)
    w.route(whole, w.conv(64))
    w.add("maxpool", "size=2", "stride=2")
    w.conv(128, 3)
    w.add("maxpool", "size=2", "stride=2")
    w.conv(128, 3)
    w.add("upsample", "stride=2")
    end = w.conv(128, 3)
    w.add("route", f"layers= {start}", "onlyforward=1")
    w.add("local_avgpool", "size=4", "stride=4")
    w.add("route", f"layers= -1,{end}", "onlyforward=1")
    w.conv(128)
    w.add(
        "convolutional", "batch_normalize=1", "filters=24", "size=1", "stride=1", "pad=1",
        "activation=linear",
    )  # fmt: skip
    w.add("route", f"layers= {end}")
    w.conv(256, 3)
    head(w, "yolo", SIX, range(6), embedding_layer=-4, track_history_size=20, sim_thresh=0.7)
    w.add("contrastive", "classes=1", "temperature=1.0", "yolo_layer=-2", "max_delta=10")
    return w.text


def attention(size: tuple[int, int]) -> str:
    """yolov4-sam-mish-csp-reorg-bfm, cspx-p7-mish: [sam], [reorg3d] and a coarser inner map."""
    w = writer(size, "mish")
    w.conv(32, 3, 2)
    fine = w.conv(64, 3, 2)
    middle = w.conv(128, 3, 2)
    deep = w.conv(256, 3, 2)
    w.add("reorg3d", "stride=2")  # coarser than every head
    w.conv(256)
    up = w.add("upsample", "stride=2")
    w.route(fine)
    w.conv(32)
    w.add("reorg3d", "stride=2")
    w.route(len(w.sections) - 2, middle)
    w.conv(128, 3)
    below = len(w.sections) - 2
    w.add("reorg3d", "stride=2")
    w.route(len(w.sections) - 2, up, deep)
    w.conv(256)
    w.activation = "logistic"
    w.conv(256)
    w.add("sam", "from=-2")
    w.activation = "mish"
    w.conv(256, 3)
    w.yolo((6, 7, 8), ANCHORS["csp"], 1.05, new_coords=False)
    w.route(below)
    w.conv(128, 3)
    w.yolo((3, 4, 5), ANCHORS["csp"], 1.1, new_coords=False)
    return w.text


def gaussian(size: tuple[int, int]) -> str:
    """Gaussian_yolov3: nine values a box beside its classes."""
    w = writer(size)
    w.conv(32, 3, 2)
    maps = []
    for filters in (64, 128, 256):
        w.conv(filters, 3, 2)
        w.convs((filters // 2, 1), (filters, 3))
        maps.append(w.shortcut())
    end = w.conv(128)
    w.conv(256, 3)
    anchors = "7,10, 14,24, 27,43, 32,97, 57,64, 92,109"
    more = {"uc_normalizer": 1.0, "iou_loss": "giou", "ignore_thresh": ".5"}
    head(w, "Gaussian_yolo", anchors, (3, 4, 5), values=9, scale_x_y=1.0, **more)
    w.route(end)
    w.conv(64)
    up = w.add("upsample", "stride=2")
    w.route(up, maps[-2])
    w.conv(128, 3)
    head(w, "Gaussian_yolo", anchors, (0, 1, 2), values=9, scale_x_y=1.1, **more)
    return w.text


def weighted(size: tuple[int, int], kind: str, normalization: str) -> str:
    """A feature pyramid of weighted shortcuts, as the BiFPN forms of yolov4 have."""
    w = writer(size, "hard_mish")
    w.conv(32, 3, 2)
    w.conv(64, 3, 2)
    first, second = w.conv(64), w.conv(96, 3)
    w.activation = "relu6"
    w.conv(64, 3)
    own = len(w.sections) - 1
    w.add(
        "shortcut", f"from={first - own},{second - own}", "activation=linear",
        f"weights_type={kind}", f"weights_normalization={normalization}",
    )  # fmt: skip
    w.activation = "relu"
    w.conv(128, 3, 2)
    head(w, "yolo", SIX, (1, 3, 5))
    return w.text


FAMILY: Final[dict[str, Callable[[tuple[int, int]], str]]] = {
    "yolov2": lambda size: region(size, True),
    "yolov2-tiny": lambda size: region(size, False),
    "csresnext50-panet-spp": resnext,
    "yolov3-tiny-prn": prn,
    "enet-coco": efficient,
    "yolov4-tiny_contrastive": contrastive,
    "yolov4-sam-mish-csp-reorg-bfm": attention,
    "Gaussian_yolov3": gaussian,
    **{
        f"weighted {kind} {how}": (lambda size, kind=kind, how=how: weighted(size, kind, how))
        for kind in ("per_feature", "per_channel")
        for how in ("relu", "softmax")
    },
    **{
        name: (lambda size, name=name: cfg_text(name, size, width=0.125, classes=CLASSES))
        for name in ("yolov4", "yolov4-tiny", "yolov4-csp", "yolov4-csp-swish")
    },
}
"""Name of the published cfg whose structure it is -> its text at a size (height, width)."""
