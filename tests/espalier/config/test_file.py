"""Reading configs: JSON with comments, `extends`, and where each value was written."""

import copy
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.config.file import load_config
from espalier.config.json_text import parse_json
from espalier.config.tree import ConfigTree, dotted
from espalier.errors import ConfigError

# No text that is taken for a path of Windows whose backslash is lost: "C:\new" is refused.
TEXTS = st.text(max_size=8).filter(lambda text: not re.match(r'[A-Za-z]:[\b\f\n\r\t"]', text))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4))
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=4)
EXPECTED_VALUE = "expected a value: a string in double quotes, number, true, false, null, { or ["


def write(folder, **configs):
    """Write each config as `<name>.json`, indented, and give the folder."""
    for name, config in configs.items():
        (folder / f"{name}.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    return folder


def line_numbers(value, path=(), line=1):
    """The line on which json.dumps(value, indent=...) starts each value, by path; and the line it ends on."""
    found = {path: line}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    last = line
    for key, item in items:
        inner, last = line_numbers(item, (*path, key), last + 1)
        found.update(inner)
    return found, last + bool(items and len(value))


# parse_json: what is accepted


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("{}", {}),
        ('{"a": 1} // the end', {"a": 1}),
        ('// the start\n{"a": 1}', {"a": 1}),
        ('{"a": /* here */ 1}', {"a": 1}),
        ('{"a": [1, // one\n 2]}', {"a": [1, 2]}),
        ('/* two\n lines */ {"a": 1}', {"a": 1}),
        ('{/**/}', {}),
        ('{"a": 1,}', {"a": 1}),
        ('{"a": [1, 2,],}', {"a": [1, 2]}),
        ('{"url": "http://x/*y*/"}', {"url": "http://x/*y*/"}),
        ('{"a": "say \\"hi\\" // \\u00e9"}', {"a": 'say "hi" // é'}),
        ('\t{\r\n"a"\t:\r\n-1.5e-3}\r\n', {"a": -0.0015}),
    ],
)  # fmt: skip
def test_parse_json_comments_and_trailing_commas_are_allowed(text, values):
    """Comments and trailing commas mean nothing, and inside strings there are none."""
    assert parse_json(text, "c.json").values == values


@given(OBJECTS, st.sampled_from([None, 0, 1, 4]), st.booleans())
def test_parse_json_any_object_agrees_with_json_loads(values, indent, ensure_ascii):
    """Whatever json.dumps writes is read as json.loads reads it, keys in the same order."""
    text = json.dumps(values, indent=indent, ensure_ascii=ensure_ascii)
    parsed = parse_json(text, "c.json").values
    assert parsed == json.loads(text)
    assert json.dumps(parsed) == json.dumps(values)


@given(OBJECTS)
def test_parse_json_indented_object_gives_each_value_its_line(values):
    """The origin of a value is the line on which it starts."""
    lines, _ = line_numbers(values)
    del lines[()]
    tree = parse_json(json.dumps(values, indent=2), "c.json")
    assert {path: tree.origin(path) for path in lines} == {path: f"c.json:{line}" for path, line in lines.items()}


def test_parse_json_block_comment_before_a_value_counts_its_lines():
    """Lines inside comments are lines of the file."""
    assert parse_json('{\n/* one\ntwo */ "a": // three\n1}', "c.json").origins == {("a",): "c.json:4"}


# parse_json: what is refused


@given(st.text(alphabet='{}[]",:/*\\ \n\t01e-+.truefalsn\x00é', max_size=30))
def test_parse_json_any_text_gives_a_config_or_a_config_error(text):
    """No text leads to any other exception."""
    try:
        assert isinstance(parse_json("{" + text, "c.json").values, dict)
    except ConfigError as error:
        assert str(error).startswith("config error: c.json:")


@given(OBJECTS, st.data())
def test_parse_json_object_cut_short_is_refused(values, data):
    """No beginning of a config is taken for the whole."""
    text = json.dumps(values, indent=data.draw(st.sampled_from([None, 2])))
    with pytest.raises(ConfigError):
        parse_json(text[: data.draw(st.integers(0, len(text) - 1))], "c.json")


@pytest.mark.parametrize(
    ("text", "where", "what", "line"),
    [
        ("", "1:1", "a config is one JSON object, so it starts with '{'", "end of the file"),
        ("[1]", "1:1", "a config is one JSON object, so it starts with '{'", "[1]"),
        ('{"a": 1}\n}', "2:1", "text after the end of the config", "}"),
        ('{"a": 1} b', "1:10", "text after the end of the config", '{"a": 1} b'),
        ('{\n "a": "x,\n "b": 1}', "2:7", "this string has no closing quote on its line", '"a": "x,'),
        ('{"a: 1}', "1:2", "this string has no closing quote on its line", '{"a: 1}'),
        ('{"a": "\\q"}', "1:7", "Invalid \\escape in a string", '{"a": "\\q"}'),
        ('{"a": "\\u12"}', "1:7", "Invalid \\uXXXX escape in a string", '{"a": "\\u12"}'),
        ('{"a": [1, 2', "1:12", "expected ',' or ']'", '{"a": [1, 2'),
        ('{"a": [1}', "1:9", "expected ',' or ']'", '{"a": [1}'),
        ('{"a": {"b": 1\n', "2:1", "expected ',' or '}'", "end of the file"),
        ('{\n  "a": 1\n  "b": 2\n}', "3:3", "expected ',' or '}'", '"b": 2'),
        ('{"a": [1 2]}', "1:10", "expected ',' or ']'", '{"a": [1 2]}'),
        ('{"a": 1,, "b": 2}', "1:9", "expected a key in double quotes", '{"a": 1,, "b": 2}'),
        ("{a: 1}", "1:2", "expected a key in double quotes", "{a: 1}"),
        ("{'a': 1}", "1:2", "expected a key in double quotes", "{'a': 1}"),
        ('{"a" 1}', "1:6", "expected ':'", '{"a" 1}'),
        ('{"a": True}', "1:7", "JSON writes true here", '{"a": True}'),
        ('{"a": Adam}', "1:7", EXPECTED_VALUE, '{"a": Adam}'),
        ("{\"a\": 'x'}", "1:7", "a text stands in double quotes", "{\"a\": 'x'}"),
        ('{"a": NaN}', "1:7", EXPECTED_VALUE, '{"a": NaN}'),
        ('{"a": 1e999}', "1:7", EXPECTED_VALUE, '{"a": 1e999}'),
        ('{"a": 01}', "1:7", EXPECTED_VALUE, '{"a": 01}'),
        ('{"a": 1e}', "1:7", EXPECTED_VALUE, '{"a": 1e}'),
        ('{"a": ,}', "1:7", EXPECTED_VALUE, '{"a": ,}'),
        ('{"a": /* x}', "1:7", EXPECTED_VALUE, '{"a": /* x}'),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "1:24", 'the key "c" stands twice in this section',
         '{"a": 1, "b": {"c": 1, "c": 2}}'),
        ('{\n "a": 1,\n "b": 2,\n "a": 3\n}', "4:2", 'the key "a" stands twice in this section', '"a": 3'),
    ],
)  # fmt: skip
def test_parse_json_syntax_error_names_line_and_column_and_shows_the_line(text, where, what, line):
    """A syntax error says where it is and what was expected there."""
    with pytest.raises(ConfigError) as error:
        parse_json(text, "c.json")
    fix = '\n  fix       write a backslash twice, or a path with slashes, which Windows takes too: "C:/data"'
    has_fix = "escape" in what
    message = f"config error: c.json:{where} is not valid JSON: {what}\n  got       {line}"
    assert str(error.value) == message + fix * has_fix


def test_parse_json_tab_inside_a_string_is_not_called_a_missing_quote():
    """A raw tab in a string is refused for what it is: the string does have its closing quote."""
    with pytest.raises(ConfigError) as error:
        parse_json('{"a": "x\ty"}', "c.json")
    assert str(error.value) == (
        "config error: c.json:1:7 is not valid JSON: a tab in a string is written \\t\n"
        '  got       {"a": "x\ty"}'
    )  # fmt: skip


@pytest.mark.parametrize("value", ["1" * 5000, "[" * 5000 + "]" * 5000], ids=["long number", "deep nesting"])
def test_parse_json_value_beyond_what_python_reads_is_a_config_error(value):
    """A number of thousands of digits, or brackets thousands deep, is refused as any other bad text."""
    with pytest.raises(ConfigError):
        parse_json(f'{{"a": {value}}}', "c.json")


# load_config: files


def test_load_config_origin_names_the_file_as_it_was_given(tmp_path, monkeypatch):
    """Messages show the path that the user typed."""
    monkeypatch.chdir(write(tmp_path, config={"a": {"b": 1}}))
    assert load_config("config.json").origin(("a", "b")) == "config.json:3"


def test_load_config_byte_order_mark_is_skipped(tmp_path):
    """A file saved by a Windows editor, with a byte order mark, is a config."""
    (tmp_path / "c.json").write_text('{"a": 1}', encoding="utf-8-sig")
    assert load_config(tmp_path / "c.json").values == {"a": 1}


def test_load_config_missing_file_with_a_near_name_asks_for_that(tmp_path):
    """A misspelt file name is answered with the nearest config of that folder."""
    write(tmp_path, config={}, other={})
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path / "confg.json")
    assert str(error.value) == (
        f"config error: {tmp_path / 'confg.json'} is not a file\n"
        f"  fix       did you mean {tmp_path / 'config.json'}?"
    )  # fmt: skip


@pytest.mark.parametrize("name", ["zzz.json", "no/such/folder.json", ".", "a_folder.json"])
def test_load_config_no_file_near_says_what_is_wanted(tmp_path, name):
    """Where nothing else has a similar name, the message says what to give."""
    write(tmp_path, config={})
    (tmp_path / "a_folder.json").mkdir()
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path / name)
    assert str(error.value) == (
        f"config error: {tmp_path / name} is not a file\n"
        "  fix       give the path of a JSON config, such as config.json"
    )


def test_load_config_file_that_shares_only_the_ending_is_not_near(tmp_path):
    """Every config ends in .json: that alone makes no name a likely one."""
    write(tmp_path, own={})
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path / "zzz.json")
    assert str(error.value) == (
        f"config error: {tmp_path / 'zzz.json'} is not a file\n"
        "  fix       give the path of a JSON config, such as config.json"
    )


def test_load_config_not_utf8_names_the_byte(tmp_path):
    """A file in another encoding is refused with the place of the first bad byte."""
    (tmp_path / "c.json").write_bytes('{"name": "Größe"}'.encode("latin-1"))
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path / "c.json")
    assert str(error.value) == (
        f"config error: {tmp_path / 'c.json'} is not UTF-8 text: invalid start byte at byte 12, "
        "line 1\n  fix       save it as UTF-8: editors ask for the encoding under Save as"
    )


# load_config: extends


def test_load_config_extends_lays_own_keys_over_the_base(tmp_path):
    """Own keys win, sections merge, `extends` itself is gone."""
    write(
        tmp_path,
        base={"name": "a", "trainer": {"epochs": 1, "verbosity": 0}},
        own={"extends": "base.json", "trainer": {"epochs": 5}},
    )
    assert load_config(tmp_path / "own.json").values == {"name": "a", "trainer": {"epochs": 5, "verbosity": 0}}


def test_load_config_extends_list_lets_the_later_file_win(tmp_path):
    """Several bases are laid over each other in their order."""
    write(tmp_path, one={"a": 1, "b": 1}, two={"b": 2, "c": 2}, own={"extends": ["one.json", "two.json"], "c": 3})
    assert load_config(tmp_path / "own.json").values == {"a": 1, "b": 2, "c": 3}


def test_load_config_extends_is_relative_to_the_file_that_says_it(tmp_path, monkeypatch):
    """A chain of files in several folders does not depend on the working directory."""
    (tmp_path / "configs" / "deep").mkdir(parents=True)
    write(tmp_path, base={"a": 1})
    write(tmp_path / "configs", middle={"extends": "../base.json", "b": 2})
    write(tmp_path / "configs" / "deep", own={"extends": "../middle.json", "c": 3})
    monkeypatch.chdir(tmp_path / "configs")
    assert load_config("deep/own.json").values == {"a": 1, "b": 2, "c": 3}


def test_load_config_same_base_twice_is_no_circle(tmp_path):
    """Two bases may extend the same file."""
    write(tmp_path, base={"a": 1}, left={"extends": "base.json"}, right={"extends": "base.json", "b": 2},
          own={"extends": ["left.json", "right.json"]})  # fmt: skip
    assert load_config(tmp_path / "own.json").values == {"a": 1, "b": 2}


def test_load_config_files_that_extend_each_other_are_refused(tmp_path):
    """A circle is named, file by file."""
    write(tmp_path, a={"extends": "b.json"}, b={"extends": "a.json"})
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path / "a.json")
    assert str(error.value) == (
        "config error: extends goes round in a circle: a.json -> b.json -> a.json\n"
        f"  from      {tmp_path / 'a.json'}"
    )  # fmt: skip


def test_load_config_missing_base_names_the_file_and_line_that_ask_for_it(tmp_path):
    """A base that is not there is reported with the place where it is named."""
    write(tmp_path, own={"name": "x", "extends": "no_such_base.json"})
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path / "own.json")
    assert str(error.value) == (
        f"config error: {tmp_path / 'no_such_base.json'} is not a file\n"
        f"  from      {tmp_path / 'own.json'}:3\n"
        "  fix       give the path of a JSON config, such as config.json"
    )


@pytest.mark.parametrize("bases", [5, None, {"a": 1}, [1], True], ids=str)
def test_load_config_extends_that_is_no_file_name_is_refused(tmp_path, bases):
    """Anything but a name or a list of names is a config error that shows the value."""
    write(tmp_path, own={"extends": bases})
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path / "own.json")
    assert str(error.value) == (
        "config error: extends has a value that does not fit\n"
        f"  from      {tmp_path / 'own.json'}:2\n"
        f"  got       {json.dumps(bases)}\n"
        "  expected  a file name, or a list of file names"
    )


def test_load_config_origins_after_merging_name_the_file_that_won(tmp_path):
    """Each value keeps the file and line it was written in, whichever file that is."""
    write(
        tmp_path,
        base={"optimizer": {"type": "Adam", "args": {"lr": 1, "eps": 2}}},
        own={"extends": "base.json", "optimizer": {"args": {"lr": 3}}},
    )
    tree = load_config(tmp_path / "own.json")
    paths = [("optimizer", "type"), ("optimizer", "args", "lr"), ("optimizer", "args", "eps")]
    assert [tree.origin(path) for path in paths] == [
        f"{tmp_path}/base.json:3",
        f"{tmp_path}/own.json:5",
        f"{tmp_path}/base.json:6",
    ]


# ConfigTree.merge


@pytest.mark.parametrize(
    ("under", "over", "merged"),
    [
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": {"x": 1}}, {"a": {"y": 2}}, {"a": {"x": 1, "y": 2}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"x": 1}}, {"a": 5}, {"a": 5}),
        ({"a": 5}, {"a": {"x": 1}}, {"a": {"x": 1}}),
        ({"a": {"x": 1}, "b": 2}, {"a": None}, {"b": 2}),
        ({"a": {"args": {"x": 1, "y": 2}}}, {"a": {"args": {"x": None}}}, {"a": {"args": {"y": 2}}}),
    ],
)
def test_merge_sections_merge_and_everything_else_is_replaced(under, over, merged):
    """Dicts merge key by key, lists and values are replaced, null removes."""
    tree = ConfigTree(copy.deepcopy(under))
    tree.merge(ConfigTree(over))
    assert tree.values == merged


def test_merge_changed_type_drops_the_old_args():
    """Arguments of one class mean nothing to another, the other keys of the section stay."""
    tree = ConfigTree({"lr_scheduler": {"type": "StepLR", "args": {"step_size": 5}, "interval": "step"}})
    tree.merge(ConfigTree({"lr_scheduler": {"type": "ExponentialLR", "args": {"gamma": 0.9}}}))
    expected = {"lr_scheduler": {"type": "ExponentialLR", "interval": "step", "args": {"gamma": 0.9}}}
    assert tree.values == expected


def test_merge_same_type_keeps_the_old_args():
    """Naming the same class again changes nothing."""
    tree = ConfigTree({"arch": {"type": "Net", "args": {"width": 5}}})
    tree.merge(ConfigTree({"arch": {"type": "Net", "args": {"depth": 2}}}))
    assert tree.values == {"arch": {"type": "Net", "args": {"width": 5, "depth": 2}}}


@given(OBJECTS)
def test_merge_with_an_empty_config_changes_nothing(values):
    """Laying {} over a config leaves values and origins as they are."""
    tree = parse_json(json.dumps(values, indent=1), "c.json")
    origins = dict(tree.origins)
    tree.merge(ConfigTree({}))
    assert (tree.values, tree.origins) == (values, origins)


@given(OBJECTS)
def test_merge_into_an_empty_config_gives_the_other(values):
    """Laying a config over {} gives that config, with its origins."""
    other, tree = parse_json(json.dumps(values, indent=1), "c.json"), ConfigTree({})
    tree.merge(other)
    assert (tree.values, tree.origins) == (other.values, other.origins)


@pytest.mark.parametrize("section", ["optimizer", "lr_scheduler"])
def test_merge_several_by_name_replace_a_single_one_and_the_other_way_round(section):
    """Else the result would be neither."""
    one, several = {"type": "SGD", "args": {"lr": 1}}, {"a": {"type": "Adam"}, "b": {"type": "SGD"}}
    for before, after in ((one, several), (several, one)):
        tree = parse_json(json.dumps({section: before}), "old.json")
        tree.merge(parse_json(json.dumps({section: after}), "new.json"))
        assert tree.values == {section: after}
        assert set(tree.origins.values()) == {"new.json:1"}
    tree = ConfigTree({section: {"a": {"type": "SGD"}, "b": {"type": "SGD"}}})
    tree.merge(ConfigTree({section: {"a": {"args": {"lr": 2}}}}))
    assert tree.values[section] == {"a": {"type": "SGD", "args": {"lr": 2}}, "b": {"type": "SGD"}}


def test_merge_result_shares_nothing_with_the_other():
    """Changing the merged config leaves the one that was laid over it alone."""
    other, tree = ConfigTree({"a": {"x": [1]}}), ConfigTree({})
    tree.merge(other)
    tree.values["a"]["x"].append(2)
    assert other.values == {"a": {"x": [1]}}


def test_merge_removed_value_loses_its_origin():
    """A value that is gone has the origin of what is around it, not that of the old file."""
    tree = parse_json('{"a": {"x": {"y": 1}}}', "old.json")
    tree.merge(parse_json('{"a": {"x": null}}', "new.json"))
    assert tree.origins == {("a",): "old.json:1"}


# ConfigTree.set and origin


@pytest.mark.parametrize(
    ("path", "values"),
    [
        (("a",), {"a": 9, "list": [1, {"args": {}}]}),
        (("a", "x"), {"a": {"x": 9}, "list": [1, {"args": {}}]}),
        (("b", "c", "d"), {"a": {"x": 1}, "list": [1, {"args": {}}], "b": {"c": {"d": 9}}}),
        (("list", "0"), {"a": {"x": 1}, "list": [9, {"args": {}}]}),
        (("list", "1", "args", "k"), {"a": {"x": 1}, "list": [1, {"args": {"k": 9}}]}),
        (("list", 0), {"a": {"x": 1}, "list": [9, {"args": {}}]}),
    ],
    ids=str,
)
def test_set_path_is_written_and_missing_sections_are_made(path, values):
    """A path leads through sections and list items; new sections appear on the way."""
    tree = ConfigTree({"a": {"x": 1}, "list": [1, {"args": {}}]})
    tree.set(path, 9, "command line")
    assert tree.values == values


@pytest.mark.parametrize("index", ["2", "-1", "x", "²"])
def test_set_item_a_list_does_not_have_is_refused(index):
    """A list is changed item by item, never extended."""
    tree = ConfigTree({"metrics": ["a", "b"]})
    with pytest.raises(ConfigError) as error:
        tree.set(("metrics", index), "c", "command line")
    assert str(error.value) == (
        f"config error: metrics.{index} asks for item {index} of a list\n"
        "  from      command line\n"
        "  expected  an index from 0 to 1, since metrics has 2 items"
    )
    assert tree.values == {"metrics": ["a", "b"]}


def test_set_in_an_item_that_is_not_named_says_how_to():
    """As `--lr` does where there are several optimizers."""
    with pytest.raises(ConfigError) as error:
        ConfigTree({"optimizer": [{"type": "Muon"}, {"type": "AdamW"}]}).set(("optimizer", "args", "lr"), 1, "here")
    assert str(error.value).endswith("\n  fix       say which item: optimizer.0.args.lr, for the first")


def test_set_through_a_value_is_refused():
    """A path cannot lead through a number."""
    tree = ConfigTree({"trainer": {"epochs": 3}})
    with pytest.raises(ConfigError) as error:
        tree.set(("trainer", "epochs", "x"), 1, "command line")
    assert str(error.value) == (
        "config error: trainer.epochs.x cannot be set: trainer.epochs is a value, not a section\n"
        "  from      command line\n"
        "  got       trainer.epochs = 3"
    )


@pytest.mark.parametrize(
    ("path", "value", "asked"),
    [
        (("a", "x"), 2, ("a", "x")),
        (("list", "0"), 2, ("list", 0)),
        (("a",), {"x": 2}, ("a", "x")),
        (("list",), [2], ("list", 0)),
    ],
    ids=["value", "list item", "value of a new section", "item of a new list"],
)
def test_set_value_has_the_new_origin(path, value, asked):
    """What was set, and all that is in it, comes from where it was set."""
    tree = parse_json('{"a": {"x": 1}, "list": [1]}', "c.json")
    tree.set(path, value, "command line")
    assert tree.origin(asked) == "command line"


def test_set_section_that_is_null_is_made():
    """`"lr_scheduler": null` says that there is none, so a path may make one."""
    tree = ConfigTree({"lr_scheduler": None})
    tree.set(("lr_scheduler", "type"), "StepLR", "command line")
    assert tree.values == {"lr_scheduler": {"type": "StepLR"}}


@pytest.mark.parametrize(
    ("path", "origin"),
    [(("a", "x"), "c.json:2"), (("a", "x", "y"), "c.json:2"), (("a", "z"), "c.json:1"), (("b",), None), ((), None)],
    ids=str,
)
def test_origin_unknown_path_is_that_of_the_nearest_section(path, origin):
    """A value without an origin of its own has that of what is around it."""
    assert parse_json('{"a": {\n"x": 1}}', "c.json").origin(path) == origin


def test_origin_of_a_key_with_a_dot_is_not_that_of_a_nested_one():
    """`"a.b"` and `b` within `a` are two values, each with its own line."""
    tree = parse_json('{\n"a": {\n"b": 1},\n"a.b": 2}', "c.json")
    assert (tree.origin(("a", "b")), tree.origin(("a.b",))) == ("c.json:3", "c.json:4")


def test_load_config_of_bases_that_double_is_refused(tmp_path):
    """Thirty files that each extend the next one twice would be read a thousand million times."""
    for number in range(30):
        write(tmp_path, **{f"c{number}": {"extends": [f"c{number + 1}.json"] * 2}})
    write(tmp_path, c30={})
    with pytest.raises(ConfigError, match="config error: extends leads to more than 1,000 files"):
        load_config(tmp_path / "c0.json")


def test_dotted_path_joins_names_and_indices():
    """Paths look as on the command line."""
    assert dotted(("metrics", 0, "args")) == "metrics.0.args"
