"""Where the time goes, as small text tables, from the runtimes' own profilers."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from yolov4sdk.system.cpu import available_cpus

RUNS = 5


def openvino_profile(path: Path, images: np.ndarray, precision: str) -> str:
    """Milliseconds a run by kind of layer and kernel, the fastest of a few runs each."""
    import openvino

    core = openvino.Core()
    graph = core.read_model(path)
    graph.reshape({"images": list(images.shape)})
    config = {
        "INFERENCE_PRECISION_HINT": precision, "PERF_COUNT": True,
        "INFERENCE_NUM_THREADS": available_cpus(),
    }  # fmt: skip
    request = core.compile_model(graph, "CPU", config).create_infer_request()
    fastest: dict[str, tuple[float, str]] = {}
    for _ in range(RUNS):
        request.infer({"images": images})
        for layer in request.profiling_info:
            seconds = layer.real_time.total_seconds()
            kind = f"{layer.node_type} {layer.exec_type}"
            if seconds and seconds < fastest.get(layer.node_name, (np.inf, ""))[0]:
                fastest[layer.node_name] = (seconds, kind)
    return table(f"OpenVINO {precision}, {path.stem}, {images.shape}", fastest.values())


def onnxruntime_profile(path: Path, images: np.ndarray) -> str:
    """Milliseconds a run by operator, the fastest of a few runs each."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = available_cpus()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for _ in range(RUNS):
            session.run(None, {"images": images})
        events = json.loads(Path(session.end_profiling()).read_text())
    fastest: dict[str, tuple[float, str]] = {}
    for event in events:
        name = event["name"]
        if event.get("cat") == "Node" and name.endswith("_kernel_time"):
            seconds = event["dur"] / 1e6
            if seconds < fastest.get(name, (np.inf, ""))[0]:
                fastest[name] = (seconds, event["args"]["op_name"])
    return table(f"ONNX Runtime, {path.stem}, {images.shape}", fastest.values())


def torch_profile(path: Path, images: np.ndarray) -> str:
    """The operators in which one run of the torch backend spends its time."""
    import torch

    from yolov4sdk.backends import load_backend

    with load_backend(path, "torch", "cpu") as backend:
        backend.infer(images)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
            backend.infer(images)
    return torch_table(profiler)


def torch_table(profiler: Any) -> str:
    """The first fifteen operators of a torch profile."""
    averages = profiler.key_averages()
    text = averages.table(sort_by="self_cpu_time_total", row_limit=15, max_name_column_width=45)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def table(title: str, layers: Any) -> str:
    """Summed by kind, the largest first."""
    total: Mapping[str, list[float]] = defaultdict(list)
    for seconds, kind in layers:
        total[kind].append(1e3 * seconds)
    everything = sum(map(sum, total.values()))
    lines = [title, "", f"{'ms':>9} {'share':>6} {'number':>6}  kind"]
    for kind, found in sorted(total.items(), key=lambda item: -sum(item[1]))[:12]:
        share = sum(found) / everything
        lines.append(f"{sum(found):9.2f} {share:6.1%} {len(found):6}  {kind}")
    return "\n".join([*lines, f"{everything:9.2f}              all", ""])
