"""The tables of docs/conventions.md, from the declarations and their dataclasses' docstrings.

`python -m tests.docs.convention_tables` writes them into the page.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from typing import Any, Literal, get_args, get_origin, get_type_hints

from yolov4sdk.contract.contract import (
    ExtraInput,
    InputContract,
    OutputContract,
    OutputTensor,
    Resize,
)
from yolov4sdk.conventions.declaration import foreign

from ..conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "conventions.md"
SCHEMA = {
    "input": InputContract,
    "input.resize": Resize,
    "input.extra": ExtraInput,
    "output": OutputContract,
    "output.tensors": OutputTensor,
}
LEFT_OUT = {("output", "convention")}
"""Fields that a file does not hold: its key `name` says it."""


def tables() -> dict[str, str]:
    """The tables by the names of their markers in the page."""
    return {"support": support()} | {name: schema(name, kind) for name, kind in SCHEMA.items()}


def support() -> str:
    rows = [f"| `{n}` | {row.title} | {row.source} |" for n, row in sorted(foreign().items())]
    return "\n".join(["| name | exports | source of the facts |", "|---|---|---|", *rows])


def schema(name: str, kind: type[Any]) -> str:
    """A row for each field: its name, default and meaning, and the values that it may have."""
    meanings, hints = described(kind), get_type_hints(kind)
    lines = ["| field | default | meaning |", "|---|---|---|"]
    for field in dataclasses.fields(kind):
        if (name, field.name) in LEFT_OUT:
            continue
        values = literals(hints[field.name])
        meaning = meanings[field.name] + (f" Values: {', '.join(values)}." if values else "")
        lines.append(f"| `{field.name}` | {default(field)} | {meaning} |")
    return "\n".join(lines)


def described(kind: type[Any]) -> dict[str, str]:
    """Field to sentence, of the docstring's "Attributes:"."""
    text = (inspect.getdoc(kind) or "").split("Attributes:\n")[1]
    found = {}
    for entry in re.split(r"\n {4}(?=\S)", "\n" + text)[1:]:
        names, meaning = re.sub(r"\s+", " ", entry).strip().split(": ", 1)
        for field in names.split(", "):
            found[field] = (meaning[0].upper() + meaning[1:]).removesuffix("; or").rstrip(".") + "."
    return found


def literals(hint: Any) -> list[str]:
    """The values of a Literal, of one inside a tuple too."""
    if get_origin(hint) is Literal:
        return [f"`{value}`" for value in get_args(hint)]
    inner = [one for one in get_args(hint) if get_origin(one) is Literal]
    return literals(inner[0]) if inner else []


_DEFAULTS = {"scale": "1/255", "classes": "the graph's"}
"""Of fields whose default in the code would not be understood."""


def default(field: dataclasses.Field[Any]) -> str:
    if field.name in _DEFAULTS:
        return _DEFAULTS[field.name]
    if field.default is dataclasses.MISSING:
        return "its fields' own" if field.default_factory is not dataclasses.MISSING else "required"
    return f"`{json.dumps(field.default)}`"


def replaced(text: str) -> str:
    """The page with its tables as they should be.

    Raises:
        KeyError: a marker of a table that there is not.
    """
    made = tables()
    return re.sub(
        r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}\n{made[found[2]]}\n\n{found[3]}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
