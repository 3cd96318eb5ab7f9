"""Engines built by TensorRT-RTX, which needs no GPU for it."""

from __future__ import annotations

import logging
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from torch import nn

from export.half_onnx import convert_onnx
from export.onnx_export import write_onnx
from export.options import ExportOptions
from yolov4sdk.contract.onnx_header import read_onnx_spec
from yolov4sdk.contract.spec import METADATA_KEY
from yolov4sdk.errors import DeviceError, ExportError, ForeignFileError, SettingError
from yolov4sdk.models import build_model
from yolov4sdk.system.cuda_driver import gpus
from yolov4sdk.tensorrt.build import Built, build_engine, require_space
from yolov4sdk.tensorrt.flavour import FLAVOURS
from yolov4sdk.tensorrt.layers import kernels
from yolov4sdk.tensorrt.options import EngineOptions

from .conftest import RTX, Graph, needs_no_gpu, needs_rtx, small

pytestmark = needs_rtx
CARDS = ("7.5", "8.6", "8.9", "12.0")
MODELS = ("yolov4-csp", "yolov4-p5", "yolov4-p6", "yolov4-p7")


def build(path: Path, **options: object) -> Built:
    return build_engine(path, read_onnx_spec(path), RTX, EngineOptions(**options))  # type: ignore[arg-type]


def convolution_count(path: Path) -> int:
    return sum(node.op_type == "Conv" for node in onnx.load(path).graph.node)


@pytest.mark.parametrize("precision", [pytest.param("fp32", marks=pytest.mark.slow), "fp16"])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in ("yolov4-p5", "yolov4-p6") else name
        for name in MODELS
    ],
)
def test_all_models_for_all_cards(graph: Graph, name: str, precision: str) -> None:
    path = graph(name) if precision == "fp32" else graph(name, precision=precision)
    built = build(path, compute_capability=CARDS)
    assert built.convolutions == {precision: convolution_count(path)}
    assert built.capabilities == CARDS and built.engine.startswith(RTX.magic)
    assert 0 < kernels(built.layers) < len(onnx.load(path).graph.node)


@pytest.mark.parametrize("card", CARDS)
def test_each_card_alone(graph: Graph, card: str) -> None:
    built = build(graph(precision="fp16"), compute_capability=(card,))
    assert built.capabilities == (card,) and set(built.convolutions) == {"fp16"}


@pytest.mark.parametrize(
    "options",
    [
        {"uint8": True, "precision": "fp16"},
        {"topk": 20, "precision": "fp16"},
        {"batch": None, "dynamic": True, "precision": "fp16"},
        {"batch": None, "dynamic": True, "topk": 3840},
    ],
    ids=str,
)
def test_every_form_of_graph(graph: Graph, options: dict[str, object]) -> None:
    built = build(graph(**options))
    assert built.capabilities == ("8.0+",)
    assert set(built.convolutions) == {options.get("precision", "fp32")}


def test_bf16(graph: Graph, tmp_path: Path) -> None:
    spec = convert_onnx(graph(), tmp_path / "x.onnx", "bf16")
    assert spec.precision == "bf16"
    assert set(build(tmp_path / "x.onnx").convolutions) == {"bf16"}


def test_profile(graph: Graph) -> None:
    path = graph(batch=None, dynamic=True, precision="fp16")
    usual = build(path).profile
    assert (usual.batch, usual.size) == ((1, 1, 8), ((32, 32), (64, 64), (64, 64)))
    sizes = ((32, 64), (64, 64), (96, 128))
    built = build(path, batch_profile=(1, 2, 4), size_profile=sizes)
    assert (built.profile.batch, built.profile.size) == ((1, 2, 4), sizes)
    fixed = graph(precision="fp16")
    for options, message in (
        ({"batch_profile": (1, 2, 4)}, "takes batches of exactly 1.*--batch dynamic"),
        ({"size_profile": sizes}, r"takes \(64, 64\).*--dynamic"),
    ):
        with pytest.raises(SettingError, match=message):
            build(fixed, **options)


@pytest.mark.parametrize("name", ["yolov4-csp"])
def test_mish_is_fused_as_silu_is(graph: Graph, name: str, tmp_path: Path) -> None:
    """As many kernels as with the cheapest activation there is, and none of a lone Mish."""
    mish = build(graph(name, precision="fp16"), compute_capability=("8.9",))
    model = small(name)
    for module in list(model.modules()):
        for key, child in module.named_children():
            if isinstance(child, nn.Mish):
                setattr(module, key, nn.SiLU())
    options = ExportOptions()
    write_onnx(model, tmp_path / "f.onnx", options, options.artefact_spec(model.spec, "test"))
    convert_onnx(tmp_path / "f.onnx", tmp_path / "silu.onnx", "fp16")
    silu = build(tmp_path / "silu.onnx", compute_capability=("8.9",))
    assert kernels(mish.layers) == kernels(silu.layers)
    fused = [layer for layer in mish.layers if "CorrSigm" in layer.name]
    assert len(fused) > 0.5 * sum(mish.convolutions.values())
    # Mish as its definition says is what does not fuse: the comparison can tell.
    options = ExportOptions(precision="fp16")
    spec = options.artefact_spec(model.spec, "test")
    write_onnx(small(name), tmp_path / "plain.onnx", options, spec, mish="softplus")
    plain = build(tmp_path / "plain.onnx", compute_capability=("8.9",))
    assert kernels(plain.layers) > 1.2 * kernels(mish.layers)


def test_engine_of_another_precision_is_refused(graph: Graph) -> None:
    """The graph says float32, half was asked for: TensorRT builds it, the inspection does not."""
    path = graph()
    asked = read_onnx_spec(path).replace(precision="fp16")
    with pytest.raises(ExportError, match=r"not what was asked for: of 8 convolutions 8 in fp32"):
        build_engine(path, asked, RTX, EngineOptions())


def with_node(path: Path, target: Path, operator: str) -> Path:
    """A copy of a graph whose boxes pass through one more node."""
    model = onnx.load(path)
    boxes = next(o for o in model.graph.output if o.name == "boxes")
    for node in model.graph.node:
        for i, name in enumerate(node.output):
            if name == "boxes":
                node.output[i] = "before"
    model.graph.node.append(helper.make_node(operator, ["before"], ["boxes"], name="the_odd_one"))
    assert boxes.type.tensor_type.elem_type == TensorProto.FLOAT
    onnx.save(model, target)
    return target


def test_unsupported_operator_is_named(graph: Graph, tmp_path: Path) -> None:
    path = with_node(graph(), tmp_path / "odd.onnx", "Det")
    with pytest.raises(ExportError, match=r"cannot import odd\.onnx: Det \(node the_odd_one\)"):
        build(path)


def test_nms_inside_the_graph_is_refused(graph: Graph) -> None:
    with pytest.raises(ExportError, match=r"NonMaxSuppression \(node .*--topk K with K <= 3840"):
        build(graph(nms=True))


def test_bad_files(tmp_path: Path, graph: Graph) -> None:
    spec = read_onnx_spec(graph())
    whole = graph().read_bytes()
    for name, data in (("text", b"hello"), ("half", whole[: len(whole) // 2])):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(data)
        with pytest.raises(ForeignFileError, match="is not an ONNX file"):
            build_engine(path, spec, RTX)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compute_capability": ("9.0",)}, r"builds for compute capability 7\.5.*not for 9\.0"),
        ({"compute_capability": ("89",)}, 'written as "8.9"'),
        ({"timing_cache": Path("x")}, "has no timing cache"),
        ({"hardware_compatible": True}, "has no hardware compatible"),
        ({"version_compatible": True}, "has no version compatible"),
        ({"workspace": 0}, "positive integer"),
        ({"batch_profile": (4, 2, 8)}, "in this order"),
        ({"batch_profile": (1, 2)}, "three entries"),
    ],
    ids=str,
)
def test_wrong_options(graph: Graph, options: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        build(graph(batch=None, dynamic=True, precision="fp16"), **options)


@needs_no_gpu
def test_what_needs_a_gpu(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingError, match="stripped and refittable engines on a machine with a G"):
        build(graph(), strip=True)
    trt = FLAVOURS["trt"]
    monkeypatch.setattr(type(trt), "load", RTX.__class__.load.__get__(RTX))  # stands in for it
    with pytest.raises(DeviceError, match="Building with TensorRT needs an NVIDIA GPU: no CUDA"):
        build_engine(graph(), read_onnx_spec(graph()), trt)


def test_too_little_workspace(tmp_path: Path, graph: Graph) -> None:
    path = graph("yolov4-csp", precision="fp16")
    log = tmp_path / "build.log"
    with pytest.raises(ExportError, match=r"cannot build .*workspace"):
        build(path, workspace=1, build_log=log)
    text = log.read_text()
    assert "ERROR: " in text and "VERBOSE: " in text


def test_no_room(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"MB free, the engine needs about .*-o"):
        require_space(tmp_path, 1 << 60)


def test_progress_and_interrupt(graph: Graph) -> None:
    path, seen = graph(), []
    spec = read_onnx_spec(path)
    build_engine(path, spec, RTX, None, lambda *step: seen.append(step))
    assert any(done == total for _, done, total in seen) and len({s[0] for s in seen}) > 1

    def impatient(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_engine(path, spec, RTX, None, impatient)
    build_engine(path, spec, RTX)  # the library is still usable


def test_the_log_is_quiet(graph: Graph, caplog, capfd) -> None:
    with caplog.at_level(logging.DEBUG):
        build(graph())
    assert not caplog.records and capfd.readouterr().out == ""


@pytest.mark.parametrize("precision", ["fp16", pytest.param("fp32", marks=pytest.mark.slow)])
def test_full_size(tmp_path: Path, precision: str) -> None:
    """YOLOv4-CSP as it is, at 640 px: memory and kernels; benchmarks/engine_build.py times it."""
    model = build_model("yolov4-csp").eval()
    options = ExportOptions(precision=precision)
    spec = options.artefact_spec(model.spec, "test")
    write_onnx(model, tmp_path / "csp.onnx", options, spec)
    for card in CARDS:
        built = build(tmp_path / "csp.onnx", compute_capability=(card,))
        assert built.convolutions == {precision: convolution_count(tmp_path / "csp.onnx")}
        assert kernels(built.layers) < 160


def test_spec_is_the_files(graph: Graph) -> None:
    assert METADATA_KEY in {p.key for p in onnx.load(graph(precision="fp16")).metadata_props}
    assert not gpus() or gpus()[0].name
