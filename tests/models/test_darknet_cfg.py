"""The text of a cfg: what is read, what is ignored, and what is an error with its line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.darknet_nets import NETS, cfg_text
from yolov4sdk.errors import ModelConfigError, YOLOv4Error
from yolov4sdk.models.darknet.cfg import parse_cfg
from yolov4sdk.models.darknet.graph import load_graph
from yolov4sdk.models.darknet.keys import IGNORED, NEUTRAL, READ
from yolov4sdk.models.darknet.layers import Convolution, MaxPool, Route

SMALL = """\
[net]
width=64
height=32
channels=3

[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky

[convolutional]
filters=14
activation=linear

[yolo]
mask=1,0
anchors=10,14, 23,27
classes=2
num=2
"""


@pytest.mark.parametrize("name", NETS)
def test_published_structures(name: str) -> None:
    graph = load_graph(cfg_text(name, (128, 256), width=0.125))
    assert graph.size == (128, 256) and graph.classes == 80
    levels = {"yolov4-tiny": 2, "yolov4-p6": 4}.get(name, 3)
    assert len(graph.heads) == levels and list(graph.strides) == sorted(graph.strides)
    assert graph.decoding == ("darknet" if "tiny" in name or name == "yolov4" else "scaled")
    assert load_graph(graph.text).text == graph.text  # what is kept is a cfg of the same network
    again = load_graph(graph.text)
    assert [(n.sources, n.channels, n.stride) for n in again.layers] == [
        (n.sources, n.channels, n.stride) for n in graph.layers
    ]


def test_defaults_and_values() -> None:
    graph = load_graph(SMALL + "[route]\nlayers=0\n[maxpool]\nsize=2\n", "small.cfg")
    first, last, head, route, pool = graph.layers
    assert isinstance(first, Convolution) and (first.padding, first.groups) == (1, 1)
    assert isinstance(last, Convolution) and (last.size, last.step, last.padding) == (1, 1, 0)
    assert head.anchors == ((23, 27), (10, 14)) and head.scale_x_y == 1 and not head.new_coords
    assert isinstance(route, Route) and route.sources == (0,)
    assert isinstance(pool, MaxPool) and (pool.padding, pool.stride) == (1, 2)


def test_layout_of_the_text_does_not_matter() -> None:
    plain = load_graph(SMALL)
    noisy = "\ufeff# a comment\n; another\n" + SMALL.replace("=", "  = ").replace(
        "\n", "  # why\r\n\r\n"
    ).replace("[yolo]", "  [yolo]  ").replace("23,27", "23, 27 , ")
    assert load_graph(noisy).layers[0].channels == 8
    assert load_graph(noisy).anchors == plain.anchors


WRONG = {
    "unknown key": (
        "pad=1",
        "pad=1\nfilter=3",
        r"line 12, \[convolutional\], layer 0: filter is unk",
    ),
    "suggestion": ("classes=2", "new_coord=1\nclasses=2", "did you mean new_coords"),
    "unknown section": ("[yolo]", "[regions]", r"line 18: unknown section \[regions\]"),
    "recurrent": ("[yolo]", "[crnn]", r"line 18: \[crnn\] cannot be imported: recurrent layers"),
    "classifier": ("[yolo]", "[softmax]", "cannot be imported: classifiers are not supported"),
    "shared": ("pad=1", "pad=1\nshare_index=0", "share_index is not supported: conv.* share"),
    "xnor": ("pad=1", "pad=1\nxnor=1", "xnor is supported only at 0, got '1': binary"),
    "blurred": ("pad=1", "pad=1\nantialiasing=1", "antialiasing .* blurred"),
    "tree": ("[yolo]", "[region]\ntree=x", "tree is not supported: a tree of classes"),
    "raw classes": ("[yolo]\nmask=1,0", "[region]\nsoftmax=0", "softmax must be 1"),
    "sam": ("[yolo]", "[sam]\nfrom=0\n[yolo]", "from scales 8 channels of stride 2 by 14"),
    "point": ("mask=1,0", "mask=1,0\nyolo_point=left_top", "yolo_point must be center"),
    "not neutral": ("pad=1", "pad=1\ndilation=2", "line 12, .*: dilation is supported only at 1"),
    "number": ("filters=8", "filters=many", "line 8, .*: filters must be a number"),
    "fraction": ("filters=8", "filters=8.5", "filters must be an integer"),
    "zero": ("stride=2", "stride=0", "stride must be an integer of at least 1"),
    "activation": ("activation=leaky", "activation=gelu", "line 12, .*activation must be one of"),
    "no padding": ("pad=1", "pad=0", "size 3, stride 2 do not go with this padding"),
    "groups": ("pad=1", "pad=1\ngroups=2", "groups must divide 3 input channels"),
    "twice": ("filters=8", "filters=8\nfilters=9", "line 9, .*: filters is given twice"),
    "no equals": ("filters=8", "filters 8", "line 8: expected .section. or key=value"),
    "head": ("filters=14", "filters=21", "need 14 filters in the convolution before it"),
    "logistic": ("activation=linear", "activation=logistic", "new_coords=0; expected linear"),
    "coords": ("classes=2", "classes=2\nnew_coords=1", "new_coords=1; expected logistic"),
    "anchors": ("num=2", "num=3", "anchors must be num=3 positive pairs"),
    "mask": ("mask=1,0", "mask=1,2", "mask must pick among 0 to 1"),
    "size": ("width=64", "width=63", r"line 3, \[net\]: height and width do not fit"),
    "grey": ("channels=3", "channels=1", "channels must be 3"),
    "no net": ("[net]", "[convolutional]", r"line 1: \[net\] must be the first section"),
    "no head": ("[yolo]", "[convolutional]", "mask is unknown"),
    "route": (
        "[yolo]",
        "[route]\nlayers=-9\n[yolo]",
        "points to -9, which is not an earlier",
    ),
    "itself": ("[yolo]", "[route]\nlayers=2\n[yolo]", "layers points to 2"),
    "strides": (
        "[yolo]",
        "[maxpool]\nstride=2\n[route]\nlayers=-1,-2\n[yolo]",
        "layers joins maps of different strides",
    ),
    "shortcut": (
        "[yolo]",
        "[maxpool]\nstride=2\n[shortcut]\nfrom=0\n[yolo]",
        "from adds a map of stride 2 to one of stride 4",
    ),
    "weighted": (
        "[yolo]",
        "[shortcut]\nfrom=1\nweights_type=per_pixel\n[yolo]",
        "weights_type must be one of none, per_feature, per_channel",
    ),
    "half": ("[yolo]", "[route]\nlayers=0\ngroups=3\n[yolo]", "groups must divide the 8 channels"),
    "id": ("[yolo]", "[route]\nlayers=0\ngroups=2\ngroup_id=2\n[yolo]", "group_id must be below"),
    "end": ("num=2", "num=2\n[route]\nlayers=1", "reads a .yolo. section or the convolution"),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors_name_the_line(name: str) -> None:
    old, new, message = WRONG[name]
    assert old in SMALL
    with pytest.raises(ModelConfigError, match=message) as caught:
        load_graph(SMALL.replace(old, new, 1), "small.cfg")
    assert str(caught.value).startswith("small.cfg")


def test_every_key_has_one_meaning() -> None:
    for kind, read in READ.items():
        groups = [read, set(NEUTRAL.get(kind, ())), IGNORED.get(kind, set())]
        assert sum(map(len, groups)) == len(set().union(*groups)), kind


@pytest.mark.parametrize("kind", IGNORED)
def test_keys_of_training_are_ignored(kind: str) -> None:
    text = (
        SMALL + "[route]\nlayers=0\n[convolutional]\n[maxpool]\n[shortcut]\nfrom=-2\n[upsample]\n"
    )
    keys = "".join(f"{key}=7\n" for key in sorted(IGNORED[kind]))
    assert (
        load_graph(text.replace(f"[{kind}]\n", f"[{kind}]\n{keys}")).text == load_graph(text).text
    )


@given(st.text(alphabet="[]=#;,.-\n \tnetyolcvua0123456789", max_size=200))
def test_any_text_is_sections_or_an_error(text: str) -> None:
    try:
        sections = parse_cfg(text)
    except ModelConfigError:
        return
    assert sections[0].kind == "net" and all(s.kind != "net" for s in sections[1:])


@given(st.integers(0, len(SMALL)), st.text(alphabet="=[]\n-1,x", max_size=4))
def test_damaged_text_is_a_graph_or_an_error(position: int, insertion: str) -> None:
    try:
        load_graph(SMALL[:position] + insertion + SMALL[position:])
    except YOLOv4Error as error:
        assert str(error)
