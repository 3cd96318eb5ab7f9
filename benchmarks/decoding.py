"""Our decoding against the peers' own, on the same outputs: `python -m benchmarks.decoding`.

`benchmarks/peers/environment` prepares their environment, in which small networks with random
weights are built, exported, run and decoded by their makers' functions (`peers/decoding.py`). Here
the same raw outputs are decoded by the convention that the file is declared to have, and the
adopted file sees the picture as a user would show it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from export.adopt.adopt import adopt
from yolov4sdk import Detector
from yolov4sdk.contract.onnx_graph import read_onnx_graph
from yolov4sdk.conventions import conventions, decode
from yolov4sdk.conventions.fit import fit
from yolov4sdk.measure.timing import machine

from .suite.peers import FOLDER

Rows = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
"""Boxes xyxy [M, 4], scores [M], labels [M]."""
SCORE: Final = 1e-5
"""Rows whose scores differ by more are not the same one."""


@dataclass(frozen=True)
class Compared:
    """One peer's boxes against ours.

    Attributes:
        name: of the network.
        package: its maker's package, with the version.
        convention: by which we read its outputs.
        boxes: that its maker's function gives.
        classes: how many of them have ours of the same class and score.
        error: largest difference of a coordinate of those, in pixels.
        adopted: of the adopted file, from the picture on; None where a class or score differs.
    """

    name: str
    package: str
    convention: str
    boxes: int
    classes: int
    error: float
    adopted: float | None


def build(python: Path, folder: Path, names: Sequence[str] = ()) -> dict[str, str]:
    """Let the peers write their files; gives why some are missing."""
    command = [str(python), str(FOLDER / "decoding.py"), str(folder), *names]
    subprocess.run(command, check=True, capture_output=True, timeout=1800)
    reasons: dict[str, str] = json.loads((folder / "reasons.json").read_text())
    return reasons


def compared(file: Path) -> Compared:
    """Decode one file's outputs and compare; `file` is the .onnx, its .npz lies beside it."""
    told = np.load(file.with_suffix(".npz"))
    theirs = told["boxes"], told["scores"], told["labels"]
    picture, name = told["picture"], str(told["convention"])
    size = (picture.shape[0], picture.shape[1])
    contract = fit(conventions()[name], read_onnx_graph(file), size=size)
    raw = {key.removeprefix("raw/"): told[key] for key in told.files if key.startswith("raw/")}
    found = decode(raw, contract, size)
    scores = found.scores[0]
    if found.class_ids is not None:
        ours = found.boxes[0], scores, found.class_ids[0]
    else:
        rows, labels = np.indices(scores.shape).reshape(2, -1)
        ours = found.boxes[0][rows], scores[rows, labels], labels
    shift = 1 if contract.output.background == "first" else 0
    boxes = ours[0].clip(0, size[::-1] * 2) if told["clipped"] else ours[0]
    classes, error = nearest(theirs, (boxes, ours[1], ours[2] + shift))
    names = tuple(map(str, range(contract.output.classes)))
    target = file.with_suffix(".adopted.onnx")
    adopt(file, target, name, names=names, size=size, overwrite=True)
    conf = max(float(theirs[1].min(initial=1)) - 1e-4, 0)
    options: dict[str, Any] = {} if contract.output.suppressed else {"iou": 0.65}
    with Detector(target, conf=conf, max_det=1000, color="RGB", **options) as detector:
        seen = detector(picture)
    inside = theirs[0].clip(0, size[::-1] * 2)  # a Detector's boxes end at the picture's border
    whole = nearest((inside, *theirs[1:]), (seen.xyxy, seen.scores, seen.class_ids + shift))
    return Compared(
        file.stem, f"{told['package']} {told['version']}", name, len(theirs[1]), classes, error,
        whole[1] if whole[0] == len(theirs[1]) else None,
    )  # fmt: skip


def nearest(theirs: Rows, ours: Rows) -> tuple[int, float]:
    """How many of theirs are ours too (class and score), and the largest error of their boxes."""
    count, error = 0, 0.0
    for box, score, label in zip(*theirs, strict=True):
        same = (ours[2] == label) & (np.abs(ours[1] - score) < SCORE)
        if same.any():
            count += 1
            error = max(error, float(np.abs(ours[0][same] - box).max(axis=1).min()))
    return count, error


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--peers", type=Path, default=Path("/tmp/yolov4sdk-peers"))
    parser.add_argument("names", nargs="*", help="some of the networks; none: all")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        reasons = build(args.peers / "bin" / "python", Path(folder), args.names)
        files = sorted(f for f in Path(folder).glob("*.onnx") if "adopted" not in f.name)
        results = [compared(file) for file in files]
    print(f"{machine()}; random weights, one picture of 160 x 160, errors in pixels\n")
    print("| network | package | convention | boxes | same class | decoded | adopted file |")
    print("|---|---|---|---|---|---|---|")
    for one in results:
        whole = "other queries" if one.adopted is None else f"{one.adopted:.1e}"
        print(
            f"| {one.name} | {one.package} | `{one.convention}` | {one.boxes} | {one.classes} | "
            f"{one.error:.1e} | {whole} |"
        )
    for name, reason in reasons.items():
        print(f"\n{name} was not built here: {reason}")


if __name__ == "__main__":
    main()
