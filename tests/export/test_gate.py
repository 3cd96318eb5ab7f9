"""The check of an export: right files of any network pass, every wrong one fails by far."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import export.check
import export.reference
from export import export_model
from export.check import Check, check_file
from export.options import ExportOptions
from export.reference import DOUBLE, REVERSED, DoubleMemory, GraphReference, TorchReference
from yolov4sdk.contract.onnx_header import read_onnx_spec
from yolov4sdk.errors import NonFiniteOutputError, VerificationError
from yolov4sdk.measure.tolerance import measured
from yolov4sdk.models import Model

from .conftest import Exporter, tiny


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # NumPy's
        yield


def excess(monkeypatch: pytest.MonkeyPatch, path: Path, source: Model) -> float:
    """How many times the allowed error a file has, by the worst of the figures."""
    found: list[Check] = []
    monkeypatch.setattr(export.check, "judge", lambda name, check, *_: found.append(check))
    spec = read_onnx_spec(path)
    check_file(path, TorchReference(source), ExportOptions(precision=spec.precision), spec)
    times = []
    for check in found:
        assert check.rounding is not None
        allowed = measured(spec.precision, check.rounding)
        times += [
            getattr(check.agreement, name) / getattr(allowed, name)
            for name in ("boxes_max", "boxes_mean", "scores_max")
        ]
    return max(times)


def swap(tensor: torch.Tensor, axis: int, first: int = 0, second: int = 2) -> None:
    order = list(range(tensor.shape[axis]))
    order[first], order[second] = second, first
    tensor.copy_(tensor.index_select(axis, torch.tensor(order)))


def red_and_blue(model: Model) -> None:
    swap(model.model[0].conv.weight, 1)


def channels_inside(model: Model) -> None:
    swap(model.model[4].conv.weight, 0)


def halves_of_a_concatenation(model: Model) -> None:
    weight = model.model[8].cv1.conv.weight
    weight.copy_(torch.cat(weight.chunk(2, dim=1)[::-1], dim=1))


def anchor(model: Model) -> None:
    model.detect.anchor_grid[0, 0, 1, 0, 0, 1] += 3


def anchors_swapped(model: Model) -> None:
    swap(model.detect.anchor_grid, 2, 0, 1)


def epsilon(model: Model) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0


def epsilon_of_darknet(model: Model) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-6


def classes_shifted(model: Model) -> None:
    no = model.detect.no
    for conv in model.detect.m:
        for parameter in conv.parameters():
            rows = parameter.view(model.detect.na, no, -1)
            rows[:, 5:] = rows[:, 5:].roll(1, dims=1)


def objectness_and_class(model: Model) -> None:
    for conv in model.detect.m:
        swap(conv.weight, 0, 4, 5)


def one_weight(model: Model) -> None:
    model.model[5].cv5.conv.weight[3, 7] += 0.01


def leaky(model: Model) -> None:
    model.model[2].act = nn.LeakyReLU(0.1)


def stride(model: Model) -> None:
    model.detect.strides = (4, 4)


FAULTS: list[Callable[[Model], None]] = [
    red_and_blue, channels_inside, halves_of_a_concatenation, anchor, anchors_swapped, epsilon,
    epsilon_of_darknet, classes_shifted, objectness_and_class, one_weight, leaky, stride,
]  # fmt: skip
FINE = {epsilon, epsilon_of_darknet, one_weight}
"""Below what half precision rounds."""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_wrong_files_fail_by_far(
    fault: Callable[[Model], None],
    precision: str,
    exporter: Exporter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if precision == "fp16" and fault in FINE:
        pytest.skip("smaller than the rounding of float16")
    path = exporter(precision=precision).path
    source = tiny()
    assert excess(monkeypatch, path, source) < 0.5  # the right file
    with torch.no_grad():
        fault(source)
    assert excess(monkeypatch, path, source) > (10 if precision == "fp32" else 2)


@torch.no_grad()
def restless(offset: float, gain: float) -> Model:
    """A network in which large numbers cancel, and a head that enlarges what is left of them."""
    model = tiny()
    for conv in model.detect.m:
        conv.weight *= gain
    inner = model.model[3].cv4.conv.out_channels
    model.model[3].cv4.bn.bias += offset
    for reader, weight in (
        (model.model[4], model.model[4].conv.weight),
        (model.model[8].cv1, model.model[8].cv1.conv.weight[:, -inner:]),
    ):
        reader.bn.running_mean += offset * weight.sum((1, 2, 3))
    return model


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_restless_networks_are_exported(precision: str, tmp_path: Path) -> None:
    result = export_model(
        restless(*((300.0, 30.0) if precision == "fp32" else (10.0, 1.0))),
        "onnx",
        tmp_path / "x.onnx",
        precision=precision,
    )
    (check,) = result.checks
    assert check.rounding is not None and check.against == DOUBLE
    assert check.rounding.scores_max > (1e-3 if precision == "fp32" else 0.03)
    assert 0.1 < check.agreement.scores_mean / check.rounding.scores_mean < 4


def test_both_figures_are_kept(exporter: Exporter) -> None:
    for engine, suffix in (("onnx", ".onnx"), ("openvino", ".xml")):
        pytest.importorskip(engine)
        result = exporter(engine)
        (check,) = result.checks
        own = check.rounding
        assert own is not None and result.path.suffix == suffix
        said = result.spec.provenance["check"]
        assert f"boxes {check.agreement.boxes_max:.2g}" in said
        assert f"against float64: boxes {own.boxes_max:.2g}, scores {own.scores_max:.2g}" in said
        assert result.to_dict()["checks"][0]["rounding"]["boxes_max"] == own.boxes_max
        from yolov4sdk.backends import load_backend

        with load_backend(result.path, device="cpu") as backend:
            assert backend.spec == result.spec
    import onnx

    onnx.checker.check_model(exporter().path)


def test_without_memory_for_float64(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = tiny()
    with DoubleMemory(model) as needed, torch.no_grad():
        model(torch.zeros(1, 3, 64, 64))
    # The largest convolution: 24 channels of 16 x 16 to 8 by 1 x 1; the maps of layers 2 to 8.
    assert 8 * 16 * 16 * 24 < needed.bytes < 8 * 200_000
    monkeypatch.setattr(export.reference, "available_memory", lambda: 1000)
    (check,) = export_model(tiny(), "onnx", tmp_path / "x.onnx").checks
    (exact,) = exporter().checks
    assert check.against == REVERSED and exact.rounding is not None and check.rounding is not None
    assert 0.1 < check.rounding.boxes_mean / exact.rounding.boxes_mean < 10
    source = tiny()
    with torch.no_grad():
        anchor(source)
    assert excess(monkeypatch, exporter().path, source) > 10


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_an_onnx_source_measures_itself(exporter: Exporter, precision: str) -> None:
    canvases = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), np.uint8)
    own = GraphReference(exporter().path).measure(canvases, precision)
    network = TorchReference(tiny()).measure(canvases, precision)
    assert own.against == REVERSED
    assert 0.2 < own.rounding.boxes_mean / network.rounding.boxes_mean < 5
    assert 0.2 < own.rounding.scores_mean / network.rounding.scores_mean < 5


def test_a_source_that_is_not_finite(exporter: Exporter, tmp_path: Path) -> None:
    target = tmp_path / "x.onnx"
    broken = tiny()
    broken.model[4].conv.weight.data[0] = 1e38
    with pytest.raises(NonFiniteOutputError, match=r"float32; they begin in layer model\.4\.conv"):
        export_model(broken, "onnx", target)
    loud = tiny()
    loud.model[3].cv4.bn.weight.data *= 1e3
    loud.model[4].bn.weight.data *= 1e3
    with pytest.raises(NonFiniteOutputError, match=r"half precision; .* layer model\.5\.cv1\.conv"):
        export_model(loud, "onnx", target, precision="fp16")
    assert not list(tmp_path.iterdir())
    import onnx

    graph = onnx.load(exporter().path)
    weight = next(w for w in graph.graph.initializer if len(w.dims) == 4)
    values = onnx.numpy_helper.to_array(weight).copy()
    values[0, 0] = np.inf
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(graph, tmp_path / "broken.onnx")
    canvases = np.zeros((1, 64, 64, 3), np.uint8)
    with pytest.raises(NonFiniteOutputError, match=r"they begin in operator .*\(Conv\)"):
        GraphReference(tmp_path / "broken.onnx").measure(canvases, "fp32")


def test_a_file_that_is_not_finite(exporter: Exporter, tmp_path: Path) -> None:
    import onnx

    graph = onnx.load(exporter().path)
    weight = next(w for w in graph.graph.initializer if len(w.dims) == 4)
    values = np.full(tuple(weight.dims), np.nan, np.float32)
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    path = tmp_path / "x.onnx"
    onnx.save(graph, path)
    with pytest.raises(VerificationError, match=r"boxes nan, allowed .*own rounding \(fp32"):
        check_file(path, TorchReference(tiny()), ExportOptions(), read_onnx_spec(path))
