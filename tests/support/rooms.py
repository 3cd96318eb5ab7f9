"""The rooms of yolov4sdk/ and what they import, read from the files.

An import counts at any depth: inside functions and under TYPE_CHECKING too.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from ..conftest import REPOSITORY

ROOMS = {
    "errors": "",
    "system": "errors",
    "contract": "errors system",
    "conventions": "contract errors system",
    "imaging": "contract errors system",
    "tensorrt": "contract errors system",
    "models": "contract errors system",
    "detections": "errors imaging system",
    "datasets": "errors imaging system",
    "results": "contract detections errors imaging system",
    "backends": "contract conventions errors imaging models system tensorrt",
    "pipeline": "contract errors imaging results",
    "streams": "backends detections errors imaging system",
    "detector": "backends contract detections errors imaging pipeline results streams system",
    "measure": "backends contract conventions datasets errors imaging models pipeline results "
    "system",
    "cluster": "detections detector errors imaging system",
    "cli": "backends cluster contract conventions datasets detections detector errors imaging "
    "measure models results streams system",
}
"""Each room and those that it may import, the lowest first. A new arrow needs a good reason."""
DOOR = {"__init__", "__main__"}
"""The package itself, which offers the names of all rooms."""


def python_files(house: str) -> list[Path]:
    return sorted((REPOSITORY / house).rglob("*.py"))


@cache
def graph() -> dict[str, set[str]]:
    """Module of yolov4sdk to those that it imports."""
    files = {}
    for path in python_files("yolov4sdk"):
        parts = path.relative_to(REPOSITORY).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {module: _imports(path, set(files)) - {module} for module, path in files.items()}


def _imports(path: Path, modules: set[str]) -> set[str]:
    package = path.relative_to(REPOSITORY).parts[:-1]
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = ".".join([*base, *([node.module] if node.module else [])])
            names += [f"{stem}.{alias.name}" for alias in node.names]
    found = set()
    for name in names:
        while name and name not in modules:  # a name in a module
            name = name.rpartition(".")[0]
        if name:
            found.add(name)
    return found


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


@cache
def arrows() -> dict[tuple[str, str], str]:
    """(room, room that it imports) to one import that does it."""
    return {
        (room(one), room(other)): f"{one} imports {other}"
        for one, others in graph().items()
        for other in sorted(others)
        if room(one) != room(other) and not {room(one), room(other)} & DOOR
    }


def circle(edges: Mapping[str, set[str]]) -> list[str]:
    """Nodes of a circle, or nothing (depth-first search)."""
    state: dict[str, int] = {}
    path: list[str] = []

    def visit(node: str) -> list[str]:
        state[node] = 1
        path.append(node)
        for other in sorted(edges.get(node, ())):
            if state.get(other) == 1:
                return path[path.index(other) :]
            if other not in state and (found := visit(other)):
                return found
        state[node] = 2
        path.pop()
        return []

    for node in sorted(edges):
        if node not in state and (found := visit(node)):
            return found
    return []
