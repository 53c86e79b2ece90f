"""Arrays out of NumPy files: what a sample is, what is fitted on the training part, and what is wrong with a file."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from base import BaseDataLoader
from espalier.data.samples import is_deterministic, takes_tensors
from espalier.datasets import Arrays
from espalier.errors import ConfigError, DataError


def save(folder, inputs, targets):
    """Two files, as arguments for `Arrays`."""
    np.save(folder / "x.npy", inputs)
    np.save(folder / "y.npy", targets)
    return {"inputs": str(folder / "x.npy"), "targets": str(folder / "y.npy")}


def numbers(*shape, seed=0):
    """Any numbers, float64."""
    return np.random.default_rng(seed).normal(3, 2, shape)


@pytest.mark.parametrize("is_packed", [False, True], ids=["npy", "npz"])
def test_sample_is_a_row_of_each_array(is_packed, tmp_path):
    """float64 becomes float32, whole numbers as targets int64; on the path that gathers a batch at once."""
    inputs, targets = numbers(7, 4), np.arange(7, dtype=np.uint8)
    args = save(tmp_path, inputs, targets)
    if is_packed:
        np.savez_compressed(tmp_path / "data.npz", a=inputs, b=targets)
        args = {"path": str(tmp_path / "data.npz"), "inputs": "a", "targets": "b"}
    dataset = Arrays(**args)
    assert takes_tensors(dataset)
    assert is_deterministic(dataset)
    assert torch.equal(dataset[3][0], torch.from_numpy(inputs[3]).float())
    assert dataset[3][1].item() == 3
    assert dataset[3][1].dtype == torch.int64
    assert (dataset.facts, dataset.in_features) == (("in_features",), 4)
    assert [len(batch) for _, batch in BaseDataLoader(dataset, 3)] == [3, 3, 1]


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "u4", "f4", ">f4", ">i4", "f8", ">f8", "?"])
def test_every_type_of_number_keeps_its_values(dtype, tmp_path):
    """Also those that torch has no type for, or of another byte order."""
    inputs = np.array([[0, 1], [2, 100]]).astype(dtype)
    dataset = Arrays(**save(tmp_path, inputs, numbers(2)))
    assert dataset[1][0].tolist() == inputs[1].tolist()
    assert dataset[1][1].dtype == torch.float32


@given(
    indices=st.lists(st.integers(0, 11), min_size=1),
    shape=st.sampled_from([(3,), (2, 5), (3, 4, 5)]),
    other=st.integers(1, 9),
)
def test_fit_is_exact_and_depends_on_the_given_samples_alone(tmp_path_factory, indices, shape, other):
    """Per feature or channel, as NumPy has it; whatever the other samples are, and in which order indices are given."""
    folder = tmp_path_factory.mktemp("arrays")
    inputs, rows = numbers(12, *shape), np.unique(indices)
    args = save(folder, inputs, np.arange(12))
    fitted = Arrays(**args, normalize="fit").fit(np.array(indices))
    axes = (0, *range(2, inputs.ndim))
    np.testing.assert_allclose(fitted["mean"], inputs[rows].astype(np.float32).mean(axes, dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(fitted["std"], inputs[rows].astype(np.float32).std(axes, dtype=np.float64), rtol=1e-6)
    changed = numbers(12, *shape, seed=other)
    changed[rows] = inputs[rows]
    save(folder, changed, np.arange(12))
    assert Arrays(**args, normalize="fit").fit(rows) == fitted


def test_loader_normalises_by_the_training_part(tmp_path):
    """Its values then have mean 0 and standard deviation 1; a constant feature is 0."""
    inputs = numbers(20, 3)
    inputs[:, 1] = 5
    loader = BaseDataLoader(
        Arrays(**save(tmp_path, inputs, np.arange(20)), normalize="fit"), 4, split={"valid": 5}, seed=0
    )
    values = torch.cat([inputs for inputs, _ in loader])
    assert len(values) == 15
    torch.testing.assert_close(values.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(values.std(0, correction=0), torch.tensor([1.0, 0.0, 1.0]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("layout", "shape"), [("NHW", (5, 6, 7)), ("NHWC", (5, 6, 7, 3))])
def test_images_are_given_with_the_channel_first(layout, shape, tmp_path):
    """Whatever layout they have in the file."""
    images = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
    dataset = Arrays(**save(tmp_path, images, np.arange(5)), layout=layout)
    expected = images[2][None] if layout == "NHW" else images[2].transpose(2, 0, 1)
    assert torch.equal(dataset[2][0], torch.from_numpy(expected.copy()))
    assert [getattr(dataset, name) for name in dataset.facts] == [expected.size, len(expected), [6, 7]]


@pytest.mark.parametrize("dtype", ["f4", "f8", "u1", "u2"])
def test_large_file_gives_the_same_samples_without_being_read(dtype, tmp_path, monkeypatch):
    """Mapped or not, also fitted, and sent to a worker that starts afresh by its name alone."""
    args = save(tmp_path, (10 * np.abs(numbers(9, 4))).astype(dtype), np.arange(9))
    plain = Arrays(**args, normalize="fit")
    monkeypatch.setattr("espalier.datasets.arrays._LARGE", 1)
    mapped = Arrays(**args, normalize="fit")
    fitted = plain.fit(np.arange(5))
    np.testing.assert_allclose(mapped.fit(np.arange(5))["mean"], fitted["mean"], rtol=1e-6)
    plain.use(fitted)
    mapped.use(fitted)
    again = pickle.loads(pickle.dumps(mapped))
    for dataset in (mapped, again):
        inputs, targets = dataset.batch([1, 8])
        torch.testing.assert_close(inputs, plain.batch([1, 8])[0])
        assert inputs.dtype == torch.float32
        assert targets.tolist() == [1, 8]


def test_sample_before_fitting_is_refused(tmp_path):
    """The message says who fits."""
    args = save(tmp_path, numbers(3, 2), np.arange(3))
    with pytest.raises(DataError) as error:
        Arrays(**args, normalize="fit")[0]
    assert str(error.value) == (
        f"data error: {args['inputs']} and {args['targets']} gives no sample before it is fitted on the training part\n"
        "  fix       the data loader does so; by hand: dataset.use(dataset.fit(indices))"
    )


def test_faults_of_files_are_explained(tmp_path):
    """A name that is not there, objects, texts, another kind of file, and lengths that differ."""
    args = save(tmp_path, numbers(3, 2), np.arange(4))
    np.savez(tmp_path / "data.npz", images=numbers(2, 2), labels=np.arange(2))
    np.save(tmp_path / "objects.npy", np.array([{}, 1]), allow_pickle=True)
    np.save(tmp_path / "texts.npy", np.array(["a", "b"]))
    (tmp_path / "broken.npy").write_bytes(b"nothing")
    (tmp_path / "empty.npy").touch()
    packed = {"path": str(tmp_path / "data.npz"), "inputs": "image", "targets": "labels"}
    no_arrays = f"data error: {tmp_path}/{{}} cannot be read as NumPy arrays\n"
    cases = [
        (args, f"data error: inputs and targets differ in length\n  from      {tmp_path}/x.npy and {tmp_path}/y.npy\n"
               "  got       3 inputs and 4 targets"),
        ({**args, "inputs": f"{tmp_path}/z.npy"},
         f"data error: there is no file {tmp_path}/z.npy\n  closest   {tmp_path}/"),
        (packed, f"data error: {tmp_path}/data.npz has no array 'image'\n  expected  one of: images, labels\n"
                 "  closest   images"),
        ({**packed, "path": args["inputs"]}, no_arrays.format("x.npy")),
        ({**args, "inputs": packed["path"]}, no_arrays.format("data.npz")),
        ({**args, "inputs": f"{tmp_path}/texts.npy"},
         f"data error: {tmp_path}/texts.npy holds no numbers\n  got       <U1"),
        *(({**args, "inputs": f"{tmp_path}/{name}.npy"}, no_arrays.format(f"{name}.npy"))
          for name in ("objects", "broken", "empty")),
    ]  # fmt: skip
    for arguments, message in cases:
        with pytest.raises(DataError) as error:
            Arrays(**arguments)
        assert str(error.value).startswith(message)


@pytest.mark.parametrize("args", [{"normalize": "imagenet"}, {"layout": "NCHW"}, {"layout": "NHW"}], ids=str)
def test_argument_out_of_range_is_a_config_error(args, tmp_path):
    """Named as it stands in a config; a layout also where the inputs have other dimensions."""
    with pytest.raises(ConfigError) as error:
        Arrays(**save(tmp_path, numbers(3, 2), np.arange(3)), **args)
    assert [each.path for each in error.value.problems] == [f"data_loader.args.dataset.args.{next(iter(args))}"]
