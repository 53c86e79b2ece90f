"""Whatever is sent, the answer is a sentence, and the next one who asks is answered."""

import asyncio
import io
import json
import random
import socket
import struct

import numpy as np
import pytest
from PIL import Image

from espalier.serving.app import build_app
from espalier.serving.flags import Limits
from tests.cases import cases
from tests.espalier.serving.served import (
    bomb,
    client_of,
    listening,
    model_of_pictures,
    model_of_rows,
    model_of_sums,
    model_of_texts,
    npy,
    picture,
)

MODELS = {"picture": model_of_pictures, "sums": model_of_sums, "text": model_of_texts, "row": model_of_rows}
# What each is to answer after all that, and how.
GOOD = {
    "picture": ({"content": picture("lime"), "headers": {"content-type": "image/png"}}, "label", "green"),
    "sums": ({"json": {"inputs": [[1, 9, 2]]}}, "label", "b"),
    "text": ({"content": b"the four words here", "headers": {"content-type": "text/plain"}}, "value", [4.0]),
    "row": ({"json": {"inputs": [{"size": 7, "shape": "long"}]}}, "value", [7.0]),
}
TYPES = ["application/json", "image/png", "image/jpeg", "text/plain", "text/csv", "application/x-npy", "",
         "multipart/form-data", "multipart/form-data; boundary=B", "application/octet-stream",
         "application/x-www-form-urlencoded", "é/\xff", "application/json; charset=utf-16", "image/*", ";;;",
         "multipart/form-data; boundary=" + "b" * 300]  # fmt: skip
METHODS = ["POST", "GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "X"]
WORDS = [None, True, False, 0, -1, 1.5, 1e308, 10**400, "", "a", "é\ud800", "/etc/passwd", "data:image/png;base64,AAAA",
         "data:image/png;base64,%%%", [], {}, {"size": 3, "shape": "long"}, {"size": "x", "shape": None},
         {"size": [1]}, {"": None}, [[1, 2, 3]],
         [1, [2]], {"path": "/etc/passwd"}, "\x00", "x" * 10_000]  # fmt: skip


def header_of_npy(text):
    """A file of an array with such a header, and nothing behind it."""
    head = text.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head


def whole_files():
    """Contents that are what they say, of each kind."""
    several = io.BytesIO()
    Image.new("P", (9, 9)).save(several, "GIF", save_all=True, append_images=[Image.new("P", (9, 9), 1)] * 3)
    grey16 = io.BytesIO()
    Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16)).save(grey16, "PNG")
    return [
        *(picture("red", form=form) for form in ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM")),
        several.getvalue(), grey16.getvalue(), picture("red", (1, 1)), picture("red", (1, 3000)), bomb(),
        npy([[1.0, 2, 3]]), npy(np.zeros((2, 3), dtype="complex64")), npy(np.array(["a", "b"])), npy(3.0),
        npy(np.zeros((0, 3))), npy(np.zeros((3, 0))), npy(np.full((1, 3), np.nan)),
        header_of_npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 3), }"),
        header_of_npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"),
        header_of_npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-3, 3), }"),
        header_of_npy("__import__('os').abort()"), header_of_npy("(" * 100),
        b"size,shape\n3,long\n4,x\n", b"size,shape\n" + b"3,round\n" * 100, b"text\none two\n",
        b"a,b\n1\n1,2,3\n", b"\xff\xfe\x00\x01", b"\x00" * 1000, b"", b"\n\n\n",
        "é\n\ud800".encode("utf-8", "surrogatepass"), b'{"inputs": [[1, 2, 3]]}',
        b'{"inputs": ' + b"[" * 3000 + b"]" * 3000 + b"}", b"[" * 200_000, b'{"inputs": [' + b"1" * 6000 + b"]}",
        b'{"inputs": [[1, 2, 3], {"size": NaN}]}', b'{"inputs": [-Infinity]}',
    ]  # fmt: skip


FILES = whole_files()


def damaged(draw, content):
    """The content cut short, with other bytes in it, or as it is."""
    content = bytearray(content)
    if content and draw.random() < 0.3:
        del content[draw.randrange(len(content)) :]
    for _ in range(draw.choice([0, 0, 1, 3, 20]) if content else 0):
        content[draw.randrange(len(content))] = draw.randrange(256)
    return bytes(content)


def content_of(draw):
    """A body, or the content of a file."""
    kind = draw.random()
    if kind < 0.6:
        return damaged(draw, draw.choice(FILES))
    if kind < 0.8:
        inputs = [draw.choice(WORDS) for _ in range(draw.randrange(6))]
        odd = draw.choice([{"inputs": inputs}, {"inputs": draw.choice(WORDS)}, inputs, {"input": inputs}])
        return damaged(draw, json.dumps(odd).encode())
    return draw.randbytes(draw.choice([1, 10, 1000, 30_000]))


def form_of(draw):
    """The body of a form with some files."""
    parts = []
    for _ in range(draw.randrange(4)):
        name = draw.choice(
            ["a.png", "b.npy", "c.csv", "d.json", "e.txt", "", "../../etc/passwd", "\udcff.png", "f" * 500, "g.exe"]
        )
        heads = [f'Content-Disposition: form-data; name="x"; filename="{name}"',
                 'Content-Disposition: form-data; name="x"', "Content-Disposition: form-data",
                 f"Content-Type: {draw.choice(TYPES)}", "X: " + "y" * 5000]  # fmt: skip
        chosen = draw.sample(heads, draw.randrange(1, 3)) if draw.random() < 0.3 else heads[:1]
        head = "\r\n".join(chosen).encode("utf-8", "surrogateescape")
        parts.append(b"--B\r\n" + head + b"\r\n\r\n" + content_of(draw) + b"\r\n")
    body = b"".join(parts) + b"--B--\r\n"
    return damaged(draw, body) if draw.random() < 0.3 else body


def odd_request(draw):
    """A request that nobody has planned for."""
    method = draw.choices(["POST", "GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "X"], [40, 2, 1, 1, 1, 1, 1, 1])[
        0
    ]
    path = draw.choices(["/predict", "/", "/about", "/metrics", "/health", "/%00", "/predict?x=%ff", "//", "/../x"],
                        [40, 1, 1, 1, 1, 1, 1, 1, 1])[0]  # fmt: skip
    is_form = draw.random() < 0.4
    headers = {"content-type": "multipart/form-data; boundary=B" if is_form else draw.choice(TYPES)}
    if draw.random() < 0.05:
        headers["content-encoding"] = draw.choice(["gzip", "identity", "é"])
    if draw.random() < 0.05:
        headers["content-length"] = draw.choice(["-1", "x", "9" * 40, "0"])
    encoded = [(name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in headers.items()]
    return {
        "method": method,
        "url": path,
        "content": form_of(draw) if is_form else content_of(draw),
        "headers": encoded,
    }


@pytest.mark.parametrize("seed", cases([*range(20)], 0))
def test_server_answers_whatever_it_is_sent(seed):
    """A hundred requests: each is answered as one that was understood or not, in JSON; a good one then as always."""
    draw = random.Random(seed)
    apps = {name: build_app(make(), Limits(most_bytes=300_000, most_inputs=50)) for name, make in MODELS.items()}

    async def run(name, requests):
        async with client_of(apps[name]) as client:
            answers = await asyncio.gather(*(client.request(**each) for each in requests))
            return answers, await client.request(**{"method": "POST", "url": "/predict", **GOOD[name][0]})

    for name in MODELS:
        requests = [odd_request(draw) for _ in range(25)]
        answers, good = asyncio.run(run(name, requests))
        for request, answer in zip(requests, answers, strict=True):
            assert answer.status_code < 500, request
            if request["method"] != "HEAD" and answer.headers["content-type"] == "application/json":
                found = answer.json()
                assert answer.status_code < 400 or found["error"], request
                assert "root:" not in answer.text and "/tmp" not in answer.text
            elif answer.status_code >= 400:
                assert request["method"] == "HEAD", request
        assert good.status_code == 200
        assert good.json()["predictions"][0][GOOD[name][1]] == GOOD[name][2]


POST = b"POST /predict HTTP/1.1\r\nHost: x\r\n"
GET = b"GET /health HTTP/1.1\r\nHost: x\r\n"
RAW = [
    b"", b"\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", POST,
    POST + b"Content-Length: abc\r\n\r\n", POST + b"Content-Length: -5\r\n\r\n",
    POST + b"Content-Length: 100\r\n\r\nhalf",
    POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", POST + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFF\r\n",
    POST + b"Expect: 100-continue\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\n",
    GET + b"X: " + b"y" * 200_000 + b"\r\n\r\n", GET + b"X: y\r\n" * 20_000 + b"\r\n", GET + b"Host: y\r\n\r\n",
    GET + b"Upgrade: websocket\r\nConnection: upgrade\r\n\r\n", (GET + b"\r\n") * 50,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
]  # fmt: skip


@pytest.mark.slow
def test_server_outlives_what_is_no_http():
    """Random bytes, heads without an end, and clients that hang up: none is answered with 500, and it goes on."""
    draw = random.Random(3)
    answers = []
    with listening(model_of_sums(), timeout_s=1.0, queue=200) as address:
        at = ("127.0.0.1", int(address.rpartition(":")[2]))
        for number in range(300):
            content = draw.choice(RAW) if number >= len(RAW) else RAW[number]
            if number > 100:
                content = damaged(draw, content)
            with socket.create_connection(at) as connection:
                try:
                    connection.sendall(content)
                    connection.settimeout(0.1 if number % 10 else 2.0)
                    if number % 3:
                        answers.append(connection.recv(1000))
                except OSError:  # it has closed, or waits for more
                    pass
        with socket.create_connection(at) as connection:
            content = json.dumps(GOOD["sums"][0]["json"]).encode()
            head = f"Connection: close\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
            connection.sendall(POST + head.encode() + content)
            good = b"".join(iter(lambda: connection.recv(65536), b""))
    assert len([each for each in answers if each]) > 50
    assert not [each for each in answers if each.startswith(b"HTTP/1.1 5")]
    assert good.startswith(b"HTTP/1.1 200") and b'"label":"b"' in good
