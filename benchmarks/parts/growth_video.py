"""Time and memory against the number of streams and the length of a video."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from yolov4sdk import Detector

from ..darknet_import import peak_memory
from ..suite.result import Curve, Options, Result
from ..video import make_video

FRAMES = (50, 100, 200, 400, 800)
STREAMS = (1, 2, 4, 8)
EACH = 25  # frames of each stream


def measure(options: Options) -> Result:
    """Two plots; each point is a process of its own, because memory is its peak."""
    if options.prepare:
        return Result()
    frames = FRAMES[:3] if options.quick else FRAMES
    streams = STREAMS[:2] if options.quick else STREAMS
    with tempfile.TemporaryDirectory() as folder:
        lengths = {n: Path(folder) / f"{n}.mp4" for n in frames}
        for count, path in lengths.items():
            make_video(path, count)
        short = Path(folder) / "short.mp4"
        make_video(short, EACH)
        by_length = {n: one(path, 1) for n, path in lengths.items()}
        by_streams = {n: one(short, n) for n in streams}
    return Result(curves=[
        curve("video-length", "frames of the video", by_length),
        curve("streams", f"streams of {EACH} frames, run as one batch", by_streams),
    ])  # fmt: skip


def curve(name: str, x: str, points: dict[int, dict[str, float]]) -> Curve:
    """Time and memory of one quantity."""
    lines = {
        "time, s": [(float(n), found["seconds"]) for n, found in points.items()],
        "peak memory, MB": [(float(n), found["mb"]) for n, found in points.items()],
    }
    return Curve(f"growth-{name}", f"Embedded model: growth with {x}", x, "s or MB", lines)


def one(video: Path, streams: int) -> dict[str, float]:
    """Seconds and peak memory of detecting in every frame, in a new process."""
    command = [sys.executable, "-m", "benchmarks.parts.growth_video", str(video), str(streams)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(run.stdout)
    return found


def main() -> None:
    """What `one` runs."""
    video, streams = sys.argv[1], int(sys.argv[2])
    with Detector() as detector:
        started = time.perf_counter()
        with detector.stream([video] * streams if streams > 1 else video) as stream:
            for _ in stream:
                pass
        print(json.dumps({"seconds": time.perf_counter() - started, "mb": peak_memory() / 1e6}))


if __name__ == "__main__":
    main()
