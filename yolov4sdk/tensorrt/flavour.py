"""TensorRT and TensorRT-RTX: one Python API, and everywhere they differ is in this file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from ..errors import BackendError, MissingExtraError, SettingError


@dataclass(frozen=True)
class Flavour:
    """One of the two libraries.

    Attributes:
        name: as `--engine` and `backend=` say it.
        title: as its documentation says it.
        module: its Python package.
        magic: the first bytes of its engines.
        portable: engines are built for compute capabilities, on a machine without a GPU too;
            kernels are compiled and tuned when an engine is loaded.
        nms: whether it has kernels for ONNX NonMaxSuppression.
    """

    name: str
    title: str
    module: str
    magic: bytes
    portable: bool
    nms: bool

    def load(self) -> Any:
        """The Python package.

        Raises:
            MissingExtraError: it is not installed.
            BackendError: it is, but its libraries cannot be loaded.
        """
        try:
            return import_module(self.module)
        except ImportError as error:
            if getattr(error, "name", None) == self.module:
                raise MissingExtraError(self.title, self.name, self.module) from error
            raise BackendError(
                f"{self.title} is installed but cannot be loaded: {error}"
            ) from error
        except OSError as error:  # a wheel without the libraries, or another CUDA version
            raise BackendError(
                f"{self.title} is installed but cannot be loaded: {error}"
            ) from error

    def network_flags(self, trt: Any) -> int:
        """Strong typing: precision comes from the graph. TensorRT 11 and RTX have nothing else."""
        return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)

    def check_target(self, trt: Any, capabilities: Sequence[str]) -> None:
        """Raise SettingError for compute capabilities ("8.9") that it does not build for."""
        if capabilities and not self.portable:
            raise SettingError(
                "TensorRT builds for the GPU in this machine; compute capabilities can be chosen "
                "with --engine trt-rtx, and --hardware-compatible widens a TensorRT engine"
            )
        known = self.capabilities(trt)
        if missing := [c for c in capabilities if c not in known]:
            raise SettingError(
                f"{self.title} {trt.__version__} builds for compute capability {', '.join(known)}, "
                f"not for {', '.join(missing)}"
            )

    def set_target(self, trt: Any, config: Any, capabilities: Sequence[str]) -> None:
        """Say for which GPUs to build; none is the flavour's default: TensorRT for the GPU that is
        here, TensorRT-RTX for every one from Ampere on.
        """
        if capabilities:
            config.num_compute_capabilities = len(capabilities)
            known = self.capabilities(trt)
            for index, capability in enumerate(capabilities):
                config.set_compute_capability(known[capability], index)

    def capabilities(self, trt: Any) -> dict[str, Any]:
        """The compute capabilities that can be built for without such a GPU."""
        if not self.portable:
            return {}
        return {
            f"{name[2:-1]}.{name[-1]}": value
            for name, value in trt.ComputeCapability.__members__.items()
            if name.startswith("SM")
        }

    def check_options(self, options: Any, driver: bool) -> None:
        """Raise SettingError for `EngineOptions` that this flavour would ignore or fail on."""
        if not self.portable:
            return
        unused = {
            "hardware_compatible": "name the compute capabilities instead",
            "version_compatible": "its engines run on the version that built them",
            "timing_cache": "kernels are chosen when an engine is loaded, not at build",
        }
        for field, why in unused.items():
            if getattr(options, field):
                raise SettingError(f"{self.title} has no {field.replace('_', ' ')}: {why}")
        if (options.strip or options.refit) and not driver:
            raise SettingError(
                f"{self.title} builds stripped and refittable engines on a machine with a GPU only"
            )

    def runtime_config(self, engine: Any, kernels: Path) -> tuple[Any, Any]:
        """How a context of this engine is made, and the cache of its kernels, None for TensorRT.

        TensorRT-RTX compiles kernels for the GPU when they are first needed; `kernels` is the file
        in which they are kept from one process to the next.
        """
        if not self.portable:
            return None, None
        running = engine.create_runtime_config()
        compiled = running.create_runtime_cache()
        if kernels.is_file():
            compiled.deserialize(kernels.read_bytes())
        running.set_runtime_cache(compiled)
        return running, compiled


FLAVOURS: Final = {
    flavour.name: flavour
    for flavour in (
        Flavour("trt", "TensorRT", "tensorrt", b"ftrt", portable=False, nms=True),
        Flavour("trt-rtx", "TensorRT-RTX", "tensorrt_rtx", b"vtrt", portable=True, nms=False),
    )
}
