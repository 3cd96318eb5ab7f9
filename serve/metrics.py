"""What Prometheus reads at /metrics."""

from __future__ import annotations

from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

SECONDS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
)  # fmt: skip


disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The metrics of one service, in a registry of its own.

    `requests` counts every HTTP answer by its status, rejections and client errors included;
    `images` every image and tensor given to the service by its outcome: ok, overload, deadline,
    invalid, failed (the worker was lost or the runtime failed), cancelled (the client went).
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "yolov4sdk_requests", "HTTP answers.", ["route", "method", "status"],
            registry=self.registry,
        )  # fmt: skip
        self.seconds = self._histogram(
            "yolov4sdk_request_seconds", "From the request's head to the answer's end.", ["route"]
        )
        self.images = Counter(
            "yolov4sdk_images", "Images and tensors by outcome.", ["model", "outcome"],
            registry=self.registry,
        )  # fmt: skip
        self.stages = self._histogram(
            "yolov4sdk_stage_seconds",
            "An image's decoding and wait, a batch's network and whole time in the worker.",
            ["model", "stage"],
        )
        self.batches = Histogram(
            "yolov4sdk_batch_size", "Images a batch.", ["model"], registry=self.registry,
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
        )  # fmt: skip
        self.queue = self._gauge("yolov4sdk_queue_depth", "Images accepted and waiting.", ["model"])
        self.ready = self._gauge("yolov4sdk_ready", "1 when /readyz answers 200.")
        self.memory = self._gauge("yolov4sdk_shared_memory_bytes", "Shared memory in use.")
        self.streams = self._gauge("yolov4sdk_streams", "Open WebSockets.")
        self.restarts = Counter(
            "yolov4sdk_restarts", "Processes started again.", ["kind"], registry=self.registry
        )

    def _gauge(self, name: str, text: str, labels: list[str] | None = None) -> Gauge:
        return Gauge(name, text, labels or [], registry=self.registry)

    def _histogram(self, name: str, text: str, labels: list[str]) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry, buckets=SECONDS)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)
