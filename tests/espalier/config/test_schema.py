"""What a config may say: each fault, at each level, with its whole message."""

import copy
import json
import types

import pytest
import torch

from espalier.config import schema, settings
from espalier.config.check import check
from espalier.config.json_text import parse_json
from espalier.config.key import REQUIRED, Key
from espalier.config.tree import ConfigTree
from espalier.errors import ConfigError

ROOM = types.ModuleType("room")
exec(
    """
import torch
class Net(torch.nn.Module):
    def __init__(self, width, depth=2): ...
class Anything(torch.nn.Module):
    def __init__(self, **options): ...
class Loader:
    def __init__(self, data_dir, batch_size=32): ...
    def __iter__(self): ...
class Focal:
    def __init__(self, gamma=2.0): ...
    def __call__(self, output, target): ...
def mse(output, target): ...
def top_k(output, target, k=3): ...
def needs(output, target, *, beta): ...
constant = 3
""",
    ROOM.__dict__,
)
CONFIG = {
    "name": "Test",
    "arch": {"type": "Net", "args": {"width": 8}},
    "data_loader": {"type": "Loader", "args": {"data_dir": "data"}},
    "optimizer": {"type": "SGD", "args": {"lr": 0.1}},
    "loss": "mse",
    "metrics": ["mse", "top_k"],
    "lr_scheduler": {"type": "StepLR", "args": {"step_size": 1}},
    "trainer": {"epochs": 2},
}
ROOMS = {
    "arch": ROOM, "data_loader": ROOM, "valid_data_loader": ROOM, "test_data_loader": ROOM, "loss": ROOM,
    "metrics": ROOM, "optimizer": torch.optim, "lr_scheduler": torch.optim.lr_scheduler,
}  # fmt: skip


def changed(path, value=None, **more):
    """CONFIG with `value` at the dotted path, and any further paths (dots written as __); None removes."""
    config = copy.deepcopy(CONFIG)
    for place, new in {path: value, **{key.replace("__", "."): item for key, item in more.items()}}.items():
        *sections, last = place.split(".")
        node = config
        for key in sections:
            node = node[int(key)] if isinstance(node, list) else node.setdefault(key, {})
        if new is None:
            del node[last]
        else:
            node[int(last) if isinstance(node, list) else last] = new
    return config


def message(config):
    """All that is wrong with a config whose values come from nowhere; "" when nothing is."""
    return str(ConfigError(check(ConfigTree(config), ROOMS)))


# nothing wrong


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        changed("$schema", "https://x/schema.json"),
        changed("user", {"anything": {"at": ["all"]}}),
        changed("lr_scheduler"),
        changed("seed", 1, n_gpu=2),
        changed("valid_data_loader", {"type": "Loader", "args": {"data_dir": "data"}}),
        changed("lr_scheduler.interval", "step"),
        changed("trainer.tensorboard", False, trainer__monitor="min val_loss", trainer__early_stop=0),
        changed("trainer.tensorboard", {"images": False}),
        changed("arch", {"type": "room_unknown.Net"}) | {"arch": {"type": "Anything", "args": {"a": 1, "b": 2}}},
        changed("arch.type", "torch.nn.Linear", arch__args={"in_features": 2, "out_features": 1}),
        changed("loss", "torch.nn.functional.mse_loss"),
        changed("loss", {"type": "mse"}),
        changed("loss", {"type": "torch.nn.CrossEntropyLoss", "args": {"label_smoothing": 0.1}}),
        changed("loss", "Focal"),
        changed("loss", {"type": "Focal", "args": {"gamma": 1.0}, "name": "focal"}),
        changed("metrics", []),
        changed("metrics", [{"type": "top_k", "args": {"k": 5}, "name": "top_5"}]),
        changed("metrics", ["Focal", "torch.nn.functional.l1_loss"]),
        changed("optimizer.args.lr", 1),
        changed("trainer.keep_last", 3, trainer__len_epoch=10, trainer__log_step=1, trainer__save_period=2),
    ],
    ids=lambda config: json.dumps({key: value for key, value in config.items() if CONFIG.get(key) != value}),
)
def test_check_valid_config_has_no_problems(config):
    """What the framework can do is accepted."""
    assert message(config) == ""


def test_check_null_value_stands_for_the_default():
    """A key that is null counts as not written."""
    config = copy.deepcopy(CONFIG)
    config.update(lr_scheduler=None, user=None, seed=None)
    config["arch"]["args"]["depth"] = None
    config["optimizer"]["args"] = None
    config["trainer"].update(save_dir=None, monitor=None)
    assert message(config) == ""


@pytest.mark.parametrize(
    "key", [*schema.TOP.values(), *settings.TRAINER.values(), *schema.TENSORBOARD.values(), *schema.SCHEDULER.values()]
)
def test_key_default_keeps_its_own_rule(key):
    """A default is a value that the config could have said."""
    assert key.default is REQUIRED or key.default is None or key.accepts(key.default)


# keys


TOP_KEYS = ", ".join(schema.TOP)
TRAINER_KEYS = ", ".join(settings.TRAINER)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            changed("optimiser", {"type": "SGD"}),
            "config error: optimiser is not a key of the framework\n"
            '  got       {"type": "SGD"}\n'
            f"  expected  one of: {TOP_KEYS}\n"
            "  closest   optimizer\n"
            '  fix       write "optimizer"',
        ),
        (
            changed("zzz", 1),
            "config error: zzz is not a key of the framework\n"
            "  got       1\n"
            f"  expected  one of: {TOP_KEYS}\n"
            '  fix       keys of your own belong in a "user" section',
        ),
        (
            changed("trainer.save_freq", 1),
            "config error: trainer.save_freq is not a key of the framework\n"
            "  got       1\n"
            f"  expected  one of: {TRAINER_KEYS}\n"
            "  closest   save_dir\n"
            '  fix       write "save_dir"',
        ),
        (
            changed("trainer.tensorboard", {"image": False}),
            "config error: trainer.tensorboard.image is not a key of the framework\n"
            "  got       false\n"
            "  expected  one of: scalars, learning_rate, speed, norms, images, worst, confusion, "
            "histograms, text, hparams, pr_curves, graph, embeddings, figures\n"
            "  closest   images\n"
            '  fix       write "images"',
        ),
        (
            changed("arch.arg", {"width": 1}),
            "config error: arch.arg is not a key of the framework\n"
            '  got       {"width": 1}\n'
            "  expected  one of: type, args, replace, lora, init, init_from, freeze, train, unfreeze_at, output\n"
            "  closest   args\n"
            '  fix       write "args"',
        ),
        (
            changed("lr_scheduler.intervall", "step"),
            "config error: lr_scheduler.intervall is not a key of the framework\n"
            '  got       "step"\n'
            "  expected  one of: type, args, interval, monitor\n"
            "  closest   interval\n"
            '  fix       write "interval"',
        ),
        (
            changed("metrics.1", {"type": "top_k", "arguments": {"k": 1}}),
            "config error: metrics.1.arguments is not a key of the framework\n"
            '  got       {"k": 1}\n'
            "  expected  one of: type, args, name\n"
            "  closest   args\n"
            '  fix       write "args"',
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else None,
)
def test_check_unknown_key_is_named_with_the_nearest(config, expected):
    """A key nobody reads is refused, wherever it stands."""
    assert message(config) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("name", "a text"),
        ("arch", "a section"),
        ("data_loader", "a section"),
        ("optimizer", "a section or a list"),
        ("loss", "a text or a section or a list"),
        ("metrics", "a list"),
        ("trainer", "a section"),
        ("trainer.epochs", "a whole number of at least 1"),
        ("arch.type", "a text"),
        ("lr_scheduler.type", "a text"),
    ],
)
def test_check_missing_key_is_named(path, expected):
    """What a run cannot do without is asked for."""
    assert message(changed(path)) == f"config error: {path} is missing\n  expected  {expected}"


def test_check_metric_without_a_type_is_named():
    """An entry of a list is checked like a section."""
    assert message(changed("metrics.0", {"args": {}})) == (
        "config error: metrics.0.type is missing\n  expected  a text"
    )  # fmt: skip


def test_check_empty_config_names_every_required_key():
    """A config of nothing gets the whole list of what it needs."""
    paths = [problem.path for problem in check(ConfigTree({}), ROOMS)]
    assert paths == ["name", "arch", "data_loader", "optimizer", "loss", "metrics", "trainer"]


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("name", 3, "a text"),
        ("n_gpu", -1, "a whole number of at least 0"),
        ("n_gpu", True, "a whole number of at least 0"),
        ("seed", 1.5, "a whole number from 0 to 9223372036854775807"),
        ("seed", "1", "a whole number from 0 to 9223372036854775807"),
        ("arch", "Net", "a section"),
        ("data_loader", ["Loader"], "a section"),
        ("loss", 3, "a text or a section or a list"),
        ("metrics", "mse", "a list"),
        ("trainer", 3, "a section"),
        ("user", 3, "a section"),
        ("trainer.epochs", 0, "a whole number of at least 1"),
        ("trainer.epochs", True, "a whole number of at least 1"),
        ("trainer.epochs", 2.0, "a whole number of at least 1"),
        ("trainer.save_period", "1", "a whole number of at least 1"),
        ("trainer.keep_last", 0, "a whole number of at least 1"),
        ("trainer.verbosity", 3, "one of: 0, 1, 2"),
        ("trainer.verbosity", True, "one of: 0, 1, 2"),
        ("trainer.monitor", True, "a text"),
        ("trainer.tensorboard", "yes", "true or false or a section"),
        ("trainer.tensorboard", 1, "true or false or a section"),
        ("trainer.tensorboard.graph", 1, "true or false"),
        ("optimizer.args", [0.1], "a section"),
        ("arch.type", 3, "a text"),
        ("lr_scheduler.interval", "batch", "one of: epoch, step"),
        ("metrics.1", 3, "a name, or a section with type and args"),
        ("metrics.0", ["mse"], "a name, or a section with type and args"),
    ],
)
def test_check_value_of_the_wrong_kind_is_refused(path, value, expected):
    """A value must be of the kind that its key takes; true is no number, 2.0 no whole number."""
    config = changed(path, value)
    told = json.dumps(value)
    lines = message(config).splitlines()
    assert lines[:3] == [f"config error: {path} has a value that does not fit", f"  got       {told}",
                         f"  expected  {expected}"]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("n_gpu", -1), ("seed", -1), ("seed", 2**63), ("seed", 1e999), ("name", ""), ("name", "a/b"), ("name", ".."),
        ("name", "a\0b"), ("name", "x" * 256), ("name", "é" * 128), ("name", "a\nb"),
        *[(f"trainer.{name}", value) for name, value in [
            ("early_stop", -1), ("early_stop", -3), ("early_stop", 1.5), ("early_stop", True),
            ("max_restarts", -1), ("num_processes", 0), ("num_processes", 10**6), ("save_every_minutes", -1),
            ("save_every_minutes", float("nan")), ("clip_grad_norm", 0), ("clip_grad_norm", -1.0),
            ("clip_grad_norm", float("inf")), ("clip_grad_value", 0.0), ("ema_decay", 1), ("ema_decay", 1.0),
            ("ema_decay", -0.1), ("nonfinite_limit", 0), ("sanity_valid_batches", -1), ("accumulate", 0),
            ("max_steps", 0), ("max_time", "12"), ("max_time", ""), ("save_dir", ""), ("compile", "fast"),
            ("compile", ""), ("compile", 1), ("watch", ["conv*", 3]), ("watch", [""]), ("watch", [None]),
            ("activation_checkpointing", [["layer*"]]), ("verbosity", -1), ("precision", "FP16"),
        ]],
        *[(f"data_loader.args.{name}", value) for name, value in [
            ("batch_size", -3), ("num_workers", True), ("prefetch_factor", 0), ("timeout", -1), ("seed", -1),
            ("split_seed", 2**63), ("drop_last", 1), ("validation_split", float("nan")),
        ]],
        ("data_loader.args.persistent_workers", True), ("data_loader.args.prefetch_factor", 2),
        ("lr_scheduler.monitor", ""), ("metrics.0", {"type": "mse", "name": ""}),
        ("arch.freeze", [1]), ("arch.freeze", [""]), ("arch.unfreeze_at", {"a": 2}),
        ("arch.init", ["zeros_"]), ("arch.init", {"type": "zeros_", "pattern": "*"}), ("arch.init", {"args": {}}),
        ("arch.init_from", ""), ("arch.init_from", {"file": "a.pth"}), ("arch.init_from", {"path": "a", "skip": [0]}),
        ("arch.init_from", {"path": "a", "by": "size"}), ("arch.init_from", {"path": "a", "rename": {"b.": 5}}),
        ("arch.replace", ["fc"]), ("arch.replace", {"fc": "Linear"}),
        ("arch.replace", {"fc": [3]}), ("arch.replace", {"fc": {"args": {}}}),
        ("arch.replace", {"fc": {"type": "torch.nn.Linear", "arg": {}}}),
        ("arch.replace", {"fc": {"type": "torch.nn.Liner"}}),
        ("arch.replace", {"fc": {"type": "torch.nn.init.zeros_"}}),
        ("arch.replace", {"fc": {"type": "torch.nn.Linear", "args": {"out_feature": 2}}}),
        ("arch.replace", {"fc": {"type": "torch.nn.Linear"}}),
        ("arch.train", "fc"), ("arch.train", [""]), ("arch.lora", ["fc"]), ("arch.lora", {}),
        ("arch.lora", {"rank": 4}),
        ("arch.lora", {"match": "fc"}), ("arch.lora", {"match": ["fc"], "rank": 0}),
        ("arch.lora", {"match": ["fc"], "alpha": 0}), ("arch.lora", {"match": ["fc"], "ranks": 4}),
        ("user.rates", [1.0, float("inf")]), ("arch.args.width", float("-inf")),
    ],
)  # fmt: skip
def test_check_value_that_no_run_can_have_is_refused(path, value):
    """Whatever would end in a traceback, or be passed over in silence, is told before anything is built."""
    assert message(changed(path, value)).startswith(f"config error: {path}")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed", 0), ("seed", 2**63 - 1), ("name", "x" * 255), ("name", "Net v1.2 (é)"),
        *[(f"trainer.{name}", value) for name, value in [
            ("early_stop", 0), ("ema_decay", 0), ("ema_decay", 0.9999), ("clip_grad_norm", 1e-9), ("clip_grad_norm", 1),
            ("save_every_minutes", 0), ("compile", True), ("compile", "max-autotune"), ("watch", []),
            ("num_processes", 1), ("sanity_valid_batches", 0), ("max_time", "1-00:00:00"),
        ]],
        ("arch.freeze", ["layer1"]), ("arch.init", [{"type": "zeros_", "match": "*.bias"}]),
        ("arch.init_from", {"path": "a.pth", "rename": {"a": "b"}, "skip": ["head*"]}),
        ("arch.train", ["fc", "*.bias"]), ("arch.lora", {"match": ["fc"], "rank": 1, "alpha": 0.5}),
        ("arch.replace", {"fc": {"type": "torch.nn.Linear", "args": {"out_features": 2}}}),
        ("arch.replace", {"a.1": [{"type": "torch.nn.LayerNorm"}, {"type": "torch.nn.Identity"}]}),
    ],
)  # fmt: skip
def test_check_value_at_the_edge_of_its_range_is_accepted(path, value):
    """The least and the most that a key may hold."""
    assert message(changed(path, value)) == ""


def test_compile_modes_are_those_of_pytorch():
    """None of the installed version is refused."""
    from torch._inductor import list_mode_options

    assert set(list_mode_options()) <= set(settings.COMPILE_MODES)


def test_check_metric_that_is_null_is_refused():
    """A null among the metrics is no metric, and no default either."""
    config = copy.deepcopy(CONFIG)
    config["metrics"] = ["mse", None]
    assert message(config) == (
        "config error: metrics.1 has a value that does not fit\n"
        "  got       null\n"
        "  expected  a name, or a section with type and args"
    )


@pytest.mark.parametrize(
    ("kinds", "value", "fits"),
    [
        ((float,), 1, True),
        ((float,), 1.5, True),
        ((float,), True, False),
        ((int,), 1.0, False),
        ((int,), False, False),
        ((bool,), 1, False),
        ((bool, dict), {}, True),
        ((str,), None, False),
    ],
)
def test_key_accepts_only_its_kinds(kinds, value, fits):
    """A whole number is a number; a bool is never one, nor a number a bool."""
    assert Key(kinds).accepts(value) is fits


# names


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            changed("arch.type", "Nett"),
            "config error: arch.type names nothing in room\n"
            '  got       "Nett"\n'
            "  closest   Net\n"
            "  fix       give a name in that module, or a dotted path such as torch.nn.MSELoss",
        ),
        (
            changed("loss", "mze"),
            "config error: loss names nothing in room\n"
            '  got       "mze"\n'
            "  closest   mse\n"
            "  fix       give a name in that module, or a dotted path such as torch.nn.MSELoss",
        ),
        (
            changed("metrics.1", "zzzzz"),
            "config error: metrics.1 names nothing in room\n"
            '  got       "zzzzz"\n'
            "  fix       give a name in that module, or a dotted path such as torch.nn.MSELoss",
        ),
        (
            changed("optimizer.type", "Addam"),
            "config error: optimizer.type names nothing in torch.optim\n"
            '  got       "Addam"\n'
            "  closest   Adam\n"
            "  fix       give a name in that module, or a dotted path such as torch.nn.MSELoss",
        ),
        (
            changed("loss", {"type": "torch.nn.MSELos"}),
            "config error: loss.type names nothing in torch.nn\n"
            '  got       "torch.nn.MSELos"\n'
            "  closest   MSELoss\n"
            "  fix       give a name in that module, or a dotted path such as torch.nn.MSELoss",
        ),
        (
            changed("arch.type", "no_such_package.Net"),
            "config error: arch.type names nothing in the installed packages\n"
            '  got       "no_such_package.Net"\n'
            "  fix       give a name in that module, or a dotted path such as torch.nn.MSELoss",
        ),
        (
            changed("arch.type", ".Net"),
            "config error: arch.type names nothing in the installed packages\n"
            '  got       ".Net"\n'
            "  fix       give a name in that module, or a dotted path such as torch.nn.MSELoss",
        ),
        (
            changed("loss", "constant"),
            'config error: loss names something that cannot be called\n  got       "constant"',
        ),
        (
            changed("arch.type", "torch.nn"),
            'config error: arch.type names something that cannot be called\n  got       "torch.nn"',
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else None,
)
def test_check_type_that_names_nothing_is_refused_with_the_nearest(config, expected):
    """A misspelt class is found before training, with what it may have meant."""
    assert message(config) == expected


def test_check_type_whose_module_cannot_be_imported_says_why(tmp_path, monkeypatch):
    """A module that lacks a package of its own is reported with that package."""
    (tmp_path / "broken_nets.py").write_text("import no_such_package_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert message(changed("arch.type", "broken_nets.Net")) == (
        "config error: arch.type cannot be imported: No module named 'no_such_package_at_all'\n"
        '  got       "broken_nets.Net"'
    )


# arguments


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            changed("arch.args.dept", 1),
            "config error: arch.args.dept is not an argument of room.Net\n"
            "  got       1\n"
            "  expected  one of: width, depth\n"
            "  closest   depth\n"
            '  fix       write "depth": 1 under arch.args',
        ),
        (
            changed("loss", {"type": "mse", "args": {"zzz": 1}}),
            "config error: loss.args.zzz is not an argument of room.mse\n"
            "  got       1\n"
            "  expected  no arguments",
        ),
        (
            changed("metrics.1", {"type": "top_k", "args": {"n": 5}}),
            "config error: metrics.1.args.n is not an argument of room.top_k\n"
            "  got       5\n"
            "  expected  one of: k",
        ),
        (
            changed("loss", {"type": "Focal", "args": {"alpha": 1, "gama": 2}}),
            "config error: loss.args.alpha is not an argument of room.Focal\n"
            "  got       1\n"
            "  expected  one of: gamma\n"
            "config error: loss.args.gama is not an argument of room.Focal\n"
            "  got       2\n"
            "  expected  one of: gamma\n"
            "  closest   gamma\n"
            '  fix       write "gamma": 2 under loss.args',
        ),
        (
            changed("arch.args.width"),
            "config error: arch.args.width is missing: room.Net needs it\n"
            '  fix       write "width": ... under arch.args',
        ),
        (
            changed("arch.args"),
            "config error: arch.args.width is missing: room.Net needs it\n"
            '  fix       write "width": ... under arch.args',
        ),
        (
            changed("lr_scheduler.args.step_size"),
            "config error: lr_scheduler.args.step_size is missing: torch.optim.lr_scheduler.StepLR needs it\n"
            '  fix       write "step_size": ... under lr_scheduler.args',
        ),
        (
            changed("loss", "needs"),
            "config error: loss.args.beta is missing: room.needs needs it\n"
            '  fix       write "beta": ... under loss.args',
        ),
        (
            changed("optimizer.args.params", [1]),
            "config error: optimizer.args.params is passed by the program, so it cannot be set here\n"
            "  got       [1]\n"
            "  fix       remove it",
        ),
        (
            changed("lr_scheduler.args.optimizer", "SGD"),
            "config error: lr_scheduler.args.optimizer is passed by the program, so it cannot be set here\n"
            '  got       "SGD"\n'
            "  fix       remove it",
        ),
        (
            changed("metrics.1", {"type": "top_k", "args": {"target": 1}}),
            "config error: metrics.1.args.target is passed by the program, so it cannot be set here\n"
            "  got       1\n"
            "  fix       remove it",
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else None,
)  # fmt: skip
def test_check_arguments_are_held_against_the_signature(config, expected):
    """Arguments that a class does not take, lacks, or gets from the program are all named."""
    assert message(config) == expected


def test_check_unknown_argument_of_an_optimizer_lists_those_it_takes():
    """The example of the house style, on the optimizer that is installed."""
    config = changed("optimizer", {"type": "Adam", "args": {"lrr": 0.01}})
    lines = message(config).splitlines()
    assert lines[0] == "config error: optimizer.args.lrr is not an argument of torch.optim.Adam"
    assert lines[1] == "  got       0.01"
    assert lines[2].startswith("  expected  one of: lr, betas, eps, weight_decay, amsgrad")
    assert lines[3:] == ["  closest   lr", '  fix       write "lr": 0.01 under optimizer.args']


# several at once, and where they were written


def test_check_two_faults_are_both_named_by_path_and_line():
    """All faults come in one message, sorted by path, each with the line it was written on."""
    text = json.dumps(changed("trainer.epochs", 0, arch__args={"width": 8, "heigth": 2}), indent=1)
    lines = text.splitlines()
    tree = parse_json(text, "config.json")
    with pytest.raises(ConfigError) as error:
        raise ConfigError(check(tree, ROOMS))
    assert str(error.value) == (
        "config error: arch.args.heigth is not an argument of room.Net\n"
        f"  from      config.json:{1 + next(i for i, line in enumerate(lines) if 'heigth' in line)}\n"
        "  got       2\n"
        "  expected  one of: width, depth\n"
        "config error: trainer.epochs has a value that does not fit\n"
        f"  from      config.json:{1 + next(i for i, line in enumerate(lines) if 'epochs' in line)}\n"
        "  got       0\n"
        "  expected  a whole number of at least 1"
    )


def test_check_value_from_the_command_line_is_said_to_be_from_there():
    """A fault in an item of a list that was set on the command line is not blamed on the file."""
    tree = parse_json(json.dumps(CONFIG), "config.json")
    tree.set(("metrics", "0"), "mze", "command line")
    assert str(ConfigError(check(tree, ROOMS))) == (
        "config error: metrics.0 names nothing in room\n"
        "  from      command line\n"
        '  got       "mze"\n'
        "  closest   mse\n"
        "  fix       give a name in that module, or a dotted path such as torch.nn.MSELoss"
    )


@pytest.mark.parametrize("form", [lambda each: each, lambda each: [each, each], lambda each: {"a": each, "b": each}])
def test_identity_of_run_leaves_out_how_loaders_load_and_keeps_their_form(form):
    """Of one loader, of a list and of several by name: the workers, not the samples."""
    loader = {"type": "Loader", "args": {"data_dir": "x", "num_workers": 2}}
    found = schema.identity_of_run({"valid_data_loader": form(loader)})
    assert found == {"valid_data_loader": form({"type": "Loader", "args": {"data_dir": "x"}})}
