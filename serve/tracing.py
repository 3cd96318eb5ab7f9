"""Traces by OpenTelemetry, sent over OTLP; everything is set by its own environment variables."""

from __future__ import annotations

from typing import Any

from yolov4sdk.errors import MissingExtraError


class Tracing:
    """A span for every request, with the caller's trace id where the request carries one.

    OTEL_EXPORTER_OTLP_ENDPOINT says where they go (http://localhost:4318 unless set),
    OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES what they are called, OTEL_TRACES_SAMPLER which
    are kept. Under `opentelemetry-instrument` its provider is used instead.

    Raises:
        MissingExtraError: OpenTelemetry is not installed.
    """

    def __init__(self) -> None:
        try:
            from opentelemetry import trace
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
            from opentelemetry.sdk.resources import OTELResourceDetector, Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise MissingExtraError("Tracing", "telemetry", "opentelemetry") from error
        self.middleware = OpenTelemetryMiddleware
        self.provider: Any = trace.get_tracer_provider()
        if not isinstance(self.provider, TracerProvider):  # nobody has set one
            named = Resource.create({"service.name": "yolov4sdk"})
            named = named.merge(OTELResourceDetector().detect())
            # `flush` sends at the end; the provider itself would wait longer for a lost collector.
            self.provider = TracerProvider(resource=named, shutdown_on_exit=False)
            self.provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))

    def flush(self) -> None:
        """Send what has not been sent; a collector that is gone costs 5 seconds at most."""
        self.provider.force_flush(5000)
