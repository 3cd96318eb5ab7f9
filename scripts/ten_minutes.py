"""Ten minutes from nothing, by the clock: python3 scripts/ten_minutes.py

A fresh clone of this repository, an environment, fifty pictures with labels by the embedded model,
a small model trained on them, exported, served and asked. Each step's time is printed, and the
whole is compared with ten minutes. Everything is made in a temporary folder, which goes at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
EXTRAS = "cpu,train,export,serve"
TORCH = "torch==2.13.0"
LIMIT = 600
"""Seconds that everything shall take on two free cores."""
VIEWS = """
import itertools, sys
from pathlib import Path
import cv2
photographs = sorted(p for p in Path(sys.argv[1]).iterdir() if p.suffix in (".jpg", ".png"))
target = Path(sys.argv[2])
target.mkdir()
views = itertools.product(photographs, (1.0, 0.9, 0.8, 0.7, 0.6), (False, True))
for number, (path, part, mirrored) in enumerate(views):
    image = cv2.imread(str(path))
    height, width = (int(side * part) for side in image.shape[:2])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    view = image[top : top + height, left : left + width]
    cv2.imwrite(str(target / f"{number:02}.jpg"), view[:, ::-1] if mirrored else view)
print(len(list(target.iterdir())), "pictures")
"""
"""Fifty views of the five bundled photographs: parts of them, as they are and mirrored."""


class Clock:
    """Runs steps and prints the time of each."""

    def __init__(self) -> None:
        self.started = time.monotonic()

    def __call__(self, what: str, step: Callable[[], Any]) -> Any:
        """Run one step."""
        began = time.monotonic()
        result = step()
        print(f"{time.monotonic() - began:7.1f} s  {what}", flush=True)
        return result

    @property
    def total(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started


def run(*command: object, cwd: Path | None = None) -> str:
    """The standard output of a program; its words and its end where it failed."""
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        words = " ".join(map(str, command))
        sys.exit(f"failed: {words}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def environment(clone: Path) -> Path:
    """Python of a new environment with this package in it."""
    python = clone / ".venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    run(sys.executable, "-m", "venv", clone / ".venv")
    run(python, "-m", "pip", "install", "--quiet", TORCH, f"{clone}[{EXTRAS}]")
    return python


def ask(process: subprocess.Popen[str], url: str, picture: Path) -> dict[str, Any]:
    """The service's answer for a picture, when it is ready."""
    end = time.monotonic() + 300
    while True:
        if process.poll() is not None or time.monotonic() > end:
            sys.exit("the service did not start")
        try:
            urllib.request.urlopen(f"{url}/readyz", timeout=10).close()
            break
        except OSError:
            time.sleep(0.1)
    request = urllib.request.Request(
        f"{url}/v1/detect?conf=0.1", picture.read_bytes(), {"Content-Type": "image/jpeg"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--here", action="store_true", help="use this Python and this checkout")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--port", type=int, default=8123)
    options = parser.parse_args()
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if options.here:
            clone, python = REPOSITORY, Path(sys.executable)
        else:
            clone = work / "yolov4sdk"
            clock("clone", lambda: run("git", "clone", "--quiet", REPOSITORY, clone))
            python = clock("environment, packages", lambda: environment(clone))

        def sdk(*words: object) -> str:
            return run(python, "-m", "yolov4sdk", *words, cwd=work)

        names = "person,dog,cat,horse"
        clock("init: the skeleton of a data set", lambda: sdk("init", "mine", "--names", names))
        photographs = clone / "examples" / "images"
        clock("fifty pictures", lambda: run(python, "-c", VIEWS, photographs, work / "photos"))
        clock(
            "label: by the embedded model",
            lambda: sdk("label", "photos", "-o", "labelled", "--conf", "0.3", "--classes", names),
        )
        clock("data check", lambda: sdk("data", "check", "labelled/data.yaml"))
        training = ("--epochs", options.epochs, "--size", 256, "--batch", 8, "-o", "run")
        clock(
            f"train: {options.epochs} epochs at 256 pixels",
            lambda: sdk("train", "labelled/data.yaml", *training),
        )
        best = work / "run" / "best.safetensors"
        clock("export: ONNX, checked", lambda: sdk("export", best, "-o", "mine.onnx"))
        command = [
            str(python),
            "-m",
            "yolov4sdk",
            "serve",
            "mine.onnx",
            "--port",
            str(options.port),
        ]
        service = subprocess.Popen(command, cwd=work, stderr=subprocess.DEVNULL, text=True)
        try:
            url = f"http://127.0.0.1:{options.port}"
            picture = work / "photos" / "00.jpg"
            answer = clock("serve, and the first answer", lambda: ask(service, url, picture))
        finally:
            service.terminate()
            service.wait(60)
    found = ", ".join(f"{one['name']} {one['score']:.2f}" for one in answer["detections"][:3])
    print(f"answer: {found or 'nothing'}\n{clock.total:7.1f} s  in all; aimed at: {LIMIT} s")
    if not found:
        sys.exit("the model finds nothing in its own training picture")


if __name__ == "__main__":
    main()
