"""What ultralytics' predict and our Detector need beside the network, on one photograph."""

from __future__ import annotations

import statistics

from export.options import ExportOptions

from ..suite.models import exported, prepared
from ..suite.peers import run_peer
from ..suite.result import Cell, Options, Result, Table, Target
from .jpegs import jpegs

OURS, PEER, SIZE = "yolov4-csp-s", "yolo11s", 640  # 21.2 and 21.5 GFLOPs
COLUMNS = {
    "": "", "JPEG": "", "pre, ms": ".2f", "network, ms": ".1f", "post, ms": ".2f",
    "all beside the network, ms": ".2f", "images/s": ".2f", "of the bare network": ".3f",
}  # fmt: skip


def measure(options: Options) -> Result:
    """Both in ONNX Runtime, in turn, on a 720p and a 1080p JPEG."""
    files = prepared(OURS, SIZE, options.cache)
    ours = exported(files["torch"], ExportOptions(size=(SIZE, SIZE)), "batch1.onnx")
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
        rounds = 5 if options.quick else 40
        found = run_peer(options, "predict.py", "run", theirs, ours, image, SIZE, rounds)
        version = found.pop("version")
        sums = {}
        for who, name in (("ours", f"yolov4sdk, {OURS}"), ("peer", f"ultralytics, {PEER}")):
            times = found[who]
            before, network, after, whole = (statistics.median(t) for t in times.values())
            beside = statistics.median(
                w - n for w, n in zip(times["whole"], times["network"], strict=True)
            )
            sums[who] = before + after, beside
            rows.append([name, size, before, network, after, beside, 1e3 / whole, network / whole])
        if size == "720p":
            what = "pre- plus post-processing to ultralytics', 720p JPEG at 640"
            value = sums["ours"][0] / sums["peer"][0]
            result.targets.append(Target("predict", what, value, 0.5))
            what = "everything beside the network to ultralytics', 720p JPEG at 640"
            value = sums["ours"][1] / sums["peer"][1]
            result.targets.append(Target("predict-beside", what, value, 0.5))
    note = (
        f"ultralytics {version}; ONNX Runtime, 640 x 640, batch 1, iou 0.45, a file in the page "
        "cache; weights are random, so each threshold is such that 100 boxes are candidates. Its "
        "pre and post are what it reports itself, without decoding; ours are letterbox and "
        "normalisation, suppression and the way back. All beside the network is the whole call "
        "less the network, decoding included."
    )
    result.tables.append(Table("", COLUMNS, rows, note))
    return result
