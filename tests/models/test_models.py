"""All models: exact sizes, finite outputs, a gradient for every parameter, exact folding."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from yolov4sdk import errors
from yolov4sdk.models import BUILT_IN, Model, build_model, fold
from yolov4sdk.models.summary import summary

# Of the published networks: parameters at 80 classes, GFLOPs at the model's size, strides.
TABLE = {
    "yolov4-csp-n": (2_396_373, 5.6, [8, 16, 32]),
    "yolov4-csp-s": (9_329_581, 21.2, [8, 16, 32]),
    "yolov4-csp-m": (24_676_485, 53.9, [8, 16, 32]),
    "yolov4-csp": (52_924_765, 120.2, [8, 16, 32]),
    "yolov4-p5": (70_834_012, 326.6, [8, 16, 32]),
    "yolov4-p6": (127_590_576, 717.0, [8, 16, 32, 64]),
    "yolov4-p7": (287_575_580, 1636.7, [8, 16, 32, 64, 128]),
}


@pytest.mark.parametrize("name", BUILT_IN)
def test_exact_sizes(name: str) -> None:
    row = summary(name)
    parameters, gflops, strides = TABLE[name]
    assert (row["parameters"], row["strides"]) == (parameters, strides)
    assert row["gflops"] == pytest.approx(gflops, abs=0.051)


def small(name: str, nc: int = 3) -> Model:
    """The same layers at an eighth of the width and a fifth of the depth."""
    import yaml

    from yolov4sdk.models.definition import FOLDER

    data = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    torch.manual_seed(0)
    return build_model(data | {"depth_multiple": 0.2, "width_multiple": 0.125, "nc": nc})


def randomise_bn(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)


@pytest.mark.parametrize("nc", [1, 3])
@pytest.mark.parametrize("name", ["yolov4-csp", "yolov4-p5", "yolov4-p6", "yolov4-p7"])
def test_forward_backward_and_fold(name: str, nc: int) -> None:
    model = small(name, nc)
    stride = model.spec.max_stride
    images = torch.rand(2, 3, 2 * stride, 3 * stride)
    maps = model.train()(images)
    for raw, s in zip(maps, model.spec.strides, strict=True):
        assert raw.shape == (2, model.detect.na, 2 * stride // s, 3 * stride // s, 5 + nc)
        assert raw.isfinite().all()
    sum(raw.square().mean() for raw in maps).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key

    randomise_bn(model)
    model = model.double().eval()
    folded = fold(model)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    with torch.no_grad():
        for a, b in zip(model(images.double()), folded(images.double()), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-9)
    boxes, scores = folded(images.double())
    cells = sum((2 * stride // s) * (3 * stride // s) for s in model.spec.strides)
    assert boxes.shape == (2, cells * model.detect.na, 4) and scores.shape[2] == nc
    assert 0 <= scores.min() <= scores.max() <= 1


def test_folding_leaves_the_model_alone() -> None:
    model = small("yolov4-csp").train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    fold(model)
    assert model.training and model.state_dict().keys() == before.keys()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_batch_norm_settings_and_activation() -> None:
    model = small("yolov4-csp")
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(m.eps, m.momentum) for m in norms} == {(1e-3, 0.03)}
    assert {type(m) for m in model.modules() if "act" in type(m).__module__} == {nn.Mish}


def test_head_starts_from_its_prior() -> None:
    import math

    detect = small("yolov4-csp", nc=3).detect
    for conv, stride in zip(detect.m, detect.strides, strict=True):
        fresh = nn.Conv2d(conv.in_channels, conv.out_channels, 1)
        bound = 1 / math.sqrt(conv.in_channels)
        bias = conv.bias.detach().view(detect.na, detect.no)
        assert fresh.bias.abs().max() <= bound  # the default initialisation, added to
        assert (bias[:, :4].abs() <= bound).all()
        objectness = math.log(8 / (640 / stride) ** 2)
        assert ((bias[:, 4] - objectness).abs() <= bound + 1e-6).all()
        assert ((bias[:, 5:] - math.log(0.6 / (3 - 0.99))).abs() <= bound + 1e-6).all()


def test_wrong_input_size() -> None:
    with pytest.raises(errors.InputSizeError, match=r"multiples of 64.*\(64, 128\)"):
        small("yolov4-p6").eval()(torch.zeros(1, 3, 64, 100))


def test_decoding_by_hand() -> None:
    """Two cells of one level, computed from `decode`'s formula in plain Python."""
    from math import exp

    model = small("yolov4-csp", nc=1)
    raw = [torch.full((1, 3, n, n, 6), -1.0) for n in (8, 4, 2)]
    raw[1][0, 2, 3, 1] = torch.tensor([0.3, -0.7, 0.5, 1.5, 2.0, -2.0])
    boxes, objectness, classes = model.detect.decode(raw)
    row = 3 * 64 + 2 * 16 + 3 * 4 + 1  # level, anchor, row, column

    def s(v: float) -> float:
        return 1 / (1 + exp(-v))

    anchor_w, anchor_h = model.spec.anchors[1][2]
    expected = [
        (2 * s(0.3) - 0.5 + 1) * 16,
        (2 * s(-0.7) - 0.5 + 3) * 16,
        (2 * s(0.5)) ** 2 * anchor_w,
        (2 * s(1.5)) ** 2 * anchor_h,
    ]
    torch.testing.assert_close(boxes[0, row], torch.tensor(expected))
    torch.testing.assert_close(objectness[0, row, 0].item(), s(2.0))
    torch.testing.assert_close(classes[0, row, 0].item(), s(-2.0))
