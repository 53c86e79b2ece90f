"""The body of a request, and the parts it is made of."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from espalier.errors import megabytes
from espalier.serving.refusal import TOO_LARGE, Refused


@dataclass(frozen=True)
class Part:
    """A file of a form, a text of a form, or a whole body.

    Attributes:
        content: its bytes.
        media_type: as it was declared, in small letters and without parameters; empty where it was not.
        name: of a file, as the client calls it; None of all else.
    """

    content: bytes
    media_type: str
    name: str | None = None


async def read_body(request: Request, most_bytes: int, timeout_s: float) -> bytes:
    """The body of a request, no more of it than is allowed.

    Raises:
        Refused: it is too large (413), compressed (415), or did not come in time (408).
        ClientDisconnect: the client has left.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "a compressed body is not taken: send it without Content-Encoding")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 15 or int(declared) > most_bytes):
        raise _too_large(most_bytes)
    try:
        body = await asyncio.wait_for(_read(request, most_bytes), timeout_s)
    except asyncio.TimeoutError:
        raise Refused(408, f"the request did not come within {timeout_s:g} s") from None
    request.state.is_read = True
    return body


async def _read(request: Request, most_bytes: int) -> bytes:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > most_bytes:
            raise _too_large(most_bytes)
    return bytes(content)


def _too_large(most_bytes: int) -> Refused:
    return Refused(TOO_LARGE, f"the request is too large: at most {megabytes(most_bytes)} are taken")


async def parts_of(request: Request, body: bytes, most_parts: int) -> list[Part]:
    """The parts of a form, or the whole body as one.

    Raises:
        Refused: the form is damaged (400), or has too many parts (413).
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "multipart/form-data":
        return [Part(body, media_type)]
    try:
        # One more than is allowed, so that it is told in our words.
        parser = MultiPartParser(request.headers, _stream(body), max_files=most_parts + 1, max_fields=most_parts + 1)
        form = await parser.parse()
    except (MultiPartException, ValueError, LookupError) as error:
        raise Refused(400, f"the form cannot be read: {error or type(error).__name__}") from None
    try:
        if not _is_whole(request, body):
            raise Refused(400, "the form cannot be read: it is cut short")
        return [await _part(value) for _, value in form.multi_items()]
    finally:
        await form.close()


def _is_whole(request: Request, body: bytes) -> bool:
    """Whether the mark of its end is there: without it the parser drops the last part in silence."""
    boundary = re.search(r'boundary="?([^";,]+)', request.headers["content-type"], re.IGNORECASE)
    return boundary is not None and f"--{boundary[1].strip()}--".encode("latin-1") in body


async def _part(value: Any) -> Part:
    if not isinstance(value, UploadFile):
        return Part(value.encode("utf-8", "replace"), "text/plain")
    media_type = (value.content_type or "").partition(";")[0].strip().lower()
    return Part(await value.read(), media_type, value.filename or "")


async def _stream(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body
