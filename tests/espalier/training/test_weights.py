"""Weights to begin with, and weights that stay."""

import itertools
import json
import logging

import pytest
import torch
from torch import nn

from espalier.adapters import add_adapters
from espalier.checkpoints.file import load_checkpoint
from espalier.errors import CheckpointError, ConfigError
from espalier.training.combined_optimizer import CombinedOptimizer
from espalier.training.weights import Freezing, begin_weights
from tests.kill import config_for, differences, end_of, exit_code_of, kill_self, make_loader, make_trainer, only_run
from trainer import Trainer


class Net(nn.Module):
    """A body with a norm, and a head."""

    def __init__(self, classes=2):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        self.head = nn.Linear(4, classes)

    def forward(self, x):
        return self.head(self.body(x))


@pytest.fixture
def messages(caplog):
    """A function that gives what was logged."""
    caplog.set_level(logging.INFO)
    return lambda: caplog.messages


# Filling


def test_init_fills_the_parameters_that_match(messages):
    """A function of torch.nn.init by name or dotted path, with its arguments; the rest stays."""
    model, before = Net(), nn.Linear(1, 1)
    before = model.head.bias.clone()
    begin_weights(model, {"init": [
        {"type": "constant_", "match": "*.weight", "args": {"val": 0.5}},
        {"type": "torch.nn.init.zeros_", "match": "body.0.bias"},
    ]})  # fmt: skip
    assert {float(value) for value in model.head.weight.detach().flatten()} == {0.5}
    assert float(model.body[0].bias.detach().abs().sum()) == 0
    assert torch.equal(model.head.bias, before)
    assert messages()[0] == "constant_ filled 3 parameters that match *.weight."


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ([{"type": "kaiming_normal_", "match": "*.bias"}],
         "config error: arch.init.0.match means body.0.bias, which kaiming_normal_ cannot fill\n"
         "  from      config.json:3, arch.init.0.match\n"
         "  got       body.0.bias of shape (4,): ValueError: Fan in and fan out can not be computed for tensor with "
         "fewer than 2 dimensions"),
        ({"type": "orthogonal_", "match": "body"},
         "config error: arch.init.match means body.0.bias, which orthogonal_ cannot fill\n"
         "  from      config.json:3, arch.init.match\n"
         "  got       body.0.bias of shape (4,): ValueError: Only tensors with 2 or more dimensions are supported\n"
         "  expected  a pattern for some of: body.0.weight\n"
         '  fix       write "match": a pattern for these alone, or several entries, one for each'),
        ({"type": "dirac_"},
         "config error: arch.init.type is to fill body.0.weight, and cannot\n"
         "  from      config.json:3, arch.init.type\n"
         "  got       body.0.weight of shape (4, 3): ValueError: Only tensors with 3, 4, or 5 dimensions are "
         "supported"),
        ({"type": "uniform_", "match": "head.bias", "args": {"a": 1.0, "b": -1.0}},
         "config error: arch.init.match means head.bias, which uniform_ cannot fill\n"
         "  from      config.json:3, arch.init.match\n"
         "  got       head.bias of shape (2,): RuntimeError: uniform_ expects to return a [from, to) range, but found "
         "from=1 > to=-1"),
    ],
)  # fmt: skip
def test_init_function_that_cannot_fill_a_parameter_is_told_with_it(init, message):
    """The parameter with its shape, what was said of it, and those that it could fill."""
    with pytest.raises(ConfigError) as error:
        begin_weights(Net(), {"init": init}, origin=lambda path: f"config.json:3, {path}")
    assert str(error.value) == message


def test_init_function_by_its_name_of_old_fills_alike_and_says_the_new_one(messages, recwarn):
    """Those of before PyTorch 0.4, without a warning for each tensor."""
    model = Net()
    begin_weights(model, {"init": [{"type": "constant", "match": "head", "args": {"val": 0.5}}]})
    assert {float(value) for value in model.head.weight.detach().flatten()} == {0.5}
    assert messages() == ['arch.init.0.type: "constant" is an old name that PyTorch will take out: write "constant_".',
                          "constant filled 2 parameters that match head."]  # fmt: skip
    assert not recwarn.list


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ({"type": "zeros_", "match": "tail.*"}, r"arch\.init\.match matches nothing\n  got +\"tail\.\*\""),
        ([{"type": "zeroes_"}], r"arch\.init\.0\.type is not in torch\.nn\.init: zeroes_\n  closest +zeros_"),
    ],
    ids=["pattern", "function"],
)
def test_init_that_names_nothing_is_refused(init, message):
    """A pattern or a function that is not there ends the run before it begins."""
    with pytest.raises(ConfigError, match=message):
        begin_weights(Net(), {"init": init})


# Loading


@pytest.mark.parametrize("is_checkpoint", [False, True], ids=["plain", "checkpoint"])
def test_init_from_loads_what_fits_and_reports_the_rest(tmp_path, messages, is_checkpoint):
    """Loaded, missing, of another shape, unexpected: each is named."""
    old = Net(classes=5)
    weights = {**old.state_dict(), "tail.weight": torch.zeros(1)}
    del weights["body.1.weight"]
    torch.save({"state_dict": weights} if is_checkpoint else weights, tmp_path / "old.pth")
    model = Net()
    begin_weights(model, {"init_from": str(tmp_path / "old.pth")})
    assert torch.equal(model.body[0].weight, old.body[0].weight)
    assert messages() == [
        f"Weights from {tmp_path / 'old.pth'}{', under state_dict' if is_checkpoint else ''}:",
        "Loaded 6 of 9 weights of the model.",
        "Not in the checkpoint: body.1.weight.",
        "Of another shape in the checkpoint: head.weight, head.bias.",
        "In the checkpoint but not in the model: tail.weight.",
    ]


def test_init_from_renames_and_skips(tmp_path, messages):
    """Beginnings of names become others, and what matches a pattern is left out."""
    old = Net()
    torch.save({name.replace("body", "encoder"): value for name, value in old.state_dict().items()}, tmp_path / "o.pth")
    model, before = Net(), None
    before = model.head.weight.clone()
    source = {"path": str(tmp_path / "o.pth"), "rename": {"encoder.": "body."}, "skip": ["head"]}
    begin_weights(model, {"init_from": source})
    assert torch.equal(model.body[0].weight, old.body[0].weight)
    assert torch.equal(model.head.weight, before)
    assert messages() == [
        f"Weights from {tmp_path / 'o.pth'}:",
        "Loaded 7 of 9 weights of the model.",
        "Left out by arch.init_from.skip: head.weight, head.bias.",
    ]


@pytest.mark.parametrize("as_section", [False, True])
def test_init_from_a_file_that_is_not_there_is_told_by_its_key(tmp_path, as_section):
    """The message says which key of the config named the file, and what kind of file it takes."""
    path = str(tmp_path / "o.pth")
    with pytest.raises(CheckpointError) as error:
        begin_weights(Net(), {"init_from": {"path": path} if as_section else path})
    assert str(error.value) == (
        f"checkpoint error: {path} is not a file\n"
        "  from      arch.init_from\n"
        "  fix       give a file of weights: .pth, .pt, .bin or .safetensors"
    )


def test_init_from_without_one_weight_that_fits_is_refused(tmp_path):
    """A run that was to start from weights does not start without."""
    torch.save({"other": torch.zeros(1)}, tmp_path / "o.pth")
    with pytest.raises(CheckpointError, match="not one weight of the checkpoint fits the model"):
        begin_weights(Net(), {"init_from": str(tmp_path / "o.pth")})


@pytest.mark.parametrize("is_old", [False, True], ids=["with counts", "without counts"])
@pytest.mark.parametrize("classes", [2, 5])
def test_init_from_in_order_loads_weights_of_other_names(tmp_path, classes, is_old):
    """The first weight is the first one; heads of another size are skipped on both sides."""
    old, model = Net(classes), Net()
    weights = {f"_{name.replace('.', '_')}": value for name, value in old.state_dict().items()
               if not (is_old and name.endswith("num_batches_tracked"))}  # fmt: skip
    torch.save(weights, tmp_path / "o.pth")
    skip = [] if classes == 2 else ["_head*", "head"]
    begin_weights(model, {"init_from": {"path": str(tmp_path / "o.pth"), "by": "order", "skip": skip}})
    loaded = [name for name, value in model.state_dict().items() if torch.equal(value, old.state_dict()[name])]
    assert [name for name in model.state_dict() if name not in loaded] == (
        [] if classes == 2 else ["head.weight", "head.bias"]
    )


@pytest.mark.parametrize(
    ("classes", "skip", "message"),
    [
        (5, [], r"number 8 has another shape .*\n.*\n  got +_head\.weight \(5, 4\)\n  expected +head\.weight \(2, 4\)"),
        (5, ["_head*"], r"the model has 9 weights and the other 7\n.*\n  got +\[\"head\.weight\", \"head\.bias\"\]"),
        (2, ["head.*"], r"the file has 9 weights and the other 7\n.*\n  got +\[\"_head\.weight\", \"_head\.bias\"\]"),
    ],
)
def test_init_from_in_order_that_does_not_fit_is_refused(tmp_path, classes, skip, message):
    """The first that does not fit is named on both sides, or what one side has more; nothing is loaded."""
    torch.save({f"_{name}": value for name, value in Net(classes).state_dict().items()}, tmp_path / "o.pth")
    model = Net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        begin_weights(model, {"init_from": {"path": str(tmp_path / "o.pth"), "by": "order", "skip": skip}})
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# Freezing


def frozen_in(model):
    """The names of the parameters that are not trained."""
    return [name for name, parameter in model.named_parameters() if not parameter.requires_grad]


def test_freeze_is_a_function_of_the_epoch():
    """A pattern of modules or parameters; some are trained from an epoch on, whatever was before."""
    model = Net()
    freezing = Freezing(model, ["body", "head.bias"], {"body.0.*": 3})
    for epoch, expected in [
        (1, ["body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias", "head.bias"]),
        (3, ["body.1.weight", "body.1.bias", "head.bias"]),
        (2, ["body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias", "head.bias"]),
    ]:
        freezing.begin_epoch(epoch)
        assert frozen_in(model) == expected


@pytest.mark.parametrize(
    ("arch", "trained"),
    [
        ({"train": ["head"]}, {1: ["head.weight", "head.bias"]}),
        ({"train": ["*.bias"]}, {1: ["body.0.bias", "body.1.bias", "head.bias"]}),
        ({"freeze": ["body"], "train": ["body.0.bias"]}, {1: ["body.0.bias", "head.weight", "head.bias"]}),
        ({"train": ["head"], "unfreeze_at": {"body.1": 2, "body.0.bias": 3}},
         {1: ["head.weight", "head.bias"], 2: ["body.1.weight", "body.1.bias", "head.weight", "head.bias"],
          3: ["body.0.bias", "body.1.weight", "body.1.bias", "head.weight", "head.bias"]}),
        *(({"train": ["head"], "unfreeze_at": dict(pairs)},  # the narrower pattern wins, wherever it stands
           {1: ["head.weight", "head.bias"], narrow: ["body.0.weight", "body.0.bias", "head.weight", "head.bias"],
            3: [*dict(Net().named_parameters())]})
          for narrow in (2,) for pairs in itertools.permutations([("body.0", narrow), ("body", 3)])),
        ({"lora": {"match": ["body"]}}, {1: ["body.0.lora_a.weight", "body.0.lora_b.weight"]}),
        ({"lora": {"match": ["body"]}, "train": ["body.1"], "replace": {"head": {}, "gone": {}}},
         {1: ["body.0.lora_a.weight", "body.0.lora_b.weight", "body.1.weight", "body.1.bias", "head.weight",
              "head.bias"]}),
    ],
)  # fmt: skip
def test_what_is_trained_follows_from_the_arch_section(arch, trained):
    """`train` is all that learns, or what `freeze` leaves out; `lora` adds its adapters and what was replaced."""
    model = Net()
    if "lora" in arch:
        add_adapters(model, arch["lora"]["match"], 1, 1)
    freezing = Freezing.of(model, arch)
    for epoch, names in trained.items():
        freezing.begin_epoch(epoch)
        assert [name for name in dict(model.named_parameters()) if name not in frozen_in(model)] == names


def test_nothing_is_frozen_where_nothing_is_asked_for():
    """A plain section, and one whose lists are empty; a pattern of `train` has to match."""
    assert all(Freezing.of(Net(), arch) is None for arch in ({}, {"freeze": []}, {"train": None, "lora": None}))
    with pytest.raises(ConfigError, match=r"arch\.train\.0 matches nothing\n  got +\"haed\""):
        Freezing.of(Net(), {"train": ["haed"]})


def test_adapters_keep_out_of_what_weights_begin_with(tmp_path, messages):
    """`init` leaves them at nothing, and files by name or in order fit without them."""
    torch.save(Net().state_dict(), tmp_path / "o.pth")
    for by in ("name", "order"):
        model = Net()
        add_adapters(model, ["body", "head"], 1, 1)
        source = {"path": str(tmp_path / "o.pth"), "by": by}
        begin_weights(model, {"init": {"type": "ones_"}, "init_from": source})
        assert not any(model.head.lora_b.weight.flatten()) and not any(model.body[0].lora_b.weight.flatten())
    assert not any("lora" in text for text in messages())


def test_freeze_keeps_the_statistics_of_norms_until_they_are_trained():
    """`model.train()` leaves a frozen batch norm in evaluation."""
    model = Net()
    freezing = Freezing(model, ["body"], {"body": 2})
    freezing.begin_epoch(1)
    before = model.body[1].running_mean.clone()
    model.train()(torch.randn(8, 3))
    assert (model.body[1].training, model.body[0].training) == (False, True)
    assert torch.equal(model.body[1].running_mean, before)
    freezing.begin_epoch(2)
    model.train()(torch.randn(8, 3))
    assert not torch.equal(model.body[1].running_mean, before)
    assert not model.eval().body[1].training


@pytest.mark.parametrize(
    ("frozen", "until", "path"),
    [(["bodi.*"], {}, r"arch\.freeze\.0 matches nothing"),
     (["body"], {"haed": 2}, r"arch\.unfreeze_at\.haed matches nothing"),
     (["body"], {"head": 2}, r"arch\.unfreeze_at\.head means only what is not frozen\n  got       2\n  fix       "
                             "remove it, or name it under freeze, too$")],
)  # fmt: skip
def test_freeze_pattern_that_matches_nothing_is_refused(frozen, until, path):
    """Also one that is to unfreeze what was never frozen."""
    with pytest.raises(ConfigError, match=path):
        Freezing(Net(), frozen, until)


def test_freeze_of_what_is_trained_all_the_same_is_refused():
    """One of the two was meant; where a part of it stays frozen, both are."""
    with pytest.raises(ConfigError) as error:
        Freezing.of(Net(), {"freeze": ["body.1", "head"], "train": ["*.bias", "head"]})
    assert str(error.value) == (
        "config error: arch.freeze.1 freezes nothing: arch.train names all of it\n"
        '  got       "head"\n'
        "  fix       remove the one or the other"
    )


@pytest.mark.parametrize(
    ("frozen", "until", "what"),
    [
        (["*"], {}, "leaves the optimizer nothing to train"),
        (["body", "head.*"], {}, "leaves the optimizer nothing to train"),
        (["*"], {"head": 3, "body.0": 2}, "leaves the optimizer nothing to train before epoch 2"),
    ],
)
def test_freeze_that_leaves_nothing_to_train_is_refused(tmp_path, frozen, until, what):
    """Before a folder is made; of several optimizers each needs something."""
    model = Net()
    freezing, optimizer = Freezing(model, frozen, until), torch.optim.SGD(model.parameters())
    fix = "name less there: the last layer, for one, is to be trained"
    expected = f"config error: arch.freeze {what}\n  got       {json.dumps(frozen)}\n  fix       {fix}"
    with pytest.raises(ConfigError) as error:
        freezing.check_left({"": optimizer})
    assert str(error.value) == expected
    with pytest.raises(ConfigError) as error:
        freezing.check_left({"all": torch.optim.SGD([torch.zeros(1)]), "own": optimizer})
    assert str(error.value) == expected.replace("the optimizer", "optimizer.own")
    with pytest.raises(ConfigError) as error:
        freezing.check_left({"": CombinedOptimizer([torch.optim.SGD([torch.zeros(1)]), optimizer])})
    assert str(error.value) == expected.replace("the optimizer", "optimizer.1")


def test_freeze_of_everything_ends_a_run_before_its_folder_is_made(tmp_path):
    """With one layer less it trains."""
    config = config_for(tmp_path, epochs=1)
    config["arch"]["freeze"] = ["layers"]
    with pytest.raises(ConfigError, match="leaves the optimizer nothing to train"):
        make_trainer(config, make_loader()).train()
    assert list(tmp_path.iterdir()) == []
    config["arch"]["freeze"] = ["layers.0", "layers.1"]
    make_trainer(config, make_loader()).train()


def test_freeze_in_a_run_keeps_the_weights_and_is_resumed_exactly(tmp_path):
    """Frozen weights stay to the bit until their epoch; a kill in between changes nothing."""
    first = []

    class Watching(Trainer):
        def on_epoch_end(self, log):
            first.append(self.model.layers[0].weight.detach().clone())

    class Killed(Trainer):
        def on_step_end(self):
            if self.step == 20:
                kill_self()

    def make(folder, kind, run=None):
        config = config_for(folder, epochs=4)
        config["arch"] |= {"freeze": ["layers.0", "layers.1"], "unfreeze_at": {"layers.0": 3}}
        return make_trainer(config, make_loader(), run, kind)

    whole = make(tmp_path / "whole", Watching)
    before = whole.model.layers[0].weight.detach().clone()
    whole.train()
    assert [torch.equal(each, before) for each in first] == [True, True, False, False]
    assert exit_code_of(lambda: make(tmp_path / "killed", Killed).train()) == -9
    make(tmp_path / "killed", Trainer, only_run(tmp_path / "killed")).train()
    assert differences(*(end_of(only_run(tmp_path / name)) for name in ("whole", "killed"))) == []
    mean = load_checkpoint(only_run(tmp_path / "whole") / "last.pth")["state_dict"]["layers.1.running_mean"]
    assert torch.equal(mean, torch.zeros_like(mean))
