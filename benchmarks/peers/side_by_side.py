"""What the scripts of peers share: a network exported to ONNX, or timed in torch beside our model.

    python PEER.py export NAME FILE.onnx
    python PEER.py torch NAME OURS.safetensors SECONDS

The last line is JSON. All weights are random, and suppression is left out in all projects.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

Make = Callable[[str], tuple[Any, int]]
"""Name to the model in evaluation mode, and its own input size."""


def main(make: Make, package: str) -> None:
    """Do what the command line asks for with the network of a package."""
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    if sys.argv[1] == "export":
        found = _export(*make(sys.argv[2]), Path(sys.argv[3]))
    else:
        found = _in_torch(*make(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]))
        found["versions"] = {name: version(name) for name in (package, "torch")}
    print(json.dumps(found))


def _export(model: Any, size: int, path: Path) -> dict[str, Any]:
    """Write the graph for batch 1; returns size and parameters."""
    with torch.no_grad():
        torch.onnx.export(
            model, (torch.zeros(1, 3, size, size),), path, dynamo=False, opset_version=17,
            input_names=["images"],
        )  # fmt: skip
    return {"size": size, "parameters": sum(p.numel() for p in model.parameters())}


def _in_torch(model: Any, size: int, ours: Path, seconds: float) -> dict[str, Any]:
    """Alternating rounds of both in eager torch, each at its own size."""
    from yolov4sdk.backends import load_backend
    from yolov4sdk.measure.timing import alternate

    model = model.to(memory_format=torch.channels_last)
    theirs = torch.rand(1, 3, size, size).contiguous(memory_format=torch.channels_last)
    backend = load_backend(ours, "torch", "cpu")
    images = torch.rand(1, 3, *backend.spec.input_size).numpy()

    def peer() -> None:
        with torch.inference_mode():
            model(theirs)

    return dict(alternate({"peer": peer, "ours": lambda: backend.infer(images)}, 15, seconds))
