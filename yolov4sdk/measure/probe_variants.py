"""Declarations with other inputs: colors, scales, ways of resizing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from ..contract.contract import GraphContract, Resize
from ..conventions.base import Convention

_IMAGENET: Final = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_NORMALISED: Final[tuple[dict[str, Any], ...]] = (
    {"scale": 1 / 255, "mean": (0.0,) * 3, "std": (1.0,) * 3},
    {"scale": 1.0, "mean": (0.0,) * 3, "std": (1.0,) * 3},
    {"scale": 1 / 255, **_IMAGENET},
    {"scale": 1.0, "mean": (127.5,) * 3, "std": (127.5,) * 3},
)
_RESIZED: Final = (Resize(), Resize("letterbox-top-left"), Resize("stretch"))


@dataclass(frozen=True)
class Candidate:
    """A declaration, or one with other values.

    Attributes:
        row: the declaration.
        contract: with the file's facts and the other values.
        changes: in words, "RGB, letterbox"; empty for the declaration as it stands.
    """

    row: Convention
    contract: GraphContract
    changes: str = ""

    @property
    def output(self) -> Any:
        """What it makes of the outputs, whatever it is called."""
        return replace(self.contract.output, convention="")

    @property
    def shape(self) -> Any:
        """What it makes of the outputs, apart from which class is which."""
        return replace(
            self.output, background="none", class_offset=0, class_ids=None, classes=1, topk=None,
            selection="rows" if self.output.selection == "topk" else self.output.selection,
        )  # fmt: skip

    @property
    def pixels(self) -> Any:
        """What it makes of colors."""
        taken = self.contract.input
        return taken.color, taken.scale, taken.mean, taken.std

    @property
    def title(self) -> str:
        """Its name and what is changed."""
        return f"{self.row.name} ({self.changes})" if self.changes else self.row.name


def same(contract: GraphContract) -> GraphContract:
    """The contract without its name: equal ones mean the same."""
    return replace(contract, output=replace(contract.output, convention=""))


def distinct(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The first of those that mean the same."""
    kept: dict[GraphContract, Candidate] = {}
    for one in candidates:
        kept.setdefault(same(one.contract), one)
    return list(kept.values())


def crossed(found: Sequence[Candidate]) -> list[Candidate]:
    """Each reading of the outputs with the inputs of all declarations."""
    inputs = list(dict.fromkeys(one.contract.input for one in found))
    made = []
    for one in found:
        for other in inputs:
            taken = one.contract.input
            if other.resize.shortest is None and other.multiple == taken.multiple:
                mixed = replace(
                    taken, color=other.color, scale=other.scale, mean=other.mean, std=other.std,
                    resize=other.resize,
                )  # fmt: skip
                made.append(varied(one, replace(one.contract, input=mixed)))
    return made


def colored(one: Candidate) -> list[Candidate]:
    """With the usual scales and means, in both orders of channels."""
    taken = one.contract.input
    ways: Sequence[Mapping[str, Any]] = ({},) if taken.dtype == "uint8" else ({}, *_NORMALISED)
    return [
        varied(one, replace(one.contract, input=replace(taken, color=color, **way)))
        for way in ways
        for color in ("RGB", "BGR")
    ]


def resized(one: Candidate) -> list[Candidate]:
    """With the other usual ways of resizing."""
    taken = one.contract.input
    return [
        varied(one, replace(one.contract, input=replace(taken, resize=resize)))
        for resize in _RESIZED
        if resize.policy != taken.resize.policy and taken.resize.shortest is None
    ]


def varied(one: Candidate, contract: GraphContract, said: str = "") -> Candidate:
    """The candidate with another contract, and its input in words."""
    taken = contract.input
    if same(contract) == same(one.contract):
        return one
    mean = f" - {list(taken.mean)} / {list(taken.std)}" if any(taken.mean) else ""
    scale = "1/255" if abs(taken.scale * 255 - 1) < 1e-6 else f"{taken.scale:g}"
    words = [taken.color, f"x {scale}{mean}", taken.resize.policy, *([said] if said else [])]
    return Candidate(one.row, contract, ", ".join(words))
