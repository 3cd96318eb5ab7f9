"""The run folder: what was run, with what, and how to run it again."""

from __future__ import annotations

import csv
import importlib.metadata
import json
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from train.checkpoint import STATE_FILE
from train.settings import TrainSettings
from yolov4sdk.errors import TrainingError
from yolov4sdk.system.files import atomic_write

SETTINGS_FILE, RUN_FILE, RESULTS_FILE = "settings.json", "run.json", "results.csv"
_PACKAGES = ("yolov4sdk", "torch", "numpy", "opencv-python-headless", "faster-coco-eval")
COLUMNS = (
    "epoch", "box", "objectness", "classes", "loss", "iou_ratio", "lr", "updates",
    "map50_95", "map50", "map75", "seconds", "images_per_second", "memory_gib",
)  # fmt: skip


def repository_state(folder: Path | None = None) -> str:
    """The git commit of the code, "+changes" when files differ from it; "" outside a repository."""
    where = folder or Path(__file__).resolve().parent
    try:
        commit, changes = (
            subprocess.run(
                ["git", "-C", str(where), *arguments],
                capture_output=True, text=True, check=True, timeout=10,
            ).stdout.strip()
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno"])
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{commit}+changes" if changes else commit


def versions() -> dict[str, str]:
    """Python, the platform and the packages that decide a run's numbers."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed as a package"
    return found


class RunFolder:
    """A run's folder.

    Args:
        path: made when missing.

    Raises:
        TrainingError: with `fresh`, when it holds a run already.
    """

    def __init__(self, path: str | Path, fresh: bool) -> None:
        self.path = Path(path)
        if fresh and (self.path / STATE_FILE).exists():
            raise TrainingError(
                f"{self.path} holds a run already; go on with it by --resume {self.path}, or "
                "choose another --output"
            )
        self.path.mkdir(parents=True, exist_ok=True)

    def write_start(self, settings: TrainSettings, details: dict[str, Any]) -> None:
        """Write the settings, and what else repeats the run (`details` are added)."""
        again = f"yolov4sdk train --config {shlex.quote(str(self.path / SETTINGS_FILE))}"
        about = {
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": shlex.join(sys.argv),
            "repeat": f"{again} --output {shlex.quote(str(self.path) + '-again')}",
            "seed": settings.seed,
            "git": repository_state(),
            "versions": versions(),
            **details,
        }
        self._write(SETTINGS_FILE, settings.to_json() + "\n")
        self._write(RUN_FILE, json.dumps(about, indent=2) + "\n")

    def _write(self, name: str, text: str) -> None:
        with atomic_write(self.path / name) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def results(self) -> list[dict[str, str]]:
        """The rows of results.csv, one an epoch."""
        file = self.path / RESULTS_FILE
        if not file.is_file():
            return []
        with file.open(newline="", encoding="utf-8") as lines:
            return list(csv.DictReader(lines))

    def write_row(self, row: dict[str, Any]) -> None:
        """Add an epoch's row; rows of this and later epochs (of an interrupted run) go."""
        rows: list[dict[str, Any]] = [r for r in self.results() if int(r["epoch"]) < row["epoch"]]
        rows.append({name: _short(row.get(name, "")) for name in COLUMNS})
        with (
            atomic_write(self.path / RESULTS_FILE) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as lines,
        ):
            writer = csv.DictWriter(lines, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
