"""The service at saturation against the bare Detector: `python -m benchmarks.serve.throughput`.

Both have the same model, batch size, image (a 1280 x 720 JPEG) and processors; the load generator
runs on them too. Slices of each alternate, so that a slow moment of the machine slows both.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from itertools import repeat
from pathlib import Path

import cv2

from tests.support.service import PHOTOGRAPH, Service
from yolov4sdk import Detector
from yolov4sdk.measure.timing import machine

from .load import Client, closed_loop, for_seconds, post


def photograph() -> bytes:
    """A 1280 x 720 JPEG."""
    pixels = cv2.resize(cv2.imread(str(PHOTOGRAPH)), (1280, 720))
    return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())


def detector_rate(detector: Detector, data: bytes, batch: int, seconds: float) -> float:
    """Images a second of the bare Detector."""
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        detector([data] * batch)
        done += batch
    return done / (time.perf_counter() - started)


async def service_rate(port: int, data: bytes, clients: int, seconds: float) -> float:
    """Images a second of the service."""
    request = post("/v1/detect", data)
    started = time.perf_counter()
    answers = await closed_loop(port, repeat(request), clients, for_seconds(seconds))
    elapsed = time.perf_counter() - started
    wrong = [answer for answer in answers if answer.status != 200]
    if wrong:
        raise RuntimeError(f"{len(wrong)} requests failed: {wrong[0]}")
    return len(answers) / elapsed


async def added_latency(service: Service, data: bytes, rounds: int) -> list[float]:
    """Seconds of a request to an idle service, less those of its network."""
    client, request = Client(service.port), post("/v1/detect", data)
    added = []
    for _ in range(rounds):
        before = _network(service)
        answer = await client.send(request)
        added.append(answer.seconds - (_network(service) - before))
    client.close()
    return added


def _network(service: Service) -> float:
    """Seconds that the network ran so far."""
    metrics = service.metrics("yolov4sdk_stage_seconds_sum")
    return sum(value for name, value in metrics.items() if 'stage="network"' in name)


def run(model: Path | None, batch: int, rounds: int, seconds: float) -> dict[str, float]:
    """Rates, their ratio, and the added latency in ms."""
    data = photograph()
    settings = {"batch_size": batch, "queue_length": 4 * batch, "deadline": 60}
    models = [str(model)] if model else []
    bare, served = [], []
    with Service(*models, **settings) as service, Detector(model, batch=batch) as detector:
        added = asyncio.run(added_latency(service, data, 10 * rounds))
        for _ in range(rounds):
            bare.append(detector_rate(detector, data, batch, seconds))
            served.append(asyncio.run(service_rate(service.port, data, 2 * batch, seconds)))
    return {
        "detector": statistics.median(bare),
        "service": statistics.median(served),
        "ratio": statistics.median(s / b for s, b in zip(served, bare, strict=True)),
        "added_ms": 1e3 * statistics.median(added),
    }


def main() -> None:
    """Print a line of a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, nargs="?", help="Default: the embedded model.")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10)
    args = parser.parse_args()
    found = run(args.model, args.batch, args.rounds, args.seconds)
    print(f"{machine()}; batch {args.batch}, {args.rounds} alternating rounds, medians\n")
    print("| model | Detector, images/s | service, images/s | ratio | added latency p50, ms |")
    print("|---|---|---|---|---|")
    name = args.model.name if args.model else "embedded"
    print(
        f"| {name} | {found['detector']:.1f} | {found['service']:.1f} | {found['ratio']:.2f} "
        f"| {found['added_ms']:.1f} |"
    )


if __name__ == "__main__":
    main()
