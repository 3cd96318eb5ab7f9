"""What a CUDA device computes is what the processor computes; run with -m gpu."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from export import export_model
from tests.support.forms import raw
from tests.train.synthetic import StopAfter, quick, write_dataset
from train.groups import LossSettings
from train.loss import DetectionLoss
from train.main import resume
from train.main import train as start
from train.run import RunFolder
from yolov4sdk import Detector
from yolov4sdk.backends import gpu_letterbox, load_backend
from yolov4sdk.backends.device_memory import TABLE, device_memory
from yolov4sdk.errors import BackendError, MissingExtraError
from yolov4sdk.imaging.images import read_image
from yolov4sdk.imaging.preprocess import letterbox, letterbox_plan, to_input
from yolov4sdk.measure.tolerance import TOLERANCES, complaints
from yolov4sdk.measure.verify import box_error, compare_artefacts
from yolov4sdk.models import Model
from yolov4sdk.models.checkpoints import load_checkpoint, save_checkpoint

CUDA = torch.device("cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]


@pytest.fixture(scope="module")
def artefacts(tiny_model: Model, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tiny model as a checkpoint and as graphs of any shape and of one."""
    folder = tmp_path_factory.mktemp("cuda")
    files = {name: folder / f"{name}.onnx" for name in ("dynamic", "fixed")}
    export_model(tiny_model, "onnx", files["dynamic"], **raw(batch=None, dynamic=True))
    export_model(tiny_model, "onnx", files["fixed"], **raw())
    files["torch"] = folder / "model.safetensors"
    save_checkpoint(tiny_model, files["torch"])
    return files


@pytest.fixture(scope="module")
def photos(photos_dir: Path) -> list[Path]:
    return sorted(photos_dir.glob("*.jpg"))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_torch(artefacts: dict[str, Path], photos: list[Path], precision: str) -> None:
    model = artefacts["torch"]
    with (
        load_backend(model, device="cpu") as right,
        load_backend(model, device="cuda", precision=precision) as backend,
    ):
        assert backend.device == "cuda"
        (found,) = compare_artefacts([right, backend], photos)
    assert complaints(found, TOLERANCES[precision]) == []


def test_torch_from_eight_threads(artefacts: dict[str, Path]) -> None:
    rng = np.random.default_rng(0)
    batches = [rng.random((b, 3, h, 96), np.float32) for b in (1, 4) for h in (64, 96)] * 8
    with load_backend(artefacts["torch"], device="cpu") as right:
        expected = [right.infer(batch) for batch in batches]
    with load_backend(artefacts["torch"], device="cuda") as backend:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(backend.infer, batches))
        for outputs, wanted in zip(found, expected, strict=True):
            assert box_error(wanted.boxes, outputs.boxes).max() < 1e-3
            np.testing.assert_allclose(outputs.scores, wanted.scores, atol=1e-3)


def test_detector(artefacts: dict[str, Path], photos: list[Path]) -> None:
    model = artefacts["torch"]
    with Detector(model, device="cpu") as right, Detector(model, device="cuda") as detector:
        for wanted, found in zip(right(photos), detector(photos), strict=True):
            assert len(found) == len(wanted) > 0
            np.testing.assert_allclose(found.xyxy, wanted.xyxy, atol=0.5)


def test_memory_comes_back(artefacts: dict[str, Path]) -> None:
    batch = np.zeros((8, 3, 160, 160), np.float32)
    before = torch.cuda.memory_allocated()
    with load_backend(artefacts["torch"], device="cuda") as backend:
        backend.infer(batch)
        assert torch.cuda.memory_allocated() > before
    assert torch.cuda.memory_allocated() == before


@pytest.mark.parametrize("shape", ["dynamic", "fixed"])
def test_onnxruntime(artefacts: dict[str, Path], photos: list[Path], shape: str) -> None:
    """A graph of one shape runs from bound buffers by a CUDA graph, others do not."""
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has no CUDA")
    model = artefacts[shape]
    with load_backend(model, device="cpu") as right, load_backend(model, device="cuda") as backend:
        (found,) = compare_artefacts([right, backend], photos * 2)
    assert complaints(found, TOLERANCES["fp32"]) == []


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("planar", [True, False], ids=["float", "uint8"])
def test_letterbox_kernel(name: str, planar: bool, photos: list[Path]) -> None:
    try:
        memory = device_memory(0, name)
    except (MissingExtraError, BackendError) as error:
        pytest.skip(str(error))
    image = read_image(photos[0])
    plan = letterbox_plan(image.shape[:2], (416, 640))
    canvas = letterbox(image, plan)
    expected = to_input(canvas[None], "float_nchw" if planar else "uint8_nhwc", bgr=True)[0]
    with memory.current():
        stream = memory.stream()
        source, target = memory.allocate(image.nbytes), memory.allocate(expected.nbytes)
        memory.copy_in(source, np.ascontiguousarray(image).reshape(-1), stream)
        gpu_letterbox.start(
            memory.kernel(gpu_letterbox.SOURCE, gpu_letterbox.NAME), source, plan, target, stream,
            swap=True, planar=planar,
        )  # fmt: skip
        found = np.empty_like(expected)
        memory.copy_out(found.reshape(-1).view(np.uint8), target, stream)
        memory.synchronise(stream)
        memory.free(source)
        memory.free(target)
        memory.close_stream(stream)
    level = 1 / 255 if planar else 1
    difference = np.abs(found.astype(np.float64) - expected)
    assert difference.max() <= 1.001 * level and (difference > level / 2).mean() < 0.005


def test_loss() -> None:
    """Value and gradient."""
    generator = torch.Generator().manual_seed(0)
    anchors = torch.rand(3, 3, 2, generator=generator) * 4 + 1
    targets = torch.rand(40, 6, generator=generator)
    targets[:, :2] = torch.randint(0, 3, (40, 2), generator=generator)
    maps = [torch.randn(3, 3, n, n, 8, generator=generator) for n in (32, 16, 8)]
    loss = DetectionLoss(anchors, LossSettings(iou="ciou"))
    results = []
    for device in (torch.device("cpu"), CUDA):
        inputs = [m.detach().to(device).requires_grad_() for m in maps]
        parts = loss(inputs, targets.to(device), 1.0)
        parts.total.backward()
        results.append([parts.values().cpu(), *(m.grad.cpu() for m in inputs)])
    for wanted, found in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("amp", ["off", "bf16", "fp16"])
def test_training_goes_on_after_a_stop(tmp_path: Path, amp: str) -> None:
    """A whole run and one stopped in its second epoch have the same losses."""
    data = write_dataset(tmp_path / "data", train=16, val=4)
    more = {"device": "cuda", "amp": amp, "epochs": 4, "workers": 2}
    assert start(quick(data, tmp_path / "whole", **more)).finished
    assert not start(quick(data, tmp_path / "parts", **more), StopAfter(6)).finished
    assert resume(tmp_path / "parts").finished
    whole, parts = (losses(tmp_path / name) for name in ("whole", "parts"))
    np.testing.assert_allclose(parts, whole, rtol=0.05)  # a GPU adds up in any order
    model = load_checkpoint(tmp_path / "parts/last.safetensors")
    assert all(bool(value.isfinite().all()) for value in model.state_dict().values())


def losses(run: Path) -> list[float]:
    return [float(row["loss"]) for row in RunFolder(run, fresh=False).results()]
