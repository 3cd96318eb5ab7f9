"""The backends: same answers, clear errors, threads, and memory that comes back."""

from __future__ import annotations

import gc
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from yolov4sdk import Detector, errors
from yolov4sdk.backends import TABLE, load_backend
from yolov4sdk.backends.base import replicas
from yolov4sdk.measure.verify import box_error
from yolov4sdk.system.openvino_runtime import openvino_core

BACKENDS = [name for name in TABLE if not name.startswith("trt")]  # those need a GPU


def batch(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, np.float32)


@pytest.mark.parametrize("shape", [(1, 3, 160, 160), (3, 3, 64, 96), (2, 3, 32, 320)])
def test_all_backends_agree(shape: tuple[int, ...], tiny_artefacts: dict[str, Path]) -> None:
    images = batch(*shape)
    results = []
    for name, path in tiny_artefacts.items():
        with load_backend(path) as backend:
            assert (backend.name, backend.device, backend.precision) == (name, "cpu", "fp32")
            results.append(backend.infer(images))
    first = results[0]
    cells = 3 * shape[2] * shape[3] * (1 / 64 + 1 / 256 + 1 / 1024)
    assert first.boxes.shape == (shape[0], cells, 4) and first.scores.shape == (shape[0], cells, 3)
    for other in results[1:]:
        assert other.boxes.dtype == other.scores.dtype == np.float32 and other.class_ids is None
        assert box_error(first.boxes, other.boxes).max() < 1e-3
        np.testing.assert_allclose(other.scores, first.scores, atol=1e-4)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(("threads", "expected"), [(3, 3), (10, 8)])
def test_replicas(name: str, threads: int, expected: int, tiny_artefacts: dict[str, Path]) -> None:
    many = [batch(1, 3, 64, 96, seed=seed) for seed in range(8)]
    with load_backend(tiny_artefacts[name], threads=threads) as backend:
        side_by_side, count = replicas(backend)
        assert count == expected and side_by_side is not backend
        assert replicas(backend)[0] is side_by_side  # loaded once
        with ThreadPoolExecutor(count) as pool:
            found = list(pool.map(side_by_side.infer, many))
        for images, outputs in zip(many, found, strict=True):
            assert box_error(backend.infer(images).boxes, outputs.boxes).max() < 1e-5
    with pytest.raises(errors.BackendError, match="closed"):
        side_by_side.infer(many[0])
    with load_backend(tiny_artefacts[name], threads=1) as backend:
        assert replicas(backend) == (backend, 1)


def test_a_batch_is_divided(tiny_artefacts: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(tiny_artefacts["onnxruntime"].read_bytes())
    images = batch(5, 3, 64, 96)
    with load_backend(path, threads=1) as whole, load_backend(path, threads=3) as divided:
        expected, found = whole.infer(images), divided.infer(images)
        assert box_error(expected.boxes, found.boxes).max() < 1e-5
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    with load_backend(path, threads=3) as backend:
        path.unlink()  # no second copy can be loaded: the first does it all
        assert backend.infer(images).boxes.shape == expected.boxes.shape


def test_openvino_reads_onnx_too(tiny_artefacts: dict[str, Path]) -> None:
    images = batch(1, 3, 64, 64)
    with (
        load_backend(tiny_artefacts["onnxruntime"], "openvino") as one,
        load_backend(tiny_artefacts["openvino"]) as other,
    ):
        # The provenance holds each file's own figures of its check.
        assert one.name == "openvino" and one.spec.contract == other.spec.contract
        assert one.spec.replace(provenance={}) == other.spec.replace(provenance={})
        assert box_error(one.infer(images).boxes, other.infer(images).boxes).max() < 1e-3


@pytest.mark.parametrize("name", BACKENDS)
def test_wrong_batches(name: str, tiny_artefacts: dict[str, Path]) -> None:
    with load_backend(tiny_artefacts[name]) as backend:
        for bad, message in (
            (batch(1, 3, 64, 64).astype(np.float64), "got float64"),
            (batch(3, 64, 64), r"got float32 \(3, 64, 64\)"),
            (batch(1, 64, 64, 3), r"expected a batch of float32 RGB \[B, 3, H, W\]"),
            (batch(0, 3, 64, 64), r"\(0, 3, 64, 64\)"),
            ([[1.0]], "got list"),
        ):
            with pytest.raises(errors.TensorError, match=message):
                backend.infer(bad)
        with pytest.raises(errors.InputSizeError, match="multiples of 32"):
            backend.infer(batch(1, 3, 64, 100))
        assert backend.infer(batch(1, 3, 32, 32)).boxes.shape == (1, 63, 4)  # still usable
    with pytest.raises(errors.BackendError, match="closed"):
        backend.infer(batch(1, 3, 32, 32))
    backend.close()  # twice does no harm


def test_fixed_graph(tiny_fixed: Path) -> None:
    with load_backend(tiny_fixed) as backend:
        assert backend.infer(batch(2, 3, 96, 160)).boxes.shape[0] == 2
        with pytest.raises(errors.TensorError, match=r"exactly 2, got 1.*--batch dynamic"):
            backend.infer(batch(1, 3, 96, 160))
        with pytest.raises(errors.InputSizeError, match=r"takes \(96, 160\).*--dynamic"):
            backend.infer(batch(2, 3, 160, 160))


def test_wrong_choices(tiny_artefacts: dict[str, Path], tmp_path: Path) -> None:
    onnx, native = tiny_artefacts["onnxruntime"], tiny_artefacts["torch"]
    official = tmp_path / "yolov4-p5.pt"
    official.write_bytes(b"x")
    odd = tmp_path / "model.bin"
    odd.write_bytes(b"x")
    for arguments, kind, message in (
        ((onnx, "tensorflow"), errors.SettingError, "torch, onnxruntime, openvino"),
        ((onnx, "torch"), errors.SettingError, r"torch does not read \.onnx"),
        ((official,), errors.ForeignFileError, r"yolov4sdk import yolov4-p5\.pt -o yolov4-p5\.saf"),
        ((odd,), errors.ForeignFileError, r"no backend reads '\.bin'"),
        ((tmp_path / "none.onnx",), errors.ArtefactNotFoundError, "no model file at"),
        ((onnx, None, "cpu", "fp16"), errors.SettingError, "offers the precisions fp32"),
        ((native, None, "cpu", "int4"), errors.SettingError, "fp32, bf16, fp16"),
        ((onnx, None, "tpu"), errors.DeviceError, "cuda"),
        ((native, None, "abacus"), errors.DeviceError, "abacus"),
        ((onnx, "openvino", "npu"), errors.DeviceError, "there are cpu"),
    ):
        with pytest.raises(kind, match=message):
            load_backend(*arguments)


def test_no_silent_fallback_from_cuda(tiny_artefacts: dict[str, Path]) -> None:
    import onnxruntime
    import torch

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(errors.DeviceError, match=r"yolov4sdk\[gpu\]"):
            load_backend(tiny_artefacts["onnxruntime"], device="cuda")
    if not torch.cuda.is_available():
        with pytest.raises(errors.DeviceError, match="sees 0 CUDA devices"):
            load_backend(tiny_artefacts["torch"], device="cuda")


def test_a_provider_that_was_not_used_is_told(tiny_artefacts, monkeypatch) -> None:
    """ONNX Runtime falls back to the CPU without a word; here that is an error."""
    import onnxruntime

    real = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda path, options, providers: real(path, options, providers=["CPUExecutionProvider"]),
    )
    with pytest.raises(errors.DeviceError, match="uses CPUExecutionProvider"):
        load_backend(tiny_artefacts["onnxruntime"], device="cuda")
    with pytest.warns(RuntimeWarning, match="uses CPUExecutionProvider"):
        backend = load_backend(tiny_artefacts["onnxruntime"], device="auto")
    assert backend.device == "cpu"


def test_damaged_files(tiny_artefacts: dict[str, Path], tmp_path: Path) -> None:
    good = tiny_artefacts["onnxruntime"].read_bytes()
    for name, data, kind in (
        ("empty.onnx", b"", errors.EmptyFileError),
        ("cut.onnx", good[:-50], errors.TruncatedFileError),
        ("half.onnx", good[: len(good) // 2], errors.TruncatedFileError),
        ("text.onnx", b"this is no model", errors.ArtefactError),
        ("text.xml", b"<html></html>", errors.YOLOv4Error),
    ):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(kind):
            load_backend(path)


def test_graph_without_spec(tiny_artefacts: dict[str, Path], tmp_path: Path) -> None:
    import onnx

    model = onnx.load(tiny_artefacts["onnxruntime"])
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(errors.SpecError, match="holds no ModelSpec"):
        load_backend(tmp_path / "bare.onnx")


def test_bf16(tiny_artefacts: dict[str, Path]) -> None:
    """torch computes it everywhere; OpenVINO where the processor can, else it says so."""
    images = batch(1, 3, 64, 64)
    with load_backend(tiny_artefacts["torch"]) as exact:
        expected = exact.infer(images)
    with load_backend(tiny_artefacts["torch"], precision="bf16") as rough:
        assert rough.precision == "bf16"
        assert np.abs(rough.infer(images).scores - expected.scores).mean() < 0.05
    with openvino_core() as core:
        capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "BF16" in capabilities:
        with load_backend(tiny_artefacts["openvino"], precision="bf16") as rough:
            assert np.abs(rough.infer(images).scores - expected.scores).mean() < 0.05
    else:
        with pytest.raises(errors.DeviceError, match="no bf16 arithmetic"):
            load_backend(tiny_artefacts["openvino"], precision="bf16")


def test_bf16_keeps_exact_anchors(tiny_artefacts: dict[str, Path]) -> None:
    from yolov4sdk.backends.torch_backend import TorchBackend

    with load_backend(tiny_artefacts["torch"], precision="bf16") as backend:
        assert isinstance(backend, TorchBackend) and backend._model is not None
        grid = backend._model.detect.anchor_grid.reshape(3, 3, 2)
        assert grid.tolist() == [[list(pair) for pair in level] for level in backend.spec.anchors]


@pytest.mark.parametrize("name", BACKENDS)
def test_eight_threads_equal_one(name: str, tiny_artefacts: dict[str, Path]) -> None:
    """200 images of mixed sizes on one Detector: bit for bit the serial results."""
    rng = np.random.default_rng(7)
    images = [rng.integers(0, 256, (*rng.integers(20, 300, 2), 3), np.uint8) for _ in range(200)]
    with Detector(tiny_artefacts[name], size=96, conf=0.5) as detector:
        serial = [detector(image) for image in images]
        with ThreadPoolExecutor(8) as pool:
            threaded = list(pool.map(detector, images))
    assert sum(map(len, serial)) > 200
    assert threaded == serial


@pytest.mark.parametrize("name", BACKENDS)
def test_memory_comes_back(name: str, micro_artefacts: dict[str, Path]) -> None:
    """A hundred open and close cycles end where the first ones did."""
    process, images = psutil.Process(), batch(1, 3, 64, 64)

    def cycle(times: int) -> float:
        for _ in range(times):
            with load_backend(micro_artefacts[name]) as backend:
                backend.infer(images)
        gc.collect()
        return process.memory_info().rss / 2**20

    warm = cycle(25)  # allocators and caches fill at first
    assert cycle(100) - warm < 10
    assert len(process.threads()) < 64 and process.num_fds() < 256


def test_missing_runtimes_are_named(tiny_artefacts, monkeypatch) -> None:
    for name, module, extra in (
        ("onnxruntime", "onnxruntime", "cpu"),
        ("openvino", "openvino", "openvino"),
    ):
        monkeypatch.delitem(sys.modules, f"yolov4sdk.backends.{name}_backend", raising=False)
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(errors.MissingExtraError, match=rf"yolov4sdk\[{extra}\]"):
            load_backend(tiny_artefacts[name])


def test_two_onnxruntimes_are_told(tiny_artefacts, tmp_path: Path, monkeypatch) -> None:
    """A second package beside the real one, as pip leaves it."""
    import onnxruntime

    for name in ("onnxruntime-1.23.0.dist-info", "onnxruntime_gpu-1.23.0.dist-info"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(onnxruntime, "__file__", str(tmp_path / "onnxruntime" / "__init__.py"))
    with pytest.raises(
        errors.BackendError, match="onnxruntime and onnxruntime-gpu are installed o"
    ):
        load_backend(tiny_artefacts["onnxruntime"])


def test_tensorrt_provider_wants_its_own_version(tiny_artefacts, monkeypatch) -> None:
    import onnxruntime

    with pytest.raises(errors.DeviceError, match="no TensorrtExecutionProvider"):
        load_backend(tiny_artefacts["onnxruntime"], device="tensorrt")
    offered = ["TensorrtExecutionProvider", "CUDAExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    with pytest.raises(errors.DeviceError, match=r"needs libnvinfer\.so\.10 \(TensorRT 10\)"):
        load_backend(tiny_artefacts["onnxruntime"], device="tensorrt")
