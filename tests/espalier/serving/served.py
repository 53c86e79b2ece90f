"""Small models behind a server, in the process of the test."""

import asyncio
import contextlib
import io

import httpx
import numpy as np
import torch
from torch import nn

from espalier.inference.meaning import Meaning
from espalier.inference.model import Model
from espalier.preprocessing.kinds import load_preprocessing
from espalier.serving.app import build_app
from espalier.serving.limits import Limits


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


def model_of_sums(state=None, **more):
    """A model that takes three numbers, and names the place of the largest."""
    state = state or {"kind": "tensor", "shape": [3], "dtype": "float32"}
    return Model(Sums(), load_preprocessing(state), Meaning("classes", names=("a", "b", "c")), torch.device("cpu"),
                 **more)  # fmt: skip


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
