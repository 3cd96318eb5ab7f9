"""Ray Data beside the bare Detector with the same cores: `python -m benchmarks.ray_data`.

Both read the same files from the disk, decode and detect them; Ray also writes its result files.
Ray's cluster and both models are started before anything is timed, and rounds alternate, so that
a slow moment of the machine slows both. Ray's first images wait for actors to load their models:
this is part of a job and is not counted here, where the jobs are short; `--whole` counts it.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from yolov4sdk import Detector
from yolov4sdk.cluster.ray_job import detect_with_ray
from yolov4sdk.imaging.images import SUFFIXES, read_image
from yolov4sdk.measure.timing import machine
from yolov4sdk.system.cpu import available_cpus

BATCH = 8


def bare(files: list[Path], detector: Detector) -> float:
    """Images per second of the Detector, batch by batch."""
    started = time.perf_counter()
    for i in range(0, len(files), BATCH):
        detector([read_image(file) for file in files[i : i + BATCH]])
    return len(files) / (time.perf_counter() - started)


def job(files: list[Path], model: str | None, actors: int, partition: int, whole: bool) -> float:
    """Images per second of a job: once every actor has finished a partition, or in all."""
    times = [time.perf_counter()]
    with tempfile.TemporaryDirectory() as folder:
        detect_with_ray(
            [str(file) for file in files], folder, model=model, actors=actors, partition=partition,
            threads=max(1, available_cpus() // actors), batch=BATCH,
            progress=lambda done, total: times.append(time.perf_counter()),
        )  # fmt: skip
    if whole:
        return len(files) / (times[-1] - times[0])
    # counted from the first one, what the other actors have done by then would count as well
    return partition * (len(times) - 1 - actors) / (times[-1] - times[actors])


@contextmanager
def images(source: Path, count: int) -> Iterator[list[Path]]:
    """So many files, made of those in a folder again and again."""
    originals = sorted(p for p in source.rglob("*") if p.suffix.lower() in SUFFIXES)
    with tempfile.TemporaryDirectory() as folder:
        files = [
            Path(folder) / f"{i:05d}{originals[i % len(originals)].suffix}" for i in range(count)
        ]
        for i, file in enumerate(files):
            shutil.copy(originals[i % len(originals)], file)
        yield files


def main() -> None:
    """Print both throughputs and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, help="a folder of images")
    parser.add_argument("-m", "--model", help="default: the embedded model")
    parser.add_argument("--count", type=int, default=512)
    parser.add_argument("--partition", type=int, default=32)
    parser.add_argument("--actors", type=int, default=available_cpus())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--whole", action="store_true", help="count the start of the actors too")
    args = parser.parse_args()
    os.environ.update(RAY_worker_niceness="0", RAY_USAGE_STATS_ENABLED="0")  # equal to the bare one
    import ray

    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    ray.init("local", num_cpus=available_cpus(), include_dashboard=False, **options)
    ratios = []
    with Detector(args.model, batch=BATCH) as detector, images(args.images, args.count) as files:
        bare(files[: 4 * BATCH], detector)
        for number in range(args.rounds):
            alone = bare(files, detector)
            rays = job(files, args.model, args.actors, args.partition, args.whole)
            ratios.append(rays / alone)
            print(f"round {number}: Detector {alone:.1f}, Ray Data {rays:.1f} images/s", flush=True)
    print(f"{machine()}; {args.count} images, {args.actors} actors")
    print(
        f"Ray Data to the bare Detector, median of {args.rounds}: {statistics.median(ratios):.2f}"
    )


if __name__ == "__main__":
    main()
