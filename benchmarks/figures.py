"""The README's plot, drawn from the kept results: python -m benchmarks.figures"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parent.parent
RESULTS: Final = REPOSITORY / "benchmarks" / "results" / "results.json"


def draw_network(part: str, target: Path) -> None:
    """Bars of each runtime's time relative to a plain export in ONNX Runtime."""
    import matplotlib.pyplot as plt

    measured = json.loads(RESULTS.read_text(encoding="utf-8"))[part]
    table = measured["result"]["tables"][0]
    columns = list(table["columns"])
    names = [row[columns.index("runtime")] for row in table["rows"]]
    ratios = [row[columns.index("of plain ONNX Runtime")] for row in table["rows"]]
    plt.rcParams["svg.hashsalt"] = part  # the same bytes from the same figures
    figure, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
    bars = axes.barh(names, ratios, color="#5b5fc7")
    axes.bar_label(bars, [f"{ratio:.2f}" for ratio in ratios], padding=4)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.12)
    axes.set_xlabel(f"time, plain ONNX Runtime = 1 ({measured['machine'].split(', Python')[0]})")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    draw_network("network-csp", REPOSITORY / "docs" / "images" / "network-csp.svg")
