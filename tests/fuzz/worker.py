"""Reads changed files one after the other and says of each what came of it.

    python -m tests.fuzz.worker FOLDER SEED COUNT [KIND]

A line of JSON a file: what was raised ("" for a result), seconds of processor time, megabytes above
the start. A process that dies has printed the seed of the file that killed it.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import time
import traceback
import warnings
from pathlib import Path
from random import Random

import torch

from yolov4sdk.errors import YOLOv4Error

from .kinds import KINDS, make_samples

RUNS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen",
        "pickle.find_class", "socket.connect", "ctypes.dlopen", "shutil.rmtree")  # fmt: skip
"""Events of Python that no reader of files causes."""
watched: list[str] = []


def watch(event: str, _args: object) -> None:
    if event.startswith(RUNS):
        watched.append(event)


def memory(name: str) -> int:
    with Path("/proc/self/status").open() as status:
        return int(next(line for line in status if line.startswith(name)).split()[1]) << 10


def one(folder: Path, seed: int, only: str | None) -> dict[str, object]:
    """Change a file, read it, and measure."""
    rng = Random(seed)
    kinds = [kind for kind in KINDS if only in (None, kind.name)]
    kind = rng.choices(kinds, [kind.weight for kind in kinds])[0]
    good = folder / kind.name
    path = folder / f"changed-{kind.name}"
    path.write_bytes(kind.change(rng, good.read_bytes()))
    print(json.dumps({"seed": seed, "kind": kind.name}), flush=True)
    watched.clear()
    raised, trace = "", ""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before, started = memory("VmRSS"), time.process_time()
    try:
        kind.read(path)
    except YOLOv4Error as error:
        raised = type(error).__name__
        if len(str(error)) > 1500 or not str(error):
            trace = f"a message of {len(str(error))} characters"
    except BaseException as error:
        raised, trace = type(error).__name__, traceback.format_exc(limit=-6)
    seconds = time.process_time() - started
    megabytes = max(memory("VmHWM") - before, 0) / 1e6
    found = sorted({event for event in watched if not event.startswith("os.fork")})
    return {
        "seed": seed, "kind": kind.name, "raised": raised, "trace": trace[-3000:],
        "seconds": seconds, "megabytes": megabytes, "ran": found,
    }  # fmt: skip


def main() -> None:
    folder, seed, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    only = sys.argv[4] if len(sys.argv) > 4 else None
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if not (folder / "model.onnx").exists():
        make_samples(folder)
    os.chdir(folder)
    for kind in KINDS:  # good files first: what is imported once is not the file's cost
        kind.read(folder / kind.name)
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (memory("VmSize") + (4 << 30),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.addaudithook(watch)
    for number in range(seed, seed + count):
        print(json.dumps(one(folder, number, only)), flush=True)


if __name__ == "__main__":
    main()
