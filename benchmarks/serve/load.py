"""A load generator for 127.0.0.1 that costs little beside the service."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple


class Answer(NamedTuple):
    """One request's end; status 0 is a connection that broke before an answer."""

    status: int
    seconds: float
    body: bytes = b""
    retry_after: str = ""


def post(
    path: str, body: bytes, kind: str = "image/jpeg", method: str = "POST", more: str = ""
) -> bytes:
    """A whole request as bytes."""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n{more}\r\n"
    )
    return head.encode() + body


class Client:
    """One keep-alive connection, opened again when it was closed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, request: bytes) -> Answer:
        """Send a request and read its answer."""
        started = time.perf_counter()
        try:
            if self._writer is None or self._reader.at_eof():  # the service closed an idle one
                self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
            self._writer.write(request)
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
            fields = dict(line.split(": ", 1) for line in head[1:] if line)
            body = await self._reader.readexactly(int(fields.get("content-length", "0")))
            if fields.get("connection") == "close":
                self.close()
            status, retry = int(head[0].split(" ")[1]), fields.get("retry-after", "")
            return Answer(status, time.perf_counter() - started, body, retry)
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return Answer(0, time.perf_counter() - started)

    def close(self) -> None:
        """Close the connection."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


async def closed_loop(
    port: int, requests: Iterable[bytes], clients: int, stop: Callable[[], bool] = lambda: False
) -> list[Answer]:
    """Send requests by `clients` connections, each the next one after its answer."""
    source, answers = iter(requests), list[Answer]()

    async def one() -> None:
        client = Client(port)
        for request in source:
            answers.append(await client.send(request))
            if stop():
                break
        client.close()

    await asyncio.gather(*(one() for _ in range(clients)))
    return answers


async def open_loop(port: int, request: bytes, rate: float, seconds: float) -> list[Answer]:
    """Send `rate` requests a second, whether or not earlier ones are answered."""
    idle: list[Client] = []
    made: list[Client] = []
    tasks = []

    async def one() -> Answer:
        if idle:
            client = idle.pop()
        else:
            made.append(client := Client(port))
        answer = await client.send(request)
        idle.append(client)
        return answer

    started = time.perf_counter()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(one()))
    answers = await asyncio.gather(*tasks)
    for client in made:
        client.close()
    return list(answers)


def for_seconds(seconds: float) -> Callable[[], bool]:
    """A `stop` for `closed_loop`."""
    end = time.perf_counter() + seconds
    return lambda: time.perf_counter() > end


def percentile(values: Sequence[float], percent: float) -> float:
    """A percentile; of few values the largest."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


def ms(values: Sequence[float]) -> str:
    """Median and 99th percentile for a table."""
    if not values:
        return "none"
    return (
        f"p50 {1e3 * statistics.median(values):.1f} ms, p99 {1e3 * percentile(values, 99):.1f} ms"
    )


def statuses(answers: Iterable[Answer]) -> dict[int, int]:
    """How often each status came."""
    counts: dict[int, int] = {}
    for answer in answers:
        counts[answer.status] = counts.get(answer.status, 0) + 1
    return dict(sorted(counts.items()))
