"""What is installed here, what it can use, and what does not go together."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from importlib import metadata
from typing import Any, Final, Protocol

from packaging.specifiers import SpecifierSet

from .cpu import available_cpus, units
from .cuda_driver import driver_version, gpus
from .text import first_line
from .version import __version__

PACKAGE: Final = "yolov4sdk"
OPENCVS: Final = (
    "opencv-python-headless", "opencv-python", "opencv-contrib-python-headless",
    "opencv-contrib-python",
)  # fmt: skip


class Runtime(Protocol):
    """What is asked of a row of `yolov4sdk.backends.runtimes`."""

    @property
    def name(self) -> str:
        """Of the runtime, and of its module."""
        ...

    @property
    def packages(self) -> tuple[str, ...]:
        """That provide it."""
        ...

    @property
    def exclusive(self) -> bool:
        """Whether two of the packages at once overwrite each other."""
        ...

    def units(self, here: Collection[str]) -> dict[str, str]:
        """The unit that each precision is computed with on a processor that has these."""
        ...

    @property
    def probe(self) -> Callable[[], dict[str, Any]]:
        """What is installed and can be used."""
        ...


_REQUIREMENT: Final = re.compile(r"([\w.-]+)(?:\[([\w,-]+)\])?\s*([^;]*);?(.*)")


def report(rows: Iterable[Runtime]) -> dict[str, Any]:
    """Everything `yolov4sdk doctor` says; plain values, ready for JSON.

    Keys: system, core, extras, runtimes, warnings. A warning is {"problem", "remedy"}; the remedy
    is a command or a sentence.

    Args:
        rows: `yolov4sdk.backends.TABLE`.
    """
    rows = list(rows)
    runtimes = {row.name: _probe(row) for row in rows} | {"driver": driver()}
    return {
        "system": {
            "yolov4sdk": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "processors": available_cpus(),
            "units": " ".join(units()) or "not known",
        },
        "core": {name: version(name) for name, _ in requirements().get("", [])},
        "extras": extras(),
        "runtimes": runtimes,
        "warnings": list(conflicts(version, runtimes, rows)),
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
    """Whether a version keeps the bounds of a requirement (">=2.44,<2.64")."""
    return SpecifierSet(wanted).contains(have, prereleases=True)


def driver() -> dict[str, Any]:
    """The NVIDIA driver: the newest CUDA it runs, and how many devices it has; {} without one."""
    version = driver_version()
    return {} if version is None else {"cuda": version, "devices": len(gpus())}


def conflicts(
    installed: Callable[[str], str | None], runtimes: dict[str, Any], rows: Iterable[Runtime]
) -> Iterator[dict[str, str]]:
    """What does not go together, each with its remedy.

    Args:
        installed: a package's version, or None; see `version`.
        runtimes: as `report` gives them.
        rows: of the runtimes.
    """
    families = {row.packages: "overwrite each other's files, and either may be loaded"
                for row in rows if row.exclusive}  # fmt: skip
    families[OPENCVS] = "share the module cv2 and overwrite each other's files"
    for family, why in families.items():
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
    if not any(found and "error" not in found for name, found in runtimes.items()
               if name != "driver"):  # fmt: skip
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


def _probe(row: Runtime) -> dict[str, Any]:
    """What a runtime says; {} where it is not installed, {"error"} where it does not load."""
    try:
        used = row.units(units())
        return row.probe() | ({"units": used} if used else {})
    except ImportError as error:
        missing = error.__cause__ or error
        if isinstance(missing, ModuleNotFoundError) and missing.name == row.name:
            return {}
        return {"error": str(missing)}
    except Exception as error:  # a broken library fails in any way it likes
        return {"error": f"{type(error).__name__}: {first_line(error) if str(error) else ''}"}
