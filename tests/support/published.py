"""What becomes of published cfgs: the table of docs/import.md.

    python -m tests.support.published darknet/cfg other/cfg

prints it for the texts in some folders, such as those of AlexeyAB's and pjreddie's repositories.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from yolov4sdk.errors import ModelConfigError
from yolov4sdk.models.darknet.graph import load_graph
from yolov4sdk.models.darknet.native import find_native

NATIVE = "native definition; trains"
SCALED = "graph, `scaled` decoding; trains"
DARKNET = "graph, `darknet` decoding; runs and exports"
MALFORMED = "no: a comma is missing between two anchors"


def outcome(text: str) -> str:
    """What a cfg becomes, or why it does not."""
    try:
        graph = load_graph(text)
    except ModelConfigError as error:
        message = str(error)
        if "no [yolo]" in message:
            return "no: it has no head of a detector"
        if "anchors must be a list" in message:
            return MALFORMED
        reason = re.search(r": ([^:]*) (?:(?:is|are) not supported|cannot be imported)$", message)
        assert reason, message
        return f"no: {reason[1]}"
    if find_native(graph) is not None:
        return NATIVE
    return SCALED if graph.decoding == "scaled" else DARKNET


def outcomes(folders: Iterable[Path]) -> dict[str, str]:
    """By name, of every cfg in some folders and below."""
    found: dict[str, str] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*.cfg")):
            name = str(path.relative_to(folder).with_suffix(""))
            text = path.read_bytes().decode("utf-8-sig", errors="replace")
            assert found.setdefault(name, outcome(text)) == outcome(text), name
    return found


def table(found: dict[str, str]) -> str:
    """Markdown, one row an outcome."""
    order = [NATIVE, SCALED, DARKNET, *sorted(set(found.values()) - {NATIVE, SCALED, DARKNET})]
    rows = ["| becomes | published cfgs |", "|---|---|"]
    for what in order:
        names = sorted((n for n, result in found.items() if result == what), key=str.lower)
        rows.append(f"| {what} | {', '.join(names)} |")
    return "\n".join(rows)


def documented(text: str) -> dict[str, str]:
    """The table read back out of a page: name -> outcome."""
    rows = re.findall(r"^\| ((?:native|graph|no)[^|]*) \| ([^|]*) \|$", text, re.M)
    return {name: what for what, names in rows for name in names.split(", ")}


if __name__ == "__main__":
    print(table(outcomes(map(Path, sys.argv[1:]))))
