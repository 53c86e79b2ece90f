"""The file with the losses and metrics of single samples."""

import numpy as np
import pytest

from espalier.journal.sample_values import SampleValues, read_sample_values, write_sample_values


@pytest.mark.parametrize("number", [0, 7])
def test_sample_values_are_read_as_they_were_written(tmp_path, number):
    """By any name of a metric, to the last bit, with and without samples."""
    rng = np.random.default_rng(0)
    values = {"loss": rng.random(number), "a/b c": rng.random(number)}
    path = tmp_path / "test" / "samples.npz"
    write_sample_values(path, SampleValues(np.arange(number), np.arange(number, dtype=np.uint32), values))
    found = read_sample_values(path)
    assert found.index.tolist() == found.target.tolist() == [*range(number)]
    assert {name: each.tolist() for name, each in found.values.items()} == {
        name: each.tolist() for name, each in values.items()
    }


def test_sample_values_of_another_form_are_none(tmp_path):
    """No file, a broken one, one of other arrays, one with fewer values than samples, one with objects."""
    path = tmp_path / "samples.npz"
    assert read_sample_values(path) is None
    path.write_bytes(b"PK\x03\x04 and no more")
    assert read_sample_values(path) is None
    right = {"index": np.arange(3), "target": np.arange(3), "names": np.array(["loss"]), "values": np.zeros((1, 3))}
    np.savez(path, **right)
    assert read_sample_values(path) is not None
    for wrong in ({"values": np.zeros((1, 2))}, {"names": np.array(["a", "b"])}, {"index": np.array([{}, {}, {}])},
                  {"values": np.zeros(3)}):  # fmt: skip
        np.savez(path, **{**right, **wrong})
        assert read_sample_values(path) is None
    np.savez(path, index=right["index"])
    assert read_sample_values(path) is None
