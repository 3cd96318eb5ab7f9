"""Check 8, a long time: `python -m benchmarks.serve.soak`.

20,000 requests, a tenth of them broken: memory grows 5 % at most after the first 1,000, file
descriptors and threads stay as they were.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any, NamedTuple

from tests.support.images import mutated, seeds
from tests.support.service import Service

from .load import closed_loop, post, statuses


class Use(NamedTuple):
    """What all processes of the service hold."""

    memory: int
    descriptors: int
    threads: int


def use(service: Service) -> Use:
    """Now, with no request on its way."""
    processes = [service.process, *service.process.children()]
    return Use(
        service.memory(), sum(p.num_fds() for p in processes),
        sum(p.num_threads() for p in processes),
    )  # fmt: skip


def soak(service: Service, count: int, first: int) -> tuple[Use, Use, dict[int, int]]:
    """Use after the first requests and after all; the statuses of all."""
    good = post("/v1/detect", seeds()["JPEG"])
    broken = [post("/v1/detect", data, "application/octet-stream") for data in mutated(50)]
    requests = [broken[i // 10 % 50] if i % 10 == 0 else good for i in range(count)]
    answers = asyncio.run(closed_loop(service.port, requests[:first], 4))
    before = use(service)
    answers += asyncio.run(closed_loop(service.port, requests[first:], 4))
    return before, use(service), statuses(answers)


def main() -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("model", nargs="*", help="Default: the embedded model.")
    args: Any = parser.parse_args()
    with Service(*args.model) as service:
        before, after, counts = soak(service, args.count, 1000)
    print(f"8. {args.count} requests: {counts}")
    print(f"   after 1,000 {before}\n   at the end  {after}")
    print(f"   memory {100 * (after.memory / before.memory - 1):+.1f} %")


if __name__ == "__main__":
    main()
