"""Work on the next items while the caller is busy with the first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    work: Callable[[Item], Result], items: Iterable[Item], number: int, threads: int
) -> Generator[Result]:
    """`map(work, items)` in order, by threads that are at most `number` items ahead.

    An item's error is raised in its turn, as `map` would; what has not begun then is left. Items
    and results are held no longer than needed.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="yolov4sdk-ahead")
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            del item
            if len(pending) > number:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
