"""The flags of a server."""

from __future__ import annotations

import argparse
import dataclasses
import math
from typing import Any

from espalier.serving.limits import Limits


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Those of `serve.py`, and of `python -m espalier.serving`."""
    default = Limits()
    parser.add_argument("model", metavar="RUN|BUNDLE", help="a run folder, a checkpoint, or a bundle")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at; 0.0.0.0 for every machine")
    parser.add_argument("--port", type=port, default=8000, help="8000; 0 for any that is free")
    parser.add_argument("-d", "--device", type=device, help="where it computes: cpu, cuda:1, or the index of a GPU")
    parser.add_argument("--batch-size", type=count, metavar="N", help="inputs computed together; as in evaluation")
    parser.add_argument("--most-wait-ms", type=not_negative, metavar="MS", default=default.most_wait_ms,
                        help="how long a batch waits for more inputs: %(default)g")  # fmt: skip
    parser.add_argument("--most-bytes", type=count, metavar="N", default=default.most_bytes,
                        help="of one request: %(default)s")  # fmt: skip
    parser.add_argument("--most-inputs", type=count, metavar="N", default=default.most_inputs,
                        help="of one request: %(default)s")  # fmt: skip
    parser.add_argument("--most-pixels", type=count, metavar="N", default=default.most_pixels,
                        help="of the images of one request together: %(default)s")  # fmt: skip
    parser.add_argument("--timeout-s", type=positive, metavar="S", default=default.timeout_s,
                        help="that one request may take: %(default)g")  # fmt: skip
    parser.add_argument("--queue", type=count, metavar="N", default=default.queue,
                        help="requests at once, before one more is refused: %(default)s")  # fmt: skip


def limits_of(args: Any, batch_size: int) -> Limits:
    """The limits that the flags ask for.

    Args:
        batch_size: where they ask for none.
    """
    chosen = {each.name: getattr(args, each.name) for each in dataclasses.fields(Limits)}
    return Limits(**{**chosen, "batch_size": args.batch_size or batch_size})


def positive(text: str) -> float:
    """A number above 0."""
    number = float(text)
    if not 0 < number < math.inf:
        raise ValueError
    return number


def not_negative(text: str) -> float:
    """A number from 0 on."""
    number = float(text)
    if not 0 <= number < math.inf:
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


def device(text: str) -> str:
    """What PyTorch calls a device; of a number the GPU."""
    return f"cuda:{text}" if text.isdecimal() else text
