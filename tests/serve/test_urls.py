"""Images fetched for clients: what is refused, and a host that answers over TLS."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from serve import urls
from serve.problems import Problem
from serve.settings import Settings
from serve.urls import _parts, fetch, public

pytestmark = pytest.mark.anyio

HOST = "images.example"
SETTINGS = Settings(url_hosts=(HOST,), max_body=2000, url_limit=1)
ANSWERS = {
    "/photo?size=1": (200, b"the image"), "/large": (200, bytes(2001)), "/gone": (404, b""),
    "/moved": (302, b""),
}  # fmt: skip


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    """A host whose certificate the system trusts, reached under a public name."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            assert self.headers["Host"] == HOST
            if self.path == "/silent":
                released.wait(10)
                return
            status, body = ANSWERS[self.path]
            self.send_response(status)
            self.send_header("Location", "https://127.0.0.1/secret")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    async def resolve(name: str) -> str:
        assert name == HOST
        return "127.0.0.1"

    released = threading.Event()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setattr(urls, "PORT", server.server_port)
    monkeypatch.setattr(urls, "_resolve", resolve)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    released.set()
    server.shutdown()
    server.server_close()


async def test_an_image_from_a_host(host: ThreadingHTTPServer) -> None:
    assert await fetch(f"https://{HOST}/photo?size=1", SETTINGS) == b"the image"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("large", "more than 2,000 bytes"), ("gone", "answered 404"), ("moved", "answered 302"),
        ("silent", "nothing came within 1 s"),
    ],
)  # fmt: skip
async def test_answers_that_are_refused(host: ThreadingHTTPServer, path: str, message: str) -> None:
    with pytest.raises(Problem, match=message):
        await fetch(f"https://{HOST}/{path}", SETTINGS)


async def test_a_certificate_nobody_trusts(
    host: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(Problem, match="as HTTPS should"):
        await fetch(f"https://{HOST}/photo?size=1", SETTINGS)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("192.168.1.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::1", False),
    ],
)
def test_public_addresses(address: str, expected: bool) -> None:
    assert public(address) is expected


@pytest.mark.parametrize(
    "url",
    [
        "http://good.example/x", "https://evil.example/x", "https://good.example:8443/x",
        "https://user@good.example/x", "https://good.example@evil.example/", "//good.example/x",
        "https://good.example.evil.example/", "https://good.example/a b", "https://[::1", "",
        "https://good.example/\r\nHost: x", "https://good.example:x/",
    ],
)  # fmt: skip
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(Problem) as refused:
        _parts(url, ("good.example",))
    assert refused.value.status == 422


async def test_an_allowed_host_with_a_private_address_is_refused() -> None:
    assert _parts("https://localhost/x?y=1", ("localhost",)) == ("localhost", "/x?y=1")
    with pytest.raises(Problem, match="not public"):
        await fetch("https://localhost/x", Settings(url_hosts=("localhost",)))
    with pytest.raises(Problem, match="not taken here"):
        await fetch("https://localhost/x", Settings())
