"""A request that is not answered with predictions, and the sentence that says why."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse

TOO_LARGE = 413
_DRAINED_BYTES = 100_000_000
_DRAINED_S = 2.0


class Refused(Exception):
    """Why a request is refused.

    Args:
        status: of HTTP.
        sentence: what is wrong, for the one who has sent it.
        more: what is told beside it.
        retry_after_s: when to try again; None where that would change nothing.
    """

    def __init__(self, status: int, sentence: str, more: Mapping[str, Any] | None = None, *,
                 retry_after_s: int | None = None) -> None:  # fmt: skip
        super().__init__(sentence)
        self.status, self.more, self.retry_after_s = status, more or {}, retry_after_s


class Json(JSONResponse):
    """JSON as people read it; half a character, which no encoding has, as an escape."""

    def __init__(self, content: Any, status_code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(content, status_code, {"X-Content-Type-Options": "nosniff", **(headers or {})})

    def render(self, content: Any) -> bytes:
        """Its bytes."""
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8", "backslashreplace")


class BeforeItIsRead(Json):
    """An answer to a request whose body was not read to its end.

    A connection that is closed with data waiting takes the answer away from the client. So what comes is thrown away
    for a while, and then the connection closed.
    """

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send it."""
        self.headers["connection"] = "close"
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(_drain(receive), _DRAINED_S)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drain(receive: Any) -> None:
    size = 0
    while size < _DRAINED_BYTES:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body", False):
            return


def refusal(request: Request, refused: Refused) -> Json:
    """The answer that tells it: `{"error": sentence, ...}`."""
    retry = refused.retry_after_s
    headers = {} if retry is None else {"Retry-After": str(retry)}
    kind = Json if getattr(request.state, "is_read", False) else BeforeItIsRead
    return kind({"error": str(refused), **refused.more}, refused.status, headers)
