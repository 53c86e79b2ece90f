"""A console that lacks a character, that nobody reads, or that is not there costs no result."""

import os
import subprocess
import sys

import pytest

HEAD = """
import sys
sys.path.insert(0, {root!r})
from espalier.errors import UserError
from espalier.processes.command import errors_without_traceback
from espalier.journal.logging_setup import setup_logging
import logging
with errors_without_traceback():
    setup_logging({folder!r})
    {body}
"""
TALK = """
    for number in range(2000):
        print('é 損失', number)
        print('é 損失', number, file=sys.stderr)
        logging.info('é 損失 %d', number)
    logging.info('the end')
"""


@pytest.fixture
def shell(root, tmp_path):
    """Run such a script as a shell command does: exit code, stdout and stderr."""

    def run_script(body, how="", **env):
        (tmp_path / "script.py").write_text(
            HEAD.format(root=str(root), folder=str(tmp_path), body=body.strip()), encoding="utf-8"
        )
        command = f"{sys.executable} script.py {how}"
        env = {**os.environ, **env}
        result = subprocess.run(["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"], cwd=tmp_path, env=env,
                                capture_output=True)  # fmt: skip
        return result.returncode, result.stdout.decode(), result.stderr.decode()

    return run_script


@pytest.mark.parametrize(
    ("how", "num_lines"),
    [
        ("2>&1 | head -1", 1),
        (">&-", 0),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (("| head -1", 1), ("2>&-", 4001), (">&- 2>&-", 0), (">/dev/full", 0))
        ),
    ],
)
def test_console_that_is_closed_costs_nothing(shell, tmp_path, how, num_lines):
    """What can be shown is; nothing complains, and the log on disk is whole."""
    body = TALK if "2>" in how else TALK.replace("file=sys.stderr", "end=''")
    code, out, err = shell(body, how, PYTHONIOENCODING="utf-8")
    assert (code, err) == (0, "")
    assert num_lines == len(out.splitlines()) if "2>" in how or not out else out
    lines = (tmp_path / "info.log").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2001
    assert lines[-1].endswith("the end")


@pytest.mark.parametrize("env", [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "cp1252"},
                                 {"PYTHONIOENCODING": "ascii", "PYTHONUNBUFFERED": "1"},
                                 {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}])  # fmt: skip
def test_console_that_lacks_a_character_shows_an_escape(shell, tmp_path, env):
    """On both streams, by print, log and message; the log on disk has the characters."""
    code, out, err = shell("print('損'); logging.info('失'); raise UserError('損失')", **env)
    assert (code, out, err) == (2, "\\u640d\n\\u5931\n", "\\u640d\\u5931\n")
    assert (tmp_path / "info.log").read_text(encoding="utf-8").endswith("失\n")


def test_log_takes_names_that_are_no_text(shell, tmp_path):
    """A path may hold bytes of another encoding, which Python keeps as lone surrogates."""
    assert shell("logging.info('\\udcff')") == (0, "\\udcff\n", "")
    assert (tmp_path / "info.log").read_text(encoding="utf-8").endswith("\\udcff\n")


def test_file_that_is_opened_never_takes_the_place_of_a_closed_stream(shell, tmp_path):
    """Else what is printed would be written into it."""
    body = "file = open('data', 'w'); sys.stdout.write('x'); sys.stdout.flush(); sys.exit(file.fileno() <= 2)"
    assert shell(body, ">&- 2>&- <&-")[0] == 0
    assert (tmp_path / "data").read_text() == ""
