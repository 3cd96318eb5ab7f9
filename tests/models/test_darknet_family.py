"""Every kind of section against a reference in NumPy, and where there is one OpenCV 4's dnn."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from export import export_model
from tests.support.darknet_nets import write_weights
from yolov4sdk.backends import load_backend
from yolov4sdk.models import Model, fold
from yolov4sdk.models.checkpoints import load_checkpoint, save_checkpoint
from yolov4sdk.models.darknet import import_darknet
from yolov4sdk.models.detect import cxcywh_to_xyxy

from ..support.darknet_family import CLASSES, FAMILY
from ..support.darknet_reference import Reference

SIZE = (64, 128)


def imported(name: str, folder: Path) -> tuple[Path, Path, Model]:
    cfg, weights = folder / "x.cfg", folder / "x.weights"
    cfg.write_text(FAMILY[name](SIZE))
    write_weights(weights, cfg.read_text())
    return cfg, weights, import_darknet(cfg, weights)


def picture() -> np.ndarray:
    """Smooth colors, float64 [3, H, W] in 0..1."""
    coarse = torch.rand(1, 3, 4, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, SIZE, mode="bilinear")
    found: np.ndarray = smooth[0].numpy()
    return found


def largest(found: np.ndarray, expected: np.ndarray) -> float:
    assert found.shape == expected.shape
    return float((np.abs(found - expected) / np.maximum(1, np.abs(expected))).max())


@pytest.mark.parametrize("name", FAMILY)
def test_reference(name: str, tmp_path: Path) -> None:
    cfg, weights, model = imported(name, tmp_path)
    values = np.frombuffer(weights.read_bytes()[20:], "<f4")
    boxes, scores = Reference(cfg.read_text(), values).run(picture())
    assert scores.std() > 1e-4 and scores.shape[1] == CLASSES
    expected = cxcywh_to_xyxy(torch.from_numpy(boxes)).numpy()
    save_checkpoint(model, tmp_path / "x.safetensors")
    kept = load_checkpoint(tmp_path / "x.safetensors")
    assert kept.spec == model.spec
    for network in (model.double(), fold(model.double()), kept.double()):
        with torch.no_grad():
            found = network(torch.from_numpy(picture())[None])
        assert largest(found[0][0].numpy(), expected) < 1e-5
        assert largest(found[1][0].numpy(), scores) < 1e-5


EXPORTED = ["yolov2", "enet-coco", "yolov4-sam-mish-csp-reorg-bfm", "Gaussian_yolov3",
            "weighted per_channel softmax"]  # fmt: skip


@pytest.mark.parametrize("name", EXPORTED)
def test_export(name: str, tmp_path: Path) -> None:
    """The check of the export compares the whole outputs; reduced ones are compared here."""
    model = imported(name, tmp_path)[2]
    export_model(model, "onnx", tmp_path / "x.onnx", dynamic=True, batch=None)
    export_model(model, "onnx", tmp_path / "k.onnx", topk=20, float_input=True)
    image = picture()[None].astype(np.float32)
    with torch.no_grad():
        boxes, scores = (x[0].numpy() for x in model(torch.from_numpy(image)))
    with load_backend(tmp_path / "k.onnx", device="cpu") as backend:
        out = backend.infer(image)
    best = np.argsort(-scores.max(1), kind="stable")[:20]
    assert out.scores.shape == (1, 20, scores.shape[1])
    np.testing.assert_allclose(out.scores[0].max(1), scores.max(1)[best], atol=1e-5)
    np.testing.assert_allclose(out.boxes[0], boxes[best], rtol=1e-4, atol=1e-3)
    assert (out.scores[0].argmax(1) == scores.argmax(1)[best]).mean() > 0.9
    assert np.median(np.abs(out.scores[0] - scores[best]).max(1)) < 1e-5


OPENCV = os.environ.get("OPENCV4_PYTHON", "")
READ_BY_OPENCV = ["yolov2", "yolov2-tiny", "csresnext50-panet-spp", "yolov3-tiny-prn", "enet-coco",
                  "yolov4", "yolov4-tiny", "yolov4-csp", "yolov4-csp-swish"]  # fmt: skip
SCRIPT = """
import sys, cv2, numpy as np
cfg, weights, image, out = sys.argv[1:]
net = cv2.dnn.readNetFromDarknet(cfg, weights)
net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
net.setInput(np.load(image))
np.savez(out, *net.forward(net.getUnconnectedOutLayersNames()))
"""


def opencv_outputs(cfg: Path, weights: Path, folder: Path) -> list[np.ndarray]:
    """The decoded rows of each head, cxcywh of the image's sides, objectness, classes."""
    np.save(folder / "image.npy", picture()[None].astype(np.float32))
    arguments = [str(cfg), str(weights), str(folder / "image.npy"), str(folder / "out.npz")]
    subprocess.run([OPENCV, "-c", SCRIPT, *arguments], check=True, timeout=60)
    found = np.load(folder / "out.npz")
    return [found[name].reshape(-1, 5 + CLASSES) for name in found.files]


@pytest.mark.skipif(not OPENCV, reason="OPENCV4_PYTHON names no Python with opencv-python 4.10")
@pytest.mark.parametrize("name", READ_BY_OPENCV)
def test_opencv(name: str, tmp_path: Path) -> None:
    cfg, weights, model = imported(name, tmp_path)
    heads = opencv_outputs(cfg, weights, tmp_path)
    with torch.no_grad():
        maps = model.raw(torch.from_numpy(picture()[None].astype(np.float32)))
        boxes, objectness, classes = model.detect.decode(maps)
    start = 0
    by_cells = {len(head): head for head in heads}
    for raw in maps:
        na, ny, nx = raw.shape[1:4]
        rows = slice(start, start + na * ny * nx)
        start = rows.stop
        expected = by_cells[na * ny * nx].reshape(ny, nx, na, -1).transpose(2, 0, 1, 3)
        expected = expected.reshape(na * ny * nx, -1)
        sides = np.array([SIZE[1], SIZE[0]] * 2)
        assert largest(boxes[0, rows].numpy() / sides, expected[:, :4]) < 3e-3
        scores = (objectness * classes)[0, rows].numpy()
        clear = expected[:, 5:] > 0  # below its threshold OpenCV gives zeros
        assert np.abs(scores - expected[:, 5:])[clear].max(initial=0) < 3e-3
        assert scores[~clear].max(initial=0) < 0.7
