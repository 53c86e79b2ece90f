"""What is told of weights that `arch.init_from` names and that do not fit, or not as the config says."""

import logging

import pytest
import torch
from torch import nn

from espalier.errors import CheckpointError, ConfigError
from espalier.patterns import is_match
from espalier.training.init_from import load_init_from, loaded_into
from espalier.training.weights import begin_weights
from tests.espalier.checkpoints.test_weights_file import safetensors
from tests.espalier.training.test_weights import Net

OWN = list(Net().state_dict())  # body.0.*, body.1.* with its statistics, head.*
FIRST = '["body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias", "body.1.running_mean"] and 4 more'


class Wrapped(nn.Module):
    """A model inside another one."""

    def __init__(self):
        super().__init__()
        self.backbone = Net()


def save(path, rename=lambda name: name, **others):
    """Weights under other names; returns the model they are of."""
    model = Net()
    torch.save({rename(name): value for name, value in model.state_dict().items()} | others, path)
    return model


def refusal(path, model=None, origin=lambda _: None, **source):
    """What is told, with PATH in place of the file and without the key; nothing has been loaded."""
    model = model or Net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises((CheckpointError, ConfigError)) as error:
        begin_weights(model, {"init_from": {"path": str(path), **source}}, None, origin)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    return str(error.value).replace(str(path), "PATH").replace("\n  from      arch.init_from\n", "\n")


def test_safetensors_begin_a_model(tmp_path):
    """They fit by name as weights of torch.save do."""
    old, model, data, header = Net(), Net(), b"", {}
    for name, value in old.state_dict().items():
        dtype, before = "I64" if value.dtype == torch.int64 else "F32", len(data)
        data += value.numpy().tobytes()
        header[name] = {"dtype": dtype, "shape": list(value.shape), "data_offsets": [before, len(data)]}
    (tmp_path / "w.safetensors").write_bytes(safetensors(header, data))
    begin_weights(model, {"init_from": str(tmp_path / "w.safetensors")})
    assert all(torch.equal(value, old.state_dict()[name]) for name, value in model.state_dict().items())


# Beginnings of names


@pytest.mark.parametrize(
    ("prefix", "is_wrapped", "old", "new"),
    [
        ("model.", False, "model.", ""),
        ("_orig_mod.", False, "_orig_mod.", ""),
        ("module.backbone.", False, "module.backbone.", ""),
        ("", True, "", "backbone."),
        ("encoder.", True, "encoder.", "backbone."),
        ("module.", True, "module.", "backbone."),
    ],
)
def test_names_that_begin_otherwise_get_the_rename_that_fits(tmp_path, prefix, is_wrapped, old, new):
    """It is one that does: with it all is loaded."""
    path, kind = tmp_path / "w.pth", Wrapped if is_wrapped else Net
    source = save(path, lambda name: prefix + name)
    own = list(kind().state_dict())
    assert refusal(path, kind()) == (
        "checkpoint error: not one weight of the checkpoint fits the model\n"
        f"  got       {FIRST.replace('body', f'{prefix}body')}\n"
        f"  expected  {FIRST.replace('body', own[0].removesuffix('.0.weight'))}\n"
        f'  fix       write "rename": {{"{old}": "{new}"}} under arch.init_from: 9 of 9 weights of the model fit then'
    )
    model = kind()
    load_init_from(model, {"path": str(path), "rename": {old: new}})
    inner = model.backbone if is_wrapped else model
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in inner.state_dict().items())


def test_names_of_another_model_get_no_advice(tmp_path):
    """Nor do those that fit by their last word alone; of many, the first are shown."""
    torch.save({f"layers.{number}.weight": torch.zeros(4, 3) for number in range(7)}, tmp_path / "w.pth")
    names = ", ".join(f'"layers.{number}.weight"' for number in range(5))
    assert refusal(tmp_path / "w.pth") == (
        "checkpoint error: not one weight of the checkpoint fits the model\n"
        f"  got       [{names}] and 2 more\n  expected  {FIRST}"
    )


def test_rename_by_which_more_would_fit_is_logged(tmp_path, caplog):
    """Where one weight fits by chance."""
    save(tmp_path / "w.pth", lambda name: name if name == "head.bias" else f"net.{name}")
    begin_weights(Net(), {"init_from": str(tmp_path / "w.pth")})
    assert caplog.messages[-1] == (
        'More would fit: write "rename": {"net.": ""} under arch.init_from: 9 of 9 weights of the model fit then.'
    )


# rename and skip


@pytest.mark.parametrize(
    ("rename", "key", "what", "rows"),
    [
        ({"bodi.": "body."}, "bodi.", "matches nothing",
         ['got       "bodi."', f"expected  a beginning of some of: {FIRST}", "closest   body."]),
        ({"body.": "b.", "body.0.": "c."}, "body.0.", "matches nothing",
         ['got       "body.0."', f"expected  a beginning of some of: {FIRST.replace('body', 'b')}", "closest   b.0."]),
        ({"body.0.": "head."}, "body.0.", "gives two weights one name",
         ["got       body.0.weight and head.weight of the file both become head.weight",
          'fix       before that, rename the one that is not wanted, as in "head.": "unused.head."']),
        ({"head": "body.0"}, "head", "gives two weights one name",
         ["got       body.0.weight and head.weight of the file both become body.0.weight",
          'fix       before that, rename the one that is not wanted, as in "body.": "unused.body."']),
    ],
    ids=["a typo", "renamed before", "onto a later name", "onto an earlier name"],
)  # fmt: skip
def test_rename_that_goes_wrong_is_refused(tmp_path, rename, key, what, rows):
    """It would have lost weights without a word."""
    save(tmp_path / "w.pth")
    expected = "\n  ".join([f"config error: arch.init_from.rename.{key} {what}", "from      c.json:7", *rows])
    assert refusal(tmp_path / "w.pth", origin=lambda path: "c.json:7", rename=rename) == expected


def test_rename_as_the_fix_says_brings_two_apart(tmp_path):
    """The other one is left out of the model."""
    old, model = save(tmp_path / "w.pth"), Net()
    rename = {"head.": "unused.head.", "body.0.": "head."}
    load_init_from(model, {"path": str(tmp_path / "w.pth"), "rename": rename})
    assert torch.equal(model.body[1].weight, old.body[1].weight)


@pytest.mark.parametrize("by", ["name", "order"])
@pytest.mark.parametrize(
    ("pattern", "near"), [("haed.*", "head.*"), ("haed", "head"), ("bdy.0.*", "body.0.*"), ("zzz", None)]
)
def test_skip_that_matches_nothing_names_the_nearest_pattern(tmp_path, by, pattern, near):
    """A module where it asks for one."""
    save(tmp_path / "w.pth")
    rows = [f'  got       "{pattern}"', "  expected  a pattern for some of: body.*, head.*"]
    rows += [f"  closest   {near}", f'  fix       write "{near}"'] if near else []
    assert refusal(tmp_path / "w.pth", origin={"arch.init_from.skip.0": "c.json:9"}.get, by=by, skip=[pattern]) == (
        "\n".join(["config error: arch.init_from.skip.0 matches nothing", "  from      c.json:9", *rows])
    )


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("has_head", [True, False])
@pytest.mark.parametrize("pattern", ["head.*", "head", "*.weight"])
def test_skip_means_names_of_the_model_whatever_the_file_has(tmp_path, caplog, prefix, has_head, pattern):
    """A wrapper may stand before them, and a file without a head fits a config that skips the old one."""
    model, weights = Net(), {f"{prefix}{name}": torch.full_like(value, 2) for name, value in Net().state_dict().items()}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.save({name: each for name, each in weights.items() if has_head or "head" not in name}, tmp_path / "w.pth")
    caplog.set_level(logging.INFO)
    load_init_from(model, {"path": str(tmp_path / "w.pth"), "skip": [pattern]})
    skipped = [name for name in OWN if is_match(name, pattern)]
    missing = [name for name in OWN if not has_head and name.startswith("head") and name not in skipped]
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name] if name in (*skipped, *missing) else torch.full_like(value, 2)), name
    assert f"Left out by arch.init_from.skip: {', '.join(skipped)}." in caplog.messages
    assert ("Not in the checkpoint" in caplog.text) == bool(missing)


def test_skip_may_name_weights_as_a_file_with_a_wrapper_has_them(tmp_path):
    """The log of another program shows them so."""
    save(tmp_path / "w.pth", rename="module.{}".format)
    model = Net()
    load_init_from(model, {"path": str(tmp_path / "w.pth"), "skip": ["module.head.*"]})
    assert loaded_into(model).keys() == {name for name in OWN if not name.startswith("head.")}


class Tied(nn.Module):
    """Its first and its last weight are one."""

    def __init__(self):
        super().__init__()
        self.embed, self.middle, self.head = nn.Embedding(5, 3), nn.Linear(3, 3), nn.Linear(3, 5, bias=False)
        self.head.weight = self.embed.weight


@pytest.mark.parametrize("gone", ["embed.weight", "head.weight", None])
def test_tied_weights_may_stand_in_the_file_under_one_of_their_names(tmp_path, caplog, gone):
    """As libraries write them. None of them is missing, and none random."""
    old, model = Tied(), Tied()
    torch.save({name: value for name, value in old.state_dict().items() if name != gone}, tmp_path / "w.pth")
    load_init_from(model, {"path": str(tmp_path / "w.pth")})
    assert torch.equal(model.embed.weight, old.embed.weight)
    assert loaded_into(model) == dict.fromkeys(dict(model.named_parameters()), "w.pth")
    assert not caplog.messages


@pytest.mark.parametrize("by", ["name", "order"])
def test_skip_of_everything_is_refused(tmp_path, by):
    """The file would have been named for nothing."""
    save(tmp_path / "w.pth")
    assert refusal(tmp_path / "w.pth", by=by, skip=["body", "h*"]) == (
        'config error: arch.init_from.skip leaves nothing of PATH\n  got       ["body", "h*"]\n'
        "  fix       skip less, or remove init_from"
    )


@pytest.mark.parametrize(
    ("classes", "skip", "what", "rows"),
    [
        (5, [], "number 8 has another shape than that of the model",
         ["got       _head.weight (5, 4)", "expected  head.weight (2, 4)",
          'fix       if these are to be left out: "skip": ["_head.*", "head.*"]']),
        (5, ["_head*"], "the model has 9 weights and the other 7",
         ['got       ["head.weight", "head.bias"]',
          'fix       if these are to be left out: "skip": ["_head*", "head.*"]']),
    ],
)  # fmt: skip
def test_order_that_does_not_fit_names_what_to_skip(tmp_path, classes, skip, what, rows):
    """With that it fits."""
    path = tmp_path / "w.pth"
    torch.save({f"_{name}": value for name, value in Net(classes).state_dict().items()}, path)
    head = f"checkpoint error: the weights of PATH do not fit in order: {what}"
    assert refusal(path, by="order", skip=skip) == "\n  ".join([head, *rows])
    begin_weights(Net(), {"init_from": {"path": str(path), "by": "order", "skip": [*skip, "_head.*", "head.*"]}})


# Values


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize(
    ("name", "value", "size"),
    [("body.0.weight", float("nan"), 12), ("head.bias", float("inf"), 2), ("body.1.running_var", -float("inf"), 4)],
)
def test_weights_that_are_not_finite_are_refused(tmp_path, prefix, name, value, size):
    """Parameters and statistics; what is skipped, or not of the model, may be so."""
    path, weights = tmp_path / "w.pth", Net().state_dict()
    weights[name].view(-1)[1] = value
    torch.save({prefix + key: each for key, each in {**weights, "tail": torch.tensor([value])}.items()}, path)
    assert refusal(path) == (
        "checkpoint error: PATH has weights that are not finite\n"
        f"  got       {name}: 1 of {size} values is NaN or infinite\n"
        f'  fix       take another file, or leave it out: "skip": ["{name}"]'
    )
    load_init_from(Net(), {"path": str(path), "skip": [prefix + name]})


def test_mask_with_infinities_is_taken_as_the_models_own_has_them(tmp_path):
    """As in a buffer of a transformer."""

    class Masked(nn.Linear):
        def __init__(self):
            super().__init__(2, 2)
            self.register_buffer("mask", torch.full((2, 2), -float("inf")).triu(1))

    old, model = Masked(), Masked()
    torch.save(old.state_dict(), tmp_path / "w.pth")
    load_init_from(model, {"path": str(tmp_path / "w.pth")})
    assert torch.equal(model.weight, old.weight)


# Where it is told


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "PATH is empty\n  from      c.json:4, arch.init_from\n  fix       download or copy it again"),
     (None, "PATH is not a file\n  from      c.json:4, arch.init_from\n"
            "  fix       give a file of weights: .pth, .pt, .bin or .safetensors")],
    ids=["empty", "missing"],
)  # fmt: skip
def test_faulty_file_is_told_with_the_line_that_names_it(tmp_path, content, told):
    """The config is at hand where weights begin."""
    path = tmp_path / "w.pth"
    if content is not None:
        path.write_bytes(content)
    origins = {"arch.init_from.path": "c.json:4"}
    assert refusal(path, origin=origins.get) == f"checkpoint error: {told}"


def test_key_that_weights_stand_under_is_logged(tmp_path, caplog):
    """And those that were not taken."""
    caplog.set_level(logging.INFO)
    weights, model = Net().state_dict(), Net()
    torch.save({"model_ema": weights, "model": {f"module.{name}": each for name, each in weights.items()}},
               tmp_path / "w.pth")  # fmt: skip
    begin_weights(model, {"init_from": str(tmp_path / "w.pth")})
    assert caplog.messages == [
        f"Weights from {tmp_path / 'w.pth'}, under model (it has model_ema, too):",
        "Loaded 9 of 9 weights of the model.",
    ]
    assert loaded_into(model) == dict.fromkeys(OWN, "w.pth")
