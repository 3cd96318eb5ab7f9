"""Traces that reach a collector: a server that takes OTLP, in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.service import Service

pytest.importorskip("opentelemetry.instrumentation.asgi", reason="OpenTelemetry is not installed")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="no OTLP exporter")
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def collector() -> Iterator[tuple[str, list[Any]]]:
    """Its address and the batches of spans that came."""
    received: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Encoding"] in (None, "identity")
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.extend(ExportTraceServiceRequest.FromString(body).resource_spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    server.server_close()


def test_spans_reach_a_collector(
    collector: tuple[str, list[Any]], micro: Path, photos_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, received = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
    with Service(f"micro={micro}", telemetry=True) as service:
        answer = httpx.post(
            f"http://127.0.0.1:{service.port}/v1/detect",
            content=(photos_dir / "dog.jpg").read_bytes(),
            headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"},
        )
        assert answer.status_code == 200
    (resource,) = {span.resource.SerializeToString(): span.resource for span in received}.values()
    names = {entry.key: entry.value.string_value for entry in resource.attributes}
    assert names["service.name"] == "yolov4sdk"
    spans = [span for r in received for scope in r.scope_spans for span in scope.spans]
    ours = [span for span in spans if span.trace_id.hex() == TRACE]
    assert any("/v1/detect" in span.name for span in ours), [span.name for span in spans]


def test_a_collector_that_is_gone(micro: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    with Service(f"micro={micro}", telemetry=True) as service:
        assert httpx.get(f"http://127.0.0.1:{service.port}/v1/models").status_code == 200
        service.terminate()
        assert service.wait() == 0
