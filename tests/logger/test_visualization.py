"""TensorBoard: every value under the right tag, at the right step, and nothing before it is wanted."""

import errno
import itertools
import logging
import os
import shutil
import sys
import threading
from pathlib import Path

import pytest
import torch

from espalier.errors import UserError
from logger import TensorboardWriter

pytest.importorskip("tensorboard")
NULL = logging.getLogger("test")


def loaded(folder):
    """Everything in the event files of a folder, in the order of writing."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    files = sorted(Path(folder).glob("events.out.tfevents.*"))
    return [event for file in files for event in EventFileLoader(str(file)).Load()]


def events(folder):
    """(tag, step) of everything in the event files of a folder, in the order of writing."""
    return [(value.tag, event.step) for event in loaded(folder) for value in event.summary.value]


def curves(folder):
    """What TensorBoard shows of the scalars in a folder: (step, value) by tag."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    accumulator.Reload()
    tags = accumulator.Tags()["scalars"]
    return {tag: [(event.step, pytest.approx(event.value)) for event in accumulator.Scalars(tag)] for tag in tags}


@pytest.fixture
def writer(tmp_path):
    """An enabled writer into tmp_path, closed after the test."""
    writer = TensorboardWriter(tmp_path, NULL, True)
    yield writer
    writer.close()


# nothing before it is wanted


def test_writer_before_the_first_value_imports_and_writes_nothing(run, tmp_path, root):
    """A writer that gets no value costs no import and leaves no file."""
    code = (
        f"import sys, logging; sys.path.insert(0, {str(root)!r})\n"
        "from logger import TensorboardWriter\n"
        "writer = TensorboardWriter('runs', logging.getLogger(), True)\n"
        "writer.set_step(1); writer.flush(); writer.close()\n"
        "print([name for name in ('torch', 'tensorboard', 'numpy') if name in sys.modules])"
    )
    assert run("-c", code, cwd=tmp_path).stdout == "[]\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "use",
    [
        lambda writer: writer.set_step(3),
        lambda writer: writer.add_scalar("loss", 1.0),
        lambda writer: writer.add_curves({"train": {"loss": 1.0}}, 1),
        lambda writer: writer.add_image("image", object(), dataformats="HWC"),
        lambda writer: writer.add_graph(object(), object()),
        lambda writer: writer.add_hparams({"lr": 1}, {}),
        lambda writer: writer.anything_at_all(1, two=3),
        lambda writer: (writer.flush(), writer.close()),
    ],
)
def test_writer_disabled_does_nothing(tmp_path, use):
    """Every method may be called on a disabled writer, and no file is made."""
    writer = TensorboardWriter(tmp_path / "log", NULL, False)
    writer.set_step(1)
    use(writer)
    assert writer.writer is None
    assert list(tmp_path.iterdir()) == []


def test_writer_without_tensorboard_says_what_to_do(tmp_path, monkeypatch):
    """What was asked for and cannot be done is an error that the user can mend."""
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError) as error:
        TensorboardWriter(tmp_path, NULL, True).add_scalar("loss", 1.0)
    assert str(error.value) == (
        "tensorboard cannot be imported (import of torch.utils.tensorboard halted; None in sys.modules): "
        'pip install tensorboard, or write "tensorboard": false under trainer'
    )


def test_writer_private_name_is_an_attribute_error(tmp_path):
    """Copying or pickling, which ask for private names, open no file."""
    with pytest.raises(AttributeError):
        TensorboardWriter(tmp_path / "log", NULL, True)._anything  # noqa: B018
    assert list(tmp_path.iterdir()) == []


def test_writer_misspelt_method_is_an_attribute_error(writer):
    """A name that SummaryWriter does not have is missed at once."""
    with pytest.raises(AttributeError, match="add_scaler"):
        writer.add_scaler("loss", 1.0)


# tags and steps


def test_add_scalar_tag_carries_the_mode_and_the_step(writer, tmp_path):
    """A call names only tag and value: mode and step are known."""
    writer.set_step(3)
    writer.add_scalar("loss", 0.5)
    writer.set_step(4, "valid")
    writer.add_scalar("loss", 0.25)
    writer.close()
    assert curves(tmp_path) == {"loss/train": [(3, 0.5)], "loss/valid": [(4, 0.25)]}


def test_add_scalar_before_any_step_has_no_mode(writer, tmp_path):
    """Without set_step the tag stays as it is, at step 0."""
    writer.add_scalar("loss", 0.5)
    writer.close()
    assert curves(tmp_path) == {"loss": [(0, 0.5)]}


@pytest.mark.parametrize(
    "add",
    [
        lambda writer: writer.add_scalar("loss", 1.0, 9),
        lambda writer: writer.add_scalar("loss", 1.0, global_step=9),
        lambda writer: writer.add_scalar(tag="loss", scalar_value=1.0, global_step=9),
    ],
    ids=["positional", "keyword", "all keywords"],
)
def test_add_scalar_step_that_is_given_wins(writer, tmp_path, add):
    """A caller may say the step itself, in any way that SummaryWriter takes it."""
    writer.set_step(3)
    add(writer)
    writer.close()
    assert events(tmp_path) == [("loss/train", 9)]


IMAGE, BOX = torch.zeros(3, 4, 4), torch.tensor([[0, 0, 2, 2]])
CLOUD = torch.zeros(1, 3, 3)


@pytest.mark.parametrize(
    ("add", "tag"),
    [
        (lambda w: w.add_scalar("x", torch.tensor(1.0)), "x/valid"),
        (lambda w: w.add_text("x", "words"), "x/valid/text_summary"),
        (lambda w: w.add_tensor("x", torch.ones(2)), "x/valid"),
        (lambda w: w.add_image("x", IMAGE), "x/valid"),
        (lambda w: w.add_image("x", IMAGE.permute(1, 2, 0), dataformats="HWC"), "x/valid"),
        (lambda w: w.add_images("x", IMAGE[None]), "x/valid"),
        (lambda w: w.add_image_with_boxes("x", IMAGE, BOX), "x/valid"),
        (lambda w: w.add_pr_curve("x", torch.tensor([0, 1]), torch.tensor([0.1, 0.9])), "x/valid"),
        (lambda w: w.add_mesh("x", CLOUD, CLOUD), "x/valid_COLOR"),
        (lambda w: w.add_audio("x", torch.zeros(1, 100)), "x/valid"),
        (lambda w: w.add_histogram("x", torch.ones(3)), "x"),
        (lambda w: w.add_histogram("x", torch.ones(3), bins="auto"), "x"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_add_method_with_a_tag_gets_step_and_mode(writer, tmp_path, add, tag):
    """Each kind of data is written at the current step; histograms of parameters belong to no mode."""
    writer.set_step(7, "valid")
    add(writer)
    writer.close()
    written = events(tmp_path)
    assert {step for _, step in written} == {7}
    assert tag in {each for each, _ in written}


def test_add_embedding_without_labels_is_written_at_the_step(writer, tmp_path):
    """An embedding needs nothing but its matrix."""
    writer.set_step(7)
    writer.add_embedding(torch.zeros(3, 2))
    assert (tmp_path / "00007" / "default" / "tensors.tsv").is_file()


@pytest.mark.parametrize(
    "add",
    [
        lambda w: w.add_custom_scalars({"all": {"loss": ["Multiline", ["loss"]]}}),
        lambda w: w.add_custom_scalars_multilinechart(["loss"]),
        lambda w: w.add_custom_scalars_marginchart(["loss", "low", "high"]),
    ],
    ids=["layout", "multilinechart", "marginchart"],
)
def test_add_custom_scalars_has_no_step(writer, tmp_path, add):
    """The layout of charts belongs to no step, and is written without one."""
    writer.set_step(7)
    add(writer)
    writer.close()
    assert events(tmp_path) == [("custom_scalars__config__", 0)]


def test_add_scalars_draws_several_lines_into_one_chart(writer, tmp_path):
    """Each line is a run of its own below the log folder."""
    writer.set_step(7)
    writer.add_scalars("loss", {"a": 1.0, "b": 2.0})
    writer.close()
    assert curves(tmp_path / "loss_train_a") == {"loss/train": [(7, 1.0)]}


@pytest.mark.filterwarnings("ignore")
def test_add_graph_is_written(writer, tmp_path):
    """The graph of a model reaches the event file."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    writer.add_graph(torch.nn.Linear(2, 1), torch.zeros(1, 2))
    writer.close()
    (file,) = tmp_path.iterdir()
    assert any(event.HasField("graph_def") for event in EventFileLoader(str(file)).Load())


def test_add_hparams_is_written(writer, tmp_path):
    """Hyperparameters get a run of their own, as torch does it."""
    writer.set_step(7)
    writer.add_hparams({"lr": 0.1}, {"hparam/loss": 1.0}, run_name="trial")
    assert "_hparams_/session_start_info" in {tag for tag, _ in events(tmp_path / "trial")}


def test_add_figure_is_drawn_where_there_is_matplotlib(writer, tmp_path):
    """A figure is written under its tag; without matplotlib the error is about matplotlib."""
    writer.set_step(7)
    try:
        from matplotlib.figure import Figure
    except ImportError:
        with pytest.raises(ImportError, match="matplotlib"):
            writer.add_figure("x", object())
    else:
        writer.add_figure("x", Figure())
        writer.close()
        assert events(tmp_path) == [("x/train", 7)]


# set_step


def test_set_step_in_training_records_the_speed(writer, tmp_path):
    """From the second step on there is a curve of steps per second."""
    writer.set_step(0)
    writer.set_step(10)
    writer.close()
    ((tag, points),) = curves(tmp_path).items()
    assert tag == "steps_per_sec/train"
    assert [step for step, _ in points] == [10]


@pytest.mark.parametrize(
    "steps", [[(0, "valid"), (5, "valid")], [(0, "train"), (5, "valid")], [(5, "train"), (5, "train")], [(5, "train")]]
)
def test_set_step_elsewhere_records_no_speed(writer, tmp_path, steps):
    """Validation, a first step and a step that is the same have no speed."""
    for step, mode in steps:
        writer.set_step(step, mode)
    writer.close()
    assert list(tmp_path.iterdir()) == []


# curves


def test_add_curves_train_and_valid_are_neighbours(writer, tmp_path):
    """Two tags of one group in one run: TensorBoard shows them side by side, over the same axis."""
    writer.add_curves({"train": {"loss": 1.0, "lr": 0.1}, "valid": {"loss": 2.0}}, 10)
    writer.add_curves({"train": {"loss": 0.5, "lr": 0.1}, "valid": {"loss": 1.5}}, 20)
    writer.close()
    assert curves(tmp_path) == {
        "loss/train": [(10, 1.0), (20, 0.5)],
        "loss/valid": [(10, 2.0), (20, 1.5)],
        "lr/train": [(10, 0.1), (20, 0.1)],
    }


@pytest.mark.parametrize(("mode", "tag"), [("train", "loss/train"), ("", "loss")])
def test_add_curves_beside_a_curve_of_the_same_tag_has_one_of_its_own(writer, tmp_path, mode, tag):
    """A loop of a project that draws `loss` itself, batch by batch, keeps its curve; that of epochs is another."""
    for step in (1, 2):
        writer.set_step(step, mode)
        writer.add_scalar("loss", float(step))
    writer.add_curves({mode: {"loss": 1.5}}, 2)
    writer.close()
    found = curves(tmp_path)
    assert (found[tag], found[f"{tag}_epoch"]) == ([(1, 1.0), (2, 2.0)], [(2, 1.5)])


def test_purge_step_hides_what_a_stopped_run_wrote_later(tmp_path):
    """A run that goes on from step 3 shows its own points 4 and 5, not those of the run that was stopped."""
    for purge_step, values in ((None, {1: 1.0, 2: 2.0, 3: 3.0, 4: 40.0, 5: 50.0, 6: 60.0}), (4, {4: 4.0, 5: 5.0})):
        writer = TensorboardWriter(tmp_path, NULL, True)
        writer.purge_step = purge_step
        for step, value in values.items():
            writer.add_curves({"train": {"loss": value}}, step)
        writer.close()
    assert curves(tmp_path) == {"loss/train": [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0), (5, 5.0)]}


def test_add_curves_writes_the_points_of_a_second_together(writer, tmp_path, monkeypatch):
    """The first one at once, then once a second, and each with the time at which it was added."""
    now = [100.0]
    monkeypatch.setattr("espalier.journal.writer.monotonic", lambda: now[0])
    monkeypatch.setattr("espalier.journal.writer.time", lambda: 1000 + now[0])
    written = []
    for step, now[0] in enumerate([100.0, 100.1, 100.9, 101.0, 101.5], start=1):
        writer.add_curves({"train": {"loss": float(step)}}, step)
        writer.writer.flush()
        written.append(len(events(tmp_path)))
    assert written == [1, 1, 1, 4, 4]
    writer.close()
    assert curves(tmp_path) == {"loss/train": [(step, float(step)) for step in range(1, 6)]}
    times = [event.wall_time for event in loaded(tmp_path) if event.summary.value]
    assert times == [1100.0, 1100.1, 1100.9, 1101.0, 1101.5]


# flush and close


def test_flush_brings_everything_to_disk(writer, tmp_path):
    """After a flush the values can be read while the writer stays open."""
    writer.add_curves({"train": {"loss": 1.0}}, 1)
    writer.add_scalar("acc", 0.5)
    writer.flush()
    assert curves(tmp_path) == {"loss/train": [(1, 1.0)], "acc": [(0, 0.5)]}


def test_close_then_write_opens_the_log_again(writer, tmp_path):
    """A closed writer can be used again and loses nothing."""
    writer.add_scalar("loss", 1.0, 1)
    writer.close()
    writer.add_scalar("loss", 2.0, 2)
    writer.close()
    assert curves(tmp_path) == {"loss": [(1, 1.0), (2, 2.0)]}


def test_writer_property_is_the_summary_writer(writer):
    """The classic `trainer.writer.writer` is still there."""
    from torch.utils.tensorboard import SummaryWriter

    assert isinstance(writer.writer, SummaryWriter)
    assert writer.writer is writer.writer


# A disk that fails

FAILING = ("write", "flush", "close")


@pytest.fixture
def thread_errors(monkeypatch):
    """What threads ended with that nobody was told of, in place of a traceback on stderr."""
    found = []
    monkeypatch.setattr(threading, "excepthook", found.append)
    return found


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("operation", FAILING)
@pytest.mark.parametrize("number", [1, 2, 4])
def test_writer_on_a_disk_that_fails_says_so_once(
    tmp_path, monkeypatch, caplog, thread_errors, operation, number, code
):
    """Whatever fails, in the thread of TensorBoard or here, from the beginning or later: a line, and no more curves."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    real, calls = getattr(RecordWriter, operation), itertools.count(1)

    def fails(self, *args):
        if next(calls) >= number:
            raise OSError(code, os.strerror(code))
        return real(self, *args)

    monkeypatch.setattr(RecordWriter, operation, fails)
    writer = TensorboardWriter(tmp_path, logging.getLogger("trainer"), True)
    for step in range(1, 6):
        writer.set_step(step)
        writer.add_curves({"train": {"loss": 1.0}, "valid": {"loss": 1.0}}, step)
        writer.add_scalar("loss", 1.0)
        writer.add_text("words", "some")
        writer.flush()
    for _ in range(4):
        writer.close()
        writer.add_scalar("loss", 1.0)
    reason = os.strerror(code)
    assert caplog.messages == [f"TensorBoard could not be written to {tmp_path}: {reason}. The run goes on without."]
    assert (writer.enabled, writer.writer, thread_errors) == (False, None, [])


def test_writer_whose_folder_goes_says_so_once(tmp_path, caplog, thread_errors):
    """A folder that somebody removes in the middle of a run ends its curves."""
    writer = TensorboardWriter(tmp_path / "log", logging.getLogger("trainer"), True)
    writer.add_scalar("loss", 1.0)
    writer.flush()
    shutil.rmtree(tmp_path / "log")
    writer.add_scalar("loss", 2.0)
    writer.close()
    folder, reason = tmp_path / "log", os.strerror(errno.ENOENT)
    assert caplog.messages == [f"TensorBoard could not be written to {folder}: {reason}. The run goes on without."]
    assert thread_errors == []


def test_writer_that_cannot_be_opened_says_so_once(tmp_path, caplog):
    """A file where its folder should be: every way to open it is outlived."""
    (tmp_path / "log").write_text("in the way")
    for use in (
        lambda w: w.add_scalar("loss", 1.0),
        lambda w: w.add_curves({"": {"loss": 1.0}}, 1),
        lambda w: w.writer,
    ):
        writer = TensorboardWriter(tmp_path / "log", logging.getLogger("trainer"), True)
        assert use(writer) is None
        writer.add_image("image", object())
        assert writer.enabled is False
    assert len(caplog.messages) == 3


def test_writer_that_gets_no_thread_says_so_once(tmp_path, monkeypatch, caplog):
    """Where the system allows no more threads the run goes on without curves."""

    def start(self):
        raise RuntimeError("can't start new thread")

    writer = TensorboardWriter(tmp_path, logging.getLogger("trainer"), True)
    monkeypatch.setattr(threading.Thread, "start", start)
    for _ in range(2):
        writer.add_scalar("loss", 1.0)
    reason = "can't start new thread"
    assert caplog.messages == [f"TensorBoard could not be written to {tmp_path}: {reason}. The run goes on without."]


@pytest.mark.parametrize("error", [OSError(errno.EIO, "of another"), ValueError("no disk")], ids=repr)
def test_writer_leaves_other_errors_of_threads_to_whoever_tells_them(writer, thread_errors, error):
    """Only what TensorBoard raises again is left out."""

    def fail():
        raise error

    writer.add_scalar("loss", 1.0)
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    assert [each.exc_value for each in thread_errors] == [error]
