"""Models of Darknet: a .cfg and its .weights become a native model or a graph that runs here."""

from __future__ import annotations

from .importer import import_darknet
from .network import DarknetModel

__all__ = ["DarknetModel", "import_darknet"]
