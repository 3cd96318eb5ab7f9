"""One JSON file with what every part found, each with the machine on which it was found."""

from __future__ import annotations

import json
import platform
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from yolov4sdk.measure.ceiling import copy_rate, matrix_rates
from yolov4sdk.measure.timing import machine
from yolov4sdk.system.cpu import available_cpus
from yolov4sdk.system.files import atomic_write

from .parts import PARTS
from .result import Result

RESULTS: Final = Path(__file__).parent.parent / "results" / "results.json"
PACKAGES: Final = (
    "yolov4sdk", "numpy", "opencv-python-headless", "simplejpeg", "torch", "onnxruntime",
    "openvino", "nncf", "av", "supervision",
)  # fmt: skip


@dataclass(frozen=True)
class Record:
    """A part's result and where it is from.

    Attributes:
        ceiling: operations a second by precision, and "copy" in bytes a second, measured by the
            same process just before.
        versions: of the packages that are installed.
    """

    date: str
    machine: str
    cores: int
    ceiling: dict[str, float]
    versions: dict[str, str]
    quick: bool
    seconds: float
    result: Result

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**self.__dict__, "result": self.result.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Record:
        """The other way."""
        return cls(**{**data, "result": Result.from_dict(data["result"])})


def measure_ceiling(rounds: int) -> dict[str, float]:
    """Matrix rates by precision and the rate of copying."""
    return {**matrix_rates(rounds), "copy": copy_rate(rounds)}


def record(result: Result, ceiling: dict[str, float], quick: bool, seconds: float) -> Record:
    """A result of this process, now."""
    return Record(
        time.strftime("%Y-%m-%d %H:%M"), machine(), available_cpus(), ceiling, versions(), quick,
        round(seconds, 1), result,
    )  # fmt: skip


def versions() -> dict[str, str]:
    """Python and the packages that a figure may depend on."""
    found = {"Python": platform.python_version(), "Linux": platform.release()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def load(path: Path = RESULTS) -> dict[str, Record]:
    """The records by part, in the order of the parts; empty without a file."""
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return {name: Record.from_dict(found[name]) for name in PARTS if name in found}


def merge(name: str, new: Record, path: Path = RESULTS) -> dict[str, Record]:
    """Put one part's record in the place of its older one."""
    records = {**load(path), name: new}
    ordered = {part: records[part].to_dict() for part in PARTS if part in records}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
    return {part: records[part] for part in ordered}
