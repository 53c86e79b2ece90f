"""What the texts of a command line and of the environment stand for: one law for both."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.config.arguments import check_call
from espalier.config.build import build_object
from espalier.config.check_keys import check_without_imports
from espalier.config.interpolation import interpolate
from espalier.config.literals import is_written_back
from espalier.config.overrides import parse_override, parse_overrides, texts_like_numbers
from espalier.config.tree import ConfigTree
from parse_config import ConfigParser

CONFIG = {
    "name": "x",
    "arch": {"type": "Net", "args": {"drop": 0.5, "tag": "a"}},
    "data_loader": {"type": "Loader", "args": {}},
    "optimizer": {"type": "SGD", "args": {}},
    "loss": [{"type": "mse"}],
    "trainer": {"epochs": 3},
    "user": {"margin": 1.0, "is_on": True},
}
NUMBERS = [  # how people write numbers, and what they mean
    ("1e-3", 0.001), ("1E-3", 0.001), ("1e-4", 0.0001), ("5e-05", 5e-05), ("0.10", 0.1), (".5", 0.5), ("1.", 1.0),
    ("+1", 1), ("-0", 0), ("007", 7), ("1_000", 1000), ("1e5", 100_000), ("1e3", 1000), ("2.5e3", 2500.0),
    ("3", 3), (" 3", 3), ("-2", -2), ("0.001", 0.001), ("1e+16", 1e16), ("12345678901234567890", 12345678901234567890),
]  # fmt: skip
EXACT = ("3", "-2", "0.001", "5e-05", "12345678901234567890")  # what Python writes for these is the text itself
TEXTS = ["inf", "nan", "-inf", "0x10", "1e999", "NaN", "Infinity", "1,000", "1 000", "1e", "e5", "٣", "", "-"]
JSON = [("true", True), ("false", False), ("null", None), ("[1e-3]", [0.001]), ('{"a": 1}', {"a": 1}), ('"1"', "1")]


def from_command_line(path, text):
    """The value that `path=text` sets."""
    return parse_override(f"{path}={text}", CONFIG)[1]


def from_environment(path, text, monkeypatch):
    """The value at `path` where the config has a variable."""
    monkeypatch.setenv("TYPED", text)
    keys = path.split(".")
    tree = ConfigTree(json.loads(json.dumps(CONFIG)))
    tree.set(tuple(keys), "${env:TYPED}", "file")
    interpolate(tree)
    return tree.at(tuple(int(key) if key.isdecimal() else key for key in keys))


def same(value, other):
    return type(value) is type(other) and value == other


@pytest.mark.parametrize("path", [
    "trainer.save_every_minutes", "optimizer.args.lr", "optimizer.g.args.lr", "seed", "lr_scheduler.args.gamma",
    "data_loader.args.batch_size", "loss.0.weight",
])  # fmt: skip
@pytest.mark.parametrize(("text", "number"), NUMBERS)
def test_text_where_a_number_belongs_is_one_however_it_is_written(path, text, number, monkeypatch):
    """In the sections of numbers, and where the framework takes one."""
    assert same(from_command_line(path, text), number)
    assert same(from_environment(path, text, monkeypatch), number)


@pytest.mark.parametrize("path", ["user.new", "user.a.b", "arch.args.new", "arch.args.tag", "user.is_on"])
@pytest.mark.parametrize(("text", "number"), NUMBERS)
def test_text_elsewhere_is_a_number_only_if_that_is_written_alike(path, text, number, monkeypatch):
    """What a hash, a version or a date might be stays what was typed."""
    expected = number if text in (*EXACT, "1e+16") else text
    assert same(from_command_line(path, text), expected)
    assert same(from_environment(path, text, monkeypatch), expected)


@pytest.mark.parametrize("path", ["user.margin", "arch.args.drop"])
@pytest.mark.parametrize(("text", "number"), NUMBERS)
def test_text_on_the_command_line_that_replaces_a_number_is_one(path, text, number):
    """The config shows what is meant."""
    assert same(from_command_line(path, text), number)


@pytest.mark.parametrize("path", ["user.new", "arch.args.drop", "optimizer.args.lr", "trainer.epochs"])
@pytest.mark.parametrize("text", TEXTS)
def test_text_that_is_no_finite_number_stays_one(path, text, monkeypatch):
    """Whatever belongs there: the check tells it."""
    assert same(from_command_line(path, text), text)
    assert same(from_environment(path, text, monkeypatch), text)


@pytest.mark.parametrize("path", ["user.new", "arch.args.drop", "optimizer.args.lr", "trainer.compile"])
@pytest.mark.parametrize(("text", "value"), JSON)
def test_other_json_is_what_it_is(path, text, value, monkeypatch):
    """Switches, null, lists and sections; quotes make a text."""
    assert same(from_command_line(path, text), value)
    assert same(from_environment(path, text, monkeypatch), value)


@pytest.mark.parametrize("path", ["name", "trainer.save_dir", "trainer.monitor", "arch.type", "optimizer.g.type"])
@pytest.mark.parametrize("text", ["2026", "1234e5", "0.10", "1e-3", "true", "007"])
def test_text_where_the_framework_takes_a_text_alone_stays_one(path, text, monkeypatch):
    """No quotes within quotes for a name of digits."""
    assert same(from_command_line(path, text), text)
    assert same(from_environment(path, text, monkeypatch), text)


@given(st.text(alphabet="0123456789abcdef", min_size=4, max_size=40))
def test_hash_of_a_commit_is_written_as_it_was_typed(text):
    """Also one of digits alone, or of digits and an e."""
    with pytest.MonkeyPatch.context() as patch:
        for value in (from_command_line("user.sha", text), from_environment("user.sha", text, patch)):
            assert value == text or (type(value) is int and str(value) == text)


@given(st.text(alphabet="0123456789eE.+-_ ", max_size=12))
def test_number_elsewhere_always_writes_the_text_back(text):
    """The law in one line."""
    value = from_command_line("user.new", text)
    assert value == text if isinstance(value, str) else is_written_back(text, value)


@pytest.mark.parametrize(
    ("text", "name"), [("7700e12", "run_7700e12"), ("0.10", "run_0.10"), ("007", "run_007"), ('"1"', "run_1")]
)
def test_variable_within_a_text_stands_as_it_is(text, name, monkeypatch):
    """Also where another value refers to the one that holds it."""
    monkeypatch.setenv("TYPED", text)
    user = {"sha": "${env:TYPED}", "all": {"part": "${env:TYPED}"}, "copy": "${user.all}"}
    tree = ConfigTree({"name": "run_${env:TYPED}", "user": {**user, "other": "run_${user.sha}"}})
    interpolate(tree)
    sha = text.strip('"')
    assert tree.values["name"] == tree.values["user"]["other"] == name
    assert tree.values["user"]["sha"] == sha and tree.values["user"]["copy"] == {"part": sha}
    assert type(tree.values["user"]["copy"]["part"]) is str


def test_variable_with_a_section_can_be_referred_into(monkeypatch):
    """Each part of it is a value."""
    monkeypatch.setenv("TYPED", '{"lr": [0.5, "1234e5"]}')
    tree = ConfigTree({"a": "${user.all.lr.0}", "b": "${user.all.lr.1}", "user": {"all": "${env:TYPED}"}})
    interpolate(tree)
    assert tree.values == {"a": 0.5, "b": "1234e5", "user": {"all": {"lr": [0.5, "1234e5"]}}}


def test_user_is_told_what_was_taken_as_a_text():
    """And how to write the number."""
    typed, problems = parse_overrides(["user.sha=1234e5", "user.margin=1e-3", "user.n=3", "user.v=0.10"], CONFIG)
    assert not problems
    assert list(texts_like_numbers(typed)) == [
        "user.sha is the text 1234e5; for the number write user.sha=123400000.",
        "user.v is the text 0.10; for the number write user.v=0.1.",
    ]


def build(
    drop: float = 0.5, size: int = 1, tag: str = "", plain=1.5, anything=None, either: float | str = 0.0, **other
):
    """What a class of the user's takes."""
    return {"drop": drop, "size": size, "tag": tag, "plain": plain, "anything": anything, "either": either, **other}


class Room:
    """Where it is looked up."""

    Net = build


@pytest.mark.parametrize(
    ("name", "text", "taken"),
    [
        ("drop", "1e-3", 0.001),
        ("drop", ".5", 0.5),
        ("drop", "1234e5", 123400000),
        ("size", "1e3", 1000),
        ("plain", "1e-3", 0.001),  # by its default
        ("tag", "1234e5", "1234e5"),
        ("either", "1e-3", "1e-3"),
        ("anything", "1234e5", "1234e5"),
        ("unknown", "0.10", "0.10"),
    ],
)
@pytest.mark.parametrize("is_classic", [False, True])
def test_argument_is_given_the_number_where_it_takes_one_and_no_text(name, text, taken, is_classic, monkeypatch):
    """From the command line, from the environment, and when the saved config is read again."""
    values = {"arch": {"type": "Net", "args": {name: parse_override(f"arch.args.{name}={text}")[1]}}}
    monkeypatch.setenv("TYPED", text)
    of_environment = {"arch": {"type": "Net", "args": {name: "${env:TYPED}"}}}
    for each in (values, json.loads(json.dumps(values)), of_environment):
        tree = ConfigTree(each)
        interpolate(tree)
        tree.builds_blocks = not is_classic
        assert list(check_call(tree, ("arch", "args"), build, tree.values["arch"]["args"], 0)) == []
        assert same(build_object(tree, ("arch",), Room)[name], taken)


def test_variable_of_digits_is_a_text_where_one_is_taken(monkeypatch):
    """The hash of one commit in thirty is a whole number."""
    monkeypatch.setenv("TYPED", "1234567")
    tree = ConfigTree({"arch": {"type": "Net", "args": {"tag": "${env:TYPED}", "size": "${env:TYPED}"}}})
    interpolate(tree)
    assert list(check_call(tree, ("arch", "args"), build, tree.values["arch"]["args"], 0)) == []
    made = build_object(tree, ("arch",), Room)
    assert (made["tag"], made["size"]) == ("1234567", 1234567)


def test_number_from_the_command_line_where_a_text_is_taken_says_how_to_write_it():
    """What is advised is taken."""
    tree = ConfigTree({"arch": {"type": "Net", "args": {}}})
    tree.set(("arch", "args", "tag"), 2026, "command line")
    (problem,) = check_call(tree, ("arch", "args"), build, tree.values["arch"]["args"], 0)
    assert str(problem) == (
        "config error: arch.args.tag has the wrong type for tests.espalier.config.test_typed.build\n"
        "  from      command line\n  got       2026\n  expected  a text\n"
        "  fix       for the text write arch.args.tag='\"2026\"'"
    ).replace("tests.utils.", f"{build.__module__.removesuffix('test_typed')}")
    assert parse_override('arch.args.tag="2026"')[1] == "2026"


@pytest.mark.parametrize("section", ["optimizer", "lr_scheduler"])
def test_text_in_a_file_where_a_number_is_taken_is_refused_in_sections_of_numbers(section):
    """What reads a learning rate never meets a text."""
    tree = ConfigTree({section: {"args": {"drop": "1e-3"}}})
    assert len(list(check_call(tree, (section, "args"), build, tree.values[section]["args"], 0))) == 1


def test_key_of_the_user_can_be_new_on_the_command_line():
    """Also without a section for it; what is much like a key that is there is taken for misspelt."""
    values, _ = parse_overrides(["user.x=1", "user.deep.y=2"])
    plain = {key: value for key, value in CONFIG.items() if key != "user"}
    config = ConfigParser(json.loads(json.dumps(plain)), modification=values)
    assert config["user"] == {"x": 1, "deep": {"y": 2}}
    tree = ConfigTree(json.loads(json.dumps(CONFIG)))
    for path in ("new", "margni", "other.margin"):
        tree.set(("user", *path.split(".")), 1, "command line")
    problems = [str(each) for each in check_without_imports(tree, ()) if each.path.startswith("user")]
    assert problems == [
        "config error: user.margni is not in the config, which has a key much like it\n  from      command line\n"
        "  closest   user.margin\n  fix       write user.margin, or write user.margni into the config first"
    ]


def test_value_that_is_set_twice_is_the_last_and_told(caplog):
    """As scripts do that add to a line what differs from the usual."""
    values, problems = parse_overrides(["trainer.epochs=1", "trainer.epochs=2", "seed=1", "seed=1"])
    assert (values, problems) == ({("trainer", "epochs"): 2, ("seed",): 1}, [])
    assert [each.getMessage() for each in caplog.records] == [
        "trainer.epochs is set twice on the command line: 2 counts, the last, and not 1."
    ]
