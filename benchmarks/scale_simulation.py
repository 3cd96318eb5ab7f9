"""A fleet that detects a stream of images: `python -m benchmarks.scale_simulation`.

Supports docs/scale.md. Images arrive at random with a rate that follows the hour, wait in one
bounded queue, and are taken in batches by workers that are all alike. Time is simulated, event by
event, on a slice of the fleet; nothing sleeps.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import time
from collections import deque
from dataclasses import dataclass, fields
from pathlib import Path

from yolov4sdk.imaging.images import SUFFIXES
from yolov4sdk.measure.timing import machine

SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class Fleet:
    """What a simulation needs to know.

    Attributes:
        rate: images/s that arrive on average.
        workers: that take batches.
        batch: images a worker takes at most.
        fixed, each: seconds of a batch: fixed + each x images.
        queue: images that wait at most; more are refused.
        swing: the rate at the busiest hour is (1 + swing) times the average.
        day: seconds in which the rate swings once; shorter than a day saves time, not truth, as
            long as it is far longer than a batch.
        failure_every: seconds between two losses of a worker, which is away for `away` seconds
            and whose batch is put back; 0 is never.
    """

    rate: float
    workers: int
    batch: int = 8
    fixed: float = 0.02
    each: float = 0.05
    queue: int = 1000
    swing: float = 0.0
    day: float = 600.0
    failure_every: float = 0.0
    away: float = 30.0

    @property
    def capacity(self) -> float:
        """Images/s of all workers with full batches."""
        return self.workers * self.batch / (self.fixed + self.each * self.batch)


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        done, refused: images.
        utilisation: share of the workers' time spent on batches.
        median, p99: seconds from arrival to result.
        longest_queue: images.
    """

    done: int
    refused: int
    utilisation: float
    median: float
    p99: float
    longest_queue: int


def simulate(fleet: Fleet, seconds: float, seed: int = 0) -> Outcome:
    """Run a fleet for so many simulated seconds, then let it finish what waits."""
    rng = random.Random(seed)
    waiting: deque[float] = deque()
    idle = list(range(fleet.workers))
    events: list[tuple[float, int, str, int, tuple[float, ...]]] = []
    counter = refused = longest = 0
    busy = 0.0
    latencies: list[float] = []
    lost: set[int] = set()

    def push(when: float, kind: str, worker: int = -1, items: tuple[float, ...] = ()) -> None:
        nonlocal counter
        counter += 1
        heapq.heappush(events, (when, counter, kind, worker, items))

    def arrival(now: float) -> float:
        """When the next image comes: thinning of a process at the busiest rate."""
        top = fleet.rate * (1 + fleet.swing)
        while True:
            now += rng.expovariate(top)
            rate = fleet.rate * (1 + fleet.swing * math.sin(2 * math.pi * now / fleet.day))
            if rng.random() * top <= rate:
                return now

    push(arrival(0.0), "image")
    if fleet.failure_every:
        push(rng.expovariate(1 / fleet.failure_every), "failure")
    while events:
        now, _, kind, worker, items = heapq.heappop(events)
        if kind == "image":
            if now > seconds:
                continue
            push(arrival(now), "image")
            if len(waiting) < fleet.queue:
                waiting.append(now)
            else:
                refused += 1
        elif kind == "done":
            if worker in lost:  # it died under the batch: the images wait again, in front
                lost.discard(worker)
                waiting.extendleft(reversed(items))
                push(now + fleet.away, "back", worker)
            else:
                latencies.extend(now - came for came in items)
                idle.append(worker)
        elif kind == "failure":
            if now <= seconds:
                working = [event[3] for event in events if event[2] == "done"]
                lost.update(rng.sample(working, min(1, len(working))))
                push(now + rng.expovariate(1 / fleet.failure_every), "failure")
        else:
            idle.append(worker)
        longest = max(longest, len(waiting))
        while idle and waiting:
            taken = tuple(waiting.popleft() for _ in range(min(fleet.batch, len(waiting))))
            duration = fleet.fixed + fleet.each * len(taken)
            busy += duration
            push(now + duration, "done", idle.pop(), taken)
    latencies.sort()
    return Outcome(
        done=len(latencies),
        refused=refused,
        utilisation=busy / (fleet.workers * seconds),
        median=latencies[len(latencies) // 2],
        p99=latencies[int(len(latencies) * 0.99)],
        longest_queue=longest,
    )


@dataclass(frozen=True)
class Plan:
    """A billion images a day, or another number, on paper.

    Attributes:
        images: a day.
        rate: images/s on average.
        cores: that detect.
        nodes: with the spare ones.
        gigabits: that come in a second, over all nodes.
        gigabits_a_node: of them, for one.
        requests: to the object store a second, one an image, or one a partition file.
        terabytes_in, terabytes_out: a day.
    """

    images: float
    rate: float
    cores: float
    nodes: int
    gigabits: float
    gigabits_a_node: float
    requests: float
    terabytes_in: float
    terabytes_out: float


def plan(
    images: float,
    a_core: float,
    kilobytes: float,
    row_bytes: float,
    cores_a_node: int = 64,
    utilisation: float = 0.75,
    images_a_request: int = 1,
) -> Plan:
    """Nodes, network and storage for so many images a day.

    Args:
        images: a day.
        a_core: images/s of one core, measured.
        kilobytes: of an image.
        row_bytes: of a result row, measured.
        utilisation: of the cores; the rest is for busy hours and lost nodes.
        images_a_request: 1 for single files, more where many lie in one Parquet file.
    """
    rate = images / SECONDS_A_DAY
    cores = rate / a_core / utilisation
    nodes = math.ceil(cores / cores_a_node)
    gigabits = rate * kilobytes * 8e3 / 1e9
    return Plan(
        images, rate, cores, nodes, gigabits, gigabits / nodes, rate / images_a_request,
        images * kilobytes / 1e9, images * row_bytes / 1e12,
    )  # fmt: skip


def measure(model: str | None, folder: Path) -> tuple[float, float, float]:
    """Images/s of one core, kilobytes of an image, bytes of a result row in Parquet.

    By the time of the processor, not of the clock: others that use the machine do not count.
    """
    import pyarrow
    from pyarrow import parquet

    from yolov4sdk.cluster.batch_predictor import BatchPredictor

    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)[:64]
    tables = [
        pyarrow.table({"file": [str(f) for f in some], "bytes": [f.read_bytes() for f in some]})
        for some in (files[i : i + 8] for i in range(0, len(files), 8))
    ]
    predictor = BatchPredictor(model, threads=1)
    predictor(tables[0])
    started = time.process_time()
    results = pyarrow.concat_tables([predictor(table) for table in tables])
    seconds = time.process_time() - started
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(results, sink)
    kilobytes = sum(f.stat().st_size for f in files) / len(files) / 1e3
    return len(files) / seconds, kilobytes, sink.getvalue().size / len(files)


def main() -> None:
    """Measure, and print the plan and what the queue does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of images such as those to come")
    parser.add_argument("-m", "--model", help="default: the embedded model")
    parser.add_argument("--images", type=float, default=1e9, help="a day")
    args = parser.parse_args()
    a_core, kilobytes, row_bytes = measure(args.model, args.folder)
    print(f"{machine()}: {a_core:.1f} images/s a core, by processor time; an image has ")
    print(f"{kilobytes:.0f} KB, a result row {row_bytes:.0f} bytes")
    made = plan(args.images, a_core, kilobytes, row_bytes)
    for field in fields(made):
        print(f"  {field.name}: {getattr(made, field.name):,.1f}")
    # A slice of 16 workers of one core: a batch of 8 takes 8 / a_core, a tenth of it once.
    whole = 8 / a_core
    fleet = Fleet(rate=1.0, workers=16, fixed=0.1 * whole, each=0.9 * whole / 8)
    print("\n| load of the capacity | swing | queue | refused | p99, batches | longest queue |")
    print("|---|---|---|---|---|---|")
    for load, swing, queue in (
        (0.5, 0.0, 128), (0.75, 0.0, 128), (0.9, 0.0, 128), (0.97, 0.0, 128),
        (0.75, 0.5, 128), (0.75, 0.5, 100_000), (1.5, 0.0, 128),
    ):  # fmt: skip
        day = 400 * whole
        run = Fleet(
            load * fleet.capacity, 16, 8, fleet.fixed, fleet.each, queue, swing=swing, day=day
        )
        seen = simulate(run, 5 * day)
        share = seen.refused / (seen.refused + seen.done)
        print(
            f"| {load:.2f} | {swing:.1f} | {queue} | {100 * share:.1f} % | "
            f"{seen.p99 / whole:.1f} | {seen.longest_queue} |"
        )


if __name__ == "__main__":
    main()
