"""The endpoints: each file here has a `router`, and its routes are part of the service.

A route is closed unless it declares otherwise; see `serve.access.rule`.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from starlette.routing import BaseRoute


def routes() -> list[BaseRoute]:
    """The routes of all files, in the order of the files' names."""
    names = sorted(found.name for found in iter_modules(__path__))
    return [route for name in names for route in import_module(f"{__name__}.{name}").router.routes]
