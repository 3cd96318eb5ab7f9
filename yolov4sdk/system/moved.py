"""Modules that moved: their former names still import, as the same module object."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

_ROOMS: Final = {
    "backends": "artefacts kserve tta",
    "cluster": "batch_predictor partitions ray_job",
    "contract": "names onnx_header safetensors_header spec",
    "datasets": "labelling",
    "imaging": "draw images jpeg preprocess sources synthetic",
    "measure": "benchmark ceiling evaluation metrics timing tolerance verify",
    "results": "anonymise postprocess regions tiling tracking",
    "streams": "live stream_sources streaming video video_writer",
    "system": "ahead cpu cuda_driver environment files openvino_runtime",
}
_PACKAGE: Final = __name__.partition(".")[0]
MOVED: Final = {
    f"{_PACKAGE}.{name}": f"{_PACKAGE}.{room}.{name}"
    for room, names in _ROOMS.items()
    for name in names.split()
} | {f"{_PACKAGE}.engines": f"{_PACKAGE}.tensorrt"}
"""Former name to today's; the modules of a package move with it."""


class _Moved(MetaPathFinder, Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if _today(fullname) else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(_today(spec.name) or "")
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has written the former name's spec into the module.
        former = module.__spec__
        module.__spec__ = former.loader_state if former else None


def _today(name: str) -> str | None:
    if name in MOVED:
        return MOVED[name]
    package, _, rest = name.rpartition(".")
    return f"{MOVED[package]}.{rest}" if package in MOVED else None


def install() -> None:
    """Let the former names be imported; once, however often the package is."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Moved())  # before the packages' own folders are searched
