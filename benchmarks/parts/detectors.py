"""Other detectors against Scaled-YOLOv4 where about the same accuracy is reported of both.

Both with random weights, at their own sizes, batch 1, without suppression: in OpenVINO in this
process, in eager torch in the peers' environment, always in alternating rounds.
"""

from __future__ import annotations

import json
import statistics
from functools import partial
from pathlib import Path

import numpy as np
import openvino

from yolov4sdk.measure.timing import median_ratio
from yolov4sdk.models.checkpoints import load_checkpoint

from ..runtimes import openvino_run
from ..suite.models import prepared
from ..suite.peers import run_peer
from ..suite.profiles import openvino_profile, torch_profile
from ..suite.result import Cell, Options, Result, Table, Target
from .network import per_run, pictures

EFFICIENTDET, RF_DETR = "efficientdet", "detection_transformer"  # scripts of benchmarks/peers
PAIRS = {
    "efficientdet-csp": ("yolov4-csp", 640, EFFICIENTDET, "tf_efficientdet_d3"),
    "efficientdet-p5": ("yolov4-p5", 896, EFFICIENTDET, "tf_efficientdet_d5"),
    "efficientdet-p6": ("yolov4-p6", 1280, EFFICIENTDET, "tf_efficientdet_d6"),
    "efficientdet-p7": ("yolov4-p7", 1536, EFFICIENTDET, "tf_efficientdet_d7"),
    "rf-detr-csp": ("yolov4-csp", 640, RF_DETR, "Nano"),
    "rf-detr-p5": ("yolov4-p5", 896, RF_DETR, "Small"),
    "rf-detr-p6": ("yolov4-p6", 1280, RF_DETR, "Medium"),
}
COLUMNS = {
    "engine": "", "ours": "", "median s": ".3f", "theirs": "", "their median s": ".3f",
    "rounds": "", "ours to theirs": ".2f",
}  # fmt: skip


def measure(options: Options, pair: str) -> Result:
    """One pair in every engine."""
    model, size, script, peer = PAIRS[pair]
    title = f"RF-DETR {peer}" if script == RF_DETR else peer.removeprefix("tf_")
    files = prepared(model, size, options.cache, "openvino")
    graph = options.cache / f"{title.replace(' ', '-').lower()}.onnx"
    facts = graph.with_suffix(".json")
    if not facts.exists():
        facts.write_text(json.dumps(run_peer(options, f"{script}.py", "export", peer, graph)))
    about = json.loads(facts.read_text())
    if options.prepare:
        return Result()
    core = openvino.Core()
    ours, theirs = pictures(size, 1), np.ascontiguousarray(pictures(about["size"], 1))
    result = Result()
    rows: list[list[Cell]] = []
    names = (f"{model} {size}", f"{title} {about['size']}")
    capable = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    times = {"torch eager": run_peer(
        options, f"{script}.py", "torch", peer, files["torch"], options.seconds / 2
    )}  # fmt: skip
    versions = times["torch eager"].pop("versions")
    for precision in ("f32", "bf16") if capable else ("f32",):
        runs = {
            "ours": openvino_run(core, files["openvino"], ours, precision),
            "peer": openvino_run(core, graph, theirs, precision),
        }
        times[f"OpenVINO {precision}"] = per_run(runs, options, share=0.5)
    for engine, found in times.items():
        ratio = median_ratio(found["ours"], found["peer"])
        middle = [statistics.median(found[who]) for who in ("ours", "peer")]
        rows.append([engine, names[0], middle[0], names[1], middle[1], len(found["ours"]), ratio])
        if script == EFFICIENTDET:
            key = f"{pair}-{engine.replace(' ', '-').lower()}"
            what = f"{names[0]} to {names[1]}, {engine}"
            result.aim(Target(key, what, ratio, 1.0), partial(profile, engine, files, ours))
    weights = sum(p.numel() for p in load_checkpoint(files["torch"]).parameters())
    note = (
        f"{weights / 1e6:.1f} and {about['parameters'] / 1e6:.1f} million parameters; in torch: "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + " (ours folded, theirs as their package builds it, both channels_last)."
    )
    result.tables.append(Table("", COLUMNS, rows, note))
    return result


def profile(engine: str, files: dict[str, Path], images: np.ndarray) -> str:
    """Where our time goes."""
    if engine == "torch eager":
        return torch_profile(files["torch"], images)
    return openvino_profile(files["openvino"], images, engine.split()[-1])
