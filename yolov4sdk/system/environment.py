"""What is installed here, what it can use, and what does not go together."""

from __future__ import annotations

import ctypes
import platform
import re
from collections.abc import Callable, Iterator
from importlib import import_module, metadata
from typing import Any, Final

from .cpu import available_cpus
from .openvino_runtime import load_openvino, openvino_core
from .version import __version__

PACKAGE: Final = "yolov4sdk"
ONNXRUNTIMES: Final = (
    "onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml",
)  # fmt: skip
OPENCVS: Final = (
    "opencv-python-headless", "opencv-python", "opencv-contrib-python-headless",
    "opencv-contrib-python",
)  # fmt: skip
TENSORRTS: Final = ("tensorrt", "tensorrt-lean", "tensorrt-dispatch")
_REQUIREMENT: Final = re.compile(r"([\w.-]+)(?:\[([\w,-]+)\])?\s*([^;]*);?(.*)")


def report() -> dict[str, Any]:
    """Everything `yolov4sdk doctor` tells; plain values, ready for JSON.

    Keys: system, core, extras, runtimes, warnings. A warning is {"problem", "remedy"}; the remedy
    is a command or a sentence.
    """
    runtimes = {
        "onnxruntime": _probe(_onnxruntime),
        "openvino": _probe(_openvino),
        "torch": _probe(_torch),
        "tensorrt": {name: found for name in TENSORRTS if (found := version(name))},
        "driver": driver(),
    }
    return {
        "system": {
            "yolov4sdk": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "processors": available_cpus(),
        },
        "core": {name: version(name) for name, _ in requirements().get("", [])},
        "extras": extras(),
        "runtimes": runtimes,
        "warnings": list(conflicts(version, runtimes)),
    }


def version(name: str) -> str | None:
    """The installed version of a package, None without it."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def requirements() -> dict[str, list[tuple[str, str]]]:
    """Extra to its packages and their bounds (">=2.44,<2.64"), as the installed metadata says.

    "" is the core. Extras that contain others of this package are resolved.
    """
    direct: dict[str, list[tuple[str, str]]] = {"": []}
    nested: dict[str, list[str]] = {}
    for line in metadata.requires(PACKAGE) or []:
        match = _REQUIREMENT.fullmatch(line)
        assert match is not None, line  # written by our own build
        name, inner, wanted, marker = match.groups()
        found = re.search(r"extra == ['\"]([\w-]+)['\"]", marker)
        extra = found.group(1) if found else ""
        direct.setdefault(extra, [])
        if name == PACKAGE:
            nested.setdefault(extra, []).extend(inner.split(","))
        else:
            direct[extra].append((name, wanted.strip()))

    def resolve(extra: str) -> list[tuple[str, str]]:
        own = direct.get(extra, [])
        return own + [entry for part in nested.get(extra, []) for entry in resolve(part)]

    return {extra: resolve(extra) for extra in direct}


def extras() -> dict[str, dict[str, Any]]:
    """For each extra: whether it is complete, what is missing or does not fit, and the command."""
    found = {}
    for extra, packages in requirements().items():
        if extra in ("", "dev"):
            continue
        missing = [
            f"{name} {have} is not {wanted}" if have else name
            for name, wanted in packages
            if not (have := version(name)) or not _fits(have, wanted)
        ]
        found[extra] = {
            "complete": not missing,
            "missing": missing,
            "command": f'pip install "{PACKAGE}[{extra}]"',
        }
    return found


def _fits(have: str, wanted: str) -> bool:
    """Whether a version keeps the bounds, >= and <, that our own requirements have."""

    def numbers(text: str) -> tuple[int, ...]:
        return tuple(int(part) for part in re.findall(r"\d+", text.split("+")[0])[:3])

    bounds = [bound.strip() for bound in wanted.split(",") if bound]
    return all((numbers(have) < numbers(bound)) is bound.startswith("<") for bound in bounds)


def driver() -> dict[str, Any]:
    """The NVIDIA driver: the newest CUDA it runs, and how many devices it has; {} without one."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return {}
    number, count = ctypes.c_int(), ctypes.c_int()
    if cuda.cuDriverGetVersion(ctypes.byref(number)) != 0:
        return {}
    if cuda.cuInit(0) == 0:
        cuda.cuDeviceGetCount(ctypes.byref(count))
    return {
        "cuda": f"{number.value // 1000}.{number.value % 1000 // 10}",
        "devices": count.value,
    }


def conflicts(
    installed: Callable[[str], str | None], runtimes: dict[str, Any]
) -> Iterator[dict[str, str]]:
    """What does not go together, each with its remedy.

    Args:
        installed: a package's version, or None; see `version`.
        runtimes: as `report` gives them.
    """
    for family, why in (
        (ONNXRUNTIMES, "overwrite each other's files, and either may be loaded"),
        (OPENCVS, "share the module cv2 and overwrite each other's files"),
    ):
        several = [name for name in family if installed(name)]
        if len(several) > 1:
            # Files that are shared go with the first one that is removed: both are put back.
            keep = f'"{PACKAGE}[gpu]"' if "onnxruntime-gpu" in several else several[0]
            yield {
                "problem": f"{' and '.join(several)} are installed together: they {why}",
                "remedy": f"pip uninstall -y {' '.join(several)} && pip install {keep}",
            }
    for name, runtime in runtimes.items():
        if "error" in runtime:
            yield {
                "problem": f"{name} is installed but does not load: {runtime['error']}",
                "remedy": f"pip install --force-reinstall {name}",
            }
    if not any(
        runtimes[name].get("version") for name in ("onnxruntime", "openvino", "torch")
    ) and not runtimes.get("tensorrt"):
        yield {
            "problem": "no runtime is installed, so no model can be run",
            "remedy": f'pip install "{PACKAGE}[cpu]"',
        }
    yield from _cuda_conflicts(installed, runtimes)


def _cuda_conflicts(
    installed: Callable[[str], str | None], runtimes: dict[str, Any]
) -> Iterator[dict[str, str]]:
    gpu, torch = runtimes["driver"], runtimes["torch"]
    built = torch.get("cuda")
    if built and not gpu:
        yield {
            "problem": f"torch is built for CUDA {built}, but there is no NVIDIA driver here",
            "remedy": "install the driver, or torch for CPUs, which is far smaller",
        }
    elif built and int(built.split(".")[0]) > int(gpu["cuda"].split(".")[0]):
        yield {
            "problem": f"torch is built for CUDA {built}, the driver runs {gpu['cuda']} at most",
            "remedy": f"a newer driver, or torch for CUDA {gpu['cuda'].split('.')[0]}",
        }
    elif gpu.get("devices") and torch.get("version") and not built:
        yield {
            "problem": "this torch is for CPUs; the GPU here is not used by it",
            "remedy": "install torch for CUDA as pytorch.org says for this driver",
        }
    if (
        gpu.get("devices")
        and runtimes["onnxruntime"].get("version")
        and "CUDAExecutionProvider" not in runtimes["onnxruntime"]["providers"]
    ):
        yield {
            "problem": "this ONNX Runtime is for CPUs; the GPU here is not used by it",
            "remedy": f'pip uninstall -y onnxruntime && pip install "{PACKAGE}[gpu]"',
        }
    if installed("onnxruntime-gpu") and not gpu:
        yield {
            "problem": "onnxruntime-gpu is installed, but there is no NVIDIA driver here",
            "remedy": f"the driver, or: pip uninstall -y onnxruntime-gpu && pip install "
            f'"{PACKAGE}[cpu]"',
        }


def _probe(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a runtime says; {} where it is not installed, {"error"} where it does not load."""
    name = ask.__name__.lstrip("_")
    try:
        return ask()
    except ImportError as error:
        missing = error.__cause__ or error
        if isinstance(missing, ModuleNotFoundError) and missing.name == name:
            return {}
        return {"error": str(missing)}
    except Exception as error:  # a broken library fails in any way it likes
        return {
            "error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        }


def _onnxruntime() -> dict[str, Any]:
    module = import_module("onnxruntime")
    return {"version": module.__version__, "providers": module.get_available_providers()}


def _openvino() -> dict[str, Any]:
    module = load_openvino("OpenVINO")
    with openvino_core() as core:
        return {"version": module.__version__, "devices": core.available_devices}


def _torch() -> dict[str, Any]:
    module = import_module("torch")
    devices = (
        [module.cuda.get_device_name(i) for i in range(module.cuda.device_count())]
        if module.cuda.is_available()
        else []
    )
    return {"version": module.__version__, "cuda": module.version.cuda, "devices": devices}
