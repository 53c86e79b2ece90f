"""What a run shows in TensorBoard."""

import logging

import numpy as np
import pytest
import torch

from espalier.config.schema import TENSORBOARD
from espalier.journal.tensorboard import SWITCHES, Board
from espalier.journal.writers.contract import Point
from espalier.journal.writers.rows import point_of
from espalier.json_file import plain_value
from logger import TensorboardWriter

accumulating = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
pytestmark = pytest.mark.filterwarnings("ignore")  # the tracer of torch is deprecated, TensorBoard needs it


@pytest.fixture
def board(tmp_path):
    """A function that makes a board writing to tmp_path, with these switches."""
    writers = []

    def make(switches=True, enabled=True):
        writers.append(TensorboardWriter(tmp_path, logging.getLogger("test"), enabled))
        return Board(writers[-1], switches)

    yield make
    for writer in writers:
        writer.close()


def shown(board):
    """What TensorBoard finds in the log folder of a board."""
    board.writer.flush()
    accumulator = accumulating.EventAccumulator(str(board.writer.log_dir))
    accumulator.Reload()
    return accumulator


def epoch(board, step, log, rates):
    """The numbers of an epoch, as the journal hands them on."""
    row = {**log, "step": step, "learning_rate": rates, "seconds": 1.0}
    board.values([point_of(plain_value(row))])


def batch(board, step, loss):
    """The loss of a batch, as the journal hands it on."""
    board.values([Point(step, 1, {"loss_of_batch": loss}, is_of_batch=True)])


def points(board):
    """(step, value) by tag."""
    found = shown(board)
    return {tag: [(e.step, pytest.approx(e.value)) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]
            if not tag.startswith("speed/")}  # fmt: skip


def test_board_epoch_draws_training_and_validation_side_by_side(board):
    """`loss` and `val_loss` are two charts of the group `loss`, over optimizer steps; the epoch is no curve."""
    board = board()
    epoch(board, 40, {"epoch": 1, "loss": 1.0, "acc": 0.5, "val_loss": 2.0}, [0.1])
    epoch(board, 80, {"epoch": 2, "loss": 0.5, "acc": 0.6, "val_loss": 1.0}, [0.01])
    assert points(board) == {
        "loss/train": [(40, 1.0), (80, 0.5)],
        "loss/valid": [(40, 2.0), (80, 1.0)],
        "acc/train": [(40, 0.5), (80, 0.6)],
        "learning_rate": [(40, 0.1), (80, 0.01)],
    }


def test_board_epoch_draws_each_learning_rate(board):
    """Parameter groups have a curve each."""
    board = board()
    epoch(board, 1, {"epoch": 1}, [0.1, 0.2])
    assert points(board) == {"learning_rate": [(1, 0.1)], "learning_rate_1": [(1, 0.2)]}


@pytest.mark.parametrize(
    "value", [1, 1.0, np.float64(1), np.float32(1), torch.tensor(1.0)], ids=lambda v: type(v).__name__
)
def test_board_epoch_any_number_is_a_curve(board, value):
    """A log value that metrics.jsonl takes for a number is drawn too."""
    board = board()
    epoch(board, 1, {"epoch": 1, "loss": value}, [])
    assert points(board) == {"loss/train": [(1, 1.0)]}


def test_board_epoch_value_that_is_no_number_is_left_out(board):
    """Text in the log has no curve, and the others have theirs."""
    board = board()
    epoch(board, 1, {"epoch": 1, "note": "text", "many": [1, 2], "loss": 1.0}, [])
    assert points(board) == {"loss/train": [(1, 1.0)]}


def test_board_batch_draws_the_loss_of_a_batch(board):
    """Between epochs the loss of single batches is a curve of its own."""
    board = board()
    batch(board, 3, 0.5)
    assert points(board) == {"loss/batch": [(3, 0.5)]}


def test_board_images_shows_the_predictions(board):
    """A batch of images becomes one picture at the step."""
    board = board()
    board.images(5, torch.rand(2, 1, 8, 8), torch.eye(2), torch.tensor([0, 1]))
    (image,) = shown(board).Images("predictions")
    assert (image.step, image.width, image.height) == (5, 132, 80)


def test_board_images_inputs_that_are_no_images_are_left_out(board):
    """Tokens give no picture and no error."""
    board = board()
    board.images(5, torch.zeros(2, 7, dtype=torch.int64), torch.eye(2), torch.tensor([0, 1]))
    assert shown(board).Tags()["images"] == []


def test_board_histograms_shows_every_parameter(board):
    """Each parameter has a distribution under its name."""
    board = board()
    board.histograms(5, torch.nn.Linear(2, 1))
    assert shown(board).Tags()["histograms"] == ["parameters/weight", "parameters/bias"]


def test_board_histograms_parameter_that_is_not_finite_is_left_out(board):
    """A NaN in one parameter hides neither the others nor the run."""
    model = torch.nn.Linear(2, 1)
    model.weight.data[0, 0] = torch.nan
    board = board()
    board.histograms(5, model)
    assert shown(board).Tags()["histograms"] == ["parameters/bias"]


def test_board_histograms_empty_parameter_is_no_error(board):
    """A layer without any weight does not end the run."""
    board = board()
    board.histograms(5, torch.nn.Linear(0, 1))
    assert "parameters/bias" in shown(board).Tags()["histograms"]


def test_board_graph_is_written(board):
    """The graph of the model can be looked at, where that is asked for: tracing it takes as long as many steps."""
    board = board({"graph": True})
    board.graph(torch.nn.Linear(2, 1), torch.zeros(4, 2))
    assert shown(board).Tags()["graph"] is True


@pytest.mark.parametrize("switches", [True, {"images": False}], ids=["true", "dict"])
def test_board_graph_is_left_out_unless_asked_for(board, switches):
    """Neither by default nor beside another switch."""
    board = board(switches)
    board.graph(torch.nn.Linear(2, 1), torch.zeros(4, 2))
    assert shown(board).Tags()["graph"] is False


def test_board_graph_leaves_model_and_random_numbers_alone(board):
    """Tracing changes neither a buffer, nor the mode, nor the next random number."""
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2), torch.nn.Dropout())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    inputs, generator = torch.rand(4, 2), torch.get_rng_state()
    board({"graph": True}).graph(model, inputs)
    assert torch.equal(torch.get_rng_state(), generator)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_board_graph_model_that_cannot_be_traced_is_a_line_in_the_log(board, caplog):
    """A model that the tracer cannot follow is trained all the same."""

    class Net(torch.nn.Module):
        def forward(self, x):
            raise ValueError("needs two inputs")

    caplog.set_level(logging.INFO)
    board({"graph": True}).graph(Net(), torch.zeros(1, 2))
    lines = [record.getMessage() for record in caplog.records if record.name == "tensorboard"]
    assert lines == ["No graph in TensorBoard: the model cannot be traced (needs two inputs)."]


def test_board_graph_inputs_that_are_no_tensor_are_left_out(board):
    """A batch of dicts has no graph."""
    board = board({"graph": True})
    board.graph(torch.nn.Linear(2, 1), {"x": torch.zeros(1, 2)})
    assert shown(board).Tags()["graph"] is False


def test_board_switches_are_the_keys_of_the_schema():
    """What can be switched off is what the config may say, and the other way round."""
    assert list(TENSORBOARD) == list(SWITCHES)


@pytest.mark.parametrize("switches", [True, dict.fromkeys(SWITCHES, True)], ids=["true", "dict"])
def test_board_of_a_disabled_writer_computes_nothing(board, tmp_path, switches):
    """With TensorBoard off nothing is even looked at."""
    board = board(switches, enabled=False)
    batch(board, 1, 0.5)
    epoch(board, 1, {"epoch": 1, "loss": 1.0}, [0.1])
    board.images(1, object(), object(), object())
    board.histograms(1, object())
    board.graph(object(), torch.zeros(1))
    assert list(tmp_path.iterdir()) == []
