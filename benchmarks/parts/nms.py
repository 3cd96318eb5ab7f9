"""Suppression of ready candidates against OpenCV's and, when asked, supervision's."""

from __future__ import annotations

import statistics

import cv2

from yolov4sdk.measure.timing import alternate

from ..nms import candidates, peers, share
from ..suite.result import Cell, Options, Result, Table, Target

CASES = ((10, 5), (300, 20), (20_000, 100), (20_000, None))
FEW = 5_000  # supervision compares all pairs: above, it takes gigabytes


def measure(options: Options) -> Result:
    """Milliseconds on one thread, and how many of our boxes the others keep as well."""
    if options.prepare:
        return Result()
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    rows: list[list[Cell]] = []
    result = Result()
    for count, clusters in CASES:
        runs = peers(*candidates(count, clusters))
        slow = {}
        if count > FEW:
            slow = {"supervision": runs.pop("supervision")}
            slow = slow if options.slow else {}
        kept = {name: run() for name, run in {**runs, **slow}.items()}
        times = alternate(runs, options.rounds, options.seconds) | alternate(slow, 1)
        medians = {name: 1e3 * statistics.median(seconds) for name, seconds in times.items()}
        others = ("OpenCV", "supervision")
        same = [share(kept["yolov4sdk"], kept[n]) if n in kept else None for n in others]
        label = f"{count:,} in {clusters} clusters" if clusters else f"{count:,}, uniform"
        ours = medians["yolov4sdk"]
        rows.append([label, ours, *(medians.get(n) for n in others), len(kept["yolov4sdk"]), *same])
        if (count, clusters) == (20_000, 100):
            what = "20,000 candidates in 100 clusters, one core, ms"
            result.targets.append(Target("nms", what, ours, 5.0, format=".1f"))
            for name in others:
                if name in medians:
                    what = f"the same, {name}'s time to ours"
                    value = medians[name] / ours
                    result.targets.append(Target(f"nms-{name}", what, value, 1.0, at_least=True))
    cv2.setNumThreads(threads)
    columns = {
        "candidates": "", "yolov4sdk, ms": ".2f", "OpenCV, ms": ".2f", "supervision, ms": ".1f",
        "kept": "", "same as OpenCV": ".1%", "same as supervision": ".1%",
    }  # fmt: skip
    note = (
        "One thread, 80 classes, at most 300 kept. OpenCV shifts boxes by class, which rounds them."
        " supervision compares all pairs: 20,000 take 14 GB, so it runs there with --slow alone."
    )
    result.tables.append(Table("", columns, rows, note))
    return result
