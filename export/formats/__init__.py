"""The formats that an export can write: a file here is one, or a family of them.

Each file defines `FORMATS`, a tuple of `export.plan.Format`; nothing else has to know of it.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Final

from ..plan import Format


def _found() -> list[Format]:
    modules = [import_module(f".{entry.name}", __name__) for entry in iter_modules(__path__)]
    return [format for module in modules for format in module.FORMATS]


FORMATS: Final[dict[str, Format]] = {f.name: f for f in sorted(_found(), key=lambda f: f.name)}
"""By name, as `--engine` says it."""
