"""What a server takes, and for how long."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds that keep a server alive, whatever it is sent.

    Attributes:
        batch_size: inputs that are computed together.
        most_wait_ms: how long a batch waits for more inputs, in milliseconds from its first.
        most_bytes: of the body of a request.
        most_inputs: of one request.
        most_pixels: of one image, before it is decoded.
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
