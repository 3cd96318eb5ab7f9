"""What ultralytics' predict and our Detector need beside the network, on one photograph."""

from __future__ import annotations

import statistics
from dataclasses import replace
from functools import partial
from pathlib import Path

from export.options import ExportOptions
from yolov4sdk import Detector

from ..suite.models import RAW, exported, prepared
from ..suite.peers import run_peer
from ..suite.result import Cell, Options, Result, Table, Target
from .jpegs import jpegs
from .pipeline import profile, threshold

OURS, PEER, SIZE = "yolov4-csp-s", "yolo11s", 640  # 21.2 and 21.5 GFLOPs
TOP = 1000
COLUMNS = {
    "": "", "model": "", "JPEG": "", "pre, ms": ".2f", "network, ms": ".1f", "post, ms": ".2f",
    "all beside the network, ms": ".2f", "images/s": ".2f", "of the bare network": ".3f",
}  # fmt: skip


def measure(options: Options) -> Result:
    """Both in ONNX Runtime, in turn, on a 720p and a 1080p JPEG."""
    files = prepared(OURS, SIZE, options.cache)
    form = replace(RAW, size=(SIZE, SIZE))
    reduced = ExportOptions(size=(SIZE, SIZE), topk=TOP)
    forms = {
        "yolov4sdk": exported(files["torch"], form, "batch1.onnx"),
        "yolov4sdk, uint8, top 1000": exported(files["torch"], reduced, "reduced.onnx"),
    }
    theirs = options.cache / f"{PEER}.onnx"
    if not theirs.exists():
        run_peer(options, "predict.py", "export", PEER, SIZE, options.cache)
    if options.prepare:
        return Result()
    rows: list[list[Cell]] = []
    result = Result()
    version = ""
    for size in ("720p", "1080p"):
        image = options.cache / f"{size}.jpg"
        image.write_bytes(jpegs(size, 1)[0])
        rounds = 5 if options.quick else 25
        found = run_peer(options, "predict.py", "run", theirs, image, SIZE, rounds, *forms.values())
        version = found.pop("version")
        sums = {}
        for name, key in {"ultralytics": "peer", **forms}.items():
            stages = zip(*found[str(key)], strict=True)
            before, network, after, whole = (statistics.median(t) for t in stages)
            beside = statistics.median(t[3] - t[1] for t in found[str(key)])
            sums[name] = before + after
            rows.append(
                [name, PEER if key == "peer" else OURS, size, before, network, after, beside,
                 1e3 / whole, network / whole]
            )  # fmt: skip
        if size != "720p":
            continue
        for name in forms:
            what = f"pre- plus post-processing, {name} to ultralytics, 720p JPEG at 640"
            key = f"predict-{'reduced' if 'uint8' in name else 'plain'}"
            target = Target(key, what, sums[name] / sums["ultralytics"], 0.5)
            result.aim(target, partial(calls_profile, forms[name], image))
    note = (
        f"ultralytics {version}; ONNX Runtime, 640 x 640, batch 1, iou 0.45, a file in the page "
        "cache; weights are random, so each threshold is such that 100 boxes are candidates. Its "
        "pre and post are what it reports itself, without decoding; ours are letterbox and "
        "normalisation, suppression and the way back. The second form of our export takes uint8 "
        "and keeps the best 1000 boxes in the graph: its network does a part of the work. All "
        "beside the network is the whole call less the network, decoding included."
    )
    result.tables.append(Table("", COLUMNS, rows, note))
    return result


def calls_profile(file: Path, image: Path) -> str:
    """Where calls with the image spend their time."""
    data = image.read_bytes()
    with Detector(file) as detector:
        conf = threshold(detector, data)
        return profile(lambda: [detector(data, conf=conf) for _ in range(20)])
