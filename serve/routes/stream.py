"""WS /v1/stream: frames in, results out; behind, it drops the oldest frame."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import orjson
from fastapi import APIRouter, WebSocket
from pydantic import ValidationError
from starlette.websockets import WebSocketDisconnect, WebSocketState

from ..keys import Keys
from ..middleware import problem_response, request_id
from ..problems import Problem
from ..schemas import DetectQuery, query_of
from ..service import Service
from .detect import answer

router = APIRouter()

IDLE = 60
"""Seconds without a frame after which a stream is closed."""
POLICY, TOO_BIG, TRY_LATER, GOING = 1008, 1009, 1013, 1001


@router.websocket("/v1/stream")
async def stream(socket: WebSocket) -> None:
    """Each binary message is an encoded image; each answer is JSON with its number.

    The query is that of /v1/detect without `format`. `dropped` counts the frames that were
    replaced by newer ones before their turn. A frame's problem is answered and the stream goes on.
    """
    service: Service = socket.app.state.service
    keys: Keys = socket.app.state.keys
    key = socket.scope["api_key"]
    gauge = service.metrics.streams
    try:
        query = query_of(socket)
        service.model(query.model)
    except (ValidationError, Problem):
        await socket.close(POLICY)  # before it is accepted: HTTP 403
        return
    if socket.app.state.streams >= service.settings.max_streams:
        full = Problem(503, detail="all streams are taken", headers={"Retry-After": "5"})
        await refuse_stream(socket, full)
        return
    socket.app.state.streams += 1
    gauge.inc()
    try:
        await socket.accept()
        frames = _Frames()
        async with asyncio.TaskGroup() as group:
            group.create_task(_receive(socket, frames, service.settings.max_body))
            group.create_task(_answer(socket, frames, service, query, lambda: keys.hit(key)))
    except* (WebSocketDisconnect, RuntimeError, _Ended):
        pass
    finally:
        socket.app.state.streams -= 1
        gauge.dec()


class _Ended(Exception):
    """The stream is over."""


class _Frames:
    """The newest frame that nobody has taken yet."""

    def __init__(self) -> None:
        self._newest: tuple[int, bytes] | None = None
        self._there = asyncio.Event()
        self.number = self.dropped = 0

    def put(self, frame: bytes) -> None:
        """Replace what is there."""
        self.dropped += self._newest is not None
        self._newest = (self.number, frame)
        self.number += 1
        self._there.set()

    async def take(self) -> tuple[int, bytes]:
        """Wait for a frame; its number counts from 0."""
        await self._there.wait()
        self._there.clear()
        assert self._newest is not None
        newest, self._newest = self._newest, None
        return newest


async def _receive(socket: WebSocket, frames: _Frames, most: int) -> None:
    while True:
        try:
            async with asyncio.timeout(IDLE):
                message = await socket.receive()
        except TimeoutError:
            await _end(socket, GOING, "no frame came")
        if message["type"] == "websocket.disconnect":
            raise _Ended
        frame = message.get("bytes")
        if frame is None:
            await _end(socket, POLICY, "expected binary messages, an encoded image each")
        elif len(frame) > most:
            await _end(socket, TOO_BIG, f"at most {most:,} bytes are taken")
        else:
            frames.put(frame)


async def _answer(
    socket: WebSocket, frames: _Frames, service: Service, query: DetectQuery, hit: Any
) -> None:
    options = query.options()
    while True:
        number, frame = await frames.take()
        try:
            hit()
            name = service.model(query.model).name
            body = answer(name, await service.detect(name, frame, options))
        except Problem as problem:
            body = {"problem": problem.body(request_id.get())}
            if problem.status in (429, 503):  # do not spin on refusals
                await asyncio.sleep(0.1)
        text = orjson.dumps({"frame": number, "dropped": frames.dropped, **body}).decode()
        async with asyncio.timeout(IDLE):
            await socket.send_text(text)


async def _end(socket: WebSocket, code: int, reason: str) -> None:
    if socket.application_state is WebSocketState.CONNECTED:
        with contextlib.suppress(RuntimeError):
            await socket.close(code, reason)
    raise _Ended


async def refuse_stream(socket: WebSocket, problem: Problem) -> None:
    """Answer the handshake with a problem, where the server can; else it answers 403."""
    if "websocket.http.response" not in socket.scope.get("extensions", {}):
        await socket.close(TRY_LATER)
        return
    await socket.send_denial_response(problem_response(problem, socket.scope))
