"""Rates of their own for layers and groups, and several optimizers as one: the numbers of what is stepped by hand."""

import copy

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Muon
from torch.optim.lr_scheduler import StepLR

from espalier.checkpoints.folder import newest_checkpoint
from espalier.errors import CheckpointError, ConfigError
from espalier.rng import seed_everything
from espalier.training.combined_optimizer import CombinedOptimizer
from espalier.training.param_groups import build_optimizers
from espalier.trials.find_lr import Rates
from model.loss import nll_loss
from model.metric import accuracy
from parse_config import ConfigParser
from tests.cases import cases
from tests.kill import config_for, differences, end_of, exit_code_of, kill_self, make_loader, only_run
from tests.seams import Seams
from trainer import Trainer

DECAY = {"rate": 0.5, "layers": ["blocks.*"]}
ADAMW = {"type": "AdamW", "args": {"lr": 0.01, "weight_decay": 0.1}}
MUON = {"type": "Muon", "match": ["blocks.*"], "ndim": 2, "args": {"lr": 0.02}}
STEPS = {"type": "StepLR", "args": {"step_size": 2, "gamma": 0.7}, "interval": "step"}


class Blocks(nn.Module):
    """A stem, twelve blocks with dropout, a final norm and a head."""

    def __init__(self, num_blocks=12):
        super().__init__()
        self.stem = nn.Linear(16, 6)
        parts = [nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6), nn.Dropout(0.1)) for _ in range(num_blocks)]
        self.blocks = nn.ModuleList(parts)
        self.norm, self.head = nn.LayerNorm(6), nn.Linear(6, 3)

    def forward(self, inputs):
        out = self.stem(inputs).tanh()
        for block in self.blocks:
            out = out + block(out)
        return self.head(self.norm(out)).log_softmax(1)


def built(optimizer, model, schedule=None):
    """What train.py builds."""
    sections = {"optimizer": copy.deepcopy(optimizer), **({"lr_scheduler": schedule} if schedule else {})}
    return build_optimizers(ConfigParser({**sections, "trainer": {"epochs": 9}}), model)


def stepped(model, optimizers, schedules=(), num_steps=6):
    """The weights of a model after a few steps."""
    torch.manual_seed(1)
    for _ in range(num_steps):
        for each in optimizers:
            each.zero_grad()
        nn.functional.nll_loss(model(torch.randn(8, 16)), torch.randint(3, (8,))).backward()
        for each in [*optimizers, *schedules]:
            each.step()
    return model.state_dict()


def same_after_steps(optimizer, by_hand):
    """Whether what a section makes steps to the bits of `by_hand(model)`, a list of optimizers, with a schedule."""
    torch.manual_seed(0)
    model = Blocks()
    other = copy.deepcopy(model)
    own, schedule = built(optimizer, model, STEPS)
    optimizers = by_hand(other)
    schedules = [StepLR(each, 2, 0.7) for each in optimizers]
    ours, theirs = stepped(model, [own], [schedule]), stepped(other, optimizers, schedules)
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def layer_of(name):
    """By hand: 0 for the stem, 1 to 12 for the blocks, 13 for norm and head."""
    return int(name.split(".")[1]) + 1 if name.startswith("blocks.") else 0 if name.startswith("stem.") else 13


def groups_by_hand(model, rate, lr, of_norms):
    """A group for each parameter."""
    return [
        {
            "params": [each],
            "lr": lr * ((10 if name.startswith("head.") else 1) * rate ** (13 - layer_of(name))),
            **(of_norms if each.ndim == 1 and not name.startswith("head.") else {}),
        }
        for name, each in model.named_parameters()
    ]


@pytest.mark.parametrize("rate", [1.0, 0.75])
@pytest.mark.parametrize(("kind", "args"), [(SGD, {"lr": 0.1, "momentum": 0.9}), (AdamW, {"lr": 0.003})])
def test_layer_decay_and_multipliers_step_as_groups_written_by_hand(kind, args, rate):
    """To the bit, with a schedule: stem lowest, head at the full rate, and each group keeps its other settings."""
    section = {
        "type": kind.__name__,
        "args": {**args, "weight_decay": 0.1},
        "param_groups": [{"match": "head.*", "lr_mult": 10}, {"ndim": 1, "weight_decay": 0.0}],
        "layer_decay": {"rate": rate, "layers": ["blocks.*"]},
    }

    def by_hand(model):
        groups = groups_by_hand(model, rate, args["lr"], {"weight_decay": 0.0})
        return [kind(groups, **{**args, "weight_decay": 0.1})]

    assert same_after_steps(section, by_hand)


def test_muon_and_adamw_as_one_step_as_the_two_by_hand():
    """To the bit, with a schedule for both."""

    def by_hand(model):
        matrices = [each for each in model.blocks.parameters() if each.ndim == 2]
        rest = [each for each in model.parameters() if all(each is not one for one in matrices)]
        return [Muon(matrices, lr=0.02), AdamW(rest, lr=0.01, weight_decay=0.1)]

    assert same_after_steps([MUON, ADAMW], by_hand)


def rates_by_name(optimizer, model):
    """The learning rate of each parameter."""
    names = {id(each): name for name, each in model.named_parameters()}
    return {names[id(each)]: group["lr"] for group in optimizer.param_groups for each in group["params"]}


@pytest.mark.parametrize(
    ("layers", "exponents"),
    [
        (["blocks.*"], {"stem": 13, **{f"blocks.{index}": 12 - index for index in range(12)}, "norm": 0, "head": 0}),
        (["stem", "blocks.*", "head"], {"stem": 13, "blocks.0": 12, "blocks.11": 1, "norm": 0, "head": 0}),
        (["blocks.0", "blocks.*", "norm", "head"], {"stem": 14, "blocks.0": 13, "blocks.10": 3, "norm": 1, "head": 0}),
        (["blocks.*.0"], {"stem": 13, "blocks.0.0": 12, "blocks.0.1": 11, "blocks.11.0": 1, "blocks.11.1": 0}),
    ],
)
def test_layers_come_in_the_order_of_their_numbers(layers, exponents):
    """What is in none is below the first, above the last, or of the layer that follows."""
    model = Blocks()
    optimizer, _ = built({**ADAMW, "layer_decay": {"rate": 0.5, "layers": layers}}, model)
    rates = rates_by_name(optimizer, model)
    found = {name: {rate for each, rate in rates.items() if each.startswith(f"{name}.")} for name in exponents}
    assert found == {name: {0.01 * 0.5**each} for name, each in exponents.items()}


@pytest.mark.parametrize(
    ("module", "name", "layers", "first", "last"),
    [
        ("torchvision.models", "vit_b_16", ["encoder.layers.*"], "class_token", "heads.head.weight"),
        ("torchvision.models", "resnet18", ["layer*.*"], "conv1.weight", "fc.weight"),
        ("timm", "create_model", ["blocks.*"], "cls_token", "head.weight"),
    ],
)
def test_layer_decay_of_well_known_models_lowers_the_stem_most(module, name, layers, first, last):
    """By config alone, whatever their layers are called."""
    kwargs = {"model_name": "vit_tiny_patch16_224"} if module == "timm" else {}
    with torch.device("meta"):
        model = getattr(pytest.importorskip(module), name)(**kwargs)
    optimizer, _ = built({**ADAMW, "layer_decay": {"rate": 0.5, "layers": layers}}, model)
    rates = rates_by_name(optimizer, model)
    num_layers = 8 if name == "resnet18" else 12
    assert (rates[first], rates[last]) == (0.01 * 0.5 ** (num_layers + 1), 0.01)
    assert len(set(rates.values())) == num_layers + 2


def test_layer_decay_is_told_by_layer(caplog):
    """One line of the log, the rates from the first layer to the last."""
    caplog.set_level("INFO")
    built({**ADAMW, "layer_decay": {"rate": 0.5, "layers": ["blocks.*"]}}, Blocks(num_blocks=2))
    assert caplog.messages == [
        "Layer decay 0.5, learning rates from the first layer to the last: stem.weight and 1 more 0.00125, "
        "blocks.0 0.0025, blocks.1 0.005, norm.weight and 3 more 0.01."
    ]


def test_layer_decay_is_told_with_the_rates_of_groups(caplog):
    """What the log says is what the optimizer has; of a layer with several, the least and the greatest."""
    caplog.set_level("INFO")
    groups = [{"match": "stem.*", "lr_mult": 2.0}, {"match": "head.weight", "lr_mult": 10}]
    decay = {"rate": 0.5, "layers": ["blocks.*"]}
    built({**ADAMW, "layer_decay": decay, "param_groups": groups}, Blocks(num_blocks=2))
    assert caplog.messages == [
        "Layer decay 0.5, learning rates from the first layer to the last: stem.weight and 1 more 0.0025, "
        "blocks.0 0.0025, blocks.1 0.005, norm.weight and 3 more 0.01 to 0.1."
    ]


@pytest.mark.parametrize(
    ("layers", "is_told"),
    [(["head", "blocks.*", "stem"], True), (["blocks.*", "stem"], True), (["stem", "blocks.*", "head"], False),
     (["blocks.*"], False), (["blocks.1", "blocks.0", "head"], False)],
)  # fmt: skip
def test_layer_decay_against_the_order_of_the_model_is_told(caplog, layers, is_told):
    """Layers all the other way round are rarely meant."""
    built({**ADAMW, "layer_decay": {"rate": 0.5, "layers": layers}}, Blocks(num_blocks=2))
    line = (
        f"optimizer.layer_decay.layers goes from the last layer of the model to the first, so that {layers[0]}, which "
        "comes first there, learns least. Write them from the first to the last, if that is not meant."
    )
    assert [each.getMessage() for each in caplog.records if each.levelname == "WARNING"] == [line] * is_told


# Tied weights


def test_tied_weights_are_in_one_layer_and_in_one_optimizer():
    """They belong where they stand first, and are meant by any of their names."""
    model = Blocks()
    model.blocks[3][0].weight = model.blocks[0][0].weight
    optimizer, _ = built({**ADAMW, "layer_decay": DECAY}, model)
    assert rates_by_name(optimizer, model)["blocks.0.0.weight"] == 0.01 * 0.5**12
    both, _ = built([{**MUON, "match": "blocks.3.*"}, ADAMW], model)
    assert [id(each) for each in both.optimizers[0].param_groups[0]["params"]] == [id(model.blocks[0][0].weight)]
    assert sum(len(group["params"]) for group in both.param_groups) == len(list(model.parameters()))


# The state of several as one


def test_combined_optimizer_has_the_groups_of_its_members_and_the_state_of_one():
    """The very dicts; numbers count over all, as in an optimizer of torch; a state loads into a fresh one."""
    model = Blocks(num_blocks=2)
    both, schedule = built([MUON, {**ADAMW, "param_groups": [{"match": "head.*", "lr_mult": 3}]}], model, STEPS)
    stepped(model, [both], [schedule])
    assert [id(each) for each in both.param_groups] == [
        id(group) for each in both.optimizers for group in each.param_groups
    ]
    state = copy.deepcopy(both.state_dict())
    assert sorted(state["state"]) == list(range(len(list(model.parameters()))))
    assert [number for group in state["param_groups"] for number in group["params"]] == sorted(state["state"])
    other = copy.deepcopy(model)
    fresh, after = built([MUON, {**ADAMW, "param_groups": [{"match": "head.*", "lr_mult": 3}]}], other, STEPS)
    fresh.load_state_dict(state)
    after.load_state_dict(schedule.state_dict())
    assert differences(fresh.state_dict(), state) == []
    assert differences(stepped(model, [both], [schedule]), stepped(other, [fresh], [after])) == []
    with pytest.raises(ValueError, match="a different number of parameter groups"):
        fresh.load_state_dict(built(ADAMW, other)[0].state_dict())


def test_loss_scaling_steps_all_members_or_none():
    """A scale that is a power of two changes no bit; where one gradient overflows, none of the weights changes."""
    torch.manual_seed(0)
    model = Blocks(num_blocks=1)
    other = copy.deepcopy(model)
    pairs = [(net, built([MUON, ADAMW], net)[0]) for net in (model, other)]
    scaler, inputs = torch.amp.GradScaler("cpu", init_scale=1024.0), torch.randn(4, 16)
    for factor in (1.0, float("inf")):
        for net, optimizer in pairs:
            optimizer.zero_grad()
            torch.manual_seed(1)
            loss = net(inputs).square().mean()
            (scaler.scale(loss * factor) if net is model else loss).backward()
        before = copy.deepcopy(model.state_dict())
        scaler.unscale_(pairs[0][1])
        scaler.step(pairs[0][1])
        scaler.update()
        if factor == 1.0:
            pairs[1][1].step()
            assert differences(model.state_dict(), other.state_dict()) == []
            assert differences(model.state_dict(), before) != []
    assert differences(model.state_dict(), before) == []


def test_combined_optimizer_refuses_what_cannot_step_with_others():
    """A parameter in two, and one whose step computes the loss."""
    model = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="more than one parameter group"):
        CombinedOptimizer([SGD([model.weight], 0.1), SGD([model.weight], 0.1)])
    with pytest.raises(ValueError, match="LBFGS computes the loss by itself"):
        CombinedOptimizer([torch.optim.LBFGS([model.weight]), SGD([model.bias], 0.1)])


def test_rates_of_find_lr_are_told_in_words_for_the_command_line():
    """Of each member, and of layers as the rate that all are multiples of."""
    model = Blocks()
    groups = [{"match": "head.*", "lr": 0.04}, {"match": "norm.*", "lr_mult": 7}]
    both, _ = built([MUON, {**ADAMW, "param_groups": groups, "layer_decay": DECAY}], model)
    words = Rates(both).words(0.02)
    assert words == "optimizer.0.args.lr=0.02 optimizer.1.args.lr=0.01 optimizer.1.param_groups.0.lr=0.04"


# Runs that go on

SECTIONS = {
    "layer decay": {
        **ADAMW,
        "param_groups": [{"match": "head.*", "lr_mult": 3}, {"ndim": 1, "weight_decay": 0.0}],
        "layer_decay": DECAY,
    },
    "muon": [MUON, ADAMW],
    "fused": [MUON, {"type": "AdamW", "args": {"lr": 0.01, "fused": True}}],
}


def make(folder, optimizer, run=None, kind=Trainer, overrides=None, **trainer):
    """A trainer as train.py makes it, of a new run or of one where it stands."""
    config = {**config_for(folder, **trainer), "optimizer": copy.deepcopy(optimizer), "lr_scheduler": STEPS}
    resume = None if run is None else newest_checkpoint(run)[0]
    parser = ConfigParser(config, resume, overrides, run_folder=run)
    seed_everything(config["seed"])
    net, loader = Blocks(num_blocks=2), make_loader()
    optimizers, schedule = build_optimizers(parser, net, loader)
    return kind(net, nll_loss, [accuracy], optimizers, parser, torch.device("cpu"), loader,
                loader.split_validation(), schedule)  # fmt: skip


ALL = {"accumulate": 2, "ema_decay": 0.9, "clip_grad_norm": 0.5, "async_save": True}


class Killed(Seams, Trainer):
    """Killed in the middle of its second epoch."""

    def after_batch(self, batch_idx):
        if self.epoch == 1 and batch_idx == 4:
            kill_self()


@pytest.mark.parametrize("options", [pytest.param({}, marks=pytest.mark.slow), ALL], ids=["", "all"])
@pytest.mark.parametrize("name", cases(SECTIONS, "muon"))
def test_run_killed_in_mid_epoch_ends_as_undisturbed(tmp_path, name, options):
    """Rates by layer, both optimizers and what is averaged beside go on to the bit."""
    section = SECTIONS[name]
    options = {"epochs": 2, **options}
    make(tmp_path / "whole", section, **options).train()
    assert exit_code_of(lambda: make(tmp_path, section, kind=Killed, **options).train()) == -9
    make(tmp_path, section, only_run(tmp_path), **options).train()
    assert differences(*(end_of(only_run(folder)) for folder in (tmp_path / "whole", tmp_path))) == []


def resumed_rates(folder, section, overrides):
    """The learning rates by name with which a run of two steps goes on."""
    if not (folder / "saved").exists():
        make(folder, section, epochs=1, max_steps=1, save_every_steps=1).train()
    trainer = make(folder, section, only_run(folder), overrides=overrides, epochs=1, max_steps=1)
    trainer.train()
    assert trainer.lr_scheduler.base_lrs == [group["initial_lr"] for group in trainer.optimizer.param_groups]
    return rates_by_name(trainer.optimizer, trainer.model)


@pytest.mark.parametrize(
    ("name", "path", "value", "expected"),
    [
        ("layer decay", "args.lr", 0.5, {"head.weight": 1.5, "norm.weight": 0.5, "blocks.1.0.weight": 0.25}),
        ("layer decay", "param_groups.0.lr_mult", 2, {"head.weight": 0.02, "norm.weight": 0.01}),
        ("layer decay", "layer_decay.rate", 0.25, {"head.weight": 0.03, "stem.bias": 0.01 / 64}),
        ("muon", "0.args.lr", 0.5, {"blocks.0.0.weight": 0.5, "head.weight": 0.01}),
        ("muon", "1.args.lr", 0.5, {"blocks.0.0.weight": 0.02, "head.weight": 0.5}),
    ],
)
def test_command_line_changes_rates_of_a_run_that_goes_on(tmp_path, caplog, name, path, value, expected):
    """The rate of which all are multiples, one multiplier, or one of several optimizers; the log says so once."""
    caplog.set_level("INFO")
    before = resumed_rates(tmp_path, SECTIONS[name], {})
    after = resumed_rates(tmp_path, SECTIONS[name], {("optimizer", *path.split(".")): value})
    assert {each: after[each] for each in expected} == pytest.approx(expected, abs=1e-12)
    assert before != after
    told = [line for line in caplog.messages if line.startswith(f"optimizer.{path} is {value} from the command line")]
    assert len(told) == 1


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("muon", "0.match", "blocks.*"),
        ("muon", "0", MUON | {"args": {"lr": 1}, "match": "blocks.*"}),
        ("layer decay", "layer_decay.layers", ["blocks.*", "head"]),
    ],
)
def test_command_line_cannot_give_parameters_to_others_in_the_middle_of_a_run(tmp_path, name, path, value):
    """Their states would not be theirs."""
    with pytest.raises(CheckpointError, match=r"cannot be changed in the middle|parameter groups|does not fit"):
        resumed_rates(tmp_path, SECTIONS[name], {("optimizer", *path.split(".")): value})


# What is refused where the model is known


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ([{**MUON, "ndim": 1}, ADAMW], "optimizer.0 gives Muon parameters that are no matrices"),
        ({"type": "Muon"}, "optimizer gives Muon parameters that are no matrices"),
        ([{**MUON, "match": "block.*"}, ADAMW], "optimizer.0.match matches no parameter of the model"),
        ([{**MUON, "match": ["blocks.*", "x"]}, ADAMW], "optimizer.0.match.1 matches no parameter of the model"),
        ([{**MUON, "ndim": 3}, ADAMW], "optimizer.0.ndim leaves no parameter"),
        ([MUON, MUON, ADAMW], "optimizer.1.match matches only parameters|optimizer.1.ndim leaves no parameter"),
        ([{"type": "SGD", "match": "*"}, ADAMW], "optimizer.1 has no parameter left"),
        ([MUON, {**ADAMW, "param_groups": [{"match": "blocks.0.0.weight"}]}],
         "optimizer.1.param_groups.0.match matches only parameters that another optimizer has"),
        ({**ADAMW, "layer_decay": {"rate": 0.5, "layers": ["block.*"]}}, "layer_decay.layers.0 matches no parameter"),
        ({**ADAMW, "layer_decay": {"rate": 0.5, "layers": ["blocks.*", "blocks.1"]}},
         "layer_decay.layers.1 matches only parameters of layers that come before it"),
    ],
)  # fmt: skip
def test_optimizer_that_does_not_fit_the_model_is_refused(section, message):
    """Patterns without a match, and Muon for what is no matrix."""
    with pytest.raises(ConfigError, match=message):
        built(section, Blocks())


def test_muon_alone_is_told_a_part_of_this_model():
    """What it shows can be written as it stands."""
    with pytest.raises(ConfigError) as error:
        built({"type": "Muon"}, Blocks())
    assert str(error.value).splitlines()[-1] == (
        '  fix       write "ndim": 2 there, and an optimizer for the rest after it: "optimizer": [{"type": "Muon", '
        '"match": "blocks", "ndim": 2}, {"type": "AdamW"}]'
    )
    built([{**MUON, "match": "blocks", "ndim": 2}, ADAMW], Blocks())
