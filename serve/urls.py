"""Images fetched for clients: off unless hosts are allowed, and then narrowly.

https on port 443 of an allowed host; its name is resolved once, every address of it must be
public, and the connection goes to the address that was checked. No redirects; bounded in bytes
and time.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from typing import Final
from urllib.parse import urlsplit

import h11

from .problems import Problem
from .settings import Settings

PORT: Final = 443

# Public by their first bits, but they carry or translate to IPv4 addresses of any kind.
_TUNNELS: Final = tuple(
    ipaddress.ip_network(net)
    for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")
)


async def fetch(url: str, settings: Settings) -> bytes:
    """The body of an image URL.

    Raises:
        Problem: 422 not allowed, or nothing usable there.
    """
    host, target = _parts(url, settings.url_hosts)
    try:
        async with asyncio.timeout(settings.url_limit):
            address = await _resolve(host)
            return await _get(host, address, target, settings.max_body)
    except TimeoutError:
        raise _refused(f"nothing came within {settings.url_limit:g} s") from None
    except (OSError, h11.RemoteProtocolError) as error:
        raise _refused(
            f"the host did not answer as HTTPS should ({type(error).__name__})"
        ) from None


def _parts(url: str, hosts: tuple[str, ...]) -> tuple[str, str]:
    """Host and request target of an allowed URL."""
    if not hosts:
        raise _refused("URLs are not taken here; send the image itself")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _refused("expected https://host/path") from None
    if parts.scheme != "https" or port not in (None, PORT) or parts.username or parts.password:
        raise _refused("expected https://host/path, without a user or another port")
    host = (parts.hostname or "").rstrip(".")
    if host not in hosts:
        raise _refused("this host is not allowed")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not target.isascii() or any(c <= " " or c == "\x7f" for c in target):
        raise _refused("the path must be percent-encoded")
    return host, target


async def _resolve(host: str) -> str:
    """One address of the host, all of which are public."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, PORT, type=socket.SOCK_STREAM)
    except OSError:
        raise _refused("the host has no address") from None
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses or not all(public(address) for address in addresses):
        raise _refused("the host has an address that is not public")
    return addresses[0]


def public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, and to nothing behind a translator."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return public(str(ip.ipv4_mapped))
        if any(ip in net for net in _TUNNELS):
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


async def _get(host: str, address: str, target: str, most: int) -> bytes:
    reader, writer = await asyncio.open_connection(
        address, PORT, ssl=ssl.create_default_context(), server_hostname=host
    )
    try:
        connection = h11.Connection(h11.CLIENT)
        headers = [("Host", host), ("Accept", "image/*"), ("Connection", "close")]
        request = h11.Request(method="GET", target=target, headers=headers)
        writer.write(connection.send(request) or b"")
        writer.write(connection.send(h11.EndOfMessage()) or b"")
        body = bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(65536))
            elif isinstance(event, h11.Response):
                if event.status_code != 200:
                    raise _refused(f"the host answered {event.status_code}, not 200")
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > most:
                    raise _refused(f"the image has more than {most:,} bytes")
            elif isinstance(event, h11.EndOfMessage):
                return bytes(body)
            elif isinstance(event, h11.ConnectionClosed):
                raise _refused("the host closed the connection")
    finally:
        writer.close()


def _refused(detail: str) -> Problem:
    return Problem(422, "URL not usable", detail)
