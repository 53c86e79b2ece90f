"""A study that is looked at: its table, its page, and what is in them of damaged and odd ones."""

import copy
import functools
import html
import json
import math
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from espalier.checkpoints.run_lock import LOCK_NAME
from espalier.errors import UserError
from espalier.report.compare import compare
from espalier.report.find import find_runs
from espalier.report.page import page
from espalier.report.table import sort_by_monitor
from espalier.search.axes import axes_of, category
from espalier.search.page import study_sections
from espalier.search.record import read_study, run_folders, study_among
from espalier.search.sections.charts import best_so_far, chart_data, importance
from espalier.search.summary import OVER_FOLDS
from espalier.search.to_optuna import fill_dashboard, importances
from espalier.search.trials_table import study_table, terminal_text
from tests.browser import chromium
from tests.espalier.search.studies import make_study, write_end, write_epoch
from tests.servers import free_port, wait_for

SPACE = {  # objects to choose from, with ranges of their own
    "optimizer": {
        "type": "choice",
        "choices": [
            {"type": "SGD", "args": {"lr": {"type": "float", "low": 1e-4, "high": 0.1, "log": True}}},
            {"type": "Adam", "args": {"lr": 0.001, "amsgrad": {"type": "choice", "choices": [True, False]}}},
        ],
    },
    "arch.args.dropout": {"type": "float", "low": 0, "high": 0.5},
    "seed": {"type": "int", "low": 1, "high": 9},
    "arch.args.file": {"type": "choice", "choices": [f"{'long' * 9}{number}" for number in range(2)]},
}
LABELS = ["0: SGD", "1: Adam"]


def params_of(draw):
    """What a trial of the space has; `draw` gives a number from 0 to 1."""
    found = {"optimizer": LABELS[draw() > 0.5], "arch.args.dropout": draw() / 2, "seed": 1 + int(8 * draw()),
             "arch.args.file": f"{'long' * 9}{int(draw() > 0.5)}"}  # fmt: skip
    if found["optimizer"] == LABELS[0]:
        return {**found, "optimizer.0.args.lr": 10 ** (-4 + 3 * draw())}
    return {**found, "optimizer.1.args.amsgrad": draw() > 0.5}


def add_trial(study, params, state="finished", value=0.5, epochs=2, reason="", output=""):
    """A trial that ended so, with the run it leaves; of state None one that was stopped."""
    trial = study.claim([each.number for each in study.trials()], lambda number: ({"seed": 1}, params))
    for epoch in range(epochs):
        write_epoch(trial, value if epoch else value / 2)
    if epochs:
        write_end(trial, "failed" if state == "failed" else "finished", reason)
    if state is not None:
        names = study.section.get("objectives") or ["max val_accuracy"]
        objectives = {each.split()[1]: value * (index + 1) for index, each in enumerate(names)}
        told = objectives if state == "finished" else {}
        trial.note(state=state, reason=reason, objectives=told, seconds=1.5, epochs=epochs)
    trial.output.write_text(output)
    return trial


def many_trials(root, number, epochs, **section):
    """Copies of one trial with other values; the better, the nearer the dropout is to 0.2."""
    study = search(root, num_trials=number, **section)
    first = add_trial(study, params_of(lambda: 0.2), epochs=1)
    for index in range(number):
        draw = iter([(index * step % 101) / 100 for step in (7, 13, 29, 37, 31)])
        params = params_of(lambda draw=draw: next(draw))
        value = round(1 - abs(params["arch.args.dropout"] - 0.2) - 0.001 * params["seed"], 4)
        folder = first.folder.with_name(f"{index:04d}")
        run = first.run_folder.with_name(first.run_folder.name.replace("0000", f"{index:04d}"))
        if index:
            shutil.copytree(first.folder, folder)
            shutil.copytree(first.run_folder, run)
        rows = [{"epoch": epoch, "loss": 1 / epoch, "val_loss": 2 / epoch, "val_accuracy": value * epoch / epochs,
                 "step": epoch, "seconds": 1.0} for epoch in range(1, epochs + 1)]  # fmt: skip
        (run / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        record = first.record | {"number": index, "params": params, "run": os.path.relpath(run, folder),
                                 "state": "pruned" if index % 5 == 3 else "finished", "seconds": 60.0 + index,
                                 "objectives": {"val_accuracy": value}, "epochs": epochs}  # fmt: skip
        (folder / "trial.json").write_text(json.dumps(record))
    return study


def look(study):
    """The study as report.py reads it, and its page."""
    opened = study_among([study.folder])
    runs, _ = find_runs(run_folders(study.folder))
    record = read_study(opened, runs)
    return record, page(compare(sort_by_monitor(runs)), record.name, before=study_sections(record))


def search(root, num_trials=8, **section):
    """A study of the space, without a trial."""
    return make_study(root, {"space": SPACE, "num_trials": num_trials, **section})


def data_of(text):
    """What the script of a page draws of the study."""
    return json.loads(re.search(r'<script id="data-study" type="application/json">(.*?)</script>', text, re.DOTALL)[1])


numbers = st.floats(0, 1)
outcomes = st.tuples(
    st.lists(numbers, min_size=5, max_size=5),
    st.sampled_from(["finished", "finished", "pruned", "failed", None]),
    st.sampled_from([0, 0.25, 1, -3.5, 1e-9, 1e30, math.nan, math.inf]),
    st.integers(0, 2),
)


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.lists(outcomes, max_size=6), mode=st.sampled_from(["max", "min"]))
def test_page_of_any_study_shows_each_trial_and_the_best_so_far(tmp_path_factory, drawn, mode):
    """None, one and several, with parameters that not all have, objects to choose from, and values such as NaN."""
    study = search(tmp_path_factory.mktemp("study"), objectives=[f"{mode} val_accuracy"])
    for places, state, value, epochs in drawn:
        left = iter(places)
        add_trial(study, params_of(lambda left=left: next(left)), state, value, epochs)
    record, text = look(study)
    table = study_table(record, means=False)
    assert sorted(row[0] for row in table.rows) == sorted(str(number) for number in range(len(drawn)))
    assert text.endswith("</html>\n")
    assert f"{record.num_done} of 8 trials done" in terminal_text(record)
    if not drawn:
        assert "data-study" not in text
        return
    shown_data = data_of(text)
    assert shown_data == json.loads(json.dumps(chart_data(record, axes_of(record))))
    assert "NaN" not in json.dumps(shown_data)
    best = dict(best_so_far(record, 0))
    seen = []
    for number, (_, state, value, _) in enumerate(drawn):
        if state == "finished" and math.isfinite(value):
            seen.append(value)
            assert (number in best) == (seen.index((max if mode == "max" else min)(seen)) == len(seen) - 1)
    if seen:
        assert [*best.values()][-1] == (max if mode == "max" else min)(seen)
    axes = axes_of(record)
    for trial, drawn_trial in zip(record.trials, shown_data["trials"], strict=True):
        for axis, place in zip(axes, drawn_trial["params"], strict=True):
            if axis.key not in trial.params:
                assert place is None
            elif axis.categories is not None:
                assert len({*axis.categories}) == len(axis.categories)
                assert axis.categories[place] == category(trial.params[axis.key])
            else:
                assert math.isclose(place, trial.params[axis.key], rel_tol=1e-5)


def test_finished_trial_with_a_value_that_is_no_number_counts_as_failed(tmp_path):
    """As of another version, which noted it; its page says so."""
    study = search(tmp_path)
    add_trial(study, {}, value=math.nan)
    record, text = look(study)
    assert [each.state for each in record.trials] == ["failed"]
    assert "trial.json does not have all objectives" in text


ODD = [None, -1, "x", [], {}, math.inf, [[1]], "\0", "y" * 5000, {"a": {"b": 1}}]


def places(value, path=()):
    """Every place in nested values."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["config.json", "trials/0000/trial.json"])
def test_page_of_a_study_with_any_odd_value_is_written_or_refused(tmp_path, name):
    """A file may be of another version, or changed by hand; each place gets some values in turn."""
    study = search(tmp_path, objectives=["max val_accuracy"])
    add_trial(study, params_of(lambda: 0.3))
    add_trial(study, params_of(lambda: 0.7), "failed", reason="ValueError: no")
    file = study.folder / name
    values = json.loads(file.read_text())
    refused = 0
    for number, path in enumerate(places(values)):
        for odd in (ODD[(number + shift) % len(ODD)] for shift in (0, 3, 7)):
            changed = {"all": copy.deepcopy(values)}
            *parents, last = ("all", *path)
            functools.reduce(lambda inner, key: inner[key], parents, changed)[last] = odd
            file.write_text(json.dumps(changed["all"]))
            try:
                record, text = look(study)
            except UserError:
                refused += 1
            else:
                assert text.endswith("</html>\n"), (path, odd)
                assert len(record.trials) + len(record.skipped) == 2
    assert refused == 0 or name == "config.json"


DAMAGE = {
    "cut": lambda path: path.write_text("{"),
    "gone": lambda path: path.unlink(),
    "bytes": lambda path: path.write_bytes(b"\xff\xfe"),
    "deep": lambda path: path.write_text("[" * 9999),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_trial_that_cannot_be_read_is_passed_over_and_told(tmp_path, damage):
    """The others stay."""
    study = search(tmp_path)
    for value in (0.1, 0.2, 0.3):
        add_trial(study, params_of(lambda value=value: value), value=value)
    damage(study.trial(1).folder / "trial.json")
    record, text = look(study)
    assert [each.number for each in record.trials] == [0, 2]
    assert len(record.skipped) == 1
    assert html.escape(record.skipped[0]) in text
    assert record.skipped[0].startswith("trial 1: its trial.json ")


FOLDS = [
    {"params": {"optimizer.args.lr": lr}, "num_samples": 1438, "metrics": {"val_loss": lr / 4}} for lr in (0.2, 0.4)
]
ODD_FOLDS = {
    "cut": "[{",
    "another form": '{"params": {}}',
    "no section": "[1]",
    "no metrics": '[{"params": {}, "num_samples": 3}]',
    "deep": "[" * 9999,
}


def test_metrics_over_the_samples_of_all_folds_are_a_table_in_terminal_and_page(tmp_path):
    """A row for each point of the grid, in the order of the trials."""
    study = make_study(tmp_path, {"folds": 2, "grid": {"optimizer.args.lr": [0.2, 0.4]}})
    for number in range(4):
        params = {"optimizer.args.lr": (0.2, 0.4)[number // 2], "fold": 1 + number % 2}
        add_trial(study, params, value=0.5)
    (study.folder / "out_of_fold.json").write_text(json.dumps(FOLDS[::-1]))
    record, text = look(study)
    assert record.skipped == []
    told = terminal_text(record).partition(f"{OVER_FOLDS}:\n")[2].splitlines()
    assert [line.split() for line in told] == [["lr", "samples", "val_loss"], ["0.2", "1438", "0.05"],
                                               ["0.4", "1438", "0.1"]]  # fmt: skip
    assert text.partition(OVER_FOLDS)[2].partition("</table>")[0].count(">1438</td>") == 2


@pytest.mark.parametrize("content", ODD_FOLDS.values(), ids=ODD_FOLDS.keys())
def test_metrics_over_folds_that_cannot_be_read_are_passed_over_and_told(tmp_path, content):
    """The trials stay."""
    study = make_study(tmp_path, {"folds": 2})
    add_trial(study, {"fold": 1})
    (study.folder / "out_of_fold.json").write_text(content)
    record, text = look(study)
    assert (len(record.trials), record.skipped) == (1, ["out_of_fold.json cannot be read"])
    assert OVER_FOLDS not in text and OVER_FOLDS not in terminal_text(record)


TRACEBACK = """Epoch 1/3\rEpoch 1/3 50%\rEpoch 1/3 done
Traceback (most recent call last):
  File "/home/me/thesis/trainer/trainer.py", line 7, in step
    connect("https://me:hunter2@host.org/x", token="abcdef")
\x1b[31mRuntimeError\x1b[0m: </script><b>CUDA out of memory
"""


def test_page_shows_why_trials_failed_and_nothing_private(tmp_path):
    """The last lines of the output, those of one reason once, as text."""
    study = search(tmp_path)
    for _ in range(3):
        add_trial(study, {}, "failed", reason="OutOfMemoryError: /home/me/x is full", output="y\n" * 9999 + TRACEBACK)
    add_trial(study, {}, "failed", reason="ValueError: password=hunter2")
    _, text = look(study)
    plain = html.unescape(text)
    assert "trials 0, 1, 2: OutOfMemoryError: .../x is full" in plain
    assert plain.count("CUDA out of memory") == 1
    assert "Epoch 1/3 done\nTraceback (most recent call last):\n" in plain
    assert "</script><b>" not in text
    for word in ("/home", "hunter2", "abcdef", "\x1b", str(tmp_path), "Epoch 1/3 50%"):
        assert word not in plain, word


def test_running_and_stopped_trials_are_told_apart(tmp_path):
    """By whether a process holds it, and whether it has a run; with their best value so far."""
    study = search(tmp_path)
    running, stopped = (add_trial(study, params_of(lambda: 0.2), None, value=0.25) for _ in range(2))
    add_trial(study, params_of(lambda: 0.2), None, epochs=0)
    (study.trial(stopped.number).folder / LOCK_NAME).write_text(
        f'{{"pid": {10**30}, "host": "{socket.gethostname()}"}}'
    )
    with study.trial(running.number).lock():
        record, _ = look(study)
        assert [each.state for each in record.trials] == ["running", "stopped", "waiting"]
        assert record.is_at_work
        assert [each.objectives for each in record.trials] == [{"val_accuracy": 0.25}, {"val_accuracy": 0.25}, {}]


def test_front_has_the_trials_than_which_none_is_better(tmp_path):
    """They are marked in the table and on the page, and come first."""
    study = search(tmp_path, objectives=["max val_accuracy", "min seconds"])
    for value in (0.5, 0.1, 0.9):
        trial = add_trial(study, params_of(lambda: 0.4), value=value)
        trial.note(objectives={"val_accuracy": value, "seconds": {0.5: 2, 0.1: 3, 0.9: 4}[value]})
    record, text = look(study)
    rows = study_table(record, means=False).rows
    assert [(row[0], row[2]) for row in rows] == [("2", "yes"), ("0", "yes"), ("1", "")]
    assert [each["isBest"] for each in data_of(text)["trials"]] == [True, False, True]
    assert 'id="front"' in text


def test_study_of_seeds_tells_the_mean_and_has_no_best(tmp_path):
    """In the terminal, in files with --seeds, and on the page."""
    study = make_study(tmp_path, {"grid": {"optimizer.args.lr": [0.1, 0.2]}, "seeds": 3})
    for number, point in enumerate(study.points):
        trial = study.claim([each.number for each in study.trials()], lambda number: (study.points[number],) * 2)
        write_epoch(trial, 0.5 + number / 10)
        write_end(trial)
        trial.note(state="finished", reason="", objectives={"val_accuracy": 0.5 + number / 10}, params=point)
    record, text = look(study)
    assert record.best == []
    means = study_table(record, means=True)
    assert means.columns == ["lr", "runs", "val_accuracy"]
    assert means.rows == [["0.1", "3", "0.6 ± 0.1 [0.3516, 0.8484]"], ["0.2", "3", "0.9 ± 0.1 [0.6516, 1.148]"]]
    assert means.rows[0][2] in terminal_text(record)
    assert means.rows[0][2] in text


@pytest.mark.slow
def test_page_of_three_hundred_trials_stays_small(tmp_path):
    """Under a megabyte and a half, with runs of fifty epochs, and it asks for nothing from elsewhere."""
    study = many_trials(tmp_path, 300, epochs=50)
    _, text = look(study)
    assert len(text.encode()) < 1_500_000
    assert {*re.findall(r"https?://[^\"'\s]+", text)} == {"http://www.w3.org/2000/svg"}


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["max", "min"])
def test_importance_is_that_of_the_parameter_that_matters(tmp_path, mode):
    """The larger part, whether high values are the good ones or low ones; a sentence of few trials."""
    pytest.importorskip("optuna")
    study = make_study(tmp_path, {"space": SPACE, "num_trials": 60, "objectives": [f"{mode} val_accuracy"]})
    add_trial(study, params_of(lambda: 0.5))
    assert "It takes 10 finished trials to tell; there are 1." in importance(look(study)[0])
    shutil.rmtree(tmp_path / "saved")
    record, _ = look(many_trials(tmp_path, 60, epochs=1, objectives=[f"{mode} val_accuracy"]))
    shares = importances(record)["val_accuracy"]
    assert set(shares) == {key for each in record.trials for key in each.params}
    assert max(shares, key=shares.get) == "arch.args.dropout"
    assert math.isclose(sum(shares.values()), 1)


def test_page_without_optuna_says_what_it_misses(tmp_path, monkeypatch):
    """The rest of it is there."""
    monkeypatch.setitem(sys.modules, "optuna", None)
    _, text = look(many_trials(tmp_path, 12, epochs=1))
    assert "<p>It takes Optuna to tell, which is not installed.</p>" in text
    assert text.endswith("</html>\n")


@pytest.mark.slow
def test_dashboard_database_has_each_trial_as_it_is(tmp_path):
    """State, values, parameters, curve; another copy replaces the first."""
    optuna = pytest.importorskip("optuna")
    study = search(tmp_path)
    for state in ("finished", "pruned", "failed", None):
        add_trial(study, params_of(lambda: 0.7), state, value=0.25)
    record, _ = look(study)
    path = tmp_path / "my board.db"
    for _ in range(2):
        command = fill_dashboard(record, path)
    assert command == f"optuna-dashboard 'sqlite:///{path}'"
    copied = optuna.load_study(study_name="Tiny/search", storage=f"sqlite:///{path}")
    states = [each.state.name for each in copied.trials]
    assert states == ["COMPLETE", "PRUNED", "FAIL", "WAITING"]
    assert copied.trials[0].value == 0.25
    assert [each.params for each in copied.trials] == [each.params for each in record.trials]
    assert copied.trials[1].intermediate_values == {1: 0.125, 2: 0.25}
    assert copied.trials[1].user_attrs["run"] == "search_0001"


def test_report_of_a_study_prints_its_trials_and_writes_them(run, tmp_path):
    """It is looked at alone; --dashboard is for a study."""
    study = search(tmp_path)
    add_trial(study, params_of(lambda: 0.2), value=0.25)
    add_trial(study, params_of(lambda: 0.7), "failed", reason="ValueError: no")
    done = run("report.py", study.folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Study Tiny/search: 2 of 8 trials done\n\ntrial  state     val_accuracy  optimizer")
    assert done.stdout.endswith("\n\nFailed: trial 1: ValueError: no\n")
    table, page = tmp_path / "t.csv", tmp_path / "p.html"
    done = run("report.py", study.folder, "--csv", table, "-o", page)
    assert done.stdout == f"Written: {table}\nWritten: {page}\n"
    assert table.read_text().splitlines()[1].startswith("0,finished,0.25,0: SGD,0.0003981,,0.1,2,")
    assert "<title>Tiny/search</title>" in page.read_text()
    done = run("report.py", study.folder, tmp_path)
    assert done.returncode == 2
    assert f"report error: {study.folder} is a study, which is looked at alone\n" in done.stderr
    done = run("report.py", tmp_path, "--dashboard", tmp_path / "x.db")
    assert done.returncode == 2
    assert "report error: --dashboard is for one study\n" in done.stderr


def test_report_of_a_study_without_a_trial_is_there(run, tmp_path):
    """In the terminal and as a page."""
    study = search(tmp_path)
    done = run("report.py", study.folder)
    assert (done.returncode, done.stdout) == (0, "Study Tiny/search: 0 of 8 trials done\n")
    assert "No trial yet." in look(study)[1]


@pytest.fixture
def browser():
    """Chromium without a window."""
    with chromium() as opened:
        yield opened


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
def test_study_in_a_browser_is_drawn_and_brushed(browser, tmp_path, width):
    """A mark for each trial, no error in the console, nothing wider than the screen; brush, sorting and links work."""
    study = many_trials(tmp_path, 40, epochs=3)
    study.trial(1).note(state="failed", reason="ValueError: no", objectives={})
    record, text = look(study)
    path = tmp_path / "study.html"
    path.write_text(text, encoding="utf-8")
    tab = browser.new_page(viewport={"width": width, "height": 800})
    said, asked = [], []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(path.as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    pruned = sum(each.state == "pruned" for each in record.trials)
    assert tab.locator("#history circle").count() == 39
    assert tab.locator("#history circle[fill=none]").count() == pruned
    assert tab.locator("#slices figure").count() == len(axes_of(record))
    ticks = tab.locator("#slices figure", has_text="over lr (log)").locator("text").all_text_contents()
    assert {"0.001", "0.01", "0.1"} <= {*ticks}
    axis = tab.locator("[data-axis=dropout]")
    axis.scroll_into_view_if_needed()
    box = axis.bounding_box()
    middle, height = box["x"] + box["width"] / 2, 262 - 28  # of the axis, from 0 to 0.5
    tab.mouse.move(middle, box["y"] + 8 + 0.56 * height)
    tab.mouse.down()
    tab.mouse.move(middle, box["y"] + 8 + 0.64 * height, steps=4)
    tab.mouse.up()
    within = {each.number for each in record.trials if 0.18 <= each.params["arch.args.dropout"] <= 0.22}
    assert 0 < len(within) < 40
    assert tab.locator("#kept").inner_text() == f"{len(within)} of 40 trials are within."
    rows = "[...document.querySelectorAll('#trials tbody tr:not([hidden])')].map(row => Number(row.dataset.trial))"
    assert {*tab.evaluate(rows)} == within
    assert tab.locator("#history circle:not(.faded)").count() == len(within)
    tab.mouse.click(middle, box["y"] + 20)
    assert len(tab.evaluate(rows)) == 40
    heading = tab.locator("#trials th", has_text="dropout")
    heading.click()
    assert tab.evaluate(rows)[0] == min(record.trials, key=lambda each: each.params["arch.args.dropout"]).number
    first = tab.locator("#history circle").first
    first.scroll_into_view_if_needed()
    first.hover(force=True)
    assert "trial 0, finished" in tab.locator("#history .tip").inner_text()
    heights = "Array.from(document.querySelectorAll('#history circle'), each => each.getAttribute('cy'))"
    before = tab.evaluate(heights)
    tab.check("#log-objectives")
    assert tab.evaluate(heights) != before
    tab.uncheck("#log-objectives")
    assert tab.evaluate(heights) == before
    tab.locator("#trials a", has_text="search_0007").click()
    tab.locator("#trials a", has_text="failed").click()
    opened = tab.evaluate("Array.from(document.querySelectorAll('details[open]'), each => each.id)")
    assert sorted(opened) == ["failure-1", "run-Tiny/search_0007"]
    assert said == []
    assert asked == [path.as_uri()]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_dashboard_of_optuna_lists_the_study_and_its_trials(browser, tmp_path):
    """By the command that is named; nothing is wrong in its console."""
    pytest.importorskip("optuna_dashboard")
    record, _ = look(many_trials(tmp_path, 12, epochs=2))
    program, url = shlex.split(fill_dashboard(record, tmp_path / "study.db"))
    port = free_port()
    command = [str(Path(sys.executable).with_name(program)), "--port", str(port), url]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, "optuna-dashboard")
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        said = []
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto(f"http://localhost:{port}/dashboard")
        tab.get_by_text("Tiny/search").first.click(timeout=60_000)
        tab.locator('a[href$="/trials"]').first.click(timeout=60_000)
        tab.get_by_text("search_0000").first.wait_for(timeout=60_000)
        text = tab.locator("body").inner_text()
        assert "arch.args.dropout" in text
        assert all(f"Trial {each.number}" in text for each in record.trials)
        assert said == []
    finally:
        server.terminate()
        server.wait()
