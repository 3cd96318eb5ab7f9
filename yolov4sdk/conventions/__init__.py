"""How the outputs of a family of exports become candidates, one file each.

A file in this folder holds a tuple `CONVENTIONS` of rows; nothing else needs to know of it. Code
outside adds a row of its own with `register`.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from ..contract.contract import GraphContract, Size
from ..errors import SettingError, TensorError, YOLOv4Error
from ..system.bounds import brief
from . import own
from .base import Convention, Outputs, Tensors, roles

_ROWS: dict[str, Convention] = {row.name: row for row in own.CONVENTIONS}
_read: set[str] = {"base", "own"}


def register(row: Convention) -> Convention:
    """Add a convention, or put it in the place of the one of its name."""
    _ROWS[row.name] = row
    return row


def conventions() -> dict[str, Convention]:
    """All rows by name; the files of this folder are imported by the first call."""
    for module in iter_modules(__path__):
        if module.name not in _read:
            _read.add(module.name)
            for row in getattr(import_module(f".{module.name}", __name__), "CONVENTIONS", ()):
                _ROWS.setdefault(row.name, row)
    return _ROWS


def convention(name: str) -> Convention:
    """The row of a name.

    Raises:
        SettingError: there is none; the message lists them.
    """
    row = _ROWS.get(name) or conventions().get(name)
    if row is None:
        raise SettingError(
            f"no convention {brief(name)}; there are {', '.join(sorted(conventions()))}"
        )
    return row


def decode(raw: Tensors, contract: GraphContract, size: Size) -> Outputs:
    """A graph's outputs by name, for inputs of (height, width) -> candidates.

    Raises:
        TensorError: outputs that are not those of the contract.
    """
    output = contract.output
    row = convention(output.convention)
    try:
        found = row.decode(roles(raw, output), contract, size)
    # A contract may come from a stranger's file, and name tensors that this convention has not.
    except (LookupError, ValueError, TypeError, ArithmeticError) as error:
        if isinstance(error, YOLOv4Error):
            raise
        raise TensorError(
            f"the graph's outputs do not fit the convention {row.name!r} "
            f"({type(error).__name__}: {str(error)[:200]}); export or adopt the model again"
        ) from error
    _check(found, output.classes)
    return found


def _check(found: Outputs, classes: int) -> None:
    """Raise TensorError for outputs that are not of so many classes: the graph is another one."""
    boxes, scores, ids = found
    rows = boxes.shape[:2]
    wanted = (*rows, classes) if ids is None else rows
    if boxes.ndim != 3 or boxes.shape[2] != 4 or scores.shape != wanted:
        raise TensorError(
            f"the graph does not fit its spec: boxes {list(boxes.shape)} and scores "
            f"{list(scores.shape)} instead of [B, N, 4] and [B, N{', C' if ids is None else ''}] "
            f"for {classes} classes; export the model again"
        )
    if ids is not None and (ids.shape != rows or ids.max(initial=0) >= classes):
        raise TensorError(
            f"the graph does not fit its spec: it names class {ids.max(initial=0)}, there are "
            f"{classes} names; export the model again"
        )


__all__ = ["Convention", "Outputs", "convention", "conventions", "decode", "register"]
