"""Runtimes: a row and a file each, chosen by the artefact's suffix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contract.safetensors_header import check_file
from ..errors import ForeignFileError, SettingError
from ..system.arguments import text
from ..system.device import Device, device_name
from .artefacts import default_model
from .base import Backend, Outputs
from .runtimes import (
    TABLE,
    BackendName,
    Precision,
    RuntimeInfo,
    readers,
    register,
    runtime,
    schemes,
    suffixes,
)

if TYPE_CHECKING:
    from .foreign import Names


def load_backend(
    model: Any,
    backend: str | None = None,
    device: Device = "auto",
    precision: str | None = None,
    threads: int | None = None,
    convention: str | None = None,
    names: Names | None = None,
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
        convention: of a foreign .onnx or .xml file, or of a foreign model in Triton: name of a
            declaration, or a file with one.
        names: class names of a foreign model, or "coco"; None takes its own, or numbers.

    Raises:
        ArtefactError: the file is missing, empty, truncated, foreign or without a spec.
        SettingError: a backend that does not exist or does not read this kind of file.
        MissingExtraError: the runtime is not installed.
        BackendError: the runtime refused the model or the device.
    """
    device = device_name(device)
    if precision is not None:
        text("precision", precision)
    wanted = None if backend is None else runtime(backend)
    options: dict[str, Any] = {"device": device, "precision": precision, "threads": threads}
    if convention is not None and not isinstance(model, str | Path):
        raise SettingError("a convention is for foreign files and models in Triton")
    if isinstance(model, str) and "://" in model:
        row = _of_address(model, backend)
        if convention is not None:
            _reads_conventions(row, model)
            options |= {"convention": convention, "names": names}
        remote: Backend = row.loaded(model, **options)
        return remote
    if isinstance(model, str | Path):
        model = check_file(model)
        chosen = _reader(model, wanted)
        if convention is not None:
            from .foreign import foreign_spec

            _reads_conventions(chosen, model.name)
            options["spec"] = foreign_spec(model, convention, names)
    else:
        chosen = wanted or runtime("torch")
        if chosen.name != "torch":
            raise SettingError(
                f"a model in memory runs on torch, not on {chosen.name}; export it first"
            )
    loaded: Backend = chosen.loaded(model, **options)
    return loaded


def _reads_conventions(row: RuntimeInfo, model: str) -> None:
    if "conventions" not in row.capabilities:
        raise SettingError(
            f"{row.title} does not run {model} by a convention; make it a file of this SDK with "
            "`yolov4sdk adopt`"
        )


def load_default(
    backend: str | None, device: Device, precision: str | None, threads: int | None
) -> Backend:
    """The embedded model; ArtefactNotFoundError where this build has none."""
    with default_model() as path:
        return load_backend(path, backend, device, precision, threads)


def _reader(path: Path, wanted: RuntimeInfo | None) -> RuntimeInfo:
    """The runtime for a file: the one that was asked for, or the first that claims it."""
    fitting = readers(path.suffix)
    if not fitting:
        raise ForeignFileError(_unknown_suffix(path))
    if wanted is None:
        return next((row for row in fitting if row.claims(path)), fitting[0])
    if wanted not in fitting:
        raise SettingError(
            f"the backend {wanted.name} does not read {path.suffix} files ({path.name}); "
            f"{', '.join(row.name for row in fitting)} does, or export the model for it: "
            "`yolov4sdk export`"
        )
    return wanted


def _of_address(address: str, backend: str | None) -> RuntimeInfo:
    known = schemes()
    scheme = address.partition("://")[0].lower()
    if scheme not in known:
        raise SettingError(f"{address}: a model is a file, or an address with {', '.join(known)}")
    if backend is not None:
        raise SettingError(f"{address}: the service chooses its backend itself, got {backend!r}")
    return known[scheme]


def _unknown_suffix(path: Path) -> str:
    if path.suffix.lower() in {".cfg", ".weights"}:
        return (
            f"{path.name} is a file of Darknet; convert the pair once with `yolov4sdk import "
            f"{path.stem}.cfg {path.stem}.weights -o {path.stem}.safetensors`"
        )
    if path.name.endswith(".state.pt"):
        return (
            f"{path.name} is the state of a training run, for `yolov4sdk train --resume "
            f"{path.parent}`; the model is last.safetensors beside it"
        )
    if path.suffix.lower() in {".pt", ".pth"}:
        return (
            f"{path.name} is a training checkpoint of another program; convert it once with "
            f"`yolov4sdk import {path.name} -o {path.stem}.safetensors`"
        )
    return f"{path.name}: no backend reads {path.suffix!r}; there are {', '.join(suffixes())}"


__all__ = [
    "TABLE", "Backend", "BackendName", "Outputs", "Precision", "RuntimeInfo", "load_backend",
    "load_default", "readers", "register", "runtime", "suffixes",
]  # fmt: skip
