"""Links by which TensorBoard shows runs under names that tell them apart."""

import pytest

from espalier.errors import UserError
from espalier.report.board import link_logs
from espalier.report.compare import compare
from espalier.report.find import find_runs
from tests.espalier.report.folders import make_run


def compared(root, *changes):
    """Runs with these changes, which have curves."""
    for number, change in enumerate(changes):
        folder = make_run(root, f"run{number}", **change)
        (root / "saved" / "log" / folder.parent.name / folder.name / "events.out.tfevents.1").touch()
    return compare(find_runs([root / "saved"])[0])


def linked(folder):
    """Where each link leads."""
    return {each.name: each.resolve().name for each in folder.iterdir()}


def test_links_are_called_by_what_differs(tmp_path):
    """And lead to the logs, also when all of it is moved."""
    runs = compared(tmp_path, {"optimizer__args__lr": 0.1}, {"optimizer__args__lr": 0.01, "seed": 2})
    folder = tmp_path / "saved" / "board"
    assert link_logs(runs, folder) == 2
    assert linked(folder) == {"seed=1 lr=0.1": "run0", "seed=2 lr=0.01": "run1"}
    (tmp_path / "saved").rename(tmp_path / "moved")
    assert all(list(each.glob("events*")) for each in (tmp_path / "moved" / "board").iterdir())


def test_links_of_before_are_removed(tmp_path):
    """A run that is gone, or has another name now, leaves none behind."""
    folder = tmp_path / "board"
    folder.mkdir()
    (folder / "old").symlink_to(tmp_path / "gone")
    link_logs(compared(tmp_path, {"seed": 1}, {"seed": 2}), folder)
    assert linked(folder) == {"seed=1": "run0", "seed=2": "run1"}


def test_links_have_names_that_files_may_have(tmp_path):
    """A value with a slash, and two that are one without it."""
    runs = compared(tmp_path, {"arch__type": "a/b"}, {"arch__type": "a:b"}, {"arch__type": "c"})
    link_logs(runs, tmp_path / "board")
    assert linked(tmp_path / "board") == {"type=a_b run0": "run0", "type=a_b run1": "run1", "type=c": "run2"}


def test_run_without_curves_has_no_link(tmp_path):
    """TensorBoard would show an empty row."""
    runs = compared(tmp_path, {"seed": 1})
    make_run(tmp_path, "other", seed=2)
    assert (
        link_logs(compare([*runs.runs, *find_runs([tmp_path / "saved/models/Net/other"])[0]]), tmp_path / "board") == 1
    )


def test_links_are_not_made_among_other_files(tmp_path):
    """A folder that holds something else is left as it is."""
    (tmp_path / "board").mkdir()
    (tmp_path / "board" / "mine.txt").touch()
    with pytest.raises(UserError) as error:
        link_logs(compared(tmp_path, {"seed": 1}), tmp_path / "board")
    assert str(error.value) == (
        f"report error: {tmp_path / 'board'} holds something else than links to runs\n"
        "  got       mine.txt\n"
        "  fix       name a folder of its own"
    )
    assert [each.name for each in (tmp_path / "board").iterdir()] == ["mine.txt"]


def test_report_makes_the_links_and_says_how_to_look(run, tmp_path):
    """The command line."""
    compared(tmp_path, {"seed": 1}, {"seed": 2})
    done = run("report.py", tmp_path / "saved", "--tensorboard", tmp_path / "board")
    assert done.stdout == f"2 runs by name: tensorboard --logdir {tmp_path / 'board'}\n"
    assert sorted(linked(tmp_path / "board")) == ["seed=1", "seed=2"]
