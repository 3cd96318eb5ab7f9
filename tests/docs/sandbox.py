"""A folder in which the documentation's examples find the files that they name."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

PHOTOGRAPHS = {".jpg", ".jpeg", ".png"}
VIDEOS = {".mp4", ".mkv"}


@dataclass(frozen=True)
class Sandbox:
    """Small stand-ins for the files that an example reads.

    Attributes:
        folder: the current directory of the example.
        models: a file of a network with COCO's classes for each suffix.
        photograph: of a dog.
    """

    folder: Path
    models: dict[str, Path]
    photograph: Path

    def supply(self, words: Iterable[str]) -> None:
        """Make each word that is the relative path of a model, a photograph or a video a file."""
        for word in words:
            path = PurePosixPath(word)
            if path.is_absolute() or ".." in path.parts or len(word) > 100 or "://" in word:
                continue
            target = self.folder / path
            if target.exists():
                continue
            if path.suffix in self.models:
                self._copy(self.models[path.suffix], target)
            elif path.suffix in PHOTOGRAPHS and not set(word) & set("*?["):
                self._copy(self.photograph, target)
            elif path.suffix in VIDEOS:
                write_video(target, self.photograph)
            elif word.endswith("/") or path.suffix in PHOTOGRAPHS:
                folder = target if word.endswith("/") else target.parent
                for name in ("first.jpg", "second.jpg"):
                    self._copy(self.photograph, folder / name)

    def supply_python(self, code: str) -> None:
        """`supply` the string literals of Python code."""
        nodes = ast.walk(ast.parse(code))
        self.supply(n.value for n in nodes if isinstance(n, ast.Constant) and type(n.value) is str)

    def _copy(self, source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        if source.suffix == ".xml":
            shutil.copyfile(source.with_suffix(".bin"), target.with_suffix(".bin"))


def write_video(target: Path, photograph: Path, frames: int = 5) -> None:
    """One photograph, ten frames a second."""
    from yolov4sdk.imaging.images import read_image
    from yolov4sdk.streams.video_writer import VideoWriter

    with VideoWriter(target, 10) as writer:
        for _ in range(frames):
            writer.write(read_image(photograph)[:256, :320])
