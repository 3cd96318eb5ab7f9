"""One version of a model: where it comes from, and what it said when it was loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from yolov4sdk import ModelSpec

from .messages import Loaded


@dataclass(eq=False)
class Version:
    """A model under a name; a swap makes a new version.

    Attributes:
        name: by which requests ask for it.
        key: of this version in the workers.
        path: None is the embedded model.
        options: of the Detector.
        limit: rows of a batch.
        devices: the device that each worker really uses, by the worker's own name.
    """

    name: str
    key: str
    path: str | None
    options: dict[str, Any]
    limit: int
    spec: ModelSpec = field(init=False)
    size: tuple[int, int] = (0, 0)
    rectangular: bool = False
    backend: str = ""
    precision: str = ""
    devices: dict[str, str] = field(default_factory=dict)

    def loaded(self, worker: str, facts: Loaded) -> None:
        """Take what a worker says of it."""
        self.spec = ModelSpec.from_json(facts.spec)
        self.size, self.rectangular = facts.size, facts.rectangular
        self.limit = self.spec.batch or self.limit
        self.backend, self.precision = facts.backend, facts.precision
        self.devices[worker] = facts.device
