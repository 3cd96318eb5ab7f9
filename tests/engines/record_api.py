"""Record which names TensorRT's Python API has, from its bindings.

    pip download --no-deps tensorrt_cu12_bindings==10.0.1 -d wheels    # one wheel for each version
    python tests/engines/record_api.py wheels/*.whl > tests/engines/tensorrt_api.json

The libraries behind the bindings are gigabytes and not on every index. The bindings reach them by a
handful of C functions, everything else is virtual; so empty libraries with these functions are
compiled, the bindings load with them, and what they define is listed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

LISTING = """
import json, sys, warnings
warnings.simplefilter("ignore")
import tensorrt_bindings as trt
names = {"": sorted(n for n in dir(trt) if not n.startswith("_"))}
for name in names[""]:
    if isinstance(kind := getattr(trt, name), type) and kind.__module__.startswith("tensorrt"):
        names[name] = sorted(n for n in dir(kind) if not n.startswith("_"))
json.dump({"version": trt.__version__, "names": names}, sys.stdout)
"""


def record(wheel: Path) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        (library,) = folder.rglob("tensorrt.so")
        symbols = output("nm", "-D", "--undefined-only", library)
        needed = re.findall(r"\[(libnv\S+)\]", output("readelf", "-d", library))
        functions = re.findall(r"U ((?:create|get|init)[A-Z]\w*)$", symbols, re.MULTILINE)
        source = folder / "empty.c"
        source.write_text("".join(f"void *{f}(void) {{ return 0; }}\n" for f in functions))
        for soname in needed:
            options = ("-shared", "-fPIC", f"-Wl,-soname,{soname}")
            output("gcc", *options, source, "-o", folder / soname)
        return json.loads(
            output(sys.executable, "-c", LISTING, LD_LIBRARY_PATH=name, PYTHONPATH=name)
        )


def output(*command: object, **environment: str) -> str:
    return subprocess.run(
        list(map(str, command)), check=True, capture_output=True, text=True, env=environment or None
    ).stdout


if __name__ == "__main__":
    recorded = {}
    for wheel in map(Path, sys.argv[1:]):
        recorded[wheel.name] = record(wheel)
        print(wheel.name, recorded[wheel.name]["version"], file=sys.stderr)
    json.dump(recorded, sys.stdout, indent=0, sort_keys=True)
