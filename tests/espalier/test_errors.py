"""The shape of messages, and how commands show them."""

import ast
import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    Problem,
    TrainingError,
    UserError,
    are,
    chain_of,
    closest,
    counted,
    explain,
    printable,
    shorten,
)


def test_explain_gives_a_line_for_each_answer():
    """Answers stand under the head in their order, and None leaves its line out."""
    assert explain("head", "c.json:3", got="1", expected=None, fix="write 2") == (
        "head\n"
        "  from      c.json:3\n"
        "  got       1\n"
        "  fix       write 2"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Größe 3 µm, 精度\n\tnext", "Größe 3 µm, 精度\n\tnext"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("a\rb\x9b31m\x00", "a\\rb\\x9b31m\\x00"),
        ("\u202egnp.exe\u2028", "\\u202egnp.exe\\u2028"),
        ("\udc1b", "\\udc1b"),
    ],
)
def test_printable_escapes_what_would_steer_a_terminal(text, shown):
    """Letters of any language, line ends and tabs stay; control characters become escapes, in messages too."""
    assert printable(text) == shown
    assert "\x1b" not in explain(text, got=text)


def test_problem_with_every_answer_has_the_five_line_shape():
    """All five questions are answered in the order of the house."""
    problem = Problem("a.b", "is wrong", "c.json:3", "1", "one of: x", "x", 'write "x"')
    assert str(problem) == (
        "config error: a.b is wrong\n"
        "  from      c.json:3\n"
        "  got       1\n"
        "  expected  one of: x\n"
        "  closest   x\n"
        '  fix       write "x"'
    )


def test_config_error_lists_all_problems_by_path():
    """Several faults come in one message, sorted."""
    assert str(ConfigError([Problem("b", "is wrong"), Problem("a.c", "is worse", got="1")])) == (
        "config error: a.c is worse\n"
        "  got       1\n"
        "config error: b is wrong"
    )  # fmt: skip


@pytest.mark.parametrize("kind", [CheckpointError, ConfigError, DataError, TrainingError])
def test_user_errors_are_value_errors(kind):
    """Code that knows nothing of this framework can catch them as ValueError."""
    assert issubclass(kind, UserError)
    assert issubclass(kind, ValueError)


@pytest.mark.parametrize(
    ("word", "known", "near"),
    [("learning_rate", ["lr", "learn_rate"], "learn_rate"), ("Addam", ["Adam", "AdamW"], "Adam"), ("zzz", ["lr"], None),
     ("a", [], None)],
)  # fmt: skip
def test_closest_gives_the_nearest_word_or_none(word, known, near):
    """Only a word that is really like the given one is proposed."""
    assert closest(word, known) == near


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", '"a"'), (0.01, "0.01"), (None, "null"), ([1, {"a": True}], '[1, {"a": true}]'), ({1, }, "\"{1}\"")],
)  # fmt: skip
def test_shorten_value_is_json_text(value, text):
    """Values look as in the config; what has no JSON form is shown by its repr."""
    assert shorten(value) == text


@given(st.text() | st.lists(st.integers()), st.integers(5, 100))
def test_shorten_never_exceeds_the_width(value, width):
    """A long value is cut, with dots where something is missing."""
    text = shorten(value, width)
    assert len(text) <= width
    assert text == shorten(value, 10**9) or text.endswith("...")


def test_chain_of_an_error_that_led_to_itself_ends():
    """An error that is raised again, from what it led to, has itself among its causes."""
    first, second = ValueError("first"), RuntimeError("second")
    second.__cause__, first.__cause__ = first, second
    assert [*chain_of(first)] == [first, second]
    assert [*chain_of(None)] == []


@pytest.mark.parametrize(
    ("number", "noun", "words"),
    [(0, "step", "0 steps"), (1, "step", "1 step"), (1, "batch", "1 batch"), (2, "epoch", "2 epochs"),
     (1200, "batch", "1,200 batches"),
     (2, "process", "2 processes"), (2, "box", "2 boxes"), (2, "category", "2 categories"),
     (2, "training sample", "2 training samples")],
)  # fmt: skip
def test_counted_follows_the_number(number, noun, words):
    """One is singular, and so is its verb."""
    assert counted(number, noun) == words
    assert are(number) == ("is" if number == 1 else "are")


ROOT = Path(__file__).resolve().parents[2]
NOUNS = (
    "batche|bin|bit|boxe|checkpoint|classe|column|core|dimension|epoch|feature|gap|image|input|item|output|"
    "parameter|part|passe|point|processe|row|sample|schedule|step|target|text|token|value|view|weight|window|worker"
)
PLURAL = re.compile(f" (?:(?:more|training|validation|input|optimizer) )?(?:{NOUNS})s\\b")
# More than one, whatever comes; or a number from a file of anybody's, which may be none.
NEVER_ONE = {
    "bounds.py": {"num_values"},
    "pickle_bounds.py": {"copied"},
    "plain.py": {"value.bit_length()"},
    "batch.py": {"', '.join(counts)"},
    "command_line.py": {"trial[1]", "given[name]"},
    "mixture.py": {"sum(counts)"},
    "shards.py": {"own.num_shards"},
    "single_samples.py": {"processes"},
    "faults.py": {"len(series)"},
    "labels.py": {"len(self.raw)"},
    "text.py": {"max_length"},
    "windows.py": {"self.length"},
    "counts.py": {"num_classes", "len(names)"},
    "table.py": {"width"},
    "findings.py": {"each['count']"},
    "details.py": {"test.get('num_samples')", "entry['processes']", "number(steps[-1] / run.seconds)"},
    "average.py": {"epochs"},
    "table_inputs.py": {"where"},
    "targets.py": {"high + 1"},
    "check.py": {"TIMED"},
    "data_check.py": {"values.numel()", "count"},
    "duplicates.py": {"count"},
}


def test_messages_count_in_words_that_follow_the_number():
    """No text puts a number before a plural by itself, where it might be one: `counted` does."""
    files = [ROOT / "test.py", *(ROOT / "base").rglob("*.py"), *(ROOT / "espalier").rglob("*.py")]
    found = set()
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    for path in (each for each, text in texts.items() if re.search("}" + PLURAL.pattern, text)):
        for node in ast.walk(ast.parse(texts[path])):
            pieces = node.values if isinstance(node, ast.JoinedStr) else ()
            for number, text in pairwise(pieces):
                if isinstance(number, ast.FormattedValue) and isinstance(text, ast.Constant):
                    expression = ast.unparse(number.value)
                    if PLURAL.match(text.value) and expression not in NEVER_ONE.get(path.name, ()):
                        found.add(f"{path.relative_to(ROOT)}:{number.lineno}: {expression}{text.value[:30]}")
    assert found == set()
