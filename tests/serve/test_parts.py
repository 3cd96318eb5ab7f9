"""Parts of the service without its processes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.app import create_app
from serve.arena import ALIGNMENT, Arena
from serve.headers import FORMATS, read_header
from serve.metrics import Metrics
from serve.problems import Problem, overloaded
from serve.queues import Queue, QueuedJob, catch_up, next_queue
from serve.scheduler import Scheduler
from serve.service import Service
from serve.settings import Settings, load_settings
from serve.version import Version
from tests.support.images import mutated, seeds
from yolov4sdk.errors import SettingError

pytestmark = pytest.mark.anyio  # for the coroutines among the tests


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 5 * ALIGNMENT)), max_size=60))
def test_arena_regions_never_overlap(steps: list[tuple[bool, int]]) -> None:
    arena, held = Arena(16 * ALIGNMENT), dict[int, int]()
    for take, size in steps:
        if take or not held:
            offset = arena.allocate(size)
            if offset is None:
                continue
            assert all(
                offset + size <= other or other + length <= offset for other, length in held.items()
            )
            held[offset] = size
        else:
            offset = next(iter(held))
            arena.release(offset, held.pop(offset))
    for offset, size in held.items():
        arena.release(offset, size)
    assert arena.used == 0 and arena.allocate(arena.size) == 0
    arena.close()


def test_arena_is_shared() -> None:
    arena = Arena(1 << 20)
    other = Arena(arena.size, arena.descriptor)
    arena.array(4096, (2, 3), np.float32)[:] = 7
    assert (other.array(4096, (2, 3), np.float32) == 7).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_header_gives_the_size(kind: str) -> None:
    assert read_header(seeds()[kind], 160 * 120) == (kind, 120, 160)
    with pytest.raises(Problem, match="at most 19,199"):
        read_header(seeds()[kind], 160 * 120 - 1)


def test_header_of_anything() -> None:
    """Never another exception, and never long."""
    for data in mutated(2000, seed=1):
        try:
            assert read_header(data, 10**6).format in FORMATS
        except Problem as problem:
            assert problem.status in (415, 422)


@given(st.binary(max_size=200), st.sampled_from([b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"BM", b""]))
def test_header_of_any_bytes(data: bytes, start: bytes) -> None:
    try:
        read_header(start + data, 10**6)
    except Problem as problem:
        assert problem.status in (415, 422)


def lane(name: str, limit: int = 4) -> Queue:
    return Queue(Version(name, name, None, {}, limit), Metrics())


def put(to: Queue, form: str = "a", rows: int = 1, queued: float = 0) -> QueuedJob:
    job = QueuedJob(asyncio.get_running_loop().create_future(), rows)
    to.admit(job)
    job.form, job.queued = (form,), queued
    to.jobs.append(job)
    return job


async def test_batches_hold_one_form_and_no_more_than_the_limit() -> None:
    queue = lane("m")
    jobs = [put(queue, form) for form in "abaaaab"]
    big = put(queue, "a", rows=9)
    assert queue.take() == [jobs[0], jobs[2], jobs[3], jobs[4]]
    assert queue.take() == [jobs[1], jobs[6]]
    assert queue.take() == [jobs[5]]
    assert queue.take() == [big] and queue.waiting == 0 and not queue.jobs


async def test_when_a_batch_starts() -> None:
    queue = lane("m", limit=2)
    assert queue.due(0, 1) is None
    put(queue, queued=10)
    assert queue.due(10.1, 1) == 0  # a lone client waits for nobody
    queue.expected = 1
    assert queue.due(10.25, 1) == 0.75
    assert queue.due(11.5, 1) == 0
    put(queue, queued=10)
    assert queue.due(10, 1) == 0  # full


async def test_devices_are_shared_by_time() -> None:
    slow, fast = lane("slow", 1), lane("fast", 1)
    for _ in range(30):
        put(slow), put(fast)
    turns = {slow: 0, fast: 0}
    for _ in range(22):
        chosen, _ = next_queue([slow, fast], 1, 0)
        assert chosen is not None
        chosen.take()
        chosen.ran(1, 1.0 if chosen is slow else 0.1)
        turns[chosen] += 1
    assert turns == {slow: 2, fast: 20}


async def test_idle_time_is_not_saved_up() -> None:
    busy, idle = lane("busy"), lane("idle")
    busy.served = 100
    put(busy)
    catch_up(idle, [busy, idle])
    assert idle.served == 100


async def test_admission() -> None:
    queue = lane("m")
    for _ in range(3):
        put(queue)
    with pytest.raises(Problem) as full:
        queue.check_room(1, 3, 10, 1)
    assert full.value.status == 503 and int(full.value.headers["Retry-After"]) >= 1
    queue.row_seconds = 4  # three waiting and this one: 16 s, more than the deadline
    with pytest.raises(Problem):
        queue.check_room(1, 100, 10, 1)
    queue.check_room(1, 100, 10, 2)


@pytest.mark.parametrize(
    ("path", "query", "model", "route"),
    [
        ("/v1/detect", b"", None, "/v1/detect"),
        ("/v1/detect/batch", b"conf=0.5&model=small", "small", "/v1/detect/batch"),
        ("/v1/detect", b"classes=%F2&model=caf%C3%A9", "caf\u00e9", "/v1/detect"),
        ("/v2/models/small/infer", b"", "small", "/v2/models/{name}/infer"),
        ("/v2/models/m/versions/1/infer", b"", "m", "/v2/models/{name}/versions/{version}/infer"),
    ],
)
async def test_overload_is_refused_before_the_body_is_read(
    monkeypatch: pytest.MonkeyPatch, path: str, query: bytes, model: str | None, route: str
) -> None:
    app = create_app(Settings())
    engine, asked, sent = app.state.service, [], []

    def refuse(name: str | None) -> None:
        asked.append(name)
        raise overloaded("full", 2.5)

    async def receive() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    monkeypatch.setattr(engine, "refuse", refuse)
    scope = {
        "type": "http", "method": "POST", "path": path, "query_string": query, "headers": [],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000), "scheme": "http",
    }  # fmt: skip
    await app(scope, receive, send)
    assert asked == [model]
    assert sent[0]["status"] == 503 and (b"retry-after", b"3") in sent[0]["headers"]
    assert engine.metrics.requests.labels(route, "POST", "503")._value.get() == 1


async def test_room_is_asked_of_the_model() -> None:
    """No room where the queue is full; unknown models and a stopped engine are for the routes."""
    settings = Settings(queue_length=2)
    engine = Service(settings)
    engine.refuse(None)
    engine.scheduler = Scheduler(Arena(1 << 20), settings, Metrics())
    versions = {name: Version(name, name, None, {}, 4) for name in ("m", "other")}
    for version in versions.values():
        engine.scheduler.queues.add(version)
    engine._open, engine.registry._current = True, versions
    for _ in range(2):
        engine.refuse(None)
        put(engine.scheduler.queues.of(versions["m"]))
    for name in (None, "m"):
        with pytest.raises(Problem) as full:
            engine.refuse(name)
        assert full.value.status == 503
    engine.refuse("other")
    engine.refuse("nobody")


async def test_answered_jobs_leave_the_queue() -> None:
    queue = lane("m")
    first, second = put(queue), put(queue)
    first.result.cancel()
    await asyncio.sleep(0)
    assert queue.waiting == 1
    assert queue.drop_answered() == [first] and list(queue.jobs) == [second]


def test_settings_from_all_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('batch_size = 2\nqueue_length = 5\ndeadline = 1\nmodels = ["a.onnx"]\n')
    monkeypatch.setenv("YOLOV4SDK_CONFIG", str(file))
    monkeypatch.setenv("YOLOV4SDK_QUEUE_LENGTH", "6")
    monkeypatch.setenv("YOLOV4SDK_DEADLINE", "2")
    monkeypatch.setenv("YOLOV4SDK_DEVICE", "cuda:0, cuda:1")
    found = load_settings(deadline=3)
    assert (found.batch_size, found.queue_length, found.deadline) == (2, 6, 3)
    assert found.models == ("a.onnx",) and found.device == ("cuda:0", "cuda:1")
    file.write_text("batch_size = ")
    with pytest.raises(SettingError, match="cannot be read"):
        load_settings()
