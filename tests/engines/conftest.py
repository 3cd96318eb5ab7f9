"""Small graphs of all four models, each exported once."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from export.half_onnx import convert_onnx
from export.onnx_export import write_onnx
from export.options import ExportOptions
from yolov4sdk.models import Model, build_model
from yolov4sdk.models.definition import FOLDER
from yolov4sdk.system.cuda_driver import gpus
from yolov4sdk.tensorrt.flavour import FLAVOURS

from ..tiny import make_micro

RTX = FLAVOURS["trt-rtx"]
Graph = Callable[..., Path]

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed"
)
needs_no_gpu = pytest.mark.skipif(bool(gpus()), reason="shows what happens without a GPU")


def small(name: str) -> Model:
    """One of the four models at a tenth of its width and depth, random, for 128 x 128 pixels."""
    torch.manual_seed(0)
    data = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    scale = {"depth_multiple": 0.1, "width_multiple": 0.1, "nc": 3, "input_size": 128}
    return build_model(data | scale).eval()


@pytest.fixture(scope="session")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """`graph("yolov4-p6", precision="fp16")`: an ONNX file; the same call twice exports once."""
    folder = tmp_path_factory.mktemp("graphs")

    def export(name: str = "micro", **options: Any) -> Path:
        label = "-".join([name, *(f"{k}_{v}" for k, v in sorted(options.items()))])
        path = folder / f"{label}.onnx"
        if path.exists():
            return path
        if name != "micro" and options == {"precision": "fp16"}:
            convert_onnx(export(name), path, "fp16")  # tracing takes longest
            return path
        model = make_micro(["ant"]) if name == "micro" else small(name)
        settings = ExportOptions(**options)
        write_onnx(model, path, settings, settings.artefact_spec(model.spec, "test"))
        return path

    return export
