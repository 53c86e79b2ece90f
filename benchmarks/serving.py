"""Many clients at once: python -m benchmarks.serving saved/models/<name>/<run> inputs.npy [--clients 32]

Serves a run with its batch size, and with batches of one, and asks for each row of an array, again and again. Every
answer is compared with what predict says of that row.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
Row = dict[str, Any]


@contextlib.contextmanager
def serving(model: str, *flags: str) -> Iterator[int]:
    """A server of a run, in a process of its own: its port."""
    command = [sys.executable, "serve.py", model, "--port", "0", "--queue", "1000", *flags]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        lines = iter(process.stdout.readline, "")
        yield int(next(line for line in lines if "http://" in line).rpartition(":")[2])
    finally:
        process.terminate()
        process.wait()


def request_of(row: np.ndarray) -> bytes:
    """The bytes of a request for one input."""
    body = json.dumps({"inputs": [row.tolist()]}).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, Any]:
    """Status and content of the next answer of a connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = int(re.search(r"content-length: (\d+)", head)[1])  # type: ignore[index]
    return int(head.split()[1]), json.loads(await reader.readexactly(length))


async def load(port: int, requests: list[bytes], labels: list[str], num_clients: int, total: int) -> Row:
    """Ask `total` times, by clients that each wait for their answer.

    Raises:
        AssertionError: an answer is lost, or belongs to another.
    """
    times: list[float] = []
    places = iter(range(total))

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for place in places:
            began = time.perf_counter()
            writer.write(requests[place % len(requests)])
            status, answer = await answer_of(reader)
            times.append(time.perf_counter() - began)
            assert status == 200, answer
            assert [each["label"] for each in answer["predictions"]] == [labels[place % len(labels)]], place
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(num_clients)))
    seconds = time.perf_counter() - began
    assert len(times) == total
    p50, p95, p99 = np.percentile(times, [50, 95, 99]) * 1000
    return {"requests/s": round(total / seconds), "p50 ms": p50, "p95 ms": p95, "p99 ms": p99}


async def batch_sizes(port: int) -> float:
    """The mean size of the batches that a server has computed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    text = (await reader.read()).decode()
    found = dict(re.findall(r"espalier_batch_inputs_(sum|count) (\S+)", text))
    return float(found["sum"]) / float(found["count"])


def measure(model: str, inputs: np.ndarray, num_clients: int, total: int, *flags: str) -> Row:
    """Figures of a server, after a hundred requests that are not counted."""
    from predict import load_model

    labels = load_model(model).predict(inputs).labels
    requests = [request_of(row) for row in inputs]
    with serving(model, *flags) as port:
        asyncio.run(load(port, requests, labels, 4, 100))
        found = asyncio.run(load(port, requests, labels, num_clients, total))
        return {**found, "mean batch": asyncio.run(batch_sizes(port))}


def main(args: argparse.Namespace) -> None:
    """Measure and print a table."""
    print(
        f"{args.clients} clients, {args.requests:,} requests; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n"
    )
    rows = {}
    for name, flags in {"as it is": (), "--batch-size 1": ("--batch-size", "1")}.items():
        rows[name] = measure(args.model, np.load(args.inputs), args.clients, args.requests, *flags)
    print("| | " + " | ".join(next(iter(rows.values()))) + " |")
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(f"{each:,.1f}" for each in row.values()) + " |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Many clients at once, each of whose answers is checked.")
    parser.add_argument("model", help="a run folder or a bundle that names classes")
    parser.add_argument("inputs", type=Path, help="an .npy file, a row for each input")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--requests", type=int, default=2000)
    main(parser.parse_args())
