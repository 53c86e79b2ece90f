"""The flags of a server, the limits that they set, and what has to be installed for it; imports none of that."""

from __future__ import annotations

import argparse
import dataclasses
import math
from importlib.util import find_spec
from typing import Any

from espalier.errors import UserError, explain

_NEEDED = {"fastapi": ("fastapi",), "uvicorn": ("uvicorn",), "python-multipart": ("python_multipart", "multipart")}


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds that keep a server alive, whatever it is sent.

    Attributes:
        batch_size: inputs that are computed together.
        most_wait_ms: how long a batch waits for more inputs, in milliseconds from its first.
        most_bytes: of the body of a request.
        most_inputs: of one request.
        most_pixels: of the images of one request together, before any is decoded.
        timeout_s: for one request, from its headers to its answer.
        queue: requests that are received, waiting or computed at once; one more is refused.
    """

    batch_size: int = 32
    most_wait_ms: float = 5.0
    most_bytes: int = 10_000_000
    most_inputs: int = 1_000
    most_pixels: int = 50_000_000
    timeout_s: float = 30.0
    queue: int = 64


def check_extra() -> None:
    """Raise a UserError that names the packages which are not installed."""
    missing = [package for package, names in _NEEDED.items() if not any(map(find_spec, names))]
    if missing:
        head = f"serve error: a server needs the package{'s' * (len(missing) > 1)} {', '.join(missing)}"
        raise UserError(explain(head, fix='pip install -e ".[serve]"'))


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Those of `serve.py`, and of `python -m espalier.serving`."""
    default = Limits()
    parser.add_argument("model", metavar="RUN|BUNDLE", help="a run folder, a checkpoint, or a bundle")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at; 0.0.0.0 for every machine")
    parser.add_argument("--port", type=port, default=8000, help="default 8000; 0 for any that is free")
    parser.add_argument("-d", "--device", help="where it computes: cpu, cuda:1, or the index of a GPU")
    parser.add_argument("--batch-size", type=count, metavar="N", help="inputs computed together; as in evaluation")
    parser.add_argument("--most-wait-ms", type=not_negative, metavar="MS", default=default.most_wait_ms,
                        help="milliseconds that a batch waits for more inputs (default %(default)g)")  # fmt: skip
    parser.add_argument("--most-bytes", type=count, metavar="N", default=default.most_bytes,
                        help="bytes of one request (default %(default)s)")  # fmt: skip
    parser.add_argument("--most-inputs", type=count, metavar="N", default=default.most_inputs,
                        help="inputs of one request (default %(default)s)")  # fmt: skip
    parser.add_argument("--most-pixels", type=count, metavar="N", default=default.most_pixels,
                        help="pixels of the images of one request together (default %(default)s)")  # fmt: skip
    parser.add_argument("--timeout-s", type=positive, metavar="S", default=default.timeout_s,
                        help="seconds that one request may take (default %(default)g)")  # fmt: skip
    parser.add_argument("--queue", type=count, metavar="N", default=default.queue,
                        help="requests at once, before one more is refused (default %(default)s)")  # fmt: skip


def limits_of(args: Any, batch_size: int) -> Limits:
    """The limits that the flags ask for.

    Args:
        batch_size: where they ask for none.
    """
    chosen = {each.name: getattr(args, each.name) for each in dataclasses.fields(Limits)}
    return Limits(**{**chosen, "batch_size": args.batch_size or batch_size})


def not_negative(text: str) -> float:
    """A number from 0 on."""
    number = float(text)
    if not 0 <= number < math.inf:
        raise ValueError
    return number


def positive(text: str) -> float:
    """A number above 0."""
    number = not_negative(text)
    if number == 0:
        raise ValueError
    return number


def count(text: str) -> int:
    """A whole number from 1 on."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def port(text: str) -> int:
    """The number of a port; 0 for any that is free."""
    number = int(text)
    if not 0 <= number < 65536:
        raise ValueError
    return number
