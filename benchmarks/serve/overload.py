"""Checks 4 and 9, more work than capacity: `python -m benchmarks.serve.overload`.

4. Four times the capacity: goodput against the peak, the accepted within deadline plus one batch,
   the rest refused at once with Retry-After.
9. Queued requests whose clients go: at most one batch is run for them.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from itertools import repeat
from typing import Any

from tests.support.images import seeds
from tests.support.service import PHOTOGRAPH, Service

from .load import Answer, closed_loop, for_seconds, ms, open_loop, post, statuses


async def capacity(port: int, request: bytes, clients: int, seconds: float) -> float:
    """Answers a second when there is always work, and never too much."""
    started = time.perf_counter()
    answers = await closed_loop(port, repeat(request), clients, for_seconds(seconds))
    good = sum(answer.status == 200 for answer in answers)
    return good / (time.perf_counter() - started)


async def overload(
    service: Service, batch: int, seconds: float, factor: float = 4
) -> dict[str, Any]:
    """Peak and overloaded rates, and all answers of the overload."""
    request = post("/v1/detect", PHOTOGRAPH.read_bytes())
    peak = await capacity(service.port, request, 2 * batch, seconds)
    started = time.perf_counter()
    answers = await open_loop(service.port, request, factor * peak, seconds)
    elapsed = time.perf_counter() - started
    good = [answer for answer in answers if answer.status == 200]
    return {"peak": peak, "goodput": len(good) / elapsed, "answers": answers}


async def abandon(service: Service, count: int) -> tuple[float, int]:
    """Images run for `count` clients that went while they were queued, and how many got in."""
    request = post("/v1/detect", seeds()["JPEG"])
    blockers = asyncio.gather(*(_batch(service.port, 16) for _ in range(4)))
    while not sum(service.metrics("yolov4sdk_batch_size_sum").values()):
        await asyncio.sleep(0.01)
    writers = []
    for _ in range(count):
        _, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(request)
        writers.append(writer)
    queued = 0.0
    for _ in range(500):
        depth = await asyncio.to_thread(service.metrics, "yolov4sdk_queue_depth")
        queued = max(queued, *depth.values())
        if queued >= count or blockers.done():
            break
        await asyncio.sleep(0.01)
    for writer in writers:
        writer.transport.abort()
    await blockers
    await asyncio.sleep(1)
    after = await asyncio.to_thread(service.metrics, "yolov4sdk_batch_size_sum")
    return sum(after.values()) - 4 * 16, min(count, int(queued))


async def _batch(port: int, images: int) -> Answer:
    data, boundary = PHOTOGRAPH.read_bytes(), "boundary"
    part = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
    body = (part.encode() + data + b"\r\n") * images + f"--{boundary}--\r\n".encode()
    request = post("/v1/detect/batch", body, f"multipart/form-data; boundary={boundary}")
    return (await closed_loop(port, [request], 1))[0]


def report(found: dict[str, Any], deadline: float) -> None:
    """Print the figures of check 4."""
    answers: list[Answer] = found["answers"]
    good = [a.seconds for a in answers if a.status == 200]
    refused = [a for a in answers if a.status == 503]
    print(
        f"4. peak {found['peak']:.1f}/s, at four times it {found['goodput']:.1f}/s good, ", end=""
    )
    print(f"ratio {found['goodput'] / found['peak']:.2f}; statuses {statuses(answers)}")
    print(f"   accepted {ms(good)}, deadline {deadline:g} s")
    print(f"   refused {ms([a.seconds for a in refused])}; ", end="")
    print(f"with Retry-After {sum(bool(a.retry_after) for a in refused)} of {len(refused)}")


def main() -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--deadline", type=float, default=2)
    parser.add_argument("model", nargs="*", help="Default: the embedded model.")
    args: Any = parser.parse_args()
    with Service(*args.model, batch_size=args.batch, deadline=args.deadline) as service:
        report(asyncio.run(overload(service, args.batch, args.seconds)), args.deadline)
    with Service(*args.model, queue_length=400, deadline=120) as service:
        ran, queued = asyncio.run(abandon(service, 200))
        print(f"9. 200 clients went, {queued} of them queued: {ran:.0f} images were run for them")


if __name__ == "__main__":
    main()
