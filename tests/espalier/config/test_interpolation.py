"""`${key.path}` and `${env:NAME}` in the texts of a config."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.config.interpolation import escaped, interpolate
from espalier.config.json_text import parse_json
from espalier.config.tree import ConfigTree
from espalier.errors import ConfigError
from parse_config import ConfigParser

TEXTS = st.text(alphabet="${}a.b:", max_size=10)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=3)


def resolved(values):
    """A copy of `values` with its references replaced."""
    tree = ConfigTree(copy.deepcopy(values))
    interpolate(tree)
    return tree.values


def refusal(text):
    """The message for a config file `c.json` of that text."""
    with pytest.raises(ConfigError) as error:
        interpolate(parse_json(text, "c.json"))
    return str(error.value)


# what a reference becomes


@pytest.mark.parametrize("value", [3, 0.5, True, None, "a text", [1, [2]], {"a": {"b": 1}}, {}], ids=json.dumps)
def test_interpolate_whole_reference_keeps_the_type(value):
    """A text that is one reference becomes the value itself, a section too."""
    assert resolved({"a": "${b}", "b": value})["a"] == value
    assert type(resolved({"a": "${b}", "b": value})["a"]) is type(value)


@pytest.mark.parametrize(
    ("value", "text"), [(3, "x3y"), (0.5, "x0.5y"), (True, "xtruey"), (None, "xnully"), ("b", "xby"), ([1], "x[1]y")]
)
def test_interpolate_reference_inside_a_text_is_written_out(value, text):
    """Between other characters a value is written as in the file."""
    assert resolved({"a": "x${b}y", "b": value})["a"] == text


@pytest.mark.parametrize(
    ("config", "path", "value"),
    [
        ({"a": "${b.c.d}", "b": {"c": {"d": 4}}}, "a", 4),
        ({"a": "${b.1.c}", "b": [0, {"c": 4}]}, "a", 4),
        ({"a": "${b}${b}", "b": 4}, "a", "44"),
        ({"a": "${b}", "b": "${c}", "c": "${d}", "d": 4}, "a", 4),
        ({"a": "${b}", "b": {"c": ["${d}"]}, "d": 4}, "a", {"c": [4]}),
        ({"a": "${b.c}", "b": "${d}", "d": {"c": 4}}, "a", 4),
        ({"a": "${b.x}", "b": {"x": 4, "y": "${a}"}}, "a", 4),
        ({"a": "$${b}", "b": 4}, "a", "${b}"),
        ({"a": "$${b}-${b}", "b": 4}, "a", "${b}-4"),
        ({"a": "${b}", "b": "$${c}"}, "a", "${c}"),
        ({"a": "$b {b} $ {b}", "b": 4}, "a", "$b {b} $ {b}"),
        ({"a": "${", "b": 4}, "a", "${"),
    ],
)
def test_interpolate_reference_finds_its_value(config, path, value):
    """Sections, lists, references in what is referred to, and the escape."""
    assert resolved(config)[path] == value


def test_interpolate_reference_in_nested_sections_and_lists_is_found():
    """A reference may stand anywhere."""
    config = {"n": 3, "a": {"b": [{"c": "${n}"}, "${n}"]}}
    assert resolved(config)["a"] == {"b": [{"c": 3}, 3]}


def test_interpolate_section_taken_twice_is_not_shared():
    """Changing one copy of a section leaves the other alone."""
    values = resolved({"a": "${c}", "b": "${c}", "c": {"d": []}})
    values["a"]["d"].append(1)
    assert (values["b"], values["c"]) == ({"d": []}, {"d": []})


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("1e-3", "1e-3"), ("0.001", 0.001), ("true", True), ("[1, 2]", [1, 2]), ("a/b", "a/b"), ("", "")],
)
def test_interpolate_environment_variable_is_read_like_an_override(monkeypatch, text, value):
    """What the shell says is JSON if it can be, else text."""
    monkeypatch.setenv("ESPALIER_TEST", text)
    assert resolved({"a": "${env:ESPALIER_TEST}"}) == {"a": value}


def test_interpolate_environment_variable_inside_a_text(monkeypatch):
    """A path may be put together."""
    monkeypatch.setenv("ESPALIER_TEST", "/scratch")
    assert resolved({"a": "${env:ESPALIER_TEST}/saved/${b}", "b": 1})["a"] == "/scratch/saved/1"


def test_interpolate_environment_variable_holding_a_reference_is_plain_text(monkeypatch):
    """What comes from outside is not read as a reference again."""
    monkeypatch.setenv("ESPALIER_TEST", "${b}")
    assert resolved({"a": "${env:ESPALIER_TEST}", "b": 1})["a"] == "${b}"


# what is refused


def test_interpolate_unset_environment_variable_names_the_nearest(monkeypatch):
    """A misspelt variable is told with its line and the one that was meant."""
    monkeypatch.setenv("ESPALIER_SCRATCH", "/scratch")
    assert refusal('{\n"a": "${env:ESPALIER_SCRATC}/x"}') == (
        "config error: a names an environment variable that is not set\n"
        "  from      c.json:2\n"
        '  got       "${env:ESPALIER_SCRATC}"\n'
        "  closest   ESPALIER_SCRATCH\n"
        "  fix       set it: export ESPALIER_SCRATC=...; or give the value on the command line: a=..."
    )


def test_interpolate_unknown_key_names_the_nearest():
    """A misspelt path is told with the one that was meant."""
    assert refusal('{"trainer": {"epochs": 3},\n"user": {"n": ["${trainer.epoch}"]}}') == (
        "config error: user.n.0 names a key that is not in the config\n"
        "  from      c.json:2\n"
        '  got       "${trainer.epoch}"\n'
        "  closest   trainer.epochs"
    )


@pytest.mark.parametrize(
    ("asked", "meant"), [("dat.num_classes", "data.num_classes"), ("train.epochs", "trainer.epochs"), ("zzz", None)]
)
def test_interpolate_unknown_key_is_never_said_to_mean_itself(asked, meant):
    """What asks is no answer; a fact of the data may be one."""
    text = refusal('{"trainer": {"epochs": 3}, "arch": {"args": {"num_classes": "${asked}"}}}'.replace("asked", asked))
    assert [line for line in text.splitlines() if "closest" in line] == ([f"  closest   {meant}"] if meant else [])


@pytest.mark.parametrize("name", ["", "b.2", "b.x", "b.0.c", "b.", "c.d", "zzz", "env:"])
def test_interpolate_reference_to_nothing_is_refused(name):
    """No odd reference leads to anything but a config error."""
    with pytest.raises(ConfigError):
        resolved({"a": f"${{{name}}}", "b": [0, 1], "c": "text"})


@pytest.mark.parametrize(
    ("text", "chains"),
    [
        ('{"a": "${a}"}', {"a": "a -> a"}),
        ('{"a": "${b}", "b": "x${a}"}', {"a": "b -> a -> b", "b": "a -> b -> a"}),
        ('{"a": {"b": "${a}"}}', {"a.b": "a -> a"}),
    ],
)
def test_interpolate_circle_is_refused_with_its_chain(text, chains):
    """References that lead back to themselves are told as a chain, once for each of them."""
    for path, chain in chains.items():
        head = f"config error: {path} goes round in a circle: {chain}\n  from      c.json:1\n"
        assert head in refusal(text)


def test_interpolate_two_faults_are_both_named():
    """All references that lead nowhere are told at once, sorted by path."""
    assert refusal('{"b": "${x9}",\n"a": "${y9}"}') == (
        "config error: a names a key that is not in the config\n"
        "  from      c.json:2\n"
        '  got       "${y9}"\n'
        "config error: b names a key that is not in the config\n"
        "  from      c.json:1\n"
        '  got       "${x9}"'
    )


def test_interpolate_fault_stays_as_it_is_and_the_others_are_replaced():
    """What can be resolved is, so that the check after it sees the rest of the config."""
    tree = ConfigTree({"a": "${b}", "b": 1, "c": "${zzz}"})
    with pytest.raises(ConfigError):
        interpolate(tree)
    assert tree.values == {"a": 1, "b": 1, "c": "${zzz}"}


# what stays


@given(OBJECTS.filter(lambda values: "${" not in json.dumps(values)))
def test_interpolate_config_without_references_is_unchanged(values):
    """Only `${` means anything."""
    assert json.dumps(resolved(values)) == json.dumps(values)


@given(OBJECTS)
def test_escaped_any_config_is_read_again_as_it_was(values):
    """What a run writes down gives the same values, whatever braces and dollars stand in it."""
    assert json.dumps(resolved(escaped(values))) == json.dumps(values)


# in a run


def test_interpolate_reference_sees_overrides(tmp_path):
    """References are resolved after the command line has spoken."""
    path = tmp_path / "c.json"
    path.write_text('{"trainer": {"epochs": 3}, "user": {"T": "${trainer.epochs}"}}')
    assert ConfigParser.from_file(path, {"trainer.epochs": 7})["user"]["T"] == 7


def test_interpolate_override_may_be_a_reference(tmp_path):
    """A value of the command line may refer to one of the file."""
    path = tmp_path / "c.json"
    path.write_text('{"trainer": {"epochs": 3}, "user": {"T": 1}}')
    assert ConfigParser.from_file(path, {"user.T": "${trainer.epochs}"})["user"]["T"] == 3


def test_interpolate_reference_into_a_file_that_extends_sees_the_values_in_force(tmp_path):
    """A base may refer to what the file over it says."""
    (tmp_path / "base.json").write_text('{"name": "Net-${user.size}", "user": {"size": 1}}')
    (tmp_path / "c.json").write_text('{"extends": "base.json", "user": {"size": 2}}')
    assert ConfigParser.from_file(tmp_path / "c.json")["name"] == "Net-2"


def test_interpolate_config_of_a_run_read_again_gives_the_same_values(tiny_config, monkeypatch):
    """config.json of a run holds what was in force, but of the environment the names alone."""
    monkeypatch.setenv("ESPALIER_TEST", "8")
    user = {"env": "${env:ESPALIER_TEST}", "again": ["a $${ b ${user.env}"], "whole": {"a": "${user.again}"}}
    tiny_config["user"] = {"escaped": "$${x}", "lr": "${optimizer.args.lr}", **user}
    config = ConfigParser(copy.deepcopy(tiny_config))
    file = config.save_dir / "config.json"
    assert json.loads(file.read_text())["user"] == {"escaped": "$${x}", "lr": 0.1, **user}
    again = ConfigParser.from_file(file)
    assert again.config == config.config
    assert again["user"] == {"escaped": "${x}", "lr": 0.1, "env": 8, "again": ["a ${ b 8"],
                             "whole": {"a": ["a ${ b 8"]}}  # fmt: skip
    assert again.snapshot == config.snapshot


def test_snapshot_of_a_checkpoint_gives_the_same_values(tiny_config):
    """The config inside a checkpoint is read again like a file."""
    tiny_config["user"] = {"escaped": "$${x}", "name": "${name}"}
    config = ConfigParser(tiny_config)
    assert ConfigParser(config.snapshot)["user"] == {"escaped": "${x}", "name": "Tiny"}


def test_interpolate_texts_that_double_are_refused():
    """Forty texts that each hold the one before twice would fill the memory."""
    doubling = {f"t{number}": f"${{t{number - 1}}}${{t{number - 1}}}" for number in range(1, 40)}
    with pytest.raises(ConfigError, match="leads to more values than a config can have"):
        interpolate(ConfigTree({"t0": "x" * 1_000_000, **doubling}))


def test_interpolate_a_large_config_is_taken():
    """Only what references lead to is limited, not the values of the file itself."""
    values = list(range(250_000))
    tree = ConfigTree({"values": values, "one": "${values.7}"})
    interpolate(tree)
    assert (tree.values["values"], tree.values["one"]) == (values, 7)


def test_interpolate_many_references_that_lead_nowhere_are_not_all_compared_with_all_names():
    """The first ten are told with the nearest name; else the time is the square of their number."""
    tree = ConfigTree({"key": 1, **{f"k{number}": "${kee}" for number in range(20)}}, {("key",): "c.json:1"})
    with pytest.raises(ConfigError) as error:
        interpolate(tree)
    assert [each.closest for each in sorted(error.value.problems, key=lambda each: int(each.path[1:]))] == (
        ["key"] * 10 + [None] * 10
    )


def test_origin_of_a_reference_names_what_it_refers_to():
    """A fault of the value is mended there; the command line stays what it is."""
    tree = parse_json('{"user": {\n"dir": "/d"},\n"a": "${user.dir}/x",\n"b": {"c": "${a}"}, "d": 1}', "c.json")
    tree.set_origin(("d",), "command line")
    tree.values["d"] = "${user.dir}"
    interpolate(tree)
    assert tree.origin(("a",)) == "c.json:3 (user.dir in c.json:2)"
    assert tree.origin(("b", "c")) == "c.json:4 (a in c.json:3)"
    assert tree.origin(("d",)) == "command line"
    assert tree.origin(("b",)) == "c.json:4"


def test_variable_of_a_shell_is_told_how_it_is_written():
    """As in trainer.on_end_command: braces are a reference here."""
    assert refusal('{"command": "echo ${RUN_STATE}"}') == (
        "config error: command names a key that is not in the config\n"
        "  from      c.json:1\n"
        '  got       "${RUN_STATE}"\n'
        "  fix       write $RUN_STATE for a variable of a shell, ${env:RUN_STATE} for one that is set now"
    )
