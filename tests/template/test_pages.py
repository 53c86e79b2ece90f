"""The pages for learners, without training: configs pass the check, the Korean pages give the same commands."""

import json
import re
import shutil

import pytest

from espalier.errors import ConfigError
from parse_config import ConfigParser
from tests.template.walk import FILE, blocks_of, commands_in, matches

TRANSLATED = {"ko/index.md": "index.md", "ko/first-project.md": "tutorials/first-project.md"}


def without_comments(text):
    """A block as a machine reads it."""
    return re.sub(r"(^|\s)\s*(#|//) (?![\w./-]+\.(py|json)).*", "", text)


@pytest.mark.parametrize("page", TRANSLATED)
def test_translated_page_has_the_blocks_of_the_original(root, page):
    """The same commands, files and outputs, in the same order; comments may be translated."""
    pages = root / "docs" / page, root / "docs" / TRANSLATED[page]
    there, here = ([(language, without_comments(text)) for language, text in blocks_of(each)] for each in pages)
    assert len(here) > 4 and there == here


@pytest.mark.parametrize("page", TRANSLATED)
def test_translated_page_has_as_many_headings_as_the_original(root, page):
    """No section of the one is missing in the other."""
    texts = [(root / "docs" / each).read_text(encoding="utf-8") for each in (page, TRANSLATED[page])]
    assert len({len(re.findall(r"^#+ ", text, re.MULTILINE)) for text in texts}) == 1


@pytest.mark.parametrize("page", ["howto/out-of-memory", "tutorials/transfer-learning", "tutorials/several-gpus"])
def test_fragments_of_a_config_pass_the_check(root, tmp_path, monkeypatch, page):
    """Each, laid over config.json."""
    monkeypatch.chdir(root)
    fragments = [text for language, text in blocks_of(root / "docs" / f"{page}.md") if language == "json"]
    assert fragments
    for text in fragments:
        path = tmp_path / "fragment.json"
        path.write_text(json.dumps({"extends": str(root / "config.json"), **json.loads(f"{{{text}}}")}))
        assert faults_of(ConfigParser.from_file(path)) == []


def test_configs_of_the_pages_have_no_unknown_key(root, tmp_path):
    """Each config that a page tells its reader to write, but for the classes that other blocks of the page bring."""
    shutil.copy(root / "config.json", tmp_path / "config.json")
    count = 0
    for page in sorted([*(root / "docs/tutorials").glob("*.md"), *(root / "docs/howto").glob("*.md")]):
        for _, text in blocks_of(page):
            if (named := FILE.match(text)) is not None and named[1].endswith(".json"):
                path = tmp_path / named[1]
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
                ConfigParser.from_file(path).check_keys()
                count += 1
    assert count > 6


def faults_of(config):
    """What the check says, but that there are no GPUs."""
    try:
        config.check()
    except ConfigError as error:
        return [each for each in error.problems if each.path != "n_gpu"]
    return []


ERROR = "data error: x.csv has no column 'prise'\n  from      a.json:10\n  expected  one of: area, price\n"
TABLE = "Run saved/models/First/20261201_024317.\nrun  state     loss\nA    finished  0.5\nB    failed    0.25\n"


@pytest.mark.parametrize(
    ("shown", "printed", "is_so"),
    [
        (ERROR, f"Seed 1.\n{ERROR}", True),
        (ERROR, ERROR.replace("a.json:10", "a.json:11"), False),
        (ERROR, ERROR.replace("area, price", "price, area"), False),
        ("data error: x.csv has no column 'prise'\n...\n  expected  one of: ...\n", ERROR, True),
        ("data error: x.csv has no column 'prise'\n  expected  one of: ...\n", ERROR, False),
        ("run loss state\nB 0.3 failed\n...\nA 0.6 finished\n", TABLE, True),
        ("run loss state\nB 0.3 finished\nC 0.6 failed\n", TABLE, False),
        ("run loss\n", TABLE, False),
    ],
)
def test_what_a_page_shows_is_told_from_what_is_not_so(shown, printed, is_so):
    """Messages by the letter, tables by their words; numbers and the order of rows may differ in these."""
    assert matches(shown, printed) is is_so


def test_commands_of_a_block_are_without_comments():
    """A line that ends in a backslash goes on; quotes hold."""
    text = "cd x  # there\n\npython a.py \\\n    'b c=\"#\"'\n# nothing\n"
    assert commands_in(text) == [["cd", "x"], ["python", "a.py", 'b c="#"']]


def test_examples_that_pages_offer_are_there(root):
    """Each name after `--example`, and of the list in the page on data."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in (root / "docs").rglob("*.md")}
    named = {name for text in texts.values() for name in re.findall(r"--example ([a-z_]+)", text)}
    (listed,) = re.findall(r"--example NAME`: (.*) and more", texts["own-data.md"])
    names = named | {*re.findall(r"`(\w+)`", listed)}
    assert len(names) > 5 and names <= {path.name for path in (root / "examples").iterdir()}
