"""Low-rank adapters: nothing at first, the same merged, and the base stays."""

import pytest
import torch
from torch import nn

from espalier.adapters import add_adapters, is_adapter, merged
from espalier.errors import ConfigError


class Net(nn.Module):
    """Layers that can have adapters, and some that cannot."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 6, 3, stride=2, padding=1, padding_mode="reflect")
        self.point = nn.Conv2d(6, 4, 1)
        self.deep = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.encoder = nn.TransformerEncoderLayer(16, 2, 8, dropout=0.0, batch_first=True)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        x = self.deep(self.point(self.conv(x))).flatten(2)
        return self.head(self.norm(self.encoder(x)).mean(1))


MATCHES = [["conv"], ["point", "head"], ["encoder.linear*"], ["encoder"], ["*"]]


def net(match=None, seed=0):
    """A network, with adapters where `match` is given."""
    torch.manual_seed(seed)
    model = Net().eval()
    if match is not None:
        add_adapters(model, match, rank=2, alpha=3)
    return model


def learned(model):
    """The model, its adapters as if they had learned."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if is_adapter(name):
                weight.normal_()
    return model


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("match", MATCHES)
def test_adapters_change_nothing_at_first(match, is_training):
    """The same bits, and the same names and values of all other weights."""
    plain, model, x = net().train(is_training), net(match).train(is_training), torch.randn(5, 2, 8, 8)
    assert torch.equal(plain(x), model(x))
    weights = model.state_dict()
    assert [name for name in weights if not is_adapter(name)] == [*plain.state_dict()]
    assert all(torch.equal(weights[name], value) for name, value in plain.state_dict().items())
    assert any(map(is_adapter, weights))


@pytest.mark.parametrize("is_grad_on", [True, False])
@pytest.mark.parametrize("match", MATCHES)
def test_adapters_merged_are_the_same_to_float_error(match, is_grad_on):
    """Also where a layer of PyTorch has a fast path for evaluation, which reads weights past their modules."""
    model, plain, x = learned(net(match)).double(), Net().eval().double(), torch.randn(5, 2, 8, 8).double()
    plain.load_state_dict(merged(model.state_dict(), alpha=3))
    with torch.set_grad_enabled(is_grad_on):
        assert torch.allclose(plain(x), model(x), rtol=0, atol=1e-12)
        assert not torch.allclose(net().double()(x), model(x), rtol=0, atol=1e-4)


@pytest.mark.parametrize("rank", [1, 4])
def test_adapters_of_a_linear_layer_are_the_formula(rank):
    """W x + b + alpha / rank * B A x."""
    layer = nn.Sequential(nn.Linear(5, 3))
    add_adapters(layer, ["0"], rank, alpha=6)
    learned(layer)
    weights, x = layer.state_dict(), torch.randn(7, 5)
    low, up = weights["0.lora_a.weight"], weights["0.lora_b.weight"]
    expected = x @ weights["0.weight"].T + weights["0.bias"] + 6 / rank * (x @ low.T @ up.T)
    assert torch.allclose(layer(x), expected, atol=1e-5)
    assert (low.shape, up.shape) == ((rank, 5), (3, rank))


@pytest.mark.parametrize(
    ("rank", "wide"), [(1, None), (3, "0, 1"), (4, "0, 1"), (5, "0, 1, 2"), (8, "0, 1, 2 and 1 more")]
)
def test_adapters_that_are_no_narrower_than_their_layers_are_told(caplog, rank, wide):
    """They would be as large, and learn no less with the layer itself."""
    model = nn.Sequential(nn.Linear(8, 2), nn.Linear(2, 8), nn.Linear(5, 8), nn.Conv2d(5, 8, 3))
    add_adapters(model, ["*"], rank, 1)
    told = f"arch.lora.rank is {rank}, and no smaller than a side of {wide}: an adapter is to be narrower than its " \
           "layer. Lower it, or let such layers learn by arch.train."  # fmt: skip
    assert caplog.messages == ([] if wide is None else [told])


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("haed", 'matches no module of the model\n  got       "haed"\n  expected  a pattern for some of: conv, '
                 'point, encoder.linear1, encoder.linear2, head\n  closest   head\n  fix       write "head"'),
        ("norm", 'matches no layer that can have adapters (Linear, or Conv2d with groups 1)\n  got       "norm", as in '
                 '{"norm": "LayerNorm"}'),
        ("deep", "matches no layer that can have adapters"),
        ("encoder.self_attn", "matches no layer that can have adapters"),
        ("encoder.self_attn.out_proj", "matches no layer that can have adapters"),
    ],
)  # fmt: skip
def test_adapters_for_what_cannot_have_them_are_refused(pattern, message):
    """A pattern needs a layer; attention of PyTorch reads its weights past their modules, and says so."""
    with pytest.raises(ConfigError) as caught:
        net(["head", pattern])
    text = str(caught.value)
    assert text.startswith(f"config error: arch.lora.match.1 {message}")
    assert ("MultiheadAttention computes with its in_proj_weight" in text) is ("self_attn" in pattern)


def test_layer_without_a_size_yet_has_no_adapter():
    """It would be one of no inputs."""
    model = nn.Sequential(nn.Linear(2, 2), nn.LazyLinear(3), nn.LazyConv2d(3, 1))
    add_adapters(model, ["*"], rank=2, alpha=3)
    assert [name for name, _ in model.named_parameters() if is_adapter(name)] == ["0.lora_a.weight", "0.lora_b.weight"]
