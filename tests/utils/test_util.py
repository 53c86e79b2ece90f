"""The classic helpers, and the classic names of the room."""

import json
import math
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import utils
from espalier.device import prepare_device
from espalier.errors import UserError
from espalier.training.metric_tracker import MetricTracker
from utils.util import ensure_dir, inf_loop, read_json, write_json


def test_ensure_dir_makes_folders_above_it_too(tmp_path):
    """A path of several new folders is made whole."""
    ensure_dir(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_ensure_dir_existing_folder_is_left_alone(tmp_path):
    """A folder that is there keeps what is in it."""
    (tmp_path / "file").write_text("kept")
    ensure_dir(str(tmp_path))
    assert (tmp_path / "file").read_text() == "kept"


def test_write_json_content_is_read_back_in_order(tmp_path):
    """What is written is read again, keys in their order."""
    content = {"b": [1, 2.5, None], "a": {"é": True}}
    write_json(content, tmp_path / "c.json")
    assert list(read_json(str(tmp_path / "c.json")).items()) == list(content.items())


def test_write_json_file_is_indented_text(tmp_path):
    """A person can read the file."""
    write_json({"a": {"b": 1}}, tmp_path / "c.json")
    assert (tmp_path / "c.json").read_text() == '{\n    "a": {\n        "b": 1\n    }\n}\n'


def test_write_json_value_without_a_json_form_is_text(tmp_path):
    """A path, say, does not stop a report from being written."""
    write_json({"path": Path("a") / "b"}, tmp_path / "c.json")
    assert json.loads((tmp_path / "c.json").read_text()) == {"path": str(Path("a") / "b")}


@given(st.lists(st.integers(), min_size=1, max_size=5), st.integers(0, 20))
def test_inf_loop_gives_the_batches_again_and_again(batches, count):
    """After the last batch comes the first one."""
    assert list(islice(inf_loop(batches), count)) == [batches[i % len(batches)] for i in range(count)]


def test_inf_loop_starts_a_new_pass_each_time():
    """Each pass asks the loader for a new iterator, so that it can shuffle."""

    class Loader:
        passes = 0

        def __iter__(self):
            self.passes += 1
            yield self.passes

    assert list(islice(inf_loop(Loader()), 3)) == [1, 2, 3]


def test_inf_loop_loader_without_batches_is_refused():
    """A loader that gives nothing ends in an error, not in a loop that never yields."""

    class Empty:
        passes = 0

        def __iter__(self):
            self.passes += 1
            assert self.passes < 5, "inf_loop goes round without end"
            return iter(())

    with pytest.raises(UserError):
        next(inf_loop(Empty()))


@pytest.mark.parametrize(
    ("name", "home"),
    [("MetricTracker", MetricTracker), ("ensure_dir", ensure_dir), ("inf_loop", inf_loop),
     ("prepare_device", prepare_device), ("read_json", read_json), ("write_json", write_json)],
)  # fmt: skip
def test_utils_classic_name_is_importable_from_the_room(name, home):
    """`from utils import ...` works as in the classic template."""
    assert getattr(utils, name) is home
    assert name in utils.__all__


def test_utils_unknown_name_is_an_attribute_error():
    """A name the room does not have is missed as in any module."""
    with pytest.raises(AttributeError, match=r"^module 'utils' has no attribute 'Metrictracker'$"):
        utils.Metrictracker  # noqa: B018


def test_write_json_nan_is_read_back(tmp_path):
    """Python's own reader gets back what JSON has no word for."""
    write_json({"loss": math.nan}, tmp_path / "c.json")
    assert math.isnan(read_json(tmp_path / "c.json")["loss"])
