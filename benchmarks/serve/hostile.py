"""Checks 1, 2 and 3, hostile images: `python -m benchmarks.serve.hostile`.

1. Mutated files: no 5xx, the service lives, each is answered under a second.
2. Bombs (50k and 30k PNG, the lying JPEG): 4xx in under 50 ms, 20 MB more memory at most.
3. A slow JPEG ends at the decode limit; what a concurrent request waits beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from typing import Any

from tests.support.images import lying_jpeg, mutated, png_bomb, scan_bomb, seeds
from tests.support.service import Service

from .load import Answer, Client, closed_loop, ms, percentile, post, statuses


def mutations(service: Service, count: int) -> list[Answer]:
    """The answers to mutated files, and to a good one at the end."""
    requests = [post("/v1/detect", data, "application/octet-stream") for data in mutated(count)]
    answers = asyncio.run(closed_loop(service.port, requests, 2))
    good = post("/v1/detect", seeds()["JPEG"])
    return [*answers, *asyncio.run(closed_loop(service.port, [good], 1))]


def bombs(service: Service) -> dict[str, tuple[Answer, int]]:
    """For each bomb its answer, and the bytes of memory that it cost."""
    files = {
        "PNG 50k x 50k": png_bomb(50_000), "PNG 30k x 30k": png_bomb(30_000),
        "JPEG that claims 20k x 20k": lying_jpeg(20_000),
    }  # fmt: skip
    good = post("/v1/detect", seeds()["JPEG"])
    asyncio.run(closed_loop(service.port, [good] * 20, 1))
    found = {}
    for name, data in files.items():
        before = service.memory()
        (answer,) = asyncio.run(
            closed_loop(service.port, [post("/v1/detect", data, "application/octet-stream")], 1)
        )
        found[name] = answer, service.memory() - before
    return found


async def slow(service: Service, neighbours: int) -> tuple[Answer, list[float], list[float]]:
    """The slow file's answer; seconds of small requests alone, and of those beside it."""
    good, client = post("/v1/detect", seeds()["JPEG"]), Client(service.port)
    alone = [(await client.send(good)).seconds for _ in range(neighbours)]
    bomb = asyncio.create_task(Client(service.port).send(post("/v1/detect", scan_bomb())))
    await asyncio.sleep(0.05)
    beside = []
    while not bomb.done():
        beside.append((await client.send(good)).seconds)
    client.close()
    return await bomb, alone, beside


def main() -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("model", nargs="*", help="Default: the embedded model.")
    args: Any = parser.parse_args()
    with Service(*args.model) as service:
        started = time.perf_counter()
        answers = mutations(service, args.count)
        seconds = [answer.seconds for answer in answers]
        print(f"1. {args.count} mutated files in {time.perf_counter() - started:.0f} s")
        print(
            f"   statuses {statuses(answers)}; slowest {1e3 * max(seconds):.0f} ms; {ms(seconds)}"
        )
        for name, (answer, memory) in bombs(service).items():
            print(f"2. {name}: {answer.status} in {1e3 * answer.seconds:.1f} ms, ", end="")
            print(f"{memory / 1e6:+.1f} MB")
        answer, alone, beside = asyncio.run(slow(service, 50))
        ratio = percentile(beside, 99) / percentile(alone, 99)
        print(f"3. the slow JPEG: {answer.status} after {answer.seconds:.2f} s")
        print(f"   neighbours alone {ms(alone)}; beside it {ms(beside)}; p99 ratio {ratio:.2f}")
        print(f"   median ratio {statistics.median(beside) / statistics.median(alone):.2f}")


if __name__ == "__main__":
    main()
