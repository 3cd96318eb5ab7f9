"""Images out of requests: a raw body, a multipart form, or JSON with base64 or a URL."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncGenerator, Awaitable
from typing import Any, TypeVar

import orjson
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from .problems import Problem
from .settings import Settings
from .urls import fetch

T = TypeVar("T")


async def one_image(request: Request, settings: Settings) -> bytes:
    """The encoded image of a request.

    Raises:
        Problem: 400 a broken form or JSON, 413 too large, 415 another content type, 422 no image.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        files = await many_images(request, 1)
        return files[0][1]
    if kind == "application/json":
        return await _from_json(await request.body(), settings)
    if kind.startswith("image/") or kind in ("application/octet-stream", ""):
        body = await request.body()
        if not body:
            raise Problem(422, "No image", "the body is empty")
        return body
    raise _wrong_type("image/*, multipart/form-data or application/json")


async def many_images(request: Request, most: int) -> list[tuple[str, bytes]]:
    """File names and contents of a multipart form, in its order. Names are the client's words.

    Raises:
        Problem: 400 a broken form, 413 too large, 415 no form, 422 no file, or too many.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise _wrong_type("multipart/form-data")
    body = await request.body()

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(
        request.headers, stream(), max_files=most, max_fields=8, max_part_size=65536
    )
    parser.spool_max_size = len(body) + 1  # in memory: the body is there already
    try:
        form = await parser.parse()
    except MultiPartException as error:
        status = 422 if error.message.startswith("Too many") else 400
        raise Problem(status, "Wrong form", error.message) from None
    files = [
        (item.filename or "", await item.read())
        for _, item in form.multi_items()
        if isinstance(item, UploadFile)
    ]
    await form.close()
    if not files:
        raise Problem(422, "No image", "the form holds no file; expected one in the field `file`")
    return files


async def _from_json(body: bytes, settings: Settings) -> bytes:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(400, "Wrong JSON", str(error)) from None
    wanted = 'expected {"image": "<base64>"}'
    if settings.url_hosts:
        wanted += ' or {"url": "https://..."}'
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
