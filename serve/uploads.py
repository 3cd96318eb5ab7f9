"""Images out of requests: a raw body, a multipart form, or JSON with base64 or a URL."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Iterator
from typing import Any, Final, NamedTuple, TypeVar

import orjson
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect, Request

from .problems import Problem
from .settings import Settings
from .urls import fetch

T = TypeVar("T")


PLAIN: Final = 200
"""Brackets and commas in the JSON of an image at most: it is one string."""
PART_HEAD: Final = 8192
"""Bytes of the head of a form's part at most."""


class Part(NamedTuple):
    """A field of a form; a file has a file name, which is the client's word and not kept."""

    name: str
    is_file: bool
    content: bytes


async def one_image(request: Request, settings: Settings) -> bytes:
    """The encoded image of a request.

    Raises:
        Problem: 400 a broken form or JSON, 413 too large, 415 another content type, 422 no image.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return (await many_images(request, "file", 1))[0].content
    if kind == "application/json":
        return await _from_json(await request.body(), settings)
    if kind.startswith("image/") or kind in ("application/octet-stream", ""):
        body = await request.body()
        if not body:
            raise Problem(422, "No image", "the body is empty")
        return body
    raise _wrong_type("image/*, multipart/form-data or application/json")


async def many_images(request: Request, field: str, most: int) -> list[Part]:
    """The files of a multipart form, in its order.

    Raises:
        Problem: 400 a broken form, 413 too large, 415 another content type, 422 no file, too many,
            or a field of another name.
    """
    kind = request.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data"):
        raise _wrong_type("multipart/form-data")
    boundary = parse_options_header(kind)[1].get(b"boundary", b"")
    if not 1 <= len(boundary) <= 200:
        raise _wrong_form("its content type names no boundary")
    parts: list[Part] = []
    for part in _parts(await request.body(), boundary):
        if part.name != field:
            text = f"no field {part.name[:80]!r} is known; expected a file in the field `{field}`"
            raise Problem(422, "Wrong form", text + ", and options in the query (?conf=0.5)")
        if not part.is_file:
            raise Problem(422, "Wrong form", f"the field `{field}` is a text, expected a file")
        if len(parts) == most:
            raise Problem(422, "Wrong form", f"too many files; at most {most} are taken")
        parts.append(part)
    if not parts:
        text = f"the form holds no file; expected one in the field `{field}`"
        raise Problem(422, "No image", text)
    return parts


def _parts(body: bytes, boundary: bytes) -> Iterator[Part]:
    """The parts of a form; searching is left to `bytes.find`, whose time no client can raise."""
    delimiter = b"--" + boundary
    start = 0 if body.startswith(delimiter) else body.find(b"\r\n" + delimiter) + 2
    if not body.startswith(delimiter, start):
        raise _wrong_form("its boundary stands nowhere in the body")
    delimiter, position = b"\r\n" + delimiter, start + len(delimiter)
    while not body.startswith(b"--", position):
        if not body.startswith(b"\r\n", position):
            raise _wrong_form("there is no line end behind a boundary")
        head_end = body.find(b"\r\n\r\n", position, position + PART_HEAD)
        end = body.find(delimiter, head_end + 2)
        if head_end < 0 or end < 0:
            raise _wrong_form("it ends too early, or a part has no head")
        name, is_file = _named(body[position:head_end])
        yield Part(name, is_file, body[head_end + 4 : end])
        position = end + len(delimiter)


def _named(head: bytes) -> tuple[str, bool]:
    """The field of a part, and whether it is a file."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-disposition":
            options = parse_options_header(value.strip())[1]
            if b"name" in options:
                return options[b"name"].decode(errors="replace"), b"filename" in options
    raise _wrong_form("a part has no name")


def _wrong_form(why: str) -> Problem:
    return Problem(400, "Wrong form", f"the form is broken: {why}")


async def _from_json(body: bytes, settings: Settings) -> bytes:
    wanted = 'expected {"image": "<base64>"}'
    if settings.url_hosts:
        wanted += ' or {"url": "https://..."}'
    # The parser holds up all others while it works: what is not one string is not parsed.
    if sum(body.count(mark) for mark in (b"[", b"{", b",")) > PLAIN:
        raise Problem(400, "Wrong JSON", wanted)
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(400, "Wrong JSON", str(error)) from None
    if not isinstance(data, dict) or len(data) != 1:
        raise Problem(422, "Wrong JSON", wanted)
    if isinstance(image := data.get("image"), str):
        return _from_base64(image)
    if isinstance(url := data.get("url"), str):
        return await fetch(url, settings)
    raise Problem(422, "Wrong JSON", wanted)


def _from_base64(text: str) -> bytes:
    if text.startswith("data:"):  # as a page has it
        text = text.partition(",")[2]
    try:
        image = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Problem(422, "Wrong base64", "`image` is not base64 (RFC 4648)") from None
    if not image:
        raise Problem(422, "No image", "`image` is empty")
    return image


def _wrong_type(expected: str) -> Problem:
    return Problem(
        415, detail=f"expected the content type {expected}", headers={"Accept": expected}
    )


async def until_gone(request: Request, work: Awaitable[T]) -> T:
    """Wait for work, and cancel it when the client goes; the body must have been read.

    Raises:
        ClientDisconnect: it went.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientDisconnect
    finally:
        for other in (task, gone):
            other.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while True:
        message: Any = await request.receive()
        if message["type"] == "http.disconnect":
            return
