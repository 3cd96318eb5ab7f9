"""WS /v1/stream."""

from __future__ import annotations

import json

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.support.images import seeds
from tests.support.service import Service

from .conftest import USER, bearer

IMAGE = seeds()["JPEG"]


def stream(service: Service, query: str = "", **options: object) -> ClientConnection:
    url = f"ws://127.0.0.1:{service.port}/v1/stream{query}"
    return connect(url, compression=None, **options)  # type: ignore[arg-type]


def test_frames_in_results_out(service: Service) -> None:
    with stream(service, "?conf=0&max_det=2") as socket:
        for number in range(3):
            socket.send(IMAGE)
            answer = json.loads(socket.recv(20))
            assert answer["frame"] == number and answer["dropped"] == 0
            assert answer["image"] == {"height": 120, "width": 160}
            assert len(answer["detections"]) == 2


def test_a_bad_frame_does_not_end_the_stream(service: Service) -> None:
    with stream(service) as socket:
        socket.send(b"no image")
        assert json.loads(socket.recv(20))["problem"]["status"] == 415
        socket.send(IMAGE)
        assert "detections" in json.loads(socket.recv(20))


def test_a_flood_drops_the_oldest(service: Service) -> None:
    with stream(service) as socket:
        for _ in range(200):
            socket.send(IMAGE)
        numbers, dropped = [], 0
        while not numbers or numbers[-1] < 199:
            answer = json.loads(socket.recv(20))
            numbers.append(answer["frame"])
            dropped = answer["dropped"]
        assert numbers == sorted(set(numbers))
        assert len(numbers) + dropped == 200


def test_what_closes_a_stream(service: Service) -> None:
    for message, code in (("text", 1008), (bytes(1_000_001), 1009)):
        with stream(service) as socket, pytest.raises(ConnectionClosed) as closed:
            socket.send(message)
            socket.recv(20)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == code


def test_who_may_stream(service: Service, guarded: Service) -> None:
    for running, query, more in (
        (guarded, "", {}),
        (service, "?conf=7", {}),
        (service, "?model=nothing", {}),
        (service, "", {"origin": "https://evil.example"}),
    ):
        with pytest.raises(InvalidStatus) as refused, stream(running, query, **more):
            pass
        assert refused.value.response.status_code == 403
    with stream(guarded, additional_headers=bearer(USER)) as socket:
        socket.send(IMAGE)
        assert "detections" in json.loads(socket.recv(20))


def test_streams_are_counted(service: Service) -> None:
    with stream(service), stream(service), pytest.raises(InvalidStatus), stream(service):
        pass
    with stream(service) as socket:
        socket.send(IMAGE)
        assert "detections" in json.loads(socket.recv(20))
