"""What a part found: tables, curves and targets, as plain values that go through JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Cell = str | float | int | None


@dataclass(frozen=True)
class Options:
    """How a part is run.

    Attributes:
        cache: folder of the prepared models.
        peers: folder of the peers' environment.
        quick: few rounds and small sizes, to see that everything runs.
        prepare: only make what the measurement needs (exports, data), and measure nothing.
        slow: also what takes minutes or many gigabytes for a single figure.
        data: folder of data sets (`recipe.sets`), None where there is none.
        ceiling: operations a second by precision, and "copy" in bytes a second.
    """

    cache: Path
    peers: Path
    quick: bool = False
    prepare: bool = False
    slow: bool = False
    data: Path | None = None
    ceiling: Mapping[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """That one alternating comparison may take."""
        return 8 if self.quick else 60

    @property
    def rounds(self) -> int:
        """Alternating rounds at most."""
        return 2 if self.quick else 11


@dataclass(frozen=True)
class Table:
    """Rows of figures.

    Attributes:
        columns: heading to the format of its numbers (".3f", ".0%"); "" for text.
        rows: one cell a column; None where nothing was measured.
        note: what a reader must know, below the table.
    """

    title: str
    columns: Mapping[str, str]
    rows: list[list[Cell]]
    note: str = ""


@dataclass(frozen=True)
class Curve:
    """One plot. `lines` maps a name to its points (x, y); both axes are logarithmic.

    The exponent of a line is the slope of the straight line through log x and log y.
    """

    name: str
    title: str
    x: str
    y: str
    lines: Mapping[str, list[tuple[float, float]]]


@dataclass(frozen=True)
class Target:
    """A number to reach; the reason of a miss is in `reasons.py`, under `name`.

    Attributes:
        value: what was measured.
        limit: what was to be reached.
        at_least: whether the value has to be at least the limit, or at most.
    """

    name: str
    what: str
    value: float
    limit: float
    at_least: bool = False
    format: str = ".2f"

    @property
    def met(self) -> bool:
        """Whether the number was reached."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass
class Result:
    """Everything that a part found.

    Attributes:
        profiles: name of a target to a text table of where the time goes.
    """

    tables: list[Table] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    profiles: dict[str, str] = field(default_factory=dict)

    def aim(self, target: Target, profile: Callable[[], str]) -> None:
        """Add a number to reach and, where it is missed, the profile."""
        self.targets.append(target)
        if not target.met:
            self.profiles[target.name] = profile()

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Result:
        """The other way."""
        return cls(
            [Table(**table) for table in data["tables"]],
            [
                Curve(**{**c, "lines": {k: [(x, y) for x, y in v] for k, v in c["lines"].items()}})
                for c in data["curves"]
            ],
            [Target(**target) for target in data["targets"]],
            dict(data["profiles"]),
        )
