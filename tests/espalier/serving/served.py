"""Small models behind a server, in the process of the test."""

import asyncio
import contextlib
import io
import struct
import threading
import zlib

import httpx
import numpy as np
import torch
from PIL import Image
from torch import nn

from espalier.errors import DataError, explain
from espalier.inference.meaning import Meaning
from espalier.inference.model import Model
from espalier.preprocessing.contract import EachOf, Preprocessing
from espalier.preprocessing.kinds import load_preprocessing
from espalier.serving.app import build_app
from espalier.serving.flags import Limits
from espalier.serving.server import Server, address_of, listen, open_socket, settings


class Sums(nn.Module):
    """Scores of three classes for `(B, 3)`: the input itself; so the class is the place of the largest number."""

    def __init__(self):
        super().__init__()
        self.sizes = []  # of the batches that it has seen
        self.before = lambda inputs: None

    def forward(self, inputs):
        self.before(inputs)
        self.sizes.append(len(inputs))
        return inputs + torch.zeros(3)


class Numbers(Preprocessing):
    """Takes arrays; three numbers each, unless told otherwise."""

    takes = "arrays of three numbers"

    def encode(self, inputs):
        """A tensor for each."""
        return EachOf(inputs, self._tensor)

    def _tensor(self, value):
        tensor = torch.as_tensor(value).float()
        if self.state.get("is_three", True) and tensor.shape != (3,):
            got = str(tuple(tensor.shape))
            raise DataError(explain("data error: the input is another", got=got, expected=self.takes))
        return tensor


def model_of_sums(state=None, **more):
    """A model that takes three numbers, and names the place of the largest."""
    preprocessing = Numbers({"kind": "tensor", **(state or {})})
    return Model(Sums(), preprocessing, Meaning("classes", names=("a", "b", "c")), torch.device("cpu"), **more)


@contextlib.asynccontextmanager
async def client_of(app):
    """A client of an application that has begun, in one process with it."""
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://model", timeout=30) as client:
            yield client


def ask(model, *requests, **limits):
    """The answers to some requests, one after the other; each the arguments of `client.request` as a dict."""

    async def answers():
        async with client_of(build_app(model, Limits(**limits))) as client:
            return [await client.request(**{"method": "POST", "url": "/predict", **each}) for each in requests]

    return asyncio.run(answers())


def npy(values):
    """The bytes of a file of an array."""
    file = io.BytesIO()
    np.save(file, np.asarray(values))
    return file.getvalue()


class Colours(nn.Module):
    """Scores of red, green and blue for pictures `(B, 3, H, W)`: how much of each there is."""

    def forward(self, inputs):
        return inputs.mean(dim=(2, 3)) * 4


class Masks(nn.Module):
    """Scores of two classes for each pixel: whether it is bright."""

    def forward(self, inputs):
        grey = inputs.mean(dim=1, keepdim=True)
        return torch.cat([1 - grey, grey], dim=1)


def model_of_pictures(network=None, names=("red", "green", "blue")):
    """A model that takes image files."""
    preprocessing = load_preprocessing({"kind": "image", "size": [16, 16]})
    return Model(network or Colours(), preprocessing, Meaning("classes", names=names), torch.device("cpu"),
                 facts={"name": "Colours", "epoch": 7})  # fmt: skip


class Lengths(nn.Module):
    """How many words a text has, of ids `(B, L)`."""

    def forward(self, inputs):
        return (inputs != 0).sum(1, keepdim=True).float()


TEXTS = {"kind": "text", "tokenizer": "words", "vocabulary": ["a", "the"], "max_length": 50,
         "column": "text", "is_csv": True, "is_folder": False, "read": {}, "target": "label"}  # fmt: skip
SIZES = {"name": "size", "kind": "number", "has_gaps": True, "is_inferred": True, "fill": 0.0, "center": 0.0,
         "scale": 1.0}  # fmt: skip
SHAPES = {"name": "shape", "kind": "category", "has_gaps": False, "is_inferred": True, "categories": ["round", "long"]}
ROWS = {"kind": "row", "columns": [SIZES, SHAPES], "categories": "one_hot", "missing": "mean", "target": "label",
        "is_csv": True, "read": {}}  # fmt: skip


def model_of_texts():
    """A model that takes texts, and gives the number of their words."""
    return Model(Lengths(), load_preprocessing(TEXTS), Meaning("numbers"), torch.device("cpu"), facts={"name": "Words"})


class First(nn.Module):
    """The first number of `(B, F)`."""

    def forward(self, inputs):
        return inputs[:, :1]


def model_of_rows():
    """A model that takes rows of a size and a shape, and gives the size."""
    return Model(First(), load_preprocessing(ROWS), Meaning("numbers"), torch.device("cpu"), facts={"name": "Rows"})


@contextlib.contextmanager
def listening(model, **limits):
    """A server with a port of its own, in a thread: its address."""
    opened = open_socket("127.0.0.1", 0)
    server = Server(settings(build_app(model, Limits(**limits)), 5.0))
    server.capture_signals = contextlib.nullcontext  # which are the test's
    listen(opened)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[opened])))
    thread.start()
    try:
        yield address_of(opened)
    finally:
        server.should_exit = True
        thread.join(60)


def picture(colour, size=(40, 30), form="PNG"):
    """The bytes of an image file of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, form)
    return file.getvalue()


def bomb():
    """The bytes of a PNG of 60,000 x 60,000 pixels, as far as its header says."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(100_000)))
        + chunk(b"IEND", b"")
    )
