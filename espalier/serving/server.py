"""A port, and a server that listens at it until it is asked to stop."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from espalier.errors import UserError, explain
from espalier.startup import resume_collector
from espalier.stop_signals import exit_code_of, stop_signals

_BACKLOG = 2048
_KEPT_ALIVE_S = 30
_GRACE_S = 5  # beyond the time that a request may take


def open_socket(host: str, port: int) -> socket.socket:
    """A socket that has a port, at which nobody is listened to yet.

    Raises:
        UserError: the port is taken, or there is no such address.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise UserError(explain(f"serve error: {host} is no address of this machine", got=str(error))) from None
    try:
        if os.name == "posix":  # a port is free as soon as its server has ended
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except (OSError, OverflowError) as error:
        found.close()
        raise _taken(host, port, error) from None
    return found


def listen(opened: socket.socket) -> None:
    """Let clients come.

    Raises:
        UserError: another process listens at the port since it was opened.
    """
    try:
        opened.listen(_BACKLOG)
    except OSError as error:
        host, port = opened.getsockname()[:2]
        raise _taken(host, port, error) from None


def _taken(host: str, port: int, error: Exception) -> UserError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return UserError(explain(f"serve error: {host} port {port} cannot be listened at", got=reason,
                             fix="give another one with --port, or 0 for any that is free"))  # fmt: skip


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def address_of(opened: socket.socket) -> str:
    """What to type into a browser."""
    host, port = opened.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class Server(uvicorn.Server):
    """Uvicorn, which leaves the signals to us: a stop that was asked for is an end like any other."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Finish what is in at the first signal; end at once at the second."""

        def stop(number: int, frame: Any) -> None:
            if self.should_exit:
                os._exit(exit_code_of(number))
            print("Stopping: what is in is finished. Once more ends it at once.", file=sys.stderr, flush=True)
            self.should_exit = True

        before = {number: signal.signal(number, stop) for number in stop_signals()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Protocol(H11Protocol):
    """HTTP, which leaves a client that does not finish the head of its request; Uvicorn would wait for ever."""

    _leaving: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Take what has come; the time for a head runs from its first bytes, not from its last."""
        super().data_received(data)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        super().connection_lost(exc)
        self._wait_no_more()

    def _wait_for_head(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._wait_no_more()
        elif self._leaving is None:
            self._leaving = self.loop.call_later(self.timeout_keep_alive, self.transport.close)

    def _wait_no_more(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None


def settings(app: Any, timeout_s: float) -> uvicorn.Config:
    """Those of Uvicorn. One protocol, of which it is known how it closes; nothing of a proxy is believed."""
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEPT_ALIVE_S,
        timeout_graceful_shutdown=int(timeout_s) + _GRACE_S,
    )


def serve(app: Any, opened: socket.socket, timeout_s: float) -> None:
    """Answer until a signal asks for an end, then finish what is in; nobody waits for a batch that is not done by then.

    Args:
        app: of `build_app`.
        opened: after `listen`.
        timeout_s: that one request may take.
    """
    resume_collector()
    asyncio.run(Server(settings(app, timeout_s)).serve(sockets=[opened]))
    if _has_threads():
        sys.stdout.flush()
        os._exit(0)


def _has_threads() -> bool:
    """Whether a thread still computes, which would hold the end of the process up."""
    others = [each for each in threading.enumerate() if each is not threading.current_thread() and not each.daemon]
    for each in others:
        each.join(1.0)
    return any(each.is_alive() for each in others)
