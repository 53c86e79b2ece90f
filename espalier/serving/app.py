"""The routes of a server, over a model that is loaded."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from espalier.inference.model import OF_INPUTS, Model
from espalier.serving.about import about
from espalier.serving.batcher import Batcher
from espalier.serving.counters import Counters
from espalier.serving.engine import Bad, Engine, sentence
from espalier.serving.flags import Limits
from espalier.serving.formats import formats_of, media_types_of
from espalier.serving.inputs import Reader
from espalier.serving.page import headers, page
from espalier.serving.parts import Part, parts_of, read_body
from espalier.serving.refusal import Json, Refused, refusal

_READERS = 4  # threads in which requests are read and their files decoded
_LEFT = 499  # what is counted for a client that has left


class Service:
    """A model with what stands between it and its clients.

    Args:
        model: as `load_model` gives it.
        limits: see there.
    """

    def __init__(self, model: Model, limits: Limits) -> None:
        self.model, self.limits, self.counters = model, limits, Counters()
        self.engine = Engine(model, limits.batch_size)
        self.batcher = Batcher(self.engine.answers, limits.batch_size, limits.most_wait_ms / 1000, self.counters)
        self.readers = ThreadPoolExecutor(_READERS, "read")
        self.since = datetime.now(timezone.utc)
        self.num_open = 0

    async def predict(self, request: Request) -> Response:
        """Answer a request for predictions, whatever it holds, and count it."""
        began = time.monotonic()
        try:
            response = await self._admitted(request, began + self.limits.timeout_s)
        except Refused as refused:
            response = refusal(request, refused)
        except ClientDisconnect:
            response = Response(status_code=_LEFT)
        except Exception:
            self.counters.request(500, time.monotonic() - began)
            raise
        self.counters.request(response.status_code, time.monotonic() - began)
        return response

    async def _admitted(self, request: Request, deadline: float) -> Response:
        if request.headers.get("sec-fetch-site") == "cross-site":
            raise Refused(403, "a page of another site may not use this model")
        if self.num_open >= self.limits.queue:
            raise Refused(503, f"too many requests at once: at most {self.limits.queue}", retry_after_s=1)
        self.num_open += 1
        try:
            body = await read_body(request, self.limits.most_bytes, self.limits.timeout_s)
            answering = asyncio.ensure_future(self._answer(request, body))
            return await self._while_wanted(answering, request, deadline)
        finally:
            self.num_open -= 1

    async def _while_wanted(self, answering: asyncio.Future[Response], request: Request, deadline: float) -> Response:
        """The answer, unless it takes too long or the client leaves: then nothing more is done for it."""
        leaving = asyncio.ensure_future(_has_left(request))
        try:
            left_s = max(0.0, deadline - time.monotonic())
            await asyncio.wait((answering, leaving), timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                return answering.result()
            if leaving.done():
                raise ClientDisconnect
            raise Refused(504, f"there was no answer within {self.limits.timeout_s:g} s")
        finally:
            answering.cancel()
            leaving.cancel()

    async def _answer(self, request: Request, body: bytes) -> Response:
        parts = await parts_of(request, body, self.limits.most_inputs)
        samples, names = await self._in_thread(self._samples, parts)
        good = [each for each in samples if not isinstance(each, Bad)]
        found = iter(await self.batcher.answers_to(good) if good else ())
        answers = [each if isinstance(each, Bad) else next(found) for each in samples]
        rows = await self._in_thread(_rows, answers, names)
        errors = [answer.reason for answer in answers if isinstance(answer, Bad)]
        self.counters.inputs.update(predicted=len(answers) - len(errors), refused=len(errors))
        if len(errors) == len(answers):
            raise Refused(422, errors[0], {"predictions": rows} if len(rows) > 1 else None)
        response: Response = await self._in_thread(Json, {"predictions": rows})
        return response

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.readers, function, *arguments)

    def _samples(self, parts: list[Part]) -> tuple[list[Any], list[str | None]]:
        """The samples of a request, some of which may be a `Bad`, and the names of their files; in a thread."""
        samples: list[Any] = []
        names: list[str | None] = []
        with tempfile.TemporaryDirectory(prefix="serve-", ignore_cleanup_errors=True) as folder:
            for group in Reader(self.model.preprocessing, self.limits, Path(folder)).read(parts):
                try:
                    found = self.engine.samples(group.inputs)
                except OF_INPUTS as error:  # of a table as a whole
                    found = [Bad(sentence(error))]
                samples += found
                names += [group.name] * len(found)
        return samples, names

    @property
    def is_ready(self) -> bool:
        """Whether it computes; a batch that is in the works for far longer than any may wait says that it does not."""
        return self.batcher.is_alive(3 * self.limits.timeout_s)


def build_app(model: Model, limits: Limits) -> FastAPI:
    """The application: `/predict`, `/health`, `/metrics`, `/about` and a page."""
    service = Service(model, limits)

    @contextlib.asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        service.batcher.start()
        yield
        await service.batcher.close()
        service.readers.shutdown(wait=False, cancel_futures=True)

    facts = about(model, limits, service.since)
    app = FastAPI(title=facts["name"], docs_url=None, redoc_url=None, redirect_slashes=False, lifespan=running)
    bodies: dict[str, Any] = {each: {} for each in media_types_of(formats_of(model.preprocessing))}
    of_request = {"requestBody": {"content": bodies}}

    async def health() -> Response:
        is_ready = service.is_ready
        told = {"ready": is_ready, "model": facts["name"], "since": facts["since"]}
        return Json(told, 200 if is_ready else 503)

    async def metrics() -> Response:
        text = service.counters.text(service.num_open, service.batcher.num_waiting)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    async def tell() -> Response:
        return Json(facts)

    async def look() -> Response:
        return HTMLResponse(page(), headers=headers())

    app.add_api_route("/predict", service.predict, methods=["POST"], openapi_extra=of_request)
    for path, answer in {"/health": health, "/metrics": metrics, "/about": tell, "/": look}.items():
        app.add_api_route(path, answer, methods=["GET"])
        app.add_api_route(path, answer, methods=["HEAD"], include_in_schema=False)
    app.add_exception_handler(HTTPException, _not_there)
    app.add_exception_handler(Exception, _our_fault)
    return app


async def _has_left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _rows(answers: list[Any], names: list[str | None]) -> list[dict[str, Any]]:
    """What is told of each input, as plain values."""
    told = [{"error": each.reason} if isinstance(each, Bad) else each.as_dict() for each in answers]
    return [row if name is None else {"name": name, **row} for row, name in zip(told, names, strict=True)]


async def _not_there(request: Request, error: Any) -> Response:
    """The answer to a path or a method that is not there."""
    known = "/predict, /about, /health, /metrics and /"
    sentences = {404: f"there is nothing here: the paths are {known}", 405: f"{request.method} does not go here"}
    return Json({"error": sentences.get(error.status_code, str(error.detail))}, error.status_code, error.headers)


async def _our_fault(request: Request, error: Exception) -> Response:
    logging.getLogger("serving").debug("%s", error)  # with its traceback the server tells it
    return Json({"error": "the server has failed at this; its log says how"}, 500)
