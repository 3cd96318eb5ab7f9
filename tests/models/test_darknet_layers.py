"""Every kind of Darknet layer against plain torch operations, in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from yolov4sdk.models import fold
from yolov4sdk.models.darknet import DarknetModel, import_darknet
from yolov4sdk.models.darknet.graph import load_graph
from yolov4sdk.models.darknet.weights import value_count

HEAD = "[convolutional]\nfilters=7\nactivation=linear\n[yolo]\nnum=1\nanchors=9,7\nclasses=2\n"
NET = "[net]\nwidth=24\nheight=16\n"
IMAGES = torch.rand(2, 3, 16, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def last_map(tmp_path: Path, sections: str, values: np.ndarray) -> torch.Tensor:
    """The output of the last of some sections, with given weights; the head gets zeros."""
    graph = load_graph(NET + sections + HEAD)
    count = value_count(graph.convolutions)
    data = np.zeros(count, "<f4")
    data[: len(values)] = values
    (tmp_path / "x.cfg").write_text(NET + sections + HEAD)
    header = np.array([0, 2, 5, 0, 0], "<i4")
    (tmp_path / "x.weights").write_bytes(header.tobytes() + data.tobytes())
    model = import_darknet(tmp_path / "x.cfg", tmp_path / "x.weights")
    assert isinstance(model, DarknetModel)
    found: list[torch.Tensor] = []
    model.model[len(graph.layers) - 3].register_forward_hook(lambda m, i, o: found.append(o))
    with torch.no_grad():
        model.double().raw(IMAGES)
    return found[0]


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.2, 1.2, shape).astype(np.float32) - np.float32(0.4)


ACTIVATIONS = {
    "linear": lambda x: x,
    "leaky": lambda x: torch.where(x > 0, x, 0.1 * x),
    "mish": lambda x: x * torch.tanh(torch.log1p(torch.exp(x))),
    "swish": lambda x: x / (1 + torch.exp(-x)),
    "logistic": lambda x: 1 / (1 + torch.exp(-x)),
    "relu": lambda x: x.clamp(min=0),
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_convolution_with_bias(tmp_path: Path, activation: str) -> None:
    bias, weight = numbers(4), numbers(4, 3, 3, 3, seed=1)
    text = f"[convolutional]\nfilters=4\nsize=3\npad=1\nactivation={activation}\n"
    out = last_map(tmp_path, text, np.concatenate([bias, weight.ravel()]))
    plain = F.conv2d(IMAGES, torch.tensor(weight).double(), torch.tensor(bias).double(), padding=1)
    assert torch.allclose(out, ACTIVATIONS[activation](plain), rtol=0, atol=1e-12)


def test_convolution_with_batch_norm_groups_and_stride(tmp_path: Path) -> None:
    first = np.concatenate([np.zeros(4), numbers(4 * 3)]).astype(np.float32)
    beta, gamma, mean = (numbers(6, seed=s) for s in range(3))
    variance = np.array([0, 1e-7, 1e-4, 0.5, 1, 2], np.float32)
    weight = numbers(6, 2, 3, 3, seed=4)
    text = (
        "[convolutional]\nfilters=4\nactivation=linear\n[convolutional]\nbatch_normalize=1\n"
        "filters=6\nsize=3\nstride=2\npad=1\ngroups=2\nactivation=linear\n"
    )
    values = np.concatenate([first, beta, gamma, mean, variance, weight.ravel()])
    out = last_map(tmp_path, text, values)
    x = F.conv2d(IMAGES, torch.tensor(first[4:]).double().view(4, 3, 1, 1))
    x = F.conv2d(x, torch.tensor(weight).double(), padding=1, stride=2, groups=2)
    column = [torch.tensor(v).double().view(-1, 1, 1) for v in (beta, gamma, mean, variance)]
    expected = (x - column[2]) / (column[3] + 1e-6).sqrt() * column[1] + column[0]
    assert torch.allclose(out, expected, rtol=1e-9, atol=1e-9)


def darknet_maxpool(x: torch.Tensor, size: int, stride: int, padding: int) -> torch.Tensor:
    """Cell by cell, as Darknet counts: windows start at -padding // 2, outside is nothing."""
    height, width = ((side + padding - size) // stride + 1 for side in x.shape[2:])
    out = torch.full((*x.shape[:2], height, width), -torch.inf, dtype=x.dtype)
    for i in range(height):
        for j in range(width):
            top, left = i * stride - padding // 2, j * stride - padding // 2
            window = x[:, :, max(top, 0) : top + size, max(left, 0) : left + size]
            out[:, :, i, j] = window.amax((2, 3))
    return out


@pytest.mark.parametrize(
    "keys, size, stride, padding",
    [
        ("size=5\nstride=1", 5, 1, 4),
        ("size=13\nstride=1", 13, 1, 12),
        ("size=2\nstride=2", 2, 2, 1),
        ("stride=4", 4, 4, 3),
        ("size=2\nstride=1", 2, 1, 1),
        ("size=3\nstride=2", 3, 2, 2),
        ("size=3\nstride=2\npadding=1", 3, 2, 1),
        ("size=2\nstride=2\npadding=0", 2, 2, 0),
    ],
)
def test_maxpool(tmp_path: Path, keys: str, size: int, stride: int, padding: int) -> None:
    text = f"[maxpool]\n{keys}\n"
    out = last_map(tmp_path, text, np.zeros(0))
    assert torch.equal(out, darknet_maxpool(IMAGES, size, stride, padding))


def test_route_shortcut_and_upsample(tmp_path: Path) -> None:
    identity = np.zeros((4, 3, 1, 1), np.float32)
    for out_channel, in_channel in enumerate((2, 1, 0, 2)):
        identity[out_channel, in_channel] = 1
    values = np.concatenate([np.zeros(4, np.float32), identity.ravel()])
    text = "[convolutional]\nfilters=4\nactivation=linear\n"
    whole = IMAGES[:, [2, 1, 0, 2]]
    half = last_map(tmp_path, text + "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n", values)
    assert torch.equal(half, whole[:, 2:])
    both = text + "[maxpool]\nsize=1\n[route]\nlayers=-1,0\ngroups=2\ngroup_id=1\n"
    assert torch.equal(last_map(tmp_path, both, values), whole[:, [2, 3, 2, 3]])
    added = last_map(tmp_path, text + "[maxpool]\nsize=1\n[shortcut]\nfrom=-2\n", values)
    assert torch.equal(added, 2 * whole)
    activated = text + "[maxpool]\nsize=1\n[shortcut]\nfrom=0\nactivation=logistic\n"
    assert torch.allclose(last_map(tmp_path, activated, values), torch.sigmoid(2 * whole))
    halved = text + "[maxpool]\nstride=2\n" + HEAD + "[route]\nlayers=1\n"
    up = last_map(tmp_path, halved + "[upsample]\nstride=2\n", values)
    small = F.max_pool2d(whole, 2)
    assert torch.equal(up, small.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_heads_of_different_anchors_and_both_decodings() -> None:
    body = "[convolutional]\nfilters=3\nsize=3\nstride=2\npad=1\nactivation=mish\n"
    for new_coords, scale, activation in ((0, 1.1, "linear"), (1, 1.5, "logistic")):
        heads = [
            f"[convolutional]\nfilters={7 * n}\nactivation={activation}\n[yolo]\nmask={mask}\n"
            f"anchors=9,7,5,3,20,30\nnum=3\nclasses=2\nscale_x_y={scale}\nnew_coords={new_coords}\n"
            for n, mask in ((2, "2,0"), (1, "1"))
        ]
        text = NET + body + heads[0] + "[route]\nlayers=0\n" + body + heads[1]
        model = DarknetModel(load_graph(text)).double().eval()
        assert model.spec.anchors == (((20, 30), (9, 7)), ((5, 3),))
        with torch.no_grad():
            maps = model.raw(IMAGES)
            boxes, objectness, classes = model.detect.decode(maps)
        assert [tuple(m.shape[1:]) for m in maps] == [(2, 8, 12, 7), (1, 4, 6, 7)]
        row = 8 * 12 + 3 * 12 + 5  # anchor 1, row 3, column 5 of the first head
        x = maps[0][:, 1, 3, 5]
        s = 1 / (1 + torch.exp(-x))
        centre = (s[:, :2] * scale - (scale - 1) / 2 + torch.tensor([5, 3])) * 2
        size = torch.tensor([9.0, 7.0]) * ((2 * s[:, 2:4]) ** 2 if new_coords else x[:, 2:4].exp())
        assert torch.allclose(boxes[:, row], torch.cat((centre, size), 1))
        assert torch.allclose(objectness[:, row], s[:, 4:5])
        assert torch.allclose(classes[:, row], s[:, 5:])
        with torch.no_grad():
            for one, other in zip(model(IMAGES), fold(model)(IMAGES), strict=True):
                assert torch.allclose(one, other, atol=1e-9)
