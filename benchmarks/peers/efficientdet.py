"""EfficientDet by `effdet`, random weights: export to ONNX, or timed in torch beside our model.

    python efficientdet.py export NAME FILE.onnx
    python efficientdet.py torch NAME OURS.safetensors SECONDS

The last line is JSON. The suppression is left out in both projects.
"""

from __future__ import annotations

import json
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import effdet
import torch
from timm.layers import set_layer_config


def network(name: str) -> tuple[Any, int]:
    """The model in evaluation mode, and its own input size."""
    torch.manual_seed(0)
    with set_layer_config(exportable=True, scriptable=False):
        model = effdet.create_model(name, pretrained=False, pretrained_backbone=False)
    return model.eval(), int(model.config.image_size[0])


def export(name: str, path: Path) -> dict[str, Any]:
    """Write the graph for batch 1, without suppression; returns size and parameters."""
    model, size = network(name)
    with torch.no_grad():
        torch.onnx.export(
            model, (torch.zeros(1, 3, size, size),), path, dynamo=False, opset_version=17,
            input_names=["images"],
        )  # fmt: skip
    return {"size": size, "parameters": sum(p.numel() for p in model.parameters())}


def in_torch(name: str, ours: Path, seconds: float) -> dict[str, Any]:
    """Alternating rounds of both in eager torch, each at its own size."""
    from yolov4sdk.backends import load_backend
    from yolov4sdk.timing import alternate

    model, size = network(name)
    model = model.to(memory_format=torch.channels_last)
    theirs = torch.rand(1, 3, size, size).contiguous(memory_format=torch.channels_last)
    backend = load_backend(ours, "torch", "cpu")
    images = torch.rand(1, 3, *backend.spec.input_size).numpy()

    def peer() -> None:
        with torch.inference_mode():
            model(theirs)

    times = alternate({"peer": peer, "ours": lambda: backend.infer(images)}, 15, seconds)
    return {**times, "versions": {name: version(name) for name in ("effdet", "torch")}}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if sys.argv[1] == "export":
        found = export(sys.argv[2], Path(sys.argv[3]))
    else:
        found = in_torch(sys.argv[2], Path(sys.argv[3]), float(sys.argv[4]))
    print(json.dumps(found))
