"""What video costs beside the network, and its memory: `python -m benchmarks.video`.

First 1,000 frames are streamed while the resident memory is read. Then rounds alternate between
the bare network (`infer` on ready batches), `Detector.stream` with every frame drawn, the same with
the result encoded to a file, a plain loop that decodes, detects and draws in one thread, and
decoding alone with PyAV and with OpenCV. Processor time counts all threads: on a machine that
others use too it is the steadier figure.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil

from yolov4sdk import Detections, Detector
from yolov4sdk.imaging.draw import draw
from yolov4sdk.imaging.preprocess import letterbox_plan
from yolov4sdk.measure.timing import alternate, machine, median_ratio
from yolov4sdk.streams.streaming import Frame
from yolov4sdk.streams.video import VideoFile
from yolov4sdk.streams.video_writer import VideoWriter

PHOTOGRAPHS = Path(__file__).parent.parent / "examples" / "images"


def make_video(path: Path, frames: int, width: int = 768, height: int = 432) -> None:
    """A camera that moves over the photographs of the repository, at 25 frames a second."""
    files = sorted(p for p in PHOTOGRAPHS.iterdir() if p.suffix in {".jpg", ".png"})
    photographs = [cv2.resize(cv2.imread(str(p)), (2 * width, 2 * height)) for p in files]
    with VideoWriter(path, Fraction(25)) as writer:
        for i in range(frames):
            image = photographs[i // 100 % len(photographs)]
            x, y = (width * (i % 100) // 100, height * (i % 100) // 100)
            writer.write(np.ascontiguousarray(image[y : y + height, x : x + width]))


def runs(
    detector: Detector, video: Path, frames: int, batch: int, target: Path
) -> dict[str, Callable[[], Any]]:
    """The loops to compare, each over `frames` frames."""
    first = next(iter(VideoFile(f"file:{video}", "video"))).image
    plan = letterbox_plan(
        (first.shape[0], first.shape[1]),
        detector.size,
        rectangular=detector.spec.dynamic_size,
        stride=detector.spec.max_stride,
    )
    ready = np.random.default_rng(0).random((batch, 3, *plan.canvas), np.float32)

    def streamed() -> Iterator[Frame]:
        with detector.stream(video, batch=batch) as stream:
            yield from islice(stream, frames)

    def bare() -> None:
        for _ in range(frames // batch):
            detector.infer(ready)

    def drawn() -> None:
        for frame in streamed():
            draw(frame.image, frame.detections)

    def encoded() -> None:
        with VideoWriter(target, 25) as writer:
            for frame in streamed():
                writer.write(draw(frame.image, frame.detections), frame.time)

    def plain() -> None:
        pictures = islice(iter(VideoFile(f"file:{video}", "video")), frames)
        while images := [picture.image for picture in islice(pictures, batch)]:
            for image, found in zip(images, detector(images), strict=True):
                draw(image, found)

    def by_pyav() -> None:
        for _ in islice(iter(VideoFile(f"file:{video}", "video")), frames):
            pass

    def by_opencv() -> None:
        capture = cv2.VideoCapture(str(video))
        for _ in range(frames):
            capture.read()
        capture.release()

    return {
        "bare network": bare,
        "stream and draw": drawn,
        "stream, draw and encode": encoded,
        "plain loop and draw": plain,
        "decode alone, PyAV": by_pyav,
        "decode alone, OpenCV": by_opencv,
    }


def compare(loops: dict[str, Callable[[], Any]], frames: int, rounds: int) -> None:
    """Print speed and processor time of each loop."""
    cpu: dict[str, list[float]] = {name: [] for name in loops}

    def counted(name: str) -> Callable[[], None]:
        def run() -> None:
            started = time.process_time()
            loops[name]()
            cpu[name].append(time.process_time() - started)

        return run

    times = alternate({name: counted(name) for name in loops}, rounds)
    print(f"\n{rounds} alternating rounds of {frames} frames; medians\n")
    print("| loop | frames a second | of the bare network | processor ms a frame |")
    print("|---|---|---|---|")
    for name, seconds in times.items():
        rate = frames / statistics.median(seconds)
        ratio = 1 / median_ratio(seconds, times["bare network"])
        ms = 1e3 * statistics.median(cpu[name][1:]) / frames
        print(f"| {name} | {rate:.1f} | {ratio:.3f} | {ms:.2f} |")


def memory(detector: Detector, video: Path, frames: int, batch: int) -> None:
    """Print the resident memory along a video; the font, 9 MB, is loaded beforehand."""
    box = np.array([[8, 8, 40, 40]], np.float32)
    one = Detections(box, np.ones(1, np.float32), np.zeros(1, np.int64), detector.names, (48, 48))
    draw(np.zeros((48, 48, 3), np.uint8), one)
    process = psutil.Process(os.getpid())
    print("\n| frame | RSS, MB |\n|---|---|")
    base = most = 0.0
    with detector.stream(video, batch=batch) as stream:
        for count, frame in enumerate(islice(stream, frames), 1):
            draw(frame.image, frame.detections)
            used = process.memory_info().rss / 1e6
            if count == 50:
                base = most = used
            most = max(most, used)
            if count in (1, 50) or count % 200 == 0:
                print(f"| {count} | {used:.1f} |")
    print(f"\nhighest after frame 50: {most:.1f} MB, {100 * (most / base - 1):+.1f} % of frame 50")


def main() -> None:
    """Print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", type=Path, nargs="?", help="default: made from photographs")
    parser.add_argument("--model", type=Path, help="default: the embedded model")
    parser.add_argument("--size", type=int)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, help="of the network; default: all")
    parser.add_argument("--frames", type=int, default=200, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory-frames", type=int, default=1000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        video = args.video
        if video is None:
            video = Path(folder) / "video.mp4"
            make_video(video, args.memory_frames)
        detector = Detector(args.model, size=args.size, threads=args.threads)
        print(f"{machine()}; {detector!r}, batch {args.batch}, threads {args.threads or 'all'}")
        if args.memory_frames:
            memory(detector, video, args.memory_frames, args.batch)
        if args.rounds:
            loops = runs(detector, video, args.frames, args.batch, Path(folder) / "out.mp4")
            compare(loops, args.frames, args.rounds)


if __name__ == "__main__":
    main()
