"""What people write on a command line and in a file, and is nearly right."""

import argparse
import json
import sys
from types import SimpleNamespace

import pytest

from espalier.config.command_line import parse_command
from espalier.config.file import load_config
from espalier.config.json_text import parse_json
from espalier.config.overrides import parse_override, parse_overrides
from espalier.config.schema import TOP, check_section
from espalier.config.tree import ConfigTree
from espalier.errors import ConfigError, Problem
from parse_config import ConfigParser

CONFIG = {
    "name": "x",
    "arch": {"type": "Other", "args": {"a": 1, "norm": {"type": "BatchNorm", "args": {"eps": 1}}}},
    "optimizer": {"type": "Adam", "args": {"lr": 0.1, "amsgrad": True}, "param_groups": []},
    "metrics": [{"type": "a", "args": {"k": 1}}],
    "trainer": {},
}


@pytest.mark.parametrize(
    ("token", "fix"),
    [
        ("trainer.compile=True", "write trainer.compile=true; for the text itself trainer.compile='\"True\"'"),
        ("seed=None", "write seed=null; for the text itself seed='\"None\"'"),
        ("a.b=False", "write a.b=false; for the text itself a.b='\"False\"'"),
        ("metrics=[accuracy]", "write metrics='[\"accuracy\"]'"),
        ("metrics=['a', torch.nn.MSELoss]", 'write metrics=\'["a", "torch.nn.MSELoss"]\''),
        ("loss={type: MSELoss, args: {}}", 'write loss=\'{"type": "MSELoss", "args": {}}\''),
        ("a=[True, 1e-3]", "write a='[true, 1e-3]'"),
    ],
)
def test_override_that_was_meant_for_json_is_told_how_it_is_written(token, fix):
    """What is advised is taken."""
    with pytest.raises(ConfigError) as error:
        parse_override(token)
    path, _, text = token.partition("=")
    assert str(error.value) == (
        f"config error: {path} has a value that is no JSON\n  from      command line\n"
        f"  got       {text}\n  fix       {fix}"
    )
    import shlex

    (advised,) = shlex.split(fix.removeprefix("write ").split("; ")[0])
    assert not isinstance(parse_override(advised)[1], str)


@pytest.mark.parametrize("text", ["[0-9]*.png", "[ab", "none", "true story", "[0-9]", "{}{}"])
def test_override_that_is_a_text_stays_one(text):
    """Patterns and words are no JSON that went wrong."""
    assert parse_override(f"a={text}") == (("a",), text)


@pytest.mark.parametrize(
    ("tokens", "path", "args"),
    [
        (["optimizer.type=SGD"], ("optimizer",), None),
        (["optimizer.type=Adam"], ("optimizer",), {"lr": 0.1, "amsgrad": True}),
        (["optimizer.args.lr=0.5", "optimizer.type=SGD"], ("optimizer",), {"lr": 0.5}),
        (["optimizer.type=SGD", "optimizer.args.lr=0.5"], ("optimizer",), {"lr": 0.5}),
        (["arch.type=Mine"], ("arch",), None),
        (["arch.args.norm.type=GroupNorm"], ("arch", "args", "norm"), None),
        (["metrics.0.type=b"], ("metrics", 0), None),
    ],
)
def test_type_from_the_command_line_drops_the_arguments_of_the_other(tokens, path, args):
    """As `extends` does, whatever the order of what is given beside it."""
    values, _ = parse_overrides(tokens)
    config = ConfigParser(json.loads(json.dumps(CONFIG)), modification=values)
    section = config.config
    for key in path:
        section = section[key]
    assert section.get("args") == args


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (r'"C:\data"', r"a backslash in a string begins an escape, as in \n"),
        (r'"C:\new\table"', r"a backslash in a string begins an escape, as in \n"),
        (r'"..\data"', r"Invalid \escape in a string"),
        (r'"..\data\"', "this string has no closing quote on its line"),
    ],
)
def test_backslash_in_a_path_is_told_with_its_line_and_what_to_write(text, what):
    """Also where it would have made a line break."""
    with pytest.raises(ConfigError) as error:
        parse_json(f'{{\n  "data_dir": {text}\n}}', "config.json")
    assert str(error.value) == (
        f'config error: config.json:2:15 is not valid JSON: {what}\n  got       "data_dir": {text}\n'
        '  fix       write a backslash twice, or a path with slashes, which Windows takes too: "C:/data"'
    )
    assert parse_json(r'{"a": "C:\\data\\"}', "").values == {"a": "C:\\data\\"}


@pytest.mark.parametrize(
    ("encoding", "what"),
    [
        ("cp949", "is not UTF-8 text: invalid continuation byte at byte 11, line 2"),
        ("utf-16", "is UTF-16 text"),
        ("utf-16-le", "is UTF-16 text"),
        ("utf-16-be", "is UTF-16 text"),
    ],
)
def test_config_in_another_encoding_says_how_to_save_it(tmp_path, encoding, what):
    """One with a mark of UTF-8 is read."""
    path = tmp_path / "config.json"
    path.write_bytes('{\n"name": "가"}'.encode(encoding))
    with pytest.raises(ConfigError) as error:
        load_config(path)
    fix = "save it as UTF-8: editors ask for the encoding under Save as"
    expected = str(Problem(str(path), what, fix=fix)).replace("invalid continuation", "invalid start")
    assert str(error.value).replace("invalid continuation", "invalid start") == expected
    path.write_bytes('{"name": "가"}'.encode("utf-8-sig"))
    assert load_config(path).values == {"name": "가"}


def test_lines_are_counted_once_however_large_the_file_is(monkeypatch):
    """The work grows as the file does: no line is counted from the beginning again."""
    rows = ",\n".join(f'"k{number}": [{number}]' for number in range(2000))
    tree = parse_json(f"{{{rows}}}", "c.json")
    assert tree.origin(("k1999", 0)) == "c.json:2000" and tree.origin(("k0",)) == "c.json:1"

    class NoCount(str):
        def count(self, *args):
            raise AssertionError("counted from the beginning")

    parse_json(NoCount('{"a": 1,\n"b": 2}'), "c.json")


class NoSearch(dict):
    """Origins that may be asked for, and not gone through."""

    def __iter__(self):
        raise AssertionError("gone through from the beginning")

    items = keys = values = __iter__


def test_merging_and_setting_go_through_what_changes_alone():
    """Of a large config not all is looked at again for each key that another file or the command line sets."""
    tree, over = (parse_json(text, file) for text, file in (
        ('{"a": {"x": [1, {"y": 2}], "z": 3}, "n": {"m": 1}}', "a.json"),
        ('{"a": {"x": {"y": 4}, "z": null},\n"new": [5]}', "b.json"),
    ))  # fmt: skip
    tree.origins, over.origins = NoSearch(tree.origins), NoSearch(over.origins)
    tree.merge(over)
    tree.set(("n",), 6, "command line")
    assert tree.values == {"a": {"x": {"y": 4}}, "n": 6, "new": [5]}
    assert dict.items(tree.origins) == {
        ("a",): "a.json:1", ("a", "x"): "b.json:1", ("a", "x", "y"): "b.json:1", ("n",): "command line",
        ("new",): "b.json:2", ("new", 0): "b.json:2",
    }.items()  # fmt: skip


def test_very_many_faults_of_a_kind_are_counted():
    """The first ten are told, the others are a number; another kind is told all the same."""
    problems = [Problem(f"trainer.k{number:04}", "is unknown", got="1") for number in range(5000)]
    lines = str(ConfigError([*problems, Problem("zero", "is missing")])).splitlines()
    assert lines[:2] == ["config error: trainer.k0000 is unknown", "  got       1"]
    assert lines[20:] == ["config error: zero is missing",
                          "config error: and 4,990 more under trainer, of which each is unknown"]  # fmt: skip


def test_very_many_faults_in_many_sections_are_counted():
    """Of a kind in sections within one another, and of kinds that are all different."""
    inside = [Problem(f"metrics.{number:04}.args.foo", "is unknown") for number in range(5000)]
    lines = str(ConfigError(inside)).splitlines()
    assert (len(lines), lines[0]) == (11, "config error: metrics.0000.args.foo is unknown")
    assert lines[-1] == "config error: and 4,990 more under metrics, of which each is unknown"
    lines = str(ConfigError([Problem(f"k{number:04}", f"is a second {number}") for number in range(5000)])).splitlines()
    assert lines[99:] == ["config error: k0099 is a second 99", "config error: and 4,900 more, of other kinds"]


def parsed(monkeypatch, *words):
    """What a command with our flags makes of these words."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-c", "--config")
    parser.add_argument("-r", "--resume")
    parser.add_argument("--debug", action="store_true")
    monkeypatch.setattr(sys, "argv", ["train.py", *words])
    options = [SimpleNamespace(flags=["--lr"], type=float, target="optimizer;args;lr")]
    return parse_command(parser, options, evaluating=False)


@pytest.mark.parametrize(
    ("words", "flag", "got", "fix"),
    [
        (["-c", "a", "-c", "b"], "-c", "a and b",
         'give one; a config that "extends" another, or several, takes values from all'),
        (["-ca", "--conf=b"], "-c", "a and b",
         'give one; a config that "extends" another, or several, takes values from all'),
        (["-r", "a", "-c", "b", "--resume", "c"], "-r", "a and c", "give one"),
        (["-c", "a", "--lr", "1e-3", "--lr", "2"], "--lr", "0.001 and 2.0", "give one"),
        (["-c", "a", "--lr", "nan", "--lr", "2"], "--lr", "nan and 2.0", "give one"),
    ],
)  # fmt: skip
def test_flag_that_is_given_twice_is_refused(words, flag, got, fix, monkeypatch):
    """In any of its forms: argparse would let the last one win."""
    with pytest.raises(ConfigError) as error:
        parsed(monkeypatch, *words)
    assert str(error.value) == (
        f"config error: {flag} is given twice\n  from      command line\n  got       {got}\n  fix       {fix}"
    )


def test_flag_that_is_given_twice_with_one_value_is_taken(monkeypatch):
    """There is nothing to choose from."""
    args, values = parsed(monkeypatch, "-c", "a", "-c", "a", "--lr", "1", "--debug", "--debug", "x=1")
    assert (args.config, args.overrides, values) == ("a", ["x=1"], {"optimizer;args;lr": 1.0})


@pytest.mark.parametrize(
    ("tokens", "path", "got", "fix"),
    [
        (["lr=.001"], "lr", '".001"', "write optimizer.args.lr=.001"),
        (["epochs=3"], "epochs", "3", "write trainer.epochs=3"),
        (["max_steps=1e3"], "max_steps", '"1e3"', "write trainer.max_steps=1e3"),
        (["eps=1"], "eps", "1", "write arch.args.norm.args.eps=1"),
        (["args=1"], "args", "1", "write arch.args=1 or arch.args.norm.args=1 or optimizer.args=1"),
        (["nothing=1"], "nothing", "1", 'keys of your own belong in a "user" section'),
    ],
)
def test_override_of_a_key_without_its_section_says_where_it_stands(tokens, path, got, fix):
    """What the config has of that name, or the trainer."""
    values, _ = parse_overrides(tokens)
    tree = ConfigTree(json.loads(json.dumps(CONFIG)))
    for keys, value in values.items():
        tree.set(keys, value, "command line")
    (problem,) = [each for each in check_section(tree, (), TOP) if each.what == "is not a key of the framework"]
    assert (problem.path, problem.got, problem.fix) == (path, got, fix)
