"""The text of a Darknet .cfg: sections of `key=value` lines, with their line numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ...errors import ModelConfigError
from ...system.bounds import CFG_BYTES, CHANNELS, LAYERS, brief

KINDS: Final[Mapping[str, str]] = {
    "net": "net",
    "network": "net",
    "convolutional": "convolutional",
    "conv": "convolutional",
    "maxpool": "maxpool",
    "max": "maxpool",
    "route": "route",
    "shortcut": "shortcut",
    "upsample": "upsample",
    "avgpool": "avgpool",
    "avg": "avgpool",
    "local_avgpool": "local_avgpool",
    "local_avg": "local_avgpool",
    "scale_channels": "scale_channels",
    "sam": "sam",
    "reorg": "reorg",
    "reorg3d": "reorg3d",
    "dropout": "dropout",
    "contrastive": "contrastive",
    "yolo": "yolo",
    "region": "region",
    "Gaussian_yolo": "Gaussian_yolo",
}
"""Section names that are read, with their short forms."""

MISSING: Final[Mapping[str, str]] = {
    **dict.fromkeys(("rnn", "gru", "lstm", "crnn", "conv_lstm", "history"), "recurrent layers are"),
    **dict.fromkeys(
        ("connected", "conn", "local", "detection"), "the connected layers of YOLOv1 are"
    ),
    **dict.fromkeys(("crop", "cost", "softmax", "soft"), "classifiers are"),
    "implicit": "implicit knowledge (YOLOR) is",
    "batchnorm": "batch normalisation apart from a convolution is",
    "activation": "an activation apart from a convolution is",
    "normalization": "local response normalisation is",
    "lrn": "local response normalisation is",
}
"""Section names of Darknet that are not supported, and what they stand for."""


@dataclass(frozen=True)
class Option:
    """The text behind a key, and its line."""

    value: str
    line: int


@dataclass
class Section:
    """One section.

    Attributes:
        source: what to call the file in messages.
        kind: a value of `KINDS`.
        line: of its head, from 1.
        index: of the layer, as route and shortcut count; -1 for [net].
        options: the first value of each key.
        repeated: further values of keys.
    """

    source: str
    kind: str
    line: int
    index: int
    options: dict[str, Option] = field(default_factory=dict)
    repeated: list[tuple[str, Option]] = field(default_factory=list)

    @property
    def where(self) -> str:
        """File, line, section and layer index, for messages."""
        layer = f", layer {self.index}" if self.index >= 0 else ""
        return f"{self.source}, line {self.line}, [{self.kind}]{layer}"

    def text(self, key: str, default: str) -> str:
        """The value as it stands."""
        return self.options[key].value if key in self.options else default

    def number(self, key: str, default: float = 0.0) -> float:
        """The value as a finite number."""
        if key not in self.options:
            return default
        return self._numbers(key, "a number", self.options[key].value)[0]

    def integer(self, key: str, default: int, low: int = 1, high: int = CHANNELS) -> int:
        """The value as an integer from `low` to `high`."""
        value = self.number(key, default)
        if value != int(value) or not low <= value <= high:
            raise failure(
                self,
                key,
                f"must be an integer of at least {low} and at most {high}, "
                f"got {brief(self.text(key, ''))}",
            )
        return int(value)

    def flag(self, key: str) -> bool:
        """The value as 0 or 1; 0 where the key is missing."""
        value = self.integer(key, 0, low=0)
        if value > 1:
            raise failure(self, key, f"must be 0 or 1, got {value}")
        return value == 1

    def numbers(self, key: str) -> list[float]:
        """A list separated by commas; a comma at its end does not count."""
        if key not in self.options:
            return []
        items = self.options[key].value.rstrip(", \t").split(",")
        return self._numbers(key, "a list of numbers separated by commas", *items)

    def integers(self, key: str) -> list[int]:
        """A list of integers separated by commas."""
        values = self.numbers(key)
        if any(v != int(v) for v in values):
            raise failure(self, key, f"must hold integers, got {brief(self.options[key].value)}")
        return [int(v) for v in values]

    def _numbers(self, key: str, wanted: str, *items: str) -> list[float]:
        try:
            values = [float(item) for item in items]
        except ValueError:
            values = [math.nan]
        if not all(map(math.isfinite, values)):
            raise failure(self, key, f"must be {wanted}, got {brief(self.options[key].value)}")
        return values


def failure(section: Section, key: str, message: str, line: int | None = None) -> ModelConfigError:
    """The error about a key: file, line, section and key are named."""
    if line is None:
        line = section.options[key].line if key in section.options else section.line
    layer = f", layer {section.index}" if section.index >= 0 else ""
    return ModelConfigError(
        f"{section.source}, line {line}, [{section.kind}]{layer}: {key[:60]} {message}"
    )


def parse_cfg(text: str, source: str = "the cfg") -> list[Section]:
    """Split the text into sections; [net] comes first.

    Lines may end in CRLF; blank ones and those that start with # or ; do not count, and a # or ;
    behind a value starts a comment too.

    Raises:
        ModelConfigError: a section that is not known here, or a line that is not one of these.
    """
    if len(text) > CFG_BYTES:
        raise ModelConfigError(f"{source} has more than {CFG_BYTES:,} bytes; is it a cfg?")
    sections: list[Section] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.replace(";", "#").split("#")[0].strip().lstrip("\ufeff")
        if not line:
            continue
        where = f"{source}, line {number}"
        if line.startswith("["):
            name = line[1:-1].strip() if line.endswith("]") else ""
            kind = KINDS.get(name)
            if kind is None and name in MISSING:
                raise ModelConfigError(
                    f"{where}: {line} cannot be imported: {MISSING[name]} not supported"
                )
            if kind is None:
                raise ModelConfigError(
                    f"{where}: unknown section {line[:60]}; there are {', '.join(sorted(KINDS))}"
                )
            if (kind == "net") != (not sections):
                raise ModelConfigError(f"{where}: [net] must be the first section, and only that")
            if len(sections) > LAYERS:
                raise ModelConfigError(f"{where}: more than {LAYERS:,} sections")
            sections.append(Section(source, kind, number, len(sections) - 1))
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if not sections or not equals or not key:
            raise ModelConfigError(f"{where}: expected [section] or key=value, got {line[:60]!r}")
        options, option = sections[-1].options, Option(value, number)
        if key in options:
            sections[-1].repeated.append((key, option))
        else:
            options[key] = option
    if not sections:
        raise ModelConfigError(f"{source}: no sections; expected a Darknet .cfg with [net] first")
    return sections
