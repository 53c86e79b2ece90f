"""`--help KEY` in this process; by its command it is tried in tests/test_help.py."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.config.help import file_for_help, help_on
from espalier.config.help_found import HelpError
from espalier.config.help_keys import OPEN, TABLES, find_key, places_of
from espalier.config.key import REQUIRED
from espalier.config.tree import ConfigTree
from parse_config import ROOMS

PATHS = [".".join((*section, name)) for section, keys in TABLES.items() for name in keys]
CONFIG = {
    "arch": {"type": "MnistModel", "args": {"dropout": 0.2}, "replace": {"fc": {"type": "torch.nn.Linear"}}},
    "optimizer": {"type": "Adam", "args": {"lr": 0.01}},
    "lr_scheduler": {"generator": {"type": "StepLR", "args": {"step_size": 3}}},
    "loss": "nll_loss",
    "metrics": ["accuracy", {"type": "top_k_acc", "args": {"k": 2}}],
    "data_loader": {"type": "DigitsDataLoader", "args": {"batch_size": 8}},
    "valid_data_loader": {"type": "base.BaseDataLoader", "args": {"dataset": {"type": "espalier.datasets.Table"}}},
    "trainer": {"epochs": 3},
    "user": {"images": {"size": 8}},
}


class Passing:
    """Passes things on."""

    def __init__(self, known: int = 1, **others):
        pass


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """The answer to words, with a config or without one."""

    def ask(*words, config=CONFIG, tokens=(), flags=None, width=78, rooms=ROOMS):
        path = None
        monkeypatch.chdir(tmp_path)
        if config is not None:
            path = "c.json"
            (tmp_path / path).write_text(config if isinstance(config, str) else in_lines(config))
        return help_on(words, path, tokens, flags or {}, rooms, width)

    return ask


def in_lines(config):
    """A config as text, each section on a line of its own; the first is line 2."""
    return "{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in config.items()) + "\n}"


def refusal(ask, *words, **options):
    """The message of a refused question."""
    with pytest.raises(HelpError) as error:
        ask(*words, **options)
    return str(error.value)


def test_help_on_a_key_tells_its_rule_its_default_and_what_the_config_says(asked):
    """Without a config the rule alone."""
    lines = [
        "trainer.epochs: passes over the training data",
        "  is              a whole number of at least 1; needed",
        "  here            3, c.json:9",
        '  example         "epochs": 24',
    ]
    assert asked("trainer.epochs") == lines
    assert asked("trainer.epochs", config=None) == [*lines[:2], lines[3]]
    assert '  is              one of: fp32, bf16, fp16; default "fp32"' in asked("trainer.precision")


@pytest.mark.parametrize("width", [40, 78, 118])
def test_help_on_every_key_is_told_and_fits(asked, width):
    """The first line is the key; no line is longer than the terminal, but for a word that is."""
    for path in PATHS:
        lines = asked(path, config=None, width=width, rooms={})
        assert lines[0].startswith(f"{path}: ") or lines[0] == f"{path}:"
        assert [line for line in lines if len(line) > width and len(line.split()) > 2] == []


def test_help_on_every_section_names_all_its_keys(asked):
    """Each stands at the beginning of a row."""
    for section, keys in TABLES.items():
        if section and section[-1] != "args" and section != ("optimizer",):
            lines = asked(".".join(section), config=None, rooms={})
            starts = {line.split()[0] for line in lines if re.match(r"  \w", line)}
            assert starts >= {*keys}, section


def test_help_on_a_section_tells_of_the_class_that_the_config_names(asked):
    """Its first paragraph, and each argument with its rule, its default and what the config sets."""
    lines = asked("optimizer")
    assert "torch.optim.Adam: Implements Adam algorithm." in lines
    at = lines.index("Its arguments, under optimizer.args:")
    assert lines[at + 1 : at + 4] == [
        "  lr              learning rate",
        "                  a number or a list of numbers; default 0.001",
        "                  here 0.01, c.json:3",
    ]
    assert not any(line.startswith("  params") for line in lines)  # the program passes them


def test_help_follows_overrides_and_flags(asked):
    """As the run would; and says where a value comes from."""
    lines = asked("optimizer", tokens=["optimizer.type=SGD"])
    assert any(line.startswith("torch.optim.SGD: ") for line in lines)
    assert asked("optimizer.args.lr", tokens=["optimizer.args.lr=0.5"])[-1].strip() == "here 0.5, command line"
    assert asked("optimizer.args.lr", flags={"optimizer;args;lr": 0.5})[-1].strip() == "here 0.5, command line"


@pytest.mark.parametrize(
    ("key", "head"),
    [
        ("metrics.1.args.k", "metrics.1.args.k, an argument of model.metric.top_k_acc"),
        ("lr_scheduler.generator.args.step_size", "lr_scheduler.generator.args.step_size, an argument of"),
        ("data_loader.args.batch_size", "data_loader.args.batch_size, an argument of"),
        ("data_loader.args.dataset", "data_loader.args.dataset, an argument of base.BaseDataLoader: map-style or"),
        ("valid_data_loader.args.dataset.args.target", "valid_data_loader.args.dataset.args.target, an argument of"),
        ("arch.replace.fc.args.bias", "arch.replace.fc.args.bias, an argument of torch.nn.Linear: If set to `False`,"),
        ("step_size", "lr_scheduler.generator.args.step_size, an argument of"),
        ("optimizer.SGD", "torch.optim.SGD: Implements stochastic gradient descent (optionally with"),
        ("metrics.accuracy", "model.metric.accuracy: The share of samples whose highest score is at the"),
        ("precision", "trainer.precision: in which numbers the model computes; fp16 needs a GPU"),
    ],
)
def test_help_on_an_argument_tells_whose_it_is(asked, key, head):
    """Wherever it stands; and a name alone is enough, where it is that of one key."""
    assert asked(key)[0] == head


def test_help_on_an_argument_that_only_a_base_takes_says_so(asked):
    """A loader of a project's own need not pass on all that `BaseDataLoader` takes."""
    lines = " ".join(" ".join(asked("data_loader.args.dataset")).split())
    assert "not taken by data_loader.data_loaders.DigitsDataLoader, which the config names" in lines
    assert "such as espalier.datasets.Arrays, " in lines


def test_help_on_a_block_tells_what_it_is_for_and_of_its_class(asked):
    """The argument, and what stands there."""
    lines = asked("valid_data_loader.args.dataset")
    assert any(line.startswith("valid_data_loader.args.dataset, an argument of base.BaseDataLoader") for line in lines)
    assert any(line.startswith("espalier.datasets.Table: ") for line in lines)


def test_help_on_several_tells_each_in_short(asked):
    """With the key that tells more of it."""
    lines = asked("metrics")
    assert any(line.startswith("  metrics.0       model.metric.accuracy: ") for line in lines)
    assert "                  more: --help metrics.1" in lines
    assert any(line.strip().startswith("torch.optim.lr_scheduler.StepLR") or "StepLR" in line
               for line in asked("lr_scheduler"))  # fmt: skip


def test_help_on_a_type_gives_the_names_of_the_room(asked):
    """Those that a config may write without a dotted path."""
    assert " AdamW, " in " ".join(asked("optimizer.type"))
    assert "nll_loss" in " ".join(asked("loss.type"))
    assert " wandb" in " ".join(asked("writers.type"))
    assert "Trainer" in " ".join(asked("trainer.type"))


@pytest.mark.parametrize(
    "words", [("Adam",), ("torch.optim.Adam",), ("optimizer", "Adam"), ("optimizer", "torch.optim.Adam")]
)
def test_help_on_a_class_by_name_is_the_same_whoever_asks(asked, words):
    """By its name, its path, or as one that could stand in a section; without any config."""
    lines = asked(*words, config=None)
    assert lines[:3] == ["torch.optim.Adam: Implements Adam algorithm.", "", "Its arguments, under optimizer.args:"]


@pytest.mark.parametrize("name", ["Table", "CrossEntropyLoss", "accuracy", "MnistModel", "torchvision.models.resnet18"])
def test_help_finds_classes_beside_the_rooms(asked, name):
    """Of PyTorch's modules and ours, without their module."""
    assert asked(name)[0].split(":")[0].endswith(name)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("trainer.precison",), "help error: trainer has no key precison\n  closest   trainer.precision"),
        (("optimzer",), "help error: nothing is called optimzer\n  closest   optimizer"),
        (("MnistModl",), "help error: nothing is called MnistModl\n  closest   MnistModel"),
        (("0",), f"help error: nothing is called 0\n  expected  one of: {', '.join(TABLES[()])}"),
        (("seed.x",), "help error: seed has no key x\n  expected  no keys"),
        (("arch", "MnistModl"), "help error: MnistModl is not in model.model\n  closest   MnistModel"),
        (("torch.nn.Liner",), "help error: torch.nn.Liner is not in torch.nn\n  closest   Linear"),
        (("torch.nn",), "help error: torch.nn is no class or function"),
        (("optimizer.args.learning_rate",), "help error: learning_rate is not an argument of torch.optim.Adam\n"
         "  expected  one of: lr, betas, eps, weight_decay, amsgrad, foreach, maximize, capturable, differentiable, "
         "fused, decoupled_weight_decay\n  closest   lr"),
        (("test_data_loader.args.sample",), "help error: test_data_loader.args.sample is an argument of the class that "
         "test_data_loader.type names\n  fix       name a config that has it with -c, or a class: "
         "--help test_data_loader CLASS"),
    ],
)  # fmt: skip
def test_help_refuses_what_is_not_there(asked, words, message):
    """With the nearest name; the whole message."""
    assert refusal(asked, *words) == message


def test_help_on_a_name_tells_where_it_could_not_be_searched(asked):
    """A project's module that cannot be imported may have it."""
    message = refusal(asked, "NoSuchModel", rooms={"arch": "no_such_module"})
    assert message.splitlines()[:2] == [
        "help error: nothing is called NoSuchModel",
        "  but       no_such_module cannot be looked at: ModuleNotFoundError: No module named 'no_such_module'",
    ]


def test_help_on_one_of_several_asks_of_which(asked):
    """In a list each has its own arguments; a name alone is that of all of them."""
    config = {"optimizer": [{"type": "Muon", "args": {"lr": 0.1}}, {"type": "AdamW", "args": {"lr": 0.2}}]}
    assert refusal(asked, "optimizer.args.lr", config=config) == (
        "help error: optimizer.args.lr is an argument of the class that optimizer.type names\n"
        "  fix       say of which: optimizer.0, optimizer.1"
    )
    several = ["Several keys are called so:", "  --help optimizer.0.args.lr", "  --help optimizer.1.args.lr"]
    assert asked("lr", config=config) == several
    assert asked("optimizer.1.args.lr", config=config)[-1].strip() == "here 0.2, c.json:2"


def test_help_with_a_broken_config_tells_of_the_key_alone(asked):
    """And of what is wrong, at the end."""
    assert asked("trainer.epochs", config="{") == [
        "trainer.epochs: passes over the training data",
        "  is              a whole number of at least 1; needed",
        '  example         "epochs": 24',
        "",
        "Not all of the config is told of: c.json:1:2 is not valid JSON: expected a key",
        "in double quotes.",
    ]


def test_help_of_a_class_that_cannot_be_imported_tells_of_the_key_and_why(asked):
    """A project's own module may fail; its keys are those of the framework all the same."""
    config = {"optimizer": {"type": "no_such_package.Adam"}, "arch": {"type": "MnistModl"}}
    assert asked("optimizer", config=config)[-1] == "no_such_package.Adam is not in the installed packages."
    assert asked("arch", config=config)[-1] == "MnistModl is not in model.model; closest: MnistModel."
    rooms = {"arch": "no_such_module"}
    last = "no_such_module cannot be looked at: ModuleNotFoundError: No module named 'no_such_module'."
    assert " ".join(asked("arch", config=config, rooms=rooms)[-2:]) == last


def test_help_on_several_tells_of_those_that_name_nothing_too(asked):
    """One wrong entry of a list hides none of the others."""
    lines = asked("metrics", config={"metrics": ["accuracy", 5, "acuracy"]})
    rows = [" ".join(line.split()) for line in lines if line.startswith("  metrics.")]
    assert rows[0].startswith("metrics.0 model.metric.accuracy: ")
    assert rows[1] == "metrics.1 metrics.1 names nothing."
    assert rows[2] == "metrics.2 acuracy is not in model.metric; closest: accuracy."


def test_help_of_a_class_that_passes_arguments_on_says_so(asked):
    """An argument that it does not name may be right."""
    config = {"arch": {"type": f"{__name__}.Passing", "args": {"other": 1}}}
    assert asked("arch", config=config)[-1] == "  ...             and others, which it passes on"
    assert "other is passed on by" in asked("arch.args.other", config=config)[0]


def test_help_on_a_section_that_the_framework_does_not_know_refuses_it(asked):
    """Though the config has it, with a key inside it that is called alike."""
    config = {"backbone": {"size": {"backbone": 1}}, "other": 2}
    for name in config:
        assert refusal(asked, name, config=config).startswith(f"help error: nothing is called {name}\n")


def test_help_on_keys_of_the_user_tells_the_value(asked):
    """The framework knows no more of them."""
    assert asked("user.images.size")[:3] == [
        "user.images.size",
        "  is              part of user",
        "  here            8, c.json:10",
    ]


PARTS = ["trainer", "optimizer", "args", "type", "0", "metrics", "swa", ""]


@given(st.one_of(st.text(max_size=20), st.lists(st.sampled_from(PARTS), max_size=5).map(".".join)))
def test_help_on_any_word_is_an_answer_or_a_refusal(word):
    """Nothing else, whatever is typed."""
    try:
        lines = help_on([word], None, (), {}, {}, 78)
    except HelpError as error:
        assert str(error).startswith("help error: ")
    else:
        assert lines


def test_file_for_help_is_that_of_the_command_line_or_of_the_folder(tmp_path, monkeypatch):
    """-c before the run of -r, and that before ./config.json."""
    monkeypatch.chdir(tmp_path)
    assert file_for_help(None, None) is None
    (tmp_path / "config.json").touch()
    (tmp_path / "run").mkdir()
    assert file_for_help(None, None) == "config.json"
    assert file_for_help("a.json", "run") == file_for_help(["a.json", "b.json"], ["run"]) == "a.json"
    assert file_for_help(None, "run") == file_for_help([], ["run/model_best.pth"]) == "run/config.json"


def test_tables_of_help_have_a_rule_for_each_key_of_the_framework():
    """Every section that the framework knows leads to its keys, and every key is found again by its name."""
    for section, keys in TABLES.items():
        for name, key in keys.items():
            found = find_key((*section, name), ConfigTree({}))
            assert (found.is_whole, found.key) == (True, key)
            assert (*section, name) in places_of(name)
            assert key.default is REQUIRED or key.default is None or key.accepts(key.default)
    named = [section for section in OPEN if section[-1] != "args"]
    assert [section for section in named if not find_key(section, ConfigTree({})).is_whole] == []
