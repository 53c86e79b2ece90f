"""A model in parts on several processes: where it computes, what may be called, what cannot be apart."""

import os
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from espalier.classic.names import placed
from espalier.device import prepare_device
from espalier.errors import ConfigError
from espalier.processes import fsdp
from espalier.processes.ddp import distribute_model
from espalier.processes.fsdp import compute_device, full_state, is_sharded, reshard, shard_like, shard_model
from tests.cases import cases
from tests.ranks import run_ranks

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked from this one")


class Encoder(nn.Module):
    """Its `forward` calls a method that may be called by itself, too."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.shift = nn.Parameter(torch.ones(4))

    def encode(self, images):
        return self.norm(self.conv(images)).relu().mean((2, 3))

    def forward(self, images):
        return self.encode(images) + self.shift


class Net(nn.Module):
    """An encoder, wrapped by itself or not, and a head."""

    def __init__(self):
        super().__init__()
        self.encoder, self.head = Encoder(), nn.Linear(4, 2)

    def classify(self, images):
        return self.head(self.encoder(images))

    def forward(self, images):
        return self.classify(images).log_softmax(1)


class Tied(nn.Module):
    """An output layer with the weights of the embedding."""

    def __init__(self):
        super().__init__()
        self.embed, self.body = nn.Embedding(5, 4), nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        self.out = nn.Linear(4, 5, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, words):
        return self.out(self.body(self.embed(words)))


def divided(model, **options):
    """The model on two processes, and one like it that is whole."""
    torch.manual_seed(0)
    parts, one = model(), model()
    one.load_state_dict(parts.state_dict())
    shard_model(parts, options)
    return parts, one


def gradients_agree(parts, one):
    """Whether those of the parts are those of the whole."""
    pairs = zip(parts.parameters(), one.parameters(), strict=True)
    return all(torch.allclose(mine.grad.full_tensor(), its.grad, atol=1e-5) for mine, its in pairs)


@pytest.mark.parametrize(
    "wrap", cases([["encoder"], ["encoder", "encoder.conv"]], ["encoder", "encoder.conv"]), ids=str
)
def test_methods_that_are_named_find_the_weights_whole(wrap):
    """Called beside `forward` or inside it, before it or after it, alone or in one another, training or not."""

    def action(rank):
        parts, one = divided(Net, wrap=wrap, methods=["encoder.encode", "classify"])
        images = torch.randn(4, 3, 8, 8)
        for model in (parts, one):
            outputs = model.classify(images), model(images), model.encoder.encode(images)
            sum(each.square().sum() for each in outputs).backward()
        parts.eval(), one.eval()
        with torch.no_grad():
            is_same = torch.equal(parts.classify(images), one.classify(images))
        reshard(parts)
        return gradients_agree(parts, one), is_same, type(parts.encoder.conv.weight).__name__

    assert run_ranks(2, action) == [(True, True, "DTensor")] * 2


@pytest.mark.parametrize("name", ["classify", "encoder.encode"])
def test_method_that_is_not_named_is_told_with_the_keys_that_mend_it(name):
    """PyTorch speaks of mixed tensors, or of a root module."""

    def action(rank):
        parts, _ = divided(Net, wrap=["encoder"])
        images, texts = torch.randn(4, 3, 8, 8), []
        for call in (parts.get_submodule(name.rpartition(".")[0]).__getattribute__(name.rpartition(".")[2]), parts):
            try:
                call(images)
            except RuntimeError as error:
                texts.append(fsdp.advice_on_sharding(error))
        return texts

    advice = (
        "training error: trainer.strategy is fsdp, and weights were used outside of a forward pass of their module\n"
        '  fix       name the method that was called in trainer.fsdp.methods, as in ["encode", "decoder.sample"], and '
        "a part of the model that is called by itself in trainer.fsdp.wrap"
    )
    assert run_ranks(2, action)[0][:1] == [advice]
    assert fsdp.advice_on_sharding(RuntimeError("CUDA error")) is None


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (
            ["clasify"],
            "config error: trainer.fsdp.methods.0 is no method of the model\n"
            '  got       "clasify"\n'
            '  expected  a method such as ["classify"]\n'
            "  closest   classify",
        ),
        (
            ["classify", "encodr.encode"],
            "config error: trainer.fsdp.methods.1 is no method of the model\n"
            '  got       "encodr.encode"\n'
            "  closest   encoder",
        ),
        (
            ["encoder.encode"],
            "config error: trainer.fsdp.methods.0 is a method of encoder, which is not brought together by itself\n"
            '  got       "encoder.encode"\n'
            '  fix       add "encoder" to trainer.fsdp.wrap',
        ),
    ],
    ids=["name", "module", "inside"],
)
def test_methods_that_cannot_be_are_refused(methods, message):
    """Before anything is divided."""

    def action(rank):
        with pytest.raises(ConfigError) as caught:
            shard_model(Net(), {"methods": methods})
        return str(caught.value)

    assert run_ranks(2, action) == [message] * 2


@pytest.mark.parametrize(
    ("wrap", "places"),
    [
        (["embed", "out"], "embed.weight in embed, out.weight in out"),
        (["embed"], "out.weight in the rest of the model, embed.weight in embed"),
        (["out", "body.*"], "embed.weight in the rest of the model, out.weight in out"),
    ],
    ids=str,
)
def test_tied_weights_in_two_wrapped_modules_are_refused(wrap, places):
    """Each would get a copy of its own, or PyTorch fails in the first batch."""

    def action(rank):
        with pytest.raises(ConfigError) as caught:
            shard_model(Tied(), {"wrap": wrap})
        return str(caught.value)

    first, second = places.split(", ")
    names = f"{first.split()[0]} and {second.split()[0]} are one parameter"
    assert (
        run_ranks(2, action)
        == [
            f"config error: trainer.fsdp.wrap brings tied weights together apart from each other: {names}\n"
            f"  got       {places}\n"
            "  fix       name a module that holds both, or none of the two"
        ]
        * 2
    )


def test_tied_weights_in_one_wrapped_module_stay_one():
    """Those around are wrapped by themselves; a shared module under two names is no tie between two."""

    def action(rank):
        parts, one = divided(Tied, wrap=["body.*"])
        words = torch.tensor([[0, 3, 4]])
        for model in (parts, one):
            model(words).square().sum().backward()
        return parts.out.weight is parts.embed.weight, gradients_agree(parts, one)

    assert run_ranks(2, action) == [(True, True)] * 2


def test_channels_last_is_the_layout_of_what_a_divided_model_computes():
    """Its weights have one layout only, also where those of the whole model had another; the numbers stay."""

    def action(rank):
        torch.manual_seed(0)
        parts, one = Net().to(memory_format=torch.channels_last), Net()
        one.load_state_dict(parts.state_dict())
        shard_model(parts, {"wrap": ["encoder.*"]})
        layouts = []
        parts.encoder.conv.register_forward_hook(
            lambda module, inputs, output: layouts.append(output.is_contiguous(memory_format=torch.channels_last))
        )
        images = torch.randn(4, 3, 8, 8).contiguous(memory_format=torch.channels_last)
        for model in (parts, one):
            model(images).square().sum().backward()
        return layouts, gradients_agree(parts, one)

    assert run_ranks(2, action) == [([True], True)] * 2


def test_model_is_brought_to_the_device_module_by_module(monkeypatch):
    """What is whole there at any time is one wrapped module; all get the weights of rank 0."""

    def action(rank):
        torch.manual_seed(rank)
        model = nn.Sequential(*(nn.Linear(8, 8, bias=False) for _ in range(4)), nn.BatchNorm1d(8))
        model[4].running_mean.fill_(rank)
        largest, bring = 0, fsdp._move_and_broadcast

        def watched(module, device):
            nonlocal largest
            bring(module, device)
            largest = max(largest, sum(not is_part(each) for each in module.parameters()))

        monkeypatch.setattr(fsdp, "_move_and_broadcast", watched)
        distribute_model(model, {"strategy": "fsdp", "fsdp": {"wrap": ["0", "1", "2", "3"]}}, torch.device("cpu"))
        state = full_state(model.state_dict())
        return largest, rank == 0 and (float(state["0.weight"].sum()), float(state["4.running_mean"].sum()))

    def is_part(parameter):
        return hasattr(parameter, "device_mesh")

    torch.manual_seed(0)
    expected = float(nn.Linear(8, 8, bias=False).weight.detach().sum())
    (largest, sums), (other, _) = run_ranks(2, action)
    assert (largest, other) == (2, 2)  # the weight and bias of the batch norm, which belong to the rest
    assert sums == (expected, 0.0)


def on_mesh(kind):
    """A model whose weights lie in the memory of the CPU, for a mesh of such devices."""
    parameter = SimpleNamespace(device=torch.device("cpu"), device_mesh=SimpleNamespace(device_type=kind))
    return SimpleNamespace(parameters=lambda: iter([parameter]))


def test_device_is_where_a_model_computes_not_where_its_weights_are_kept(monkeypatch):
    """With `cpu_offload` they are on the CPU; the process has set the device it uses."""
    monkeypatch.setattr(torch.accelerator, "current_device_index", lambda: 3)
    assert compute_device(on_mesh("cuda")) == torch.device("cuda", 3)
    assert compute_device(on_mesh("cpu")) == torch.device("cpu")
    assert compute_device(nn.Linear(1, 1, device="meta")) == torch.device("meta")
    assert compute_device(nn.ReLU()) == torch.device("cpu")
    assert placed(on_mesh("cuda"), 0, prepare_device)[1:] == (torch.device("cuda", 3), [])


def test_divided_values_lie_where_the_own_ones_do():
    """A gradient of a parameter on the CPU must be there, too."""

    def action(rank):
        model = nn.Linear(4, 4)
        shard_model(model, {})
        value = shard_like(torch.ones(4, 4), model.weight)
        model.weight.grad = value
        return is_sharded(model), value.device.type, value.to_local().shape == (2, 4)

    assert run_ranks(2, action) == [(True, "cpu", True)] * 2
