"""RESULTS.md and the plots, from the records alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from yolov4sdk.system.files import atomic_write

from .parts import PARTS
from .reasons import REASONS
from .result import Cell, Curve, Table, Target
from .store import Record

HEAD = """\
# Measured

Written by `python -m benchmarks`, which runs parts and merges what they find; `all` measures
everything. A figure is the median of alternating rounds in one process unless its heading says
otherwise, so a slow moment of the machine slows all that are compared. Plots and the JSON file with
every value are in `benchmarks/results/`.
"""


def render(records: Mapping[str, Record], folder: Path) -> Path:
    """Write the plots and profiles into the folder and RESULTS.md beside it; returns its path."""
    blocks = [HEAD, *_environment(records), *_targets(records, folder)]
    for name, record in records.items():
        blocks += _part(name, record, folder)
    path = folder.parent / "RESULTS.md"
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join(blocks), encoding="utf-8")
    return path


def _environment(records: Mapping[str, Record]) -> list[str]:
    """Machine, versions and the ceiling; one line each where all records agree."""
    lines = ["## Machine\n"]
    lines += sorted({f"- {r.machine}" for r in records.values()})
    known: dict[str, set[str]] = {}
    for record in records.values():
        for package, version in record.versions.items():
            known.setdefault(package, set()).add(version)
    shown = (f"{package} {' and '.join(sorted(found))}" for package, found in known.items())
    lines.append("- " + ", ".join(shown))
    rates: dict[str, list[float]] = {}
    for record in records.values():
        for kind, rate in record.ceiling.items():
            rates.setdefault(kind, []).append(rate / 1e9)
    for kind, values in rates.items():
        low, middle, high = np.percentile(values, (0, 50, 100))
        what = "GB/s copied" if kind == "copy" else f"GOP/s, {kind} matrix product"
        lines.append(f"- {middle:.0f} {what} (each part measures its own: {low:.0f} to {high:.0f})")
    return [*lines, ""]


def _targets(records: Mapping[str, Record], folder: Path) -> list[str]:
    found = [(name, r, t) for name, r in records.items() for t in r.result.targets]
    if not found:
        return []
    lines = ["## Numbers to reach\n", "| number | goal | measured | |", "|---|---|---|---|"]
    missed = []
    for name, record, target in found:
        sign = "≥" if target.at_least else "≤"
        limit, value = format(target.limit, target.format), format(target.value, target.format)
        verdict = "met" if target.met else "**missed**"
        lines.append(f"| {target.what} ({name}) | {sign} {limit} | {value} | {verdict} |")
        if not target.met:
            missed.append(_miss(target, record, folder))
    return [*lines, "", *missed]


def _miss(target: Target, record: Record, folder: Path) -> str:
    """Why a number was not reached, and where its profile is."""
    text = f"- **{target.what}**: {REASONS.get(target.name, 'not explained yet.')}"
    if profile := record.result.profiles.get(target.name):
        path = folder / "profiles" / f"{target.name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            temporary.write_text(profile, encoding="utf-8")
        text += f" Profile: [{path.stem}](results/profiles/{path.name})."
    return text + "\n"


def _part(name: str, record: Record, folder: Path) -> list[str]:
    quick = ", **quick run: not a measurement**" if record.quick else ""
    lines = [f"## {name}\n", f"{PARTS[name].about[0].upper()}{PARTS[name].about[1:]}. "
             f"{record.date}, {record.seconds:.0f} s{quick}.\n"]  # fmt: skip
    for table in record.result.tables:
        lines += _table(table)
    for curve in record.result.curves:
        plot(curve, folder / f"{curve.name}.png")
        lines += _table(_exponents(curve))
        lines.append(f"![{curve.title}](results/{curve.name}.png)\n")
    return lines


def _table(table: Table) -> list[str]:
    lines = [f"### {table.title}\n"] if table.title else []
    lines += ["| " + " | ".join(table.columns) + " |", "|---" * len(table.columns) + "|"]
    for row in table.rows:
        cells = (_cell(c, f) for c, f in zip(row, table.columns.values(), strict=True))
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, "", *([table.note + "\n"] if table.note else [])]


def _cell(cell: Cell, form: str) -> str:
    if cell is None:
        return "-"
    return cell if isinstance(cell, str) else format(cell, form)


def _exponents(curve: Curve) -> Table:
    rows: list[list[Cell]] = []
    for label, points in curve.lines.items():
        (x0, y0), (x1, y1) = points[0], points[-1]
        rows.append([label, f"{x0:g}: {y0:.3g}", f"{x1:g}: {y1:.3g}", exponent(points)])
    columns = {curve.y: "", f"first, at {curve.x}": "", "last": "", "exponent": ".2f"}
    return Table(curve.title, columns, rows)


def exponent(points: list[tuple[float, float]]) -> float:
    """The slope of the line through log x and log y."""
    x, y = np.log(np.maximum(np.array(points, np.float64), 1e-12)).T
    return float(np.polyfit(x, y, 1)[0]) if len(points) > 1 else math.nan


def plot(curve: Curve, path: Path) -> None:
    """Both axes logarithmic, the fitted lines dashed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(
        title=curve.title, xlabel=curve.x, ylabel=curve.y, xscale="log", yscale="log"
    )
    for label, points in curve.lines.items():
        x, y = np.array(points, np.float64).T
        slope = exponent(points)
        (line,) = axes.plot(x, y, "o", label=f"{label}: exponent {slope:.2f}")
        middle = np.exp(np.log(np.maximum(y, 1e-12)).mean() - slope * np.log(x).mean())
        axes.plot(x, middle * x**slope, "--", color=line.get_color(), linewidth=1)
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8)
    FigureCanvasAgg(figure)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=90)
