"""The writers of a run: one contract for all of them, kills and resumes, and failures that the run outlives."""

import csv
import json
import random
import sys
import threading
import time
import types
import uuid

import numpy as np
import pytest

from espalier.errors import ConfigError
from espalier.journal.writers.apart import keep_apart
from espalier.journal.writers.contract import Point, RunFacts, Writer
from espalier.journal.writers.csv_tables import Csv
from espalier.journal.writers.guard import Guarded
from espalier.journal.writers.rows import BatchesFile, point_of, read_batches
from espalier.journal.writers.writers import Writers, points_of_run
from espalier.training.run_config import RunConfig
from parse_config import ConfigParser
from tests import kill
from tests.kill import config_for, exit_code_of, make_loader, make_trainer, only_run

HERE = "tests.espalier.journal.test_writers"


class Told(Writer):
    """A writer of the user's that appends each call to a file in the run folder."""

    wants_files = True

    def __init__(self, note: str = ""):
        self.note, self.path = note, None

    def tell(self, *call):
        with self.path.open("a") as file:
            file.write(json.dumps(call) + "\n")

    def begin(self, run):
        self.path = run.folder / "told.txt"
        self.tell("begin", run.kept, [*run.points], [*run.undone])
        return run.kept or {"id": "first"}

    def values(self, points):
        self.tell("values", *points)

    def picture(self, name, image, step):
        self.tell("picture", name, [*image.shape], str(image.dtype), step)

    def text(self, name, text, step):
        self.tell("text", name, text, step)

    def file(self, path):
        self.tell("file", path.name)

    def rewind(self, run):
        self.tell("rewind", run.kept, [*run.points], [*run.undone])

    def end(self, state):
        self.tell("end", state)


class ToldInBackground(Told):
    """The same in a thread of its own."""

    in_background = True


class Failing(Told):
    """A writer whose methods fail after a while."""

    def __init__(self, method: str = "values"):
        super().__init__()
        self.method = method
        self.tell("__init__")

    def tell(self, call, *args):
        if call == self.method:
            raise ConnectionError("the server is gone")


class Hanging(ToldInBackground):
    """A writer that never comes back."""

    def values(self, points):
        threading.Event().wait()


def calls_in(run, *kinds):
    """What a `Told` was told, in order."""
    calls = [json.loads(line) for line in (run / "told.txt").read_text().splitlines()]
    return [call for call in calls if call[0] in (kinds or {each[0] for each in calls})]


def train(folder, writers, run_folder=None, steps_to_live=None, **trainer):
    """Train to the end, or until a kill after so many steps."""
    config = {**config_for(folder, log_step=1, **trainer), "writers": writers}
    made = make_trainer(config, make_loader(), run_folder)
    if steps_to_live is not None:
        update = made.update

        def dying(*args, **kwargs):
            if made.step >= steps_to_live:
                kill.kill_self()
            update(*args, **kwargs)

        made.update = dying
    made.train()
    return made


def table(path):
    """The rows of a csv file."""
    with path.open(newline="") as file:
        return [*csv.DictReader(file)]


def without_seconds(rows):
    """Rows without what the clock says."""
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody has killed."""
    folder = tmp_path_factory.mktemp("whole")
    train(folder, ["csv", {"type": f"{HERE}.Told"}])
    return only_run(folder)


def test_csv_has_the_rows_of_metrics_jsonl(whole):
    """Each line of metrics.jsonl is a line of metrics.csv with the same numbers, to the bit."""
    rows = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    found = table(whole / "metrics.csv")
    assert len(found) == len(rows) == 3
    for row, line in zip(rows, found, strict=True):
        (row["learning_rate"],) = row["learning_rate"]
        assert {name: float(value) for name, value in line.items()} == row


def test_batches_csv_has_the_loss_of_each_batch_that_was_looked_at(whole):
    """With a look at every batch, each step of the run has its loss there."""
    lines = table(whole / "batches.csv")
    assert [int(line["step"]) for line in lines] == list(range(1, 25))
    assert {line["name"] for line in lines} == {"loss_of_batch"}
    assert [int(line["epoch"]) for line in lines] == [1] * 8 + [2] * 8 + [3] * 8


def test_writer_is_told_all_of_a_run(whole):
    """Begin, model, points of batches and epochs with step and epoch, the files at the end."""
    calls = calls_in(whole)
    assert calls[0] == ["begin", None, [], []]
    assert calls[1][:2] == ["text", "model"] and "total" in calls[1][2]
    points = [Point(*each) for call in calls if call[0] == "values" for each in call[1:]]
    assert sorted(points, key=lambda each: each.step) == points_of_run(whole)
    assert calls[-3:] == [["file", "model_best.pth"], ["file", "last.pth"], ["end", "finished"]]
    assert json.loads((whole / "writers.json").read_text()) == {f"{HERE}.Told": {"id": "first"}}


@pytest.mark.parametrize(
    ("steps", "accumulate"),
    [(10, 1), *(pytest.param(steps, accumulate, marks=pytest.mark.slow)  # at other moments
                        for steps in (0, 2, 4, 10, 17) for accumulate in (1, 2)
                        if (steps, accumulate) != (10, 1))],
)  # fmt: skip
def test_killed_run_that_goes_on_has_the_tables_of_one_that_was_not(tmp_path, steps, accumulate):
    """Killed at any step: the same lines, none twice and none missing, whatever was written after the checkpoint."""
    train(tmp_path / "whole", ["csv"], accumulate=accumulate, epochs=5)
    whole, folder = only_run(tmp_path / "whole"), tmp_path / "killed"
    assert exit_code_of(lambda: train(folder, ["csv"], steps_to_live=steps, accumulate=accumulate, epochs=5)) == -9
    train(folder, ["csv"], only_run(folder), accumulate=accumulate, epochs=5)
    assert (only_run(folder) / "batches.csv").read_text() == (whole / "batches.csv").read_text()
    found, expected = (without_seconds(table(run / "metrics.csv")) for run in (only_run(folder), whole))
    assert found == expected


def test_killed_run_that_goes_on_keeps_what_the_writer_gave(tmp_path, whole):
    """The writer gets its id again, the points up to the checkpoint, and those that are made anew."""
    writers = [{"type": f"{HERE}.Told"}]
    assert exit_code_of(lambda: train(tmp_path, writers, steps_to_live=10)) == -9
    run = only_run(tmp_path)
    train(tmp_path, writers, run)
    begun = calls_in(run, "begin")
    _, kept, points, undone = begun[1]
    assert kept == {"id": "first"}
    points, undone = ([Point(*each) for each in each_list] for each_list in (points, undone))
    expected = [each for each in points_of_run(whole) if each.step <= 9]
    assert [clean(each) for each in points] == [clean(each) for each in expected]
    assert [(each.step, each.is_of_batch) for each in undone] == [(10, True)]


def clean(point):
    """A point without what the clock says."""
    return point._replace(values={name: value for name, value in point.values.items() if name != "seconds"})


@pytest.mark.parametrize("kind", ["Told", "ToldInBackground"])
def test_run_that_goes_on_tells_the_points_of_one_that_was_not_stopped(tmp_path, whole, kind):
    """What stood at the last begin, and what came then, are the points of the whole run."""
    writers = [{"type": f"{HERE}.{kind}"}]
    assert exit_code_of(lambda: train(tmp_path, writers, steps_to_live=13)) == -9
    train(tmp_path, writers, only_run(tmp_path))
    calls = calls_in(only_run(tmp_path))
    last = max(index for index, call in enumerate(calls) if call[0] == "begin")
    points = [*calls[last][2], *(each for call in calls[last:] if call[0] == "values" for each in call[1:])]
    points = sorted((Point(*each) for each in points), key=lambda each: each.step)
    assert [clean(each) for each in points] == [clean(each) for each in points_of_run(whole)]


def test_writer_added_to_a_run_that_goes_on_gets_its_epochs(tmp_path):
    """A run without writers goes on with one: it is given what metrics.jsonl has."""
    train(tmp_path, None)
    train(tmp_path, ["csv"], only_run(tmp_path), epochs=4)
    assert [row["epoch"] for row in table(only_run(tmp_path) / "metrics.csv")] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("method", ["__init__", "begin", "values", "end"])
def test_writer_that_fails_is_told_once_and_the_run_goes_on(tmp_path, caplog, method):
    """Whatever fails, the run ends as without, and the other writers have all."""
    train(tmp_path, [{"type": f"{HERE}.Failing", "args": {"method": method}}, "csv"])
    lines = [each.getMessage() for each in caplog.records if "failed" in each.getMessage()]
    assert lines == [f"The writer {HERE}.Failing failed in {method}: ConnectionError: the server is gone. "
                     "The run goes on without it."]  # fmt: skip
    assert len(table(only_run(tmp_path) / "metrics.csv")) == 3


METHODS = ["__init__", *(name for name, each in vars(Writer).items() if callable(each) and name[0] != "_")]


@pytest.mark.parametrize("in_background", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_whatever_fails_is_told_once_and_without_secrets(caplog, method, in_background):
    """A law over the constructor and all methods: the others are not called any more, and no login or key is shown."""
    caplog.set_level("DEBUG", logger="trainer")
    called = []

    def method_of(name):
        def work(self, *args):
            called.append(name)
            if name == method:
                raise ConnectionError("at https://me:hidden@host/?api_key=hidden&a=1 for Bearer hidden+hidden")

        return work

    kind = type("Bad", (Writer,), {**{name: method_of(name) for name in METHODS}, "in_background": in_background})
    guarded = Guarded("bad", kind, lambda kept: None)
    for name in METHODS[1:]:
        guarded.call(name, None)
    guarded.end("stopped")
    assert called == METHODS[: METHODS.index(method) + 1]
    told, traced = (each.getMessage() for each in caplog.records)
    assert told == (f"The writer bad failed in {method}: ConnectionError: at https://***@host/?api_key=***&a=1 "
                    "for Bearer ***. The run goes on without it.")  # fmt: skip
    assert "Traceback" in traced and 'raise ConnectionError("at' in traced
    assert "ConnectionError: at https://***@host/?api_key=***&a=1 for Bearer ***" in traced


def test_writer_that_cannot_be_made_of_its_config_is_refused(tmp_path):
    """A name or argument that is wrong, where nothing has checked the config before."""
    with pytest.raises(ConfigError, match="writers.0 is not in"):
        train(tmp_path, ["cvs"])


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), TypeError("no plain value")])
def test_writer_whose_id_cannot_be_kept_is_left_out(caplog, error):
    """What `begin` gives goes to a file, which may fail: that is the writer's, not the run's."""

    def keep(kept):
        raise error

    class Giving(Writer):
        def begin(self, run):
            return {"id": 1}

    guarded = Guarded("giving", Giving, keep)
    guarded.call("begin", None)
    guarded.call("values", [])
    (line,) = [each.getMessage() for each in caplog.records]
    assert line == (f"The writer giving failed in begin: {type(error).__name__}: {error}. The run goes on without it.")


def test_writer_that_hangs_does_not_hold_the_run(tmp_path, monkeypatch, caplog):
    """The run waits for it at the end only, and not for ever."""
    monkeypatch.setattr("espalier.journal.writers.guard.MOST_PATIENCE_S", 0.2)
    monkeypatch.setattr("espalier.journal.writers.guard.PATIENCE_S", 0.1)
    began = time.monotonic()
    train(tmp_path, [{"type": f"{HERE}.Hanging"}])
    assert time.monotonic() - began < 10
    assert sum("has not ended after" in each.getMessage() for each in caplog.records) == 1


def test_writer_that_fails_when_it_is_not_waited_for_any_more_is_not_told_again(monkeypatch, caplog):
    """It was told as left when somebody asked not to wait, at once; what its thread meets later is no news."""
    begun, gate = threading.Event(), threading.Event()

    class Slow(Writer):
        in_background = True

        def begin(self, run):
            begun.set()
            gate.wait()
            raise ConnectionError("the server is gone")

    guarded = Guarded("slow", Slow, lambda kept: None)
    guarded.call("begin", None)
    begun.wait()
    guarded.end("finished", lambda: True)
    gate.set()
    guarded._thread.join()
    assert [each.getMessage() for each in caplog.records] == [
        "The writer slow has not ended after 0 s and is left. Later: python report.py --sync slow RUN_FOLDER"
    ]


def test_client_of_a_tracker_has_a_random_generator_of_its_own(monkeypatch):
    """What it draws in its thread leaves the numbers of training as they are."""
    module = types.ModuleType("some_client.retry")
    module.random = random
    monkeypatch.setitem(sys.modules, "some_client.retry", module)
    state = random.getstate()
    keep_apart("some_client")
    assert 0 <= module.random.random() < 1 and module.random.choice("a") == "a"
    assert random.getstate() == state


def test_writer_that_is_behind_is_told_once(monkeypatch, caplog):
    """More calls than may wait are left out; the others are made."""
    monkeypatch.setattr("espalier.journal.writers.guard.MOST_WAITING", 3)
    gate, seen = threading.Event(), []

    class Slow(Writer):
        in_background = True

        def picture(self, name, image, step):
            gate.wait()
            seen.append(step)

    guarded = Guarded("slow", Slow, lambda kept: None)
    for step in range(10):
        guarded.call("picture", "a", np.zeros((1, 1, 3), np.uint8), step)
    gate.set()
    guarded.end("finished")
    assert 3 <= len(seen) <= 4 and seen == sorted(seen)
    assert sum("left out" in each.getMessage() for each in caplog.records) == 1


def test_points_that_wait_together_are_one_call():
    """A writer that is called in a thread gets what came meanwhile at once, between other calls in their order."""
    gate, seen = threading.Event(), []

    class Slow(Writer):
        in_background = True

        def begin(self, run):
            gate.wait()

        def values(self, points):
            seen.append([each.step for each in points])

        def text(self, name, text, step):
            seen.append(name)

    guarded = Guarded("slow", Slow, lambda kept: None)
    guarded.call("begin", None)
    for step in range(4):
        guarded.call("values", [Point(step, 1, {})])
    guarded.call("text", "a", "b", 4)
    guarded.call("values", [Point(5, 1, {})])
    gate.set()
    guarded.end("finished")
    assert seen == [[0, 1, 2, 3], "a", [5]]


def test_writer_is_given_a_secret_and_not_told_it(tmp_path, monkeypatch):
    """Its arguments have what the environment holds; the config that it may send on has the reference."""
    secret = uuid.uuid4().hex
    monkeypatch.setenv("ESPALIER_SECRET", secret)
    seen = []
    monkeypatch.setattr(Told, "begin", lambda self, run: seen.append((self.note, run.config["writers"])))
    monkeypatch.setattr(Told, "tell", lambda self, *call: None)
    path = tmp_path / "c.json"
    writers = [{"type": f"{HERE}.Told", "args": {"note": "${env:ESPALIER_SECRET}"}}]
    path.write_text(json.dumps({**config_for(tmp_path), "writers": writers}))
    monkeypatch.setattr("tests.kill.ConfigParser", lambda config, *args, **kwargs: ConfigParser.from_file(path))
    train(tmp_path, None)
    assert seen == [(secret, writers)]
    assert not any(secret.encode() in each.read_bytes() for each in only_run(tmp_path).iterdir() if each.is_file())


def test_writers_are_those_of_the_main_process(tmp_path):
    """Of several processes one writes."""
    config = RunConfig(ConfigParser({**config_for(tmp_path), "writers": ["csv"]}))
    assert Writers(config, None, is_mute=False).is_used
    assert not Writers(config, None, is_mute=True).is_used


def test_writers_list_decides_over_tensorboard(tmp_path):
    """Without `tensorboard` in the list there are no events; with it there are."""
    for name, writers, has_events in (("a", ["csv"], False), ("b", ["tensorboard"], True), ("c", [], False)):
        train(tmp_path / name, writers, tensorboard=True)
        assert any((tmp_path / name / "saved" / "log").rglob("events.out*")) == has_events


@pytest.mark.parametrize(
    ("writers", "path", "what"),
    [
        (["csv", {"type": "csv"}], "writers.1", "names a writer twice"),
        (["cvs"], "writers.0", "names nothing in espalier.journal.writers.named"),
        (["torch.nn.Linear"], "writers.0", "names torch.nn.Linear, a torch.nn.Module, which is no writer"),
        ([{"type": "csv", "args": {"sep": ";"}}], "writers.0.args.sep", "is not an argument"),
        ([{"type": "csv", "arg": {}}], "writers.0.arg", "is not a key"),
        ([3], "writers.0", "has a value that does not fit"),
        ("csv", "writers", "has a value that does not fit"),
        (["tensorboard"], "trainer.tensorboard", "switches off what writers asks for"),
    ],
)
def test_check_of_writers_finds(tiny_config, writers, path, what):
    """Faults of the section, with their place."""
    tiny_config["writers"], tiny_config["trainer"]["tensorboard"] = writers, False
    with pytest.raises(ConfigError) as error:
        checked(tiny_config)
    (problem,) = error.value.problems
    assert problem.path == path and what in problem.what


def checked(config):
    """A config as `train.py` checks it."""
    parser = ConfigParser(config)
    parser.check()
    return parser


def test_check_of_a_writer_without_its_package_names_the_extra(tiny_config, monkeypatch):
    """What to install is said before anything runs."""
    monkeypatch.setattr("espalier.config.writers.find_spec", lambda name: None)
    monkeypatch.setattr(Csv, "package", "wandb")
    tiny_config["writers"] = ["csv"]
    with pytest.raises(ConfigError) as error:
        checked(tiny_config)
    (problem,) = error.value.problems
    assert problem.what == "needs the package wandb, which is not installed"
    assert problem.fix == 'pip install -e ".[wandb]"'


def test_check_of_a_run_leaves_writers_out(tmp_path):
    """What `--check` does is no run that anybody looks at."""
    config = {**config_for(tmp_path), "writers": ["csv", {"type": f"{HERE}.Told"}]}
    made = make_trainer(config, make_loader())
    made.rehearse().epoch(2)
    assert {path.name for path in only_run(tmp_path).iterdir()} & {"told.txt", "batches.csv", "metrics.csv"} == set()


@pytest.mark.parametrize(
    ("row", "point"),
    [
        ({"epoch": 2, "step": 8, "loss": 0.5, "learning_rate": [0.1, 0.2], "seconds": 1.5},
         Point(8, 2, {"loss": 0.5, "learning_rate": 0.1, "learning_rate_1": 0.2, "seconds": 1.5})),
        ({"epoch": 2, "step": 0, "loss": None, "learning_rate": [], "seconds": 1}, Point(2, 2, {"seconds": 1})),
        ({"epoch": 1, "step": 0, "val_loss": 2.5}, Point(0, 1, {"val_loss": 2.5})),
        ({"epoch": 1, "step": 5, "val_loss": float("inf"), "note": "text", "many": [1, 2]}, Point(5, 1, {})),
    ],
)  # fmt: skip
def test_point_of_a_row(row, point):
    """Numbers alone; an evaluation before training is at step 0, a loop that counts no steps at its epoch."""
    assert point_of(row) == point


def test_batches_file_takes_torn_lines_back(tmp_path):
    """Half a line of a killed process looks like another number: it goes."""
    path = tmp_path / "batches.csv"
    file = BatchesFile(path)
    file.values([Point(step, 1, {"loss_of_batch": step / 3}, is_of_batch=True) for step in range(1, 5)])
    file.close()
    text = path.read_text()
    path.write_text(text[:-6])
    assert [each.step for each in read_batches(path)] == [1, 2, 3]
    assert BatchesFile(path).truncate(2) == [Point(3, 1, {"loss_of_batch": 1.0}, is_of_batch=True)]
    assert path.read_text() == "epoch,step,name,value\n" + "".join(text.splitlines(keepends=True)[1:3])


def test_batches_file_that_cannot_be_written_is_told_once(tmp_path, caplog):
    """A folder that is gone ends the file, not the run."""
    file = BatchesFile(tmp_path / "none" / "batches.csv")
    for step in (1, 2):
        file.values([Point(step, 1, {"loss_of_batch": 1.0}, is_of_batch=True)])
    assert sum("could not be written" in each.getMessage() for each in caplog.records) == 1


def test_csv_with_a_new_value_gets_a_column(tmp_path):
    """A value that only later epochs have is empty in the lines before."""
    writer = Csv()
    writer.begin(RunFacts("a", tmp_path, {}, None))
    writer.values([Point(1, 1, {"loss": 0.5})])
    writer.values([Point(2, 2, {"loss": 0.25, "val_loss": 1.0}), Point(2, 2, {"loss_of_batch": 1.0}, is_of_batch=True)])
    writer.values([Point(3, 3, {"val_loss": 2.0})])
    assert (tmp_path / "metrics.csv").read_text() == ("epoch,step,loss,val_loss\n1,1,0.5,\n2,2,0.25,1.0\n3,3,,2.0\n")
