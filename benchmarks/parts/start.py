"""Import time, and the time from process start to the first detection, in fresh processes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from functools import partial

from yolov4sdk.measure.timing import alternate

from ..install import run_statement
from ..suite.models import PHOTOGRAPHS, prepared_for_one
from ..suite.result import Cell, Options, Result, Table, Target

IMPORTS = {
    "Python alone": "pass",
    "numpy and cv2": "import numpy, cv2",
    "yolov4sdk": "import yolov4sdk",
    "Detector": "from yolov4sdk import Detector",
    "yolov4sdk.models (torch)": "import yolov4sdk.models",
    "onnxruntime alone": "import onnxruntime",
    "openvino alone": "import openvino",
}
DETECT = "from yolov4sdk import Detector; print(len(Detector({arguments})({image!r})), flush=True)"


def measure(options: Options) -> Result:
    """Imports, then first detections, each in alternating rounds."""
    csp_n = prepared_for_one("yolov4-csp-n", 320, options.cache)
    csp = prepared_for_one("yolov4-csp", 640, options.cache) if not options.quick else {}
    if options.prepare:
        return Result()
    image = str(PHOTOGRAPHS / "dog.jpg")
    found = {
        "embedded default, ONNX Runtime": "",
        "embedded default, OpenVINO": "backend='openvino'",
        **{
            f"{name} {form}": f"{str(files[key])!r}" + (f", precision={form[-4:]!r}" * bf16)
            for name, files in (("yolov4-csp-n 320,", csp_n), ("yolov4-csp 640,", csp))
            for form, key, bf16 in (
                ("ONNX Runtime", "onnx", False), ("OpenVINO fp32", "openvino", False),
                ("OpenVINO bf16", "openvino", True), ("OpenVINO int8", "int8", False),
                ("torch", "torch", False),
            )
            if files
        },
    }  # fmt: skip
    imports = alternate(
        {name: partial(run_statement, sys.executable, text) for name, text in IMPORTS.items()},
        options.rounds, options.seconds / 2,
    )  # fmt: skip
    first: dict[str, list[float]] = {name: [] for name in found}

    def detect(name: str) -> None:
        started = time.perf_counter()
        statement = DETECT.format(arguments=found[name] or "None", image=image)
        if found[name].startswith("backend"):
            statement = DETECT.format(arguments=f"None, {found[name]}", image=image)
        command = [sys.executable, "-c", statement]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd="/") as process:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise RuntimeError(f"no detection by {name}")
            first[name].append(time.perf_counter() - started)

    alternate({name: partial(detect, name) for name in found}, options.rounds, options.seconds)
    base = statistics.median(imports.pop("Python alone"))
    rows: list[list[Cell]] = [[name, statistics.median(s) - base] for name, s in imports.items()]
    note = f"Python's own start takes {base:.3f} s."
    result = Result()
    result.tables.append(
        Table("Import, beyond Python's own start", {"import": "", "s": ".3f"}, rows, note)
    )
    rows = [[name, statistics.median(s[1:]), len(s) - 1] for name, s in first.items()]
    columns = {"model and runtime": "", "s": ".3f", "rounds": ""}
    note = (
        "Files are in the page cache. A process of `python -c` starts, imports, loads the model, "
        "reads a JPEG and detects; the time ends when it prints."
    )
    result.tables.append(Table("From process start to the first detection", columns, rows, note))
    value = statistics.median(first["embedded default, ONNX Runtime"][1:])
    what = "embedded default, process start to first detection, s"
    result.targets.append(Target("first-detection", what, value, 1.0))
    return result
