"""A very small network with every kind of block, and exports of it, each made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from export import ExportResult, export_model
from tests.support.forms import raw
from yolov4sdk.measure.verify import box_error
from yolov4sdk.models import Model, build_model

Exporter = Callable[..., ExportResult]

LAYERS: dict[str, Any] = {
    "depth_multiple": 1.0,
    "width_multiple": 1.0,
    "anchors": [[10, 12, 22, 18], [30, 41, 60, 44]],
    "input_size": 64,
    "backbone": [
        [-1, 1, "Conv", [8, 3, 2]],
        [-1, 1, "Bottleneck", [8]],
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "BottleneckCSP", [16]],  # 3, stride 4
        [-1, 1, "Conv", [16, 3, 2]],
    ],
    "head": [
        [-1, 1, "SPPCSP", [16]],  # 5, stride 8
        [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
        [[-1, 3], 1, "Concat", [1]],
        [-1, 1, "BottleneckCSP2", [8]],  # 8, stride 4
        [[8, 5], 1, "Detect", ["nc", "anchors"]],
    ],
}


def tiny(nc: int = 3) -> Model:
    """Strides 4 and 8; scores spread over 0..1 and depend on the image, no BN is the identity."""
    torch.manual_seed(0)
    model = build_model(LAYERS | {"nc": nc}).train()
    for conv in model.detect.m:
        nn.init.normal_(conv.weight, 0, 0.3)
        nn.init.normal_(conv.bias, 0, 0.3)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0  # the statistics become those of one batch of noise
        nn.init.uniform_(norm.weight, 0.7, 1.3)
        nn.init.normal_(norm.bias, 0, 0.2)
    with torch.no_grad():
        model(torch.rand(8, 3, 64, 64))
    return model.eval()


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def model() -> Model:
    return tiny()


@pytest.fixture(scope="session")
def exporter(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Exporter:
    """`exporter("onnx", nms=True)` exports the tiny model; the same call twice does it once."""
    made: dict[str, ExportResult] = {}

    def export(engine: str = "onnx", **options: Any) -> ExportResult:
        key = f"{engine} {sorted(options.items())}"
        if key not in made:
            suffix = ".onnx" if engine == "onnx" else ".xml"
            path = tmp_path_factory.mktemp("export") / f"tiny{suffix}"
            made[key] = export_model(model, engine, path, **raw(**options))
        return made[key]

    return export


def images(batch: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """uint8 RGB [B, H, W, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (batch, height, width, 3), dtype=np.uint8)


def planar(batch: np.ndarray) -> np.ndarray:
    """uint8 [B, H, W, 3] to float32 [B, 3, H, W] in 0..1."""
    return np.ascontiguousarray(batch.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255)


def torch_outputs(model: Model, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes [B, N, 4] and scores [B, N, C] of the unfolded network in float32."""
    with torch.inference_mode():
        boxes, scores = model(torch.from_numpy(planar(batch)))
    return boxes.numpy(), scores.numpy()


def largest_error(value: np.ndarray, expected: np.ndarray) -> float:
    return float(np.max(np.abs(value - expected) / np.maximum(1, np.abs(expected))))


def largest_box_error(xyxy: np.ndarray, expected: np.ndarray) -> float:
    return float(box_error(expected, xyxy).max())


def onnx_of(path: Path) -> Any:
    import onnx

    return onnx.load(path)
