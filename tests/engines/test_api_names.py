"""Every name of TensorRT's API that is used here exists in TensorRT 10 and 11.

tensorrt_api.json was recorded from NVIDIA's own binding wheels by record_api.py.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..conftest import REPOSITORY
from .conftest import needs_rtx

FILES = [
    *sorted((REPOSITORY / "yolov4sdk" / "tensorrt").glob("*.py")),
    REPOSITORY / "yolov4sdk" / "backends" / "tensorrt_backend.py",
    REPOSITORY / "yolov4sdk" / "backends" / "engine_slots.py",
]
RECORDED = json.loads(Path(__file__).with_name("tensorrt_api.json").read_text())
OBJECTS = {
    "builder": "Builder", "network": "INetworkDefinition", "parser": "OnnxParser",
    "config": "IBuilderConfig", "problem": "ParserError", "layer": "ILayer",
    "shapes": "IOptimizationProfile", "cache": "ITimingCache", "runtime": "Runtime",
    "engine": "ICudaEngine", "loaded": "ICudaEngine", "inspector": "EngineInspector",
    "context": "IExecutionContext", "_context": "IExecutionContext", "refitter": "Refitter",
    "reader": "OnnxParserRefitter", "running": "IRuntimeConfig", "compiled": "IRuntimeCache",
}  # fmt: skip
"""What the variables are called that hold TensorRT's objects, and their classes."""
RTX_ONLY = {
    ("", "ComputeCapability"), ("IBuilderConfig", "num_compute_capabilities"),
    ("IBuilderConfig", "set_compute_capability"), ("ICudaEngine", "create_runtime_config"),
    ("IRuntimeConfig", "create_runtime_cache"), ("IRuntimeConfig", "set_runtime_cache"),
    ("IRuntimeCache", "deserialize"),
}  # fmt: skip
"""Used behind `Flavour.portable`."""
OTHERS = {
    ("ILayer", name)
    for name in ("nodes", "kind", "inputs", "outputs", "holds", "precision")  # our own Layer
} | {("ICudaEngine", name) for name in ("name", "parent", "with_name", "read_bytes", "startswith")}


def used(path: Path) -> Iterator[tuple[str, str]]:
    """(class or "", name) of each attribute of the package or of one of its objects."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Attribute) or node.attr.startswith("__"):
            continue
        owner = node.value
        if isinstance(owner, ast.Attribute) and is_package(owner.value):
            yield owner.attr, node.attr
        elif is_package(owner):
            yield "", node.attr
        else:
            name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
            if name in OBJECTS:
                yield OBJECTS[name], node.attr


def is_package(node: ast.expr) -> bool:
    return (isinstance(node, ast.Name) and node.id == "trt") or (
        isinstance(node, ast.Attribute) and node.attr == "trt"
    )


NAMES = sorted({pair for path in FILES for pair in used(path)} - RTX_ONLY - OTHERS)


@pytest.mark.parametrize("wheel", RECORDED, ids=lambda w: "-".join(w.split("-")[:2]))
def test_names_exist(wheel: str) -> None:
    api = RECORDED[wheel]["names"]
    missing = [pair for pair in NAMES if pair[1] not in api.get(pair[0], ())]
    assert not missing


def test_enough_is_looked_at() -> None:
    """The list is not empty because a variable was renamed."""
    assert {version["version"].split(".")[0] for version in RECORDED.values()} == {"10", "11"}
    for pair in (
        ("", "OnnxParserRefitter"),
        ("Builder", "build_serialized_network"),
        ("BuilderFlag", "STRIP_PLAN"),
        ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED"),
        ("IExecutionContext", "execute_async_v3"),
        ("IExecutionContext", "set_tensor_address"),
        ("EngineInspector", "get_engine_information"),
        ("IBuilderConfig", "create_timing_cache"),
        ("ParserError", "node_operator"),
    ):
        assert pair in NAMES
    gone = {"FP16", "INT8", "BF16", "FP8", "EXPLICIT_BATCH", "device_memory_size"}
    assert not gone & {name for _, name in NAMES}


@needs_rtx
def test_names_exist_in_rtx() -> None:
    import tensorrt_rtx as trt

    for kind, name in [*NAMES, *RTX_ONLY]:
        assert hasattr(getattr(trt, kind) if kind else trt, name), (kind, name)
