"""The runtimes, a row each: everything that the rest of the program knows of one.

A new runtime is a file in this folder and a row here; code outside adds a row with `register`.
Nothing is imported for a row but what its functions import when they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Literal

from ..contract.onnx_header import read_onnx_spec
from ..contract.spec import ModelSpec
from ..errors import SettingError
from ..system.openvino_runtime import load_openvino, openvino_core
from .spec_readers import engine_spec, native_spec, openvino_spec

BackendName = Literal["torch", "onnxruntime", "openvino", "trt", "trt-rtx"]
"""The rows that read files, for type checkers."""
Precision = Literal["fp32", "bf16", "fp16"]
Capability = Literal["replicas", "gpu letterbox", "device arrays", "conventions"]
"""Several batches side by side (`replicas`), letterbox on the device (`infer_images`), batches that
lie on the device, foreign files by a spec that is given (`spec=`; of an address by `convention=`
and `names=`)."""
SpecReader = Callable[[Path], ModelSpec]


_VECTORS: Final = ("AVX512", "AVX2")
_ONEDNN: Final = {"fp32": _VECTORS, "bf16": ("AMX", "BF16"), "int8": ("AMX", "VNNI", *_VECTORS)}
"""By the dispatch of oneDNN, which computes for OpenVINO and torch."""
_MLAS: Final = {"fp32": _VECTORS, "int8": ("AMX", "VNNI", *_VECTORS)}
"""By that of ONNX Runtime's own kernels, which have no bfloat16 for x86."""


def _any_file(path: Path) -> bool:
    return True


def _nothing() -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class RuntimeInfo:
    """One runtime.

    Attributes:
        name: as `backend=` and `--backend` say it.
        title: in messages.
        load: "module:Class" in this package, or a function, of (model, device, precision, threads)
            to a `Backend`.
        reads: suffix of the files it reads to how their spec is read without the runtime; a suffix
            that several read goes to the first row, unless `claims` says otherwise.
        claims: whether a file of such a suffix is its own.
        schemes: of addresses that it connects to.
        extra: of this package, that installs it.
        packages: that provide it.
        exclusive: whether two of them at once overwrite each other.
        devices: that it takes, for help texts.
        precisions: of the arithmetic, that can be chosen.
        capabilities: what it can do besides `infer`.
        exporter: name of the `export --engine` that writes its files; "" where it reads native
            checkpoints.
        kernels: precision to the processor's units that it has kernels for, best first.
        probe: what is installed and can be used, as plain values; ImportError without it.
    """

    name: str
    title: str
    load: str | Callable[..., Any]
    reads: Mapping[str, SpecReader] = field(default_factory=dict)
    claims: Callable[[Path], bool] = _any_file
    schemes: tuple[str, ...] = ()
    extra: str = ""
    packages: tuple[str, ...] = ()
    exclusive: bool = False
    devices: str = "cpu"
    precisions: tuple[str, ...] = ()
    capabilities: frozenset[Capability] = frozenset()
    exporter: str = ""
    kernels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    probe: Callable[[], dict[str, Any]] = _nothing

    def units(self, here: Collection[str]) -> dict[str, str]:
        """The unit that each precision is computed with on a processor that has these."""
        best = {
            precision: next((unit for unit in units if unit in here), None)
            for precision, units in self.kernels.items()
        }
        return {precision: unit for precision, unit in best.items() if unit is not None}

    def loaded(self, model: Any, **options: Any) -> Any:
        """A backend of this runtime; `options` are device, precision and threads."""
        load = self.load
        if isinstance(load, str):
            module, name = load.split(":")
            load = getattr(import_module(f".{module}", __package__), name)
        return load(model, **options)


def _onnxruntime() -> dict[str, Any]:
    module = import_module("onnxruntime")
    return {"version": module.__version__, "providers": module.get_available_providers()}


def _openvino() -> dict[str, Any]:
    module = load_openvino("OpenVINO")
    with openvino_core() as core:
        return {"version": module.__version__, "devices": core.available_devices}


def _torch() -> dict[str, Any]:
    module = import_module("torch")
    count = module.cuda.device_count() if module.cuda.is_available() else 0
    devices = [module.cuda.get_device_name(i) for i in range(count)]
    return {"version": module.__version__, "cuda": module.version.cuda, "devices": devices}


def _installed(*packages: str) -> Callable[[], dict[str, Any]]:
    """A probe that loads nothing: a GPU's libraries may end the process without one."""

    def probe() -> dict[str, Any]:
        from importlib import metadata  # it loads the e-mail package: 15 ms of every start

        found = {}
        for name in packages:
            try:
                found[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
        return found

    return probe


def _engine_of(name: str) -> Callable[[Path], bool]:
    """Whether an engine's sidecar names this runtime."""

    def claims(path: Path) -> bool:
        from .tensorrt_backend import engine_flavour

        return path.suffix.lower() != ".engine" or engine_flavour(path) == name

    return claims


_TENSORRTS: Final = ("tensorrt", "tensorrt-lean", "tensorrt-dispatch")
_ON_GPU: Final[frozenset[Capability]] = frozenset({"gpu letterbox", "device arrays"})
_ROWS: Final = (
    RuntimeInfo(
        "torch", "PyTorch", "torch_backend:TorchBackend",
        reads={".safetensors": native_spec}, extra="torch", packages=("torch",),
        kernels={name: _ONEDNN[name] for name in ("fp32", "bf16")},
        devices="cpu, cuda", precisions=("fp32", "bf16", "fp16"), probe=_torch,
    ),
    RuntimeInfo(
        "onnxruntime", "ONNX Runtime", "onnxruntime_backend:OnnxRuntimeBackend",
        reads={".onnx": read_onnx_spec}, extra="cpu",
        packages=(
            "onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino",
            "onnxruntime-qnn",
        ),
        exclusive=True,
        devices="cpu, cuda, tensorrt", capabilities=frozenset({"replicas", "conventions"}),
        exporter="onnx", kernels=_MLAS,
        probe=_onnxruntime,
    ),
    RuntimeInfo(
        "openvino", "OpenVINO", "openvino_backend:OpenVinoBackend",
        reads={".onnx": read_onnx_spec, ".xml": openvino_spec}, extra="openvino",
        packages=("openvino",), devices="cpu, gpu", precisions=("fp32", "bf16", "fp16"),
        capabilities=frozenset({"replicas", "conventions"}), exporter="openvino",
        kernels=_ONEDNN, probe=_openvino,
    ),
    RuntimeInfo(
        "trt", "TensorRT", "tensorrt_backend:TensorRtBackend",
        reads={".onnx": read_onnx_spec, ".engine": engine_spec}, claims=_engine_of("trt"),
        extra="trt", packages=_TENSORRTS, devices="cuda", capabilities=_ON_GPU, exporter="trt",
        probe=_installed(*_TENSORRTS),
    ),
    RuntimeInfo(
        "trt-rtx", "TensorRT-RTX", "tensorrt_backend:TensorRtRtxBackend",
        reads={".onnx": read_onnx_spec, ".engine": engine_spec}, claims=_engine_of("trt-rtx"),
        extra="trt-rtx", packages=("tensorrt-rtx",), devices="cuda", capabilities=_ON_GPU,
        exporter="trt-rtx", probe=_installed("tensorrt-rtx"),
    ),
    RuntimeInfo(
        "http", "a service of yolov4sdk", "http_backend:HttpBackend",
        schemes=("http", "https"), extra="client", packages=("httpx",),
    ),
    RuntimeInfo(
        "triton", "Triton", "triton_backend:TritonBackend",
        schemes=("triton",), extra="triton", packages=("tritonclient",),
        capabilities=frozenset({"conventions"}),
    ),
)  # fmt: skip

RUNTIMES: Final = {row.name: row for row in _ROWS}
"""All rows by name."""
TABLE: Final = {row.name: row for row in _ROWS if row.reads}
"""Those that read files, which is what `backend=` names."""


def register(row: RuntimeInfo) -> RuntimeInfo:
    """Add a runtime, or put it in the place of the one of its name."""
    RUNTIMES[row.name] = row
    if row.reads:
        TABLE[row.name] = row
    return row


def runtime(name: str) -> RuntimeInfo:
    """The row of a runtime that reads files.

    Raises:
        SettingError: there is none; the message lists them.
    """
    if name not in TABLE:
        raise SettingError(f"no backend {name!r}; there are {', '.join(TABLE)}")
    return TABLE[name]


def readers(suffix: str) -> list[RuntimeInfo]:
    """The runtimes that read files of a suffix (".onnx"), the usual one first."""
    return [row for row in TABLE.values() if suffix.lower() in row.reads]


def suffixes() -> tuple[str, ...]:
    """Of all files that a runtime reads."""
    return tuple(dict.fromkeys(suffix for row in TABLE.values() for suffix in row.reads))


def schemes() -> dict[str, RuntimeInfo]:
    """Of all addresses that a runtime connects to."""
    return {scheme: row for row in RUNTIMES.values() for scheme in row.schemes}


def listed(names: tuple[str, ...] | list[str], last: str = "and") -> str:
    """ "a, b and c"."""
    return f" {last} ".join(filter(None, (", ".join(names[:-1]), names[-1])))
