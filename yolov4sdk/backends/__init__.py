"""Runtimes: one file each, chosen by the artefact's suffix."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Final, Literal

from ..contract.safetensors_header import check_file
from ..errors import ForeignFileError, SettingError
from ..system.arguments import text
from ..system.device import Device, device_name
from .base import Backend, Outputs

TABLE: Final = {
    "torch": "torch_backend:TorchBackend",
    "onnxruntime": "onnxruntime_backend:OnnxRuntimeBackend",
    "openvino": "openvino_backend:OpenVinoBackend",
    "trt": "tensorrt_backend:TensorRtBackend",
    "trt-rtx": "tensorrt_backend:TensorRtRtxBackend",
}
"""Backend name to "module:Class" in this package."""

BackendName = Literal["torch", "onnxruntime", "openvino", "trt", "trt-rtx"]
Precision = Literal["fp32", "bf16", "fp16"]

BY_SUFFIX: Final = {
    ".safetensors": ("torch",),
    ".onnx": ("onnxruntime", "openvino", "trt", "trt-rtx"),
    ".xml": ("openvino",),
    ".engine": ("trt", "trt-rtx"),
}
"""Backends that read a suffix; the first is the default, for an engine the one in its sidecar."""

BY_SCHEME: Final = {
    "http": "http_backend:HttpBackend",
    "https": "http_backend:HttpBackend",
    "triton": "triton_backend:TritonBackend",
}
"""Scheme of an address to "module:Class": a model that runs in a service."""


def load_backend(
    model: Any,
    backend: str | None = None,
    device: Device = "auto",
    precision: str | None = None,
    threads: int | None = None,
) -> Backend:
    """Load an artefact into the runtime that its suffix names.

    Args:
        model: path of a .safetensors, .onnx, .xml or .engine file, a `yolov4sdk.models.Model`, or
            the address of a service ("http://host:8000", "triton://host:8001/model").
        backend: "torch", "onnxruntime", "openvino", "trt" or "trt-rtx", where a suffix has
            several. An .onnx file is built into an engine for the last two, once, into a cache.
        device: "auto", "cpu", "cuda", "cuda:1", the number of a GPU, a `torch.device`; OpenVINO's
            own names ("gpu") too.
        precision: "fp32", "bf16" or "fp16" of the arithmetic, where the runtime chooses it;
            None is the artefact's own.
        threads: processor threads; None is what the container allows.

    Raises:
        ArtefactError: the file is missing, empty, truncated, foreign or without a spec.
        SettingError: a backend that does not exist or does not read this kind of file.
        MissingExtraError: the runtime is not installed.
        BackendError: the runtime refused the model or the device.
    """
    device = device_name(device)
    if precision is not None:
        text("precision", precision)
    if backend is not None and backend not in TABLE:
        raise SettingError(f"no backend {backend!r}; there are {', '.join(TABLE)}")
    if isinstance(model, str) and "://" in model:
        return _of_address(model, backend, device, precision, threads)
    if isinstance(model, str | Path):
        path = check_file(model)
        fitting = BY_SUFFIX.get(path.suffix.lower())
        if fitting is None:
            raise ForeignFileError(_unknown_suffix(path))
        if backend is not None and backend not in fitting:
            raise SettingError(
                f"the backend {backend} does not read {path.suffix} files ({path.name}); "
                f"{', '.join(fitting)} does, or export the model for it: `yolov4sdk export`"
            )
        chosen = backend or fitting[0]
        if path.suffix.lower() == ".engine" and backend is None:
            from .tensorrt_backend import engine_flavour

            chosen = engine_flavour(path)
        model = path
    else:
        chosen = backend or "torch"
        if chosen != "torch":
            raise SettingError(f"a model in memory runs on torch, not on {chosen}; export it first")
    return _make(TABLE[chosen], model, device, precision, threads)


def _of_address(
    address: str, backend: str | None, device: str, precision: str | None, threads: int | None
) -> Backend:
    scheme = address.partition("://")[0].lower()
    if scheme not in BY_SCHEME:
        raise SettingError(
            f"{address}: a model is a file, or an address with {', '.join(BY_SCHEME)}"
        )
    if backend is not None:
        raise SettingError(f"{address}: the service chooses its backend itself, got {backend!r}")
    return _make(BY_SCHEME[scheme], address, device, precision, threads)


def _make(
    entry: str, model: Any, device: str, precision: str | None, threads: int | None
) -> Backend:
    module, name = entry.split(":")
    kind = getattr(import_module(f".{module}", __name__), name)
    loaded: Backend = kind(model, device=device, precision=precision, threads=threads)
    return loaded


def _unknown_suffix(path: Path) -> str:
    if path.suffix in {".cfg", ".weights"}:
        return (
            f"{path.name} is a file of Darknet; convert the pair once with `yolov4sdk import "
            f"{path.stem}.cfg {path.stem}.weights -o {path.stem}.safetensors`"
        )
    if path.name.endswith(".state.pt"):
        return (
            f"{path.name} is the state of a training run, for `yolov4sdk train --resume "
            f"{path.parent}`; the model is last.safetensors beside it"
        )
    if path.suffix in {".pt", ".pth"}:
        return (
            f"{path.name} is a training checkpoint of another program; convert it once with "
            f"`yolov4sdk import {path.name} -o {path.stem}.safetensors`"
        )
    return f"{path.name}: no backend reads {path.suffix!r}; there are {', '.join(BY_SUFFIX)}"


__all__ = [
    "BY_SCHEME", "BY_SUFFIX", "TABLE", "Backend", "BackendName", "Outputs", "Precision",
    "load_backend",
]  # fmt: skip
