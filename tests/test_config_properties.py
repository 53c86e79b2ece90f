"""Laws of the config, for made-up and damaged files: a config or a ConfigError, and what passes the check is built."""

import argparse
import contextlib
import copy
import json
import re
import signal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import train
from espalier.config.key import REQUIRED
from espalier.config.overrides import parse_value
from espalier.config.schema import TOP
from espalier.config.settings import TRAINER
from espalier.config.tree import dotted
from espalier.config.view import leaves
from espalier.errors import ConfigError, DataError
from parse_config import ConfigParser
from tests.cases import cases
from tests.seams import check_names
from trainer import Trainer

# Few cases by default, many in the slow suite.
CASES = pytest.mark.parametrize("cases", [10, pytest.param(2000, marks=pytest.mark.slow)])
# Few leaves are strings, few damaged configs are built: what the laws do not speak of is filtered out.
HEALTH = [HealthCheck.too_slow, HealthCheck.filter_too_much]
TIMEOUT_S = 20

# Files

BASE = {
    "name": "Base",
    "n_gpu": 0,
    "seed": 5,
    "arch": {"type": "MnistModel", "args": {"num_classes": 10, "dropout": 0.5}},
    "data_loader": {
        "type": "DigitsDataLoader",
        "args": {"data_dir": "${user.data}", "batch_size": 64, "shuffle": True, "validation_split": 0.1},
    },
    "optimizer": {"type": "Adam", "args": {"lr": 0.01, "amsgrad": True}},
    "loss": "nll_loss",
    "metrics": ["accuracy"],
    "trainer": {"epochs": 3, "save_dir": "saved/", "monitor": "min val_loss", "keep_last": 2, "log_step": 5},
    "user": {"data": "data/digits", "rate": 0.05, "width": 10},
}
RICH = {
    "$schema": "config.schema.json",
    "extends": ["base.json"],
    "name": "Rich-${user.width}",
    "seed": None,
    "arch": {"args": {"num_classes": "${user.width}"}},
    "data_loader": {"args": {"num_workers": 0}},
    "valid_data_loader": {
        "type": "DigitsDataLoader",
        "args": {"data_dir": "${user.data}", "batch_size": 100, "training": False},
    },
    "test_data_loader": {
        "type": "data_loader.data_loaders.DigitsDataLoader",
        "args": {"data_dir": "${user.data}", "batch_size": 100, "training": False},
    },
    "optimizer": {
        "type": "SGD",
        "args": {"lr": "${user.rate}", "momentum": 0.9, "nesterov": True},
        "param_groups": [{"match": "conv*", "lr": 0.001}, {"match": "fc2.bias", "weight_decay": 0.0}],
    },
    "loss": [
        {"type": "nll_loss", "weight": 0.7, "name": "hard"},
        {"type": "torch.nn.NLLLoss", "args": {"reduction": "mean"}, "weight": 0.3, "name": "soft"},
    ],
    "metrics": ["accuracy", {"type": "top_k_acc", "args": {"k": 2}, "name": "top_2"}],
    "lr_scheduler": {
        "type": "ReduceLROnPlateau",
        "args": {"mode": "min", "factor": 0.5, "patience": 2},
        "monitor": "val_hard",
        "interval": "epoch",
    },
    "trainer": {
        "early_stop": 4,
        "save_period": 2,
        "verbosity": 1,
        "tensorboard": {"scalars": True, "graph": False, "histograms": False},
    },
    "user": {
        "note": "costs $${money}",
        "net": {"type": "torch.nn.Sequential", "args": {}, "partial": True},
        "any": [1, [2.5, None], {"deep": {"er": "${trainer.epochs}"}}],
    },
}
NESTED = {
    "extends": "base.json",
    "arch": {"type": "model.model.MnistModel", "args": {"dropout": 0.1, "num_classes": 10}},
    "optimizer": {"type": "torch.optim.AdamW", "args": {"lr": 0.001, "betas": [0.9, 0.99], "fused": None}},
    "lr_scheduler": {
        "type": "SequentialLR",
        "args": {
            "schedulers": [
                {"type": "LinearLR", "args": {"total_iters": 2}, "partial": True},
                {"type": "StepLR", "args": {"step_size": 3, "gamma": 0.1}, "partial": True},
            ],
            "milestones": [2],
        },
    },
}
# Each: the files of a config by name, the one to read, and the one to damage.
SOURCES = {
    "config": ("config.json", "config.json"),
    "mnist": ("configs/mnist.json", "configs/mnist.json"),
    "mnist's base": ("configs/mnist.json", "config.json"),
    "rich": ("rich.json", "rich.json"),
    "rich's base": ("rich.json", "base.json"),
    "nested": ("nested.json", "nested.json"),
}
BUILDABLE = [name for name in SOURCES if name != "nested"]  # a factory is no scheduler: that one is only read


def text_of(value, twice=None, depth=1):
    """`value` as JSON, one value a line, with comments and trailing commas; the key at path `twice` stands twice."""
    pad, end = "  " * depth, "  " * (depth - 1)
    if isinstance(value, dict) and value:
        rows = []
        for key, item in value.items():
            inner = twice[1:] if twice and twice[0] == key else None
            row = f"{pad}{json.dumps(key)}: {text_of(item, inner, depth + 1)},  // of {len(value)}\n"
            rows += [row, row] if inner == () else [row]
        return "{\n" + "".join(rows) + end + "}"
    if isinstance(value, list) and value:
        inner = [twice[1:] if twice and twice[0] == index else None for index in range(len(value))]
        rows = [f"{pad}{text_of(item, under, depth + 1)},\n" for item, under in zip(value, inner, strict=True)]
        return "[\n" + "".join(rows) + end + "]"
    return json.dumps(value)


def canonical(value):
    """A text that is the same for the same values: 1, 1.0 and true differ, the order of keys does not count."""
    return json.dumps(value, sort_keys=True)


def at(values, path):
    """The value at a key path."""
    for key in path:
        values = values[key]
    return values


def paths_of(value, path=()):
    """The key path of every value, sections and lists too."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in items for found in ((*path, key), *paths_of(item, (*path, key)))]


@contextlib.contextmanager
def no_hang():
    """Break off what takes too long."""

    def stop(*_):
        raise TimeoutError(f"still at it after {TIMEOUT_S} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(TIMEOUT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Desk:
    """A folder with the shipped configs and those above, which is also the working directory."""

    def __init__(self, folder, root):
        self.folder = folder
        (folder / "configs").mkdir()
        (folder / "data").symlink_to(root / "data")
        self.values = {name: json.loads((root / name).read_text()) for name in ("config.json", "configs/mnist.json")}
        self.values.update({"base.json": BASE, "rich.json": RICH, "nested.json": NESTED})
        self.write({})
        self.known = self.listing()

    def write(self, texts):
        """Put the files as they were, but for those in `texts`."""
        for name, values in self.values.items():
            (self.folder / name).write_text(texts.get(name, text_of(values)), encoding="utf-8")

    def listing(self):
        """All files and folders."""
        return sorted(str(path) for path in self.folder.rglob("*"))

    def read(self, name, **given):
        """The checked config, or None where there was a ConfigError, which must have something to say."""
        try:
            with no_hang():
                config = ConfigParser.from_file(name, **given)
                config.check(extra_log_names=())
        except ConfigError as error:
            assert error.problems
            assert all(line.startswith(("config error: ", "  ")) for line in str(error).split("\n"))
            config = None
        assert self.listing() == self.known, "something was written"
        return config


@pytest.fixture
def desk(tmp_path, root, monkeypatch):
    """A `Desk`, gone into."""
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path, root)


# Strategies

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**40), 10**40)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["Adam", "nll_loss", "torch.", ".nn", "..", "torch..nn", "torch.nn", "torch.nn.MSELoss", "json.decoder.x",
         "a\0.b", "\ud800.x", "x" * 300, "x" * 300 + ".y", "\0", "min loss", "min", "max  ", "${", "${}", "${name}",
         "${env:}", "${env:A\0B}", "${env:A=B}", "$${", "${user}", "~", "/", "/proc/x", "null"]
    )
)  # fmt: skip
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8) | st.sampled_from(["type", "args", "name"]), inner, max_size=4)
        | st.fixed_dictionaries({"type": SCALARS}, optional={"args": inner, "partial": inner, "name": inner})
    ),
    max_leaves=12,
)
KNOWN_KEYS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys([*TOP, "extends", "$schema"], JSON),
        "trainer": JSON | st.fixed_dictionaries({}, optional=dict.fromkeys(TRAINER, JSON)),
    },
)


@st.composite
def changes(draw, values):
    """Values with one fault, and the path of a key that is to stand twice, or None."""
    values = copy.deepcopy(values)
    path = draw(st.sampled_from(paths_of(values)))
    node, last = at(values, path[:-1]), path[-1]
    value = node[last]
    kinds = ["drop", "retype", "list", "section", "block", "empty", "null", "swap", "add"]
    kinds += ["rename", "twice"] if isinstance(node, dict) else []
    kinds += ["number"] * 3 if isinstance(value, (int, float)) else []
    match draw(st.sampled_from(kinds)):
        case "drop":
            del node[last]
        case "rename":
            new = draw(st.sampled_from([last + "s", last[:-1], last[1:] + last[:1], last.upper(), "", f"a.{last}"]))
            values = _with_key(values, path, new)
        case "twice":
            return values, path
        case "retype":
            kinds = ["text", str(value), 3, 0.5, -1.5, True, False, None, [], {}, [1, 2], {"a": 1}, {"type": "Adam"}]
            node[last] = draw(st.sampled_from(kinds))
        case "list":
            node[last] = [value]
        case "section":
            node[last] = {draw(st.sampled_from([str(last), "args", "x"])): value}
        case "block":
            node[last] = {"type": value, "args": {}}
        case "empty":
            node[last] = draw(st.sampled_from(["", [], {}]))
        case "null":
            node[last] = None
        case "number":
            huge = [10**15, 10**30, -(10**30), 1e30, float("inf"), float("nan")]
            node[last] = draw(st.sampled_from([-value, -1, 0, 0.0, 1, -1e-3, *huge]))
        case "swap":
            other = draw(st.sampled_from([p for p in paths_of(values) if p[: len(path)] != path[: len(p)]] or [path]))
            if other[: len(path)] != path and path[: len(other)] != other:
                node[last], at(values, other[:-1])[other[-1]] = at(values, other), value
        case "add":
            if isinstance(value, list):
                value.append(draw(SCALARS))
            else:
                section = value if isinstance(value, dict) else values
                section[draw(st.sampled_from(["lr", "type", "args", "extra", "momentum", "name"]))] = draw(SCALARS)
    return values, None


def _with_key(values, path, new):
    """`values` with the last key of `path` called `new`, in the same place."""
    key, *rest = path
    if isinstance(values, list):
        return [_with_key(item, rest, new) if index == key else item for index, item in enumerate(values)]
    return {(new if k == key and not rest else k): _with_key(v, rest, new) if k == key and rest else v
            for k, v in values.items()}  # fmt: skip


# (1) Anything at all


@CASES
def test_from_file_arbitrary_json_gives_config_or_config_error(cases, desk):
    """Any JSON value as the text of a file is a config or a ConfigError, and nothing is written."""

    @settings(max_examples=cases, deadline=None)
    @given(JSON)
    def law(value):
        desk.write({"config.json": json.dumps(value)})
        desk.read("config.json")

    law()


@CASES
def test_from_file_known_keys_with_arbitrary_values_gives_config_or_config_error(cases, desk):
    """Any values under the keys that the framework knows are a config or a ConfigError."""

    @settings(max_examples=cases, deadline=None, suppress_health_check=HEALTH)
    @given(KNOWN_KEYS)
    def law(values):
        desk.write({"config.json": json.dumps(values)})
        desk.read("config.json")

    law()


@CASES
def test_from_file_one_arbitrary_value_gives_config_or_config_error(cases, desk):
    """Any value in the place of one value of a good config is a config or a ConfigError."""
    values = {**desk.values["config.json"], "user": {"a": [1]}}

    @settings(max_examples=cases, deadline=None)
    @given(st.sampled_from(paths_of(values)), JSON)
    def law(path, value):
        damaged = copy.deepcopy(values)
        at(damaged, path[:-1])[path[-1]] = value
        desk.write({"config.json": text_of(damaged)})
        desk.read("config.json")

    law()


@CASES
def test_from_file_arbitrary_text_gives_config_or_config_error(cases, desk):
    """Any text, any piece of a config, and any bytes are a config or a ConfigError."""
    whole = text_of(RICH)
    pieces = st.lists(st.sampled_from(["{", "}", "[", "]", ",", ":", '"', '"a"', "//", "/*", "*/", "\n", "1e9", "-",
                                       "NaN", "nul", "\\u12", "\\", "\t", "\0", "9" * 5000]), max_size=12)  # fmt: skip
    cut = st.tuples(st.integers(0, len(whole)), st.integers(0, 3), pieces | st.text(max_size=3)).map(
        lambda c: whole[: c[0]] + "".join(c[2]) + whole[c[0] + c[1] :]
    )
    texts = st.text() | pieces.map("".join) | pieces.map(lambda p: '{"a":' + "".join(p)) | cut

    @settings(max_examples=cases, deadline=None)
    @given(texts.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=30))
    def law(content):
        (desk.folder / "config.json").write_bytes(content)
        desk.read("config.json")

    law()


@pytest.mark.parametrize("depth", [100, 300, 500, 100_000])
@pytest.mark.parametrize("place", ["user", "metrics"])
def test_from_file_deep_nesting_gives_config_or_config_error(depth, place, desk):
    """Brackets however deep are a config or a ConfigError."""
    values = {**desk.values["config.json"], place: "PLACE"}
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        desk.write(
            {"config.json": json.dumps(values).replace('"PLACE"', f'{{"a": {opening * depth}1{closing * depth}}}')}
        )
        config = desk.read("config.json")
        if depth in (100, 100_000):  # between them it is for Python's stack to say
            assert (config is not None) == (depth == 100 and place == "user")


# Values that a system call, an encoding or a table of names may choke on.
ODD = [
    ("extends", "x" * 300),
    ("extends", "a\0b"),
    ("extends", "\ud800"),
    ("extends", ""),
    ("extends", ["."]),
    ("name", "${env:\ud800}"),
    ("name", "${env:A\0B}"),
    ("name", "${}"),
    ("trainer.save_dir", "x" * 300),
    ("trainer.save_dir", "\0"),
    ("trainer.save_dir", "\ud800"),
    ("trainer.monitor", ["min", "val_loss"]),
    ("lr_scheduler", {"type": "ReduceLROnPlateau", "monitor": ["val_loss"]}),
    ("lr_scheduler", {"type": "ReduceLROnPlateau", "monitor": {"x": "val_loss"}}),
    ("arch.type", "x" * 300 + ".y"),
    ("arch.type", "a\0.b"),
    ("arch.type", "\ud800.b"),
    ("arch.type", "torch..nn"),
    ("arch.args", {"drop\nout": 0.1}),
    ("a\nb", 1),
]


@pytest.mark.parametrize(("path", "value"), ODD)
def test_from_file_odd_value_gives_config_error(path, value, desk):
    """A text too long for a file name, or that none may hold, is a ConfigError of the usual shape."""
    values = copy.deepcopy(desk.values["config.json"])
    *sections, last = path.split(".")
    at(values, sections)[last] = value
    desk.write({"config.json": json.dumps(values)})
    assert desk.read("config.json") is None


# (2) One fault


@CASES
@pytest.mark.parametrize("source", SOURCES)
def test_from_file_single_change_gives_config_or_config_error(source, cases, desk):
    """Any one change to a shipped config, at any level, is a config or a ConfigError; and the whole one is a config."""
    entry, damaged = SOURCES[source]
    if source != "nested":
        assert desk.read(entry) is not None

    @settings(max_examples=cases, deadline=None)
    @given(changes(desk.values[damaged]))
    def law(change):
        desk.write({damaged: text_of(*change)})
        config = desk.read(entry)
        assert config is None or change[1] is None, "a key that stands twice was let through"

    law()


# (3) What passes the check is built

# What only the data, the built model or the library's own ranges can tell: the kind of error, and its text.
UNKNOWABLE = [
    (DataError, r"^data error: .* is not there"),
    (ConfigError, r"^config error: data_loader\.args\.validation_split leaves \d+ samples to train on"),
    (ConfigError, r"^config error: optimizer\.param_groups\.\d+\.match matches "),
    (ValueError, r"^Invalid (learning rate|lr|momentum|weight_decay|beta|epsilon)"),
    (ValueError, r"^dropout probability has to be between 0 and 1"),
    (ValueError, r"^Nesterov momentum requires a momentum"),
    (ValueError, r"^Factor should be < 1\.0"),
    (RuntimeError, r"^Trying to create tensor with negative dimension"),
    (RuntimeError, r"^Storage size calculation overflowed"),
    (RuntimeError, r"can't allocate memory|not enough memory"),
]


def build(config, monkeypatch):
    """All that train.py does but the training itself; gives the error that only building could tell, or None."""
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train", check_names)
        try:
            with no_hang():
                train.main(config)
        except Exception as error:
            if not any(isinstance(error, kind) and re.search(text, str(error)) for kind, text in UNKNOWABLE):
                raise
            return error
    return None


@CASES
@pytest.mark.parametrize("source", cases(BUILDABLE, *list(BUILDABLE)[:2]))
def test_check_passed_single_change_is_built(source, cases, desk, monkeypatch):
    """A changed config that passes the check is built, trainer and all, unless only building it could tell."""
    entry, damaged = SOURCES[source]
    digits = {"type": "DigitsDataLoader", "args": {"data_dir": "data/digits", "batch_size": 32, "shuffle": True}}
    desk.values["configs/mnist.json"]["data_loader"] = digits  # not to download MNIST
    desk.write({})
    assert build(desk.read(entry), monkeypatch) is None

    @settings(max_examples=cases, deadline=None, suppress_health_check=HEALTH)
    @given(changes(desk.values[damaged]))
    def law(change):
        desk.write({damaged: text_of(*change)})
        config = desk.read(entry)
        if config is not None:
            build(config, monkeypatch)
            assert desk.listing() == desk.known, "something was written"

    law()


OPTIONAL = [name for name, key in TOP.items() if key.default is not REQUIRED]
OPTIONAL += [f"trainer.{name}" for name, key in TRAINER.items() if key.default is not REQUIRED]
OPTIONAL += ["arch.args", "lr_scheduler.monitor", "lr_scheduler.interval", "optimizer.param_groups"]
OPTIONAL += ["loss.0.weight", "loss.0.name", "metrics.1.args", "metrics.1.name", "trainer.tensorboard.graph"]


@pytest.mark.parametrize("path", cases(OPTIONAL, *OPTIONAL[::4]))
def test_check_passed_null_is_built(path, desk, monkeypatch):
    """Null in the place of an optional value is built as if it were not there, or is refused by the check."""
    values = copy.deepcopy(ConfigParser.from_file("rich.json").snapshot)
    *sections, last = [int(key) if key.isdecimal() else key for key in path.split(".")]
    at(values, sections)[last] = None
    desk.write({"config.json": text_of(values)})
    config = desk.read("config.json")
    assert config is None or build(config, monkeypatch) is None


@pytest.mark.parametrize("seed", [-1, 0, 2**32, 2**63, 2**64 - 1, 2**64, 10**30])
def test_check_passed_seed_is_built(seed, desk, monkeypatch):
    """A seed that passes the check is one that PyTorch takes."""
    desk.write({"config.json": text_of({**desk.values["config.json"], "seed": seed, "n_gpu": 0})})
    config = desk.read("config.json")
    assert config is None or build(config, monkeypatch) is None


# (4) Round trips


def resolved(desk, entry):
    """The values of a config with nothing left to look up, and those of its file where a reference may stand."""
    return ConfigParser.from_file(desk.folder / entry).config


ENTRIES = ["config.json", "configs/mnist.json", "rich.json", "nested.json"]


def split(values, is_mine, path=()):
    """The part of `values` whose leaves `is_mine` picks; lists stay whole."""
    found = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            if inner := split(value, is_mine, (*path, key)):
                found[key] = inner
        elif is_mine((*path, key)):
            found[key] = value
    return found


@CASES
@pytest.mark.parametrize("entry", ENTRIES)
def test_load_config_split_in_two_files_gives_the_same_values(entry, cases, desk):
    """A config divided between a file and one that extends it is the same, and says which file said what.

    A `type` goes with the rest of its section, since a changed one drops arguments that were meant for another.
    """
    values = resolved(desk, entry)
    snapshot = ConfigParser.from_file(entry).snapshot
    places = [path for path in paths_of(values) if not isinstance(path[-1], int)]
    sections = [path for path in places if isinstance(at(values, path), dict) and at(values, path)]
    choices = [path for path in places if path not in sections and not any(isinstance(key, int) for key in path)]

    def section_of(path):
        return {other for other in choices if other[: len(path) - 1] == path[:-1]}

    @settings(max_examples=cases, deadline=None)
    @given(st.sets(st.sampled_from(choices)), st.booleans(), st.data())
    def law(mine, is_list, data):
        mine = {path for path in mine if path[-1] != "type" or section_of(path) <= mine}
        hideable = {path for path in mine if at(snapshot, path) not in (None, {})}  # null removes
        hidden = split(snapshot, lambda path: path in hideable and data.draw(st.booleans()))
        own = split(snapshot, lambda path: path in mine)
        base = split(snapshot, lambda path: path not in mine)
        _lay(base, json.loads(re.sub(r": (\d)", r": 9\1", json.dumps(hidden))))  # what the own file then replaces
        texts = {"base.json": text_of(base),
                 "config.json": text_of({**own, "extends": ["base.json"] if is_list else "base.json"})}  # fmt: skip
        desk.write(texts)
        config = ConfigParser.from_file("config.json")
        assert canonical(config.config) == canonical(values)
        for path in choices:
            file, line = config.origin(dotted(path)).rsplit(":", 1)
            assert file == ("config.json" if path in mine else "base.json")
            assert json.dumps(path[-1]) in texts[file].split("\n")[int(line) - 1]

    law()


def test_load_config_type_where_the_base_has_none_keeps_the_arguments(desk):
    """Arguments in a base that leaves the type open stay when the extending file names one: no type was changed."""
    base = {**desk.values["config.json"], "optimizer": {"args": {"lr": 0.5}}}
    desk.write({"base.json": text_of(base), "config.json": '{"extends": "base.json", "optimizer": {"type": "SGD"}}'})
    assert ConfigParser.from_file("config.json")["optimizer"] == {"type": "SGD", "args": {"lr": 0.5}}


def _lay(under, over):
    """`over` over `under`, in place."""
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(under.get(key), dict):
            _lay(under[key], value)
        else:
            under[key] = value


@CASES
@pytest.mark.parametrize("entry", ENTRIES)
def test_from_args_leaf_moved_to_command_line_gives_the_same_values(entry, cases, desk):
    """A value taken out of the file, or another in its place, and given as a token is the same, from "command line"."""
    values = resolved(desk, entry)
    snapshot = ConfigParser.from_file(entry).snapshot
    choices = [path for path in paths_of(values) if path in leaves(values)]

    @settings(max_examples=cases, deadline=None)
    @given(st.lists(st.sampled_from(choices), unique=True, min_size=1, max_size=4), st.booleans(), st.booleans())
    def law(moved, is_dropped, is_bare):
        file, tokens = copy.deepcopy(snapshot), []
        for path in moved:
            value, node = at(snapshot, path), at(file, path[:-1])
            if (is_dropped or path[-1] == "type") and isinstance(node, dict):  # another type would drop its arguments
                del node[path[-1]]
            else:
                node[path[-1]] = "something else"
            is_plain = isinstance(value, str) and parse_value(value) == value
            tokens.append(f"{dotted(path)}={value if is_bare and is_plain else json.dumps(value)}")
        desk.write({"config.json": text_of(file)})
        config = ConfigParser.from_args(argparse.Namespace(config="config.json", overrides=tokens))
        assert canonical(config.config) == canonical(values)
        assert [config.origin(dotted(path)) for path in moved] == ["command line"] * len(moved)
        kept = [path for path in choices if path not in moved]
        assert all(config.origin(dotted(path)).startswith("config.json:") for path in kept)

    law()


@CASES
@pytest.mark.parametrize("entry", ENTRIES)
def test_interpolate_leaf_behind_a_reference_gives_the_same_values(entry, cases, desk):
    """A value moved to a section of the user's, with a reference in its place, is the same value."""
    values = resolved(desk, entry)
    snapshot = ConfigParser.from_file(entry).snapshot
    choices = [path for path in paths_of(values) if path[0] != "user"]

    @settings(max_examples=cases, deadline=None)
    @given(st.sampled_from(choices), st.integers(0, 3), st.data())
    def law(path, hops, data):
        file, value = copy.deepcopy(snapshot), at(snapshot, path)
        user = file.setdefault("user", {})
        user["moved"] = [value]
        name = "user.moved.0"
        for hop in range(hops):
            user[f"hop_{hop}"], name = f"${{{name}}}", f"user.hop_{hop}"
        reference = f"${{{name}}}"
        if isinstance(value, str) and "$" not in value and data.draw(st.booleans()):
            cut = data.draw(st.integers(0, len(value)))
            user["moved"] = [value[cut:]]
            reference = value[:cut] + reference
        at(file, path[:-1])[path[-1]] = reference
        desk.write({"config.json": text_of(file)})
        config = ConfigParser.from_file("config.json")
        assert canonical(at(config.config, path)) == canonical(at(values, path))
        others = {key: value for key, value in config.config.items() if key != "user"}
        assert canonical(others) == canonical({key: value for key, value in values.items() if key != "user"})

    law()


@CASES
def test_snapshot_written_and_read_again_gives_the_same_values(cases, desk, monkeypatch):
    """What a run writes as its config.json says the same when it is read, whatever stands in its texts."""
    monkeypatch.setenv("ESPALIER_ODD", "$${x} ${y} $$${")
    odd = st.lists(st.sampled_from(["$", "{", "}", "${", "$${", "${name}", "${env:ESPALIER_ODD}", "a"])).map("".join)
    values = st.recursive(
        odd | SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6
    )

    @settings(max_examples=cases, deadline=None, suppress_health_check=HEALTH)
    @given(st.sampled_from(ENTRIES), values)
    def law(entry, value):
        desk.write({})
        file = {**resolved(desk, entry), "name": "Odd", "user": {"odd": value}}
        desk.write({"config.json": json.dumps(file)})
        try:
            config = ConfigParser.from_file("config.json")
        except ConfigError:
            return  # a reference to nothing
        desk.write({"config.json": json.dumps(config.snapshot)})
        again = ConfigParser.from_file("config.json")
        assert canonical(again.config) == canonical(config.config)
        assert canonical(again.snapshot) == canonical(config.snapshot)

    law()


# (5) Two faults at once

# Path of the value to write, the value (... drops it), and the path that is complained of.
FAULTS = [
    (("nane",), "x", "nane"),
    (("name",), 3, "name"),
    (("name",), ..., "name"),
    (("n_gpu",), -1, "n_gpu"),
    (("seed",), 0.5, "seed"),
    (("arch", "typo"), 1, "arch.typo"),
    (("arch", "args", "num_clases"), 3, "arch.args.num_clases"),
    (("arch", "args", "dropout"), "0.5", "arch.args.dropout"),
    (("data_loader", "args", "batch_size"), ..., "data_loader.args.batch_size"),
    (("data_loader", "args", "num_workers"), -1, "data_loader.args.num_workers"),
    (("data_loader", "args", "shufle"), True, "data_loader.args.shufle"),
    (("valid_data_loader", "type"), "NoLoader", "valid_data_loader.type"),
    (("optimizer", "args", "learning_rate"), 0.1, "optimizer.args.learning_rate"),
    (("optimizer", "args", "lr"), "0.1", "optimizer.args.lr"),
    (("optimizer", "param_groups", 0, "match"), 3, "optimizer.param_groups.0.match"),
    (("optimizer", "param_groups", 1, "wd"), 3, "optimizer.param_groups.1.wd"),
    (("lr_scheduler", "interval"), "batch", "lr_scheduler.interval"),
    (("lr_scheduler", "args", "patience"), "2", "lr_scheduler.args.patience"),
    (("lr_scheduler", "monitor"), "val_lost", "lr_scheduler.monitor"),
    (("loss", 0, "weight"), "0.7", "loss.0.weight"),
    (("loss", 1, "wait"), 1, "loss.1.wait"),
    (("metrics", 1, "args", "n"), 3, "metrics.1.args.n"),
    (("trainer", "epochs"), 0, "trainer.epochs"),
    (("trainer", "epoch"), 3, "trainer.epoch"),
    (("trainer", "save_dir"), "rich.json/runs", "trainer.save_dir"),
    (("trainer", "monitor"), "min val_lost", "trainer.monitor"),
    (("trainer", "verbosity"), 3, "trainer.verbosity"),
    (("trainer", "tensorboard", "graf"), True, "trainer.tensorboard.graf"),
]


@CASES
def test_check_two_faults_are_both_reported(cases, desk):
    """Of two independent faults both are reported, each once, sorted by path, with the line where each stands."""
    whole = ConfigParser.from_file("rich.json").snapshot
    pairs = st.tuples(st.sampled_from(FAULTS), st.sampled_from(FAULTS)).filter(lambda pair: pair[0][0] != pair[1][0])

    @settings(max_examples=cases, deadline=None)
    @given(pairs)
    def law(pair):
        values = copy.deepcopy(whole)
        for path, value, _ in pair:
            if value is ...:
                del at(values, path[:-1])[path[-1]]
            else:
                at(values, path[:-1])[path[-1]] = value
        text = text_of(values)
        desk.write({"config.json": text})
        with pytest.raises(ConfigError) as caught:
            ConfigParser.from_file("config.json").check(extra_log_names=())
        assert [problem.path for problem in caught.value.problems] == sorted(complaint for *_, complaint in pair)
        for path, value, complaint in pair:
            (problem,) = [each for each in caught.value.problems if each.path == complaint]
            if value is not ... and dotted(path) == complaint:
                line = int(problem.origin.rsplit(":", 1)[1])
                assert json.dumps(path[-1]) in text.split("\n")[line - 1]

    law()


# Faults that are found on the way to the check, each with the path complained of: in the file, and in the overrides.
EARLY = [
    ({"name": "${user.nothing}"}, {}, "name"),
    ({"seed": "${env:ESPALIER_UNSET}"}, {}, "seed"),
    ({}, {"metrics.7": "accuracy"}, "metrics.7"),
    ({}, {"name.sub": 1}, "name.sub"),
]


@pytest.mark.parametrize(("own", "overrides", "path"), EARLY, ids=[path for *_, path in EARLY])
def test_check_early_fault_and_misspelt_key_are_both_reported(own, overrides, path, desk):
    """A reference to nothing or an override that has no place does not hide a misspelt key."""
    values = {**desk.values["config.json"], **own, "opitmizer": {}}
    desk.write({"config.json": text_of(values)})
    with pytest.raises(ConfigError) as caught:
        ConfigParser.from_file("config.json", overrides).check(extra_log_names=())
    assert [problem.path for problem in caught.value.problems] == sorted([path, "opitmizer"])


def test_from_file_two_bad_overrides_are_both_reported(desk):
    """Two overrides that have no place are both reported, sorted by path."""
    with pytest.raises(ConfigError) as caught:
        ConfigParser.from_file("config.json", {"name.sub": 1, "metrics.7": "accuracy"}).check()
    assert [problem.path for problem in caught.value.problems] == ["metrics.7", "name.sub"]
