"""The registry: models by name, their versions, and swapping them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from yolov4sdk import ModelSpec

from .artefacts import check_artefact, named_models
from .problems import Problem
from .settings import Settings
from .version import Version

State = Literal["ready", "restarting", "draining"]


class Loader(Protocol):
    """What loads and unloads versions: the scheduler."""

    async def load(self, version: Version) -> None:
        """Load a version and take work for it."""

    async def retire(self, version: Version) -> None:
        """Finish its work and unload it."""


@dataclass(frozen=True)
class ModelInfo:
    """A loaded model.

    Attributes:
        name: by which requests ask for it.
        spec: of the artefact.
        backend: of the runtime, "onnxruntime".
        device: the devices really used, "cpu" or "cuda:0,cuda:1".
        precision: of the arithmetic really used.
        state: "ready", or why it is not.
        default: whether it answers requests that name no model.
        size: (height, width) in pixels, of the canvas images are letterboxed into.
    """

    name: str
    spec: ModelSpec
    backend: str
    device: str
    precision: str
    state: State
    default: bool
    size: tuple[int, int]


class Registry:
    """Which version answers for which name. All methods belong to one event loop.

    Raises:
        YOLOv4Error: a model of the settings is missing or not an artefact.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._numbers = itertools.count()
        self._changing = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()
        self._current: dict[str, Version] = {}
        for name, path in named_models(settings.models).items():
            if path is not None:
                check_artefact(path)
            self._current[name] = self._version(name, path, {})

    def __iter__(self) -> Iterator[Version]:
        """The current versions, the default one first."""
        return iter(self._current.values())

    def find(self, name: str | None) -> Version | None:
        """The current version of a name; None is the default model: the first."""
        return next(iter(self)) if name is None else self._current.get(name)

    def named(self, name: str | None) -> Version:
        """As `find`.

        Raises:
            Problem: 404, no model of this name.
        """
        version = self.find(name)
        if version is None:
            raise Problem(404, "No such model", f"there are {', '.join(self._current)}")
        return version

    def info(self, version: Version, state: State) -> ModelInfo:
        """What clients are told of a model."""
        return ModelInfo(
            version.name, version.spec, version.backend, ",".join(version.devices.values()),
            version.precision, state, version is self.find(None), version.size,
        )  # fmt: skip

    async def load(self, name: str, path: Path, loader: Loader, options: dict[str, Any]) -> Version:
        """Load a model, or swap the one of this name; the old one serves until the new is warm.

        Args:
            path: of a file that `serve.artefacts.served_file` allowed.
            options: backend, precision, size of the Detector.

        Raises:
            YOLOv4Error: it cannot be loaded; the old one stays.
        """
        await asyncio.to_thread(check_artefact, path)
        async with self._changing:
            version = self._version(name, path, options)
            await loader.load(version)
            old = self._current.get(name)
            self._current[name] = version
            if old is not None:
                self._retire(old, loader)
            return version

    async def unload(self, name: str, loader: Loader) -> None:
        """Take a model out of service; what it accepted is finished.

        Raises:
            Problem: 404 no such model, 409 it is the default one.
        """
        async with self._changing:
            version = self.named(name)
            if version is self.find(None):
                raise Problem(409, "In use", "the default model can be swapped, not unloaded")
            del self._current[name]
            self._retire(version, loader)

    def stop(self) -> None:
        """Wait for no retiring version any more."""
        for task in self._retiring:
            task.cancel()

    def _version(self, name: str, path: Path | None, options: dict[str, Any]) -> Version:
        s = self._settings
        common = {
            "backend": s.backend, "precision": s.precision, "shape": s.shape, "threads": s.threads,
            "batch": s.batch_size,
        }  # fmt: skip
        key = f"{name}#{next(self._numbers)}"
        where = None if path is None else str(path)
        return Version(name, key, where, {**common, **options}, s.batch_size)

    def _retire(self, version: Version, loader: Loader) -> None:
        task = asyncio.ensure_future(loader.retire(version))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)
