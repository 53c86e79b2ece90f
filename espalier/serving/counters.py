"""What a server has done, in the text that Prometheus reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Histogram:
    """How many values lie at or below each of some bounds.

    Args:
        bounds: growing; one without an end is added.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds, self.counts, self.sum = (*bounds, float("inf")), [0] * (len(bounds) + 1), 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.sum += value
        for place, bound in enumerate(self.bounds):
            self.counts[place] += value <= bound

    def lines(self, name: str) -> Iterator[str]:
        """The text of it."""
        for bound, count in zip(self.bounds, self.counts, strict=True):
            yield f'{name}_bucket{{le="{"+Inf" if bound == float("inf") else bound}"}} {count}'
        yield f"{name}_sum {self.sum:.6f}"
        yield f"{name}_count {self.counts[-1]}"


class Counters:
    """Counts requests, inputs and batches; used in one thread."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.inputs: Counter[str] = Counter(predicted=0, refused=0)
        self.request_s, self.batch_s, self.batch_sizes = Histogram(_SECONDS), Histogram(_SECONDS), Histogram(_SIZES)

    def request(self, status: int, seconds: float) -> None:
        """A request for predictions was answered; 499 where the client has left."""
        self.statuses[status] += 1
        self.request_s.add(seconds)

    def batch(self, size: int, seconds: float) -> None:
        """A batch was computed."""
        self.batch_sizes.add(size)
        self.batch_s.add(seconds)

    def text(self, num_open: int, num_waiting: int) -> str:
        """All of them, in the text format 0.0.4.

        Args:
            num_open: requests that are received, waiting or computed.
            num_waiting: of these, those that no batch has taken yet.
        """
        families = (
            ("requests_total", "counter", "Requests for predictions by the status of their answer.",
             [f'requests_total{{status="{status}"}} {count}' for status, count in sorted(self.statuses.items())]),
            ("inputs_total", "counter", "Inputs of these.",
             [f'inputs_total{{result="{result}"}} {count}' for result, count in self.inputs.items()]),
            ("request_seconds", "histogram", "From the headers of a request to its answer.",
             self.request_s.lines("request_seconds")),
            ("batch_seconds", "histogram", "To compute a batch.", self.batch_s.lines("batch_seconds")),
            ("batch_inputs", "histogram", "Inputs of a batch.", self.batch_sizes.lines("batch_inputs")),
            ("open_requests", "gauge", "Requests received, waiting or computed.", [f"open_requests {num_open}"]),
            ("waiting_requests", "gauge", "Of these, in no batch yet.", [f"waiting_requests {num_waiting}"]),
        )  # fmt: skip
        return "".join(
            f"# HELP espalier_{name} {what}\n# TYPE espalier_{name} {kind}\n"
            + "".join(f"espalier_{line}\n" for line in lines)
            for name, kind, what, lines in families
        )
