"""Log lines: to the console, and to info.log as soon as there is one."""

import logging
import re

import pytest

from logger import setup_logging


def messages(folder):
    """What stands in the info.log of a folder, without time, name and level."""
    lines = (folder / "info.log").read_text(encoding="utf-8").splitlines()
    return [line.split(" - ", 3)[3] for line in lines]


@pytest.fixture
def log():
    """A logger of its own, at INFO, put back after the test."""
    log = logging.getLogger("test_logger")
    log.setLevel(logging.INFO)
    yield log
    log.setLevel(logging.NOTSET)


def test_setup_logging_line_before_the_folder_reaches_the_file(tmp_path, log):
    """What was said before the run had a folder is written when it has one, first things first."""
    setup_logging()
    log.info("before")
    setup_logging(tmp_path)
    log.info("after")
    assert messages(tmp_path) == ["before", "after"]


def test_setup_logging_line_in_the_file_has_time_name_and_level(tmp_path, log):
    """The file says when, who and how serious."""
    setup_logging(tmp_path)
    log.warning("größer")
    text = (tmp_path / "info.log").read_text(encoding="utf-8")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - test_logger - WARNING - größer\n", text)


def test_setup_logging_second_run_has_a_file_of_its_own(tmp_path, log):
    """In a process that runs twice, each info.log holds the lines of its run."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        setup_logging(tmp_path / name)
        log.info("run %s", name)
    assert (messages(tmp_path / "one"), messages(tmp_path / "two")) == (["run one"], ["run two"])


def test_setup_logging_same_folder_again_goes_on_in_its_file(tmp_path, log):
    """A run that is continued appends to its log."""
    for line in ("first", "second"):
        setup_logging(tmp_path)
        log.info(line)
    assert messages(tmp_path) == ["first", "second"]


def test_setup_logging_many_calls_write_each_line_once(tmp_path, log, capsys):
    """Setting up again adds no second console."""
    for _ in range(3):
        setup_logging()
    setup_logging(tmp_path)
    log.info("once")
    assert messages(tmp_path) == ["once"]
    assert capsys.readouterr().out == "once\n"


def test_setup_logging_debug_line_of_a_verbose_logger_reaches_the_file(tmp_path, log):
    """A logger at DEBUG (verbosity 2) loses nothing on the way to info.log."""
    setup_logging(tmp_path)
    log.setLevel(logging.DEBUG)
    log.debug("detail")
    assert messages(tmp_path) == ["detail"]


def test_setup_logging_debug_line_of_other_loggers_stays_out(tmp_path):
    """Libraries at DEBUG do not fill the log."""
    setup_logging(tmp_path)
    logging.getLogger("some_library").debug("noise")
    assert messages(tmp_path) == []


@pytest.mark.slow
def test_setup_logging_keeps_more_lines_than_a_buffer_holds(tmp_path, log):
    """However much is said before there is a folder, nothing is dropped."""
    setup_logging()
    for number in range(10_100):
        log.info("%d", number)
    setup_logging(tmp_path)
    assert messages(tmp_path) == list(map(str, range(10_100)))


def test_setup_logging_file_is_where_it_was_said_whatever_the_working_directory(tmp_path, log, monkeypatch):
    """Changing the working directory later does not move the log."""
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path)
    setup_logging("run")
    monkeypatch.chdir("/")
    log.info("line")
    assert messages(tmp_path / "run") == ["line"]


def test_setup_logging_warnings_reach_the_file(run, tmp_path, root):
    """What Python code warns of stands in the log."""
    code = (
        f"import sys, warnings; sys.path.insert(0, {str(root)!r})\n"
        "from logger import setup_logging\n"
        f"setup_logging({str(tmp_path)!r}); warnings.warn('take care')"
    )
    assert run("-c", code, cwd=tmp_path).returncode == 0
    assert "take care" in (tmp_path / "info.log").read_text()


def test_setup_logging_bad_log_call_does_not_end_the_run(run, tmp_path, root):
    """A log line whose arguments do not fit is reported as logging does, and the program goes on."""
    code = (
        f"import sys, logging; sys.path.insert(0, {str(root)!r})\n"
        "from logger import setup_logging\n"
        "setup_logging(); logging.getLogger('x').info('%d steps', 'many'); print('still here')"
    )
    result = run("-c", code, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, "still here\n")


def test_setup_logging_reader_that_went_away_does_not_end_the_run(tmp_path, root):
    """`python train.py | head` closes stdout; the run goes on, and its info.log is whole."""
    import subprocess
    import sys

    code = (
        f"import sys, logging; sys.path.insert(0, {str(root)!r})\n"
        "from logger import setup_logging\n"
        f"setup_logging({str(tmp_path)!r}); sys.stdin.readline()\n"
        "for line in range(3): logging.getLogger('x').info('line %d', line)\n"
        "sys.stderr.write('done')"
    )
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    process.stdout.close()
    error = process.communicate("go\n", timeout=60)[1]
    assert "done" in error
    assert messages(tmp_path) == ["line 0", "line 1", "line 2"]


def test_log_line_with_control_characters_shows_them_as_escapes(tmp_path, capsys):
    """What a file of a stranger holds steers no terminal, neither from the console nor by `cat info.log`."""
    setup_logging(tmp_path)
    logging.getLogger("trainer").warning("Not in the checkpoint: %s.", "\x1b[2Jlayer\x07")
    shown = "Not in the checkpoint: \\x1b[2Jlayer\\x07."
    assert capsys.readouterr().out == f"{shown}\n"
    assert (tmp_path / "info.log").read_text().endswith(f" - trainer - WARNING - {shown}\n")
