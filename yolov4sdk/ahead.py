"""Work on the next items of a list while the caller is busy with the first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from .cpu import available_cpus

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(work: Callable[[Item], Result], items: Sequence[Item], number: int) -> Iterator[Result]:
    """`map(work, items)` in order, by threads that are at most `number` items ahead.

    An item's error is raised in its turn, as `map` would; what has not begun then is left.
    """
    pool = ThreadPoolExecutor(min(available_cpus(), len(items), 4))
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > number:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
