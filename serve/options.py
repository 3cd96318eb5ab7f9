"""What can be set about the service, declared once: for the command, the environment and files."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Literal

from yolov4sdk.backends import BackendName, Precision
from yolov4sdk.system.option import about

MOMENT: Final = 0.001
"""The least time limit, in seconds."""


def words(text: str) -> tuple[str, ...]:
    """ "a, b" to its words."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


_listed = partial(about, parse=words)
_seconds = partial(about, low=MOMENT, high=3600)


@dataclass(frozen=True)
class ServiceOptions:
    """Every setting but the keys; the defaults are for one machine behind no proxy."""

    host: str = field(default="127.0.0.1", metadata=about("Address; 0.0.0.0 for all."))
    port: int = field(default=8000, metadata=about("TCP port.", low=0, high=65535))

    models: tuple[str, ...] = field(
        default=(),
        metadata=_listed("Artefacts, PATH or NAME=PATH, the default one first."),
    )
    models_dir: Path | None = field(
        default=None,
        metadata=about("The only folder that models are loaded from at run time; none without it."),
    )
    backend: BackendName | None = field(
        default=None, metadata=about("Chosen by the file where not given.")
    )
    device: tuple[str, ...] = field(
        default=("auto",),
        metadata=_listed(
            "auto, cpu, cuda; cuda:0,cuda:1 for several, each with a worker and all models.",
            shown="auto",
        ),
    )
    precision: Precision | None = field(
        default=None, metadata=about("Of the arithmetic, where it can be chosen.")
    )
    shape: Literal["auto", "square", "rect"] = field(
        default="auto",
        metadata=about("Canvases of the model's size, or the next multiple of the stride."),
    )
    threads: int | None = field(
        default=None, metadata=about("Processor threads.", low=1, high=1024, shown="what there is")
    )

    batch_size: int = field(default=8, metadata=about("Images a batch.", low=1, high=256))
    batch_delay: float = field(
        default=0.005,
        metadata=about(
            "Seconds a batch waits for more images while others are on their way.", low=0, high=1
        ),
    )
    queue_length: int = field(
        default=64,
        metadata=about(
            "Images a model may have waiting, at best deadline x throughput; more get 503.",
            low=1, high=100_000,
        ),
    )  # fmt: skip
    deadline: float = field(
        default=5,
        metadata=_seconds("Seconds from acceptance to the start of the network; later is 504."),
    )
    decoders: int | None = field(
        default=None,
        metadata=about("Decoder processes.", low=1, high=64, shown="one a processor, 2 to 8"),
    )
    decode_limit: float = field(
        default=2,
        metadata=_seconds("Seconds an image may take to decode; its process is ended then."),
    )
    scaled_decode: bool = field(
        default=False,
        metadata=about("Decode large JPEGs at the fraction of their size that the network needs."),
    )
    run_limit: float = field(
        default=60,
        metadata=_seconds("Seconds a batch may take; its worker is ended and restarted then."),
    )
    load_limit: float = field(
        default=300, metadata=_seconds("Seconds a model may take to load and to warm up.")
    )

    max_body: int = field(
        default=20_000_000, metadata=about("Bytes of a request.", low=1024, high=2_000_000_000)
    )
    max_pixels: int = field(
        default=50_000_000, metadata=about("Pixels of an image.", low=1, high=1_000_000_000)
    )
    max_files: int = field(
        default=16,
        metadata=about("Images in one request to /v1/detect/batch.", low=1, high=1000),
    )
    max_streams: int = field(default=16, metadata=about("WebSockets at once.", low=0, high=10_000))
    upload_memory: int = field(
        default=256_000_000,
        metadata=about(
            "Bytes of all request bodies at once; the slowest make room for others, or get 503.",
            low=1024,
        ),
    )
    answer_memory: int = field(
        default=64_000_000,
        metadata=about(
            "Bytes of answers that clients have not read; the slowest readers are dropped.",
            low=1024,
        ),
    )
    shared_memory: int = field(
        default=1 << 30,
        metadata=about(
            "Bytes for images and tensors in flight; only what is used is taken.", low=1 << 20
        ),
    )
    body_limit: float = field(
        default=30, metadata=_seconds("Seconds a client may take to send a request's body.")
    )
    header_limit: float = field(
        default=10,
        metadata=_seconds("Seconds a connection may take to send a request's headers."),
    )
    least_rate: int = field(
        default=2000,
        metadata=about(
            "Bytes a second that a client must send of a body, and read of an answer.",
            low=1, high=1_000_000,
        ),
    )  # fmt: skip
    max_connections: int = field(
        default=1000,
        metadata=about(
            "Connections at once, at most what the limit of open files allows.",
            low=8, high=1_000_000,
        ),
    )  # fmt: skip

    hosts: tuple[str, ...] = field(
        default=(),
        metadata=_listed(
            'Host names that are answered, "*.example.org" for all below, "*" for all. None: with '
            "keys all, without keys addresses and local names only."
        ),
    )
    cors: tuple[str, ...] = field(
        default=(), metadata=_listed("Origins whose pages may call, https://example.org.")
    )
    url_hosts: tuple[str, ...] = field(
        default=(),
        metadata=_listed(
            "Hosts that images may be fetched from over https; without any no URL is taken."
        ),
    )
    url_limit: float = field(default=5, metadata=_seconds("Seconds that such a fetch may take."))

    drain_delay: float = field(
        default=5,
        metadata=about(
            "Seconds between SIGTERM, when /readyz turns 503, and the end of accepting work.",
            low=0, high=600,
        ),
    )  # fmt: skip
    log_format: Literal["auto", "json", "text"] = field(
        default="auto", metadata=about("Of the log.")
    )
    log_level: Literal["debug", "info", "warning", "error"] = field(
        default="info", metadata=about("From which on messages are logged.")
    )
    telemetry: bool = field(
        default=False,
        metadata=about("Send traces by OpenTelemetry, as its own environment variables say."),
    )
