"""A local S3: moto's server, and what an address of a bucket in it looks like."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.request import Request, urlopen

import pytest


@dataclass(frozen=True)
class LocalS3:
    """A running server; `client` is boto3's, and whose objects it writes."""

    client: Any
    query: str

    def put(self, key: str, data: bytes, public: bool = True) -> None:
        """Write an object, for everybody to read unless not `public`."""
        acl = "public-read" if public else "private"
        self.client.put_object(Bucket="bucket", Key=key, Body=data, ACL=acl)

    def address(self, place: str) -> str:
        """Of a bucket or prefix, as one without credentials gives it."""
        return f"s3://anonymous@{place}{self.query}"


@contextmanager
def local_s3() -> Iterator[LocalS3]:
    """An S3 with one empty bucket, "bucket"; skips the test where moto is not installed."""
    server_module = pytest.importorskip("moto.server", reason='pip install "moto[s3]" flask-cors')
    import boto3

    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        # moto's servers of one process share their objects.
        urlopen(Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
        client = boto3.client(
            "s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1",
            aws_access_key_id="owner", aws_secret_access_key="secret",
        )  # fmt: skip
        client.create_bucket(Bucket="bucket")
        yield LocalS3(client, f"?endpoint_override={host}:{port}&scheme=http&region=us-east-1")
    finally:
        server.stop()
