"""The digits that come with the template, and MNIST."""

from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision

from data_loader.data_loaders import MNIST_FILES, DigitsDataLoader, MnistDataLoader
from espalier.errors import DataError


@pytest.fixture
def digits_dir(root):
    """The folder of digits.npz."""
    return root / "data" / "digits"


def all_samples(loader):
    """Inputs and targets of the whole dataset of a loader."""
    return loader.dataset.batch(range(len(loader.dataset)))


def write_mnist(folder, num_train=12, num_test=5):
    """A MNIST folder of made-up images in the layout that torchvision looks for; returns the training images."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    generator = np.random.RandomState(0)
    for prefix, size in (("train", num_train), ("t10k", num_test)):
        images = generator.randint(256, size=(size, 28, 28), dtype=np.uint8)
        labels = (np.arange(size) % 10).astype(np.uint8)
        for kind, content in (("images-idx3", images), ("labels-idx1", labels)):
            header = np.array([0x800 + content.ndim, *content.shape], dtype=">i4").tobytes()
            (raw / f"{prefix}-{kind}-ubyte").write_bytes(header + content.tobytes())
        if prefix == "train":
            train_images = images
    return train_images


# Digits


@pytest.mark.parametrize(("training", "expected"), [(True, 1438), (False, 359)])
def test_digits_part_has_its_number_of_samples(digits_dir, training, expected):
    """There are 1,438 digits to train and 359 to test."""
    loader = DigitsDataLoader(digits_dir, 32, training=training)
    assert (loader.n_samples, len(loader.dataset)) == (expected, expected)


def test_digits_test_part_takes_the_same_share_of_each_class(digits_dir):
    """The test part is stratified: a fifth of each class, to within one sample."""
    train, test = (
        torch.bincount(all_samples(DigitsDataLoader(digits_dir, 32, training=training))[1], minlength=10)
        for training in (True, False)
    )
    assert torch.all((test - (train + test) / 5).abs() <= 1)


def test_digits_train_and_test_parts_are_disjoint(digits_dir):
    """No sample of digits.npz is in both parts, and together they are all of it, each under its label."""
    with np.load(digits_dir / "digits.npz") as file:
        labels = file["labels"].tolist()
        where_test = np.flatnonzero(file["is_test"]).tolist()
    train, test = (
        iter(all_samples(DigitsDataLoader(digits_dir, 32, training=part))[1].tolist()) for part in (True, False)
    )
    merged = [next(test) if index in set(where_test) else next(train) for index in range(len(labels))]
    assert merged == labels
    assert (list(train), list(test)) == ([], [])


def test_digits_no_image_is_in_both_parts(digits_dir):
    """No test image can be learnt by heart: none is among the training images."""
    train, test = (
        {image.numpy().tobytes() for image in DigitsDataLoader(digits_dir, 32, training=part).dataset.inputs}
        for part in (True, False)
    )
    assert train & test == set()


def test_digits_parts_do_not_depend_on_the_seed(digits_dir):
    """Whatever the seed, the test part is the same: numbers of different runs compare."""
    parts = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        parts.append(all_samples(DigitsDataLoader(digits_dir, 32, training=False)))
    assert torch.equal(parts[0][0], parts[1][0])
    assert torch.equal(parts[0][1], parts[1][1])


def test_digits_batch_is_float_images_and_class_indices(digits_dir):
    """A batch is what MnistModel and nll_loss take: float32 (B, 1, 28, 28) and int64 (B,)."""
    images, labels = next(iter(DigitsDataLoader(digits_dir, 32)))
    assert (images.shape, images.dtype) == ((32, 1, 28, 28), torch.float32)
    assert (labels.shape, labels.dtype) == ((32,), torch.int64)


def test_digits_training_images_are_normalised(digits_dir):
    """Over all training pixels the mean is about 0 and the standard deviation about 1."""
    images, _ = all_samples(DigitsDataLoader(digits_dir, 32))
    assert images.mean().item() == pytest.approx(0, abs=0.05)
    assert images.std().item() == pytest.approx(1, abs=0.05)


def test_digits_images_are_the_small_ones_enlarged(digits_dir):
    """Brought back to 8x8 an image is the one of the file, from 0-16 stretched to 0-255."""
    with np.load(digits_dir / "digits.npz") as file:
        small = torch.from_numpy(file["images"][~file["is_test"]]).unsqueeze(1).float() * 255 / 16
    images = DigitsDataLoader(digits_dir, 32).dataset.inputs.float()
    reduced = torch.nn.functional.interpolate(images, size=(8, 8), mode="area")
    correlation = torch.corrcoef(torch.stack([small.flatten(), reduced.flatten()]))[0, 1]
    assert correlation > 0.95  # mirrored or turned, it would be below 0.7


def test_digits_validation_split_keeps_its_share(digits_dir):
    """A tenth of the training part is split off."""
    loader = DigitsDataLoader(digits_dir, 32, validation_split=0.1)
    assert (loader.n_samples, loader.split_validation().n_samples) == (1295, 143)


def test_digits_missing_file_is_reported_with_its_place(tmp_path):
    """A wrong data_dir gives the file that is looked for and where it usually is."""
    with pytest.raises(DataError) as caught:
        DigitsDataLoader(tmp_path / "nowhere", 32)
    assert str(caught.value) == (
        f"data error: {tmp_path}/nowhere/digits.npz is not there\n"
        "  fix       data_loader.args.data_dir is the folder of digits.npz, by default data/digits"
    )


# MNIST


@pytest.mark.parametrize(("training", "expected"), [(True, 12), (False, 5)])
def test_mnist_part_has_its_number_of_samples(tmp_path, training, expected):
    """`training` chooses between the two pairs of files."""
    write_mnist(tmp_path)
    assert MnistDataLoader(tmp_path, 4, training=training).n_samples == expected


def test_mnist_batch_is_the_normalised_images_of_the_files(tmp_path):
    """A batch is float32 (B, 1, 28, 28), (pixel - 33.3) / 78.6, with int64 labels (B,)."""
    images = write_mnist(tmp_path)
    data, target = next(iter(MnistDataLoader(tmp_path, 12, shuffle=False)))
    torch.testing.assert_close(data, torch.from_numpy((images[:, None] - 33.3) / 78.6).float())
    assert target.dtype == torch.int64
    assert target.tolist() == [*range(10), 0, 1]


def test_mnist_options_reach_the_base_loader(tmp_path):
    """Batch size, order and split are those asked for."""
    write_mnist(tmp_path)
    loader = MnistDataLoader(tmp_path, 4, False, 0.25, 1)
    assert (loader.batch_size, loader.shuffle, loader.n_samples, loader.num_workers) == (4, False, 9, 1)


@pytest.mark.parametrize("error", [URLError("no network"), RuntimeError("File not found or corrupted.")])
def test_mnist_absent_and_not_to_be_had_is_reported(tmp_path, monkeypatch, error):
    """Without the files and without a network the message names the files, their place and what torchvision said."""

    def download(*args, **kwargs):
        raise error

    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", download)
    with pytest.raises(DataError) as caught:
        MnistDataLoader(tmp_path, 4)
    tried = " ".join(f"Tried {mirror}, got: {error}" for mirror in torchvision.datasets.MNIST.mirrors)
    assert str(caught.value) == (
        f"data error: MNIST is not in {tmp_path} and could not be downloaded\n"
        f"  got       Error downloading train-images-idx3-ubyte.gz: {tried}\n"
        f"  expected  in {tmp_path}/MNIST/raw: {', '.join(MNIST_FILES)}\n"
        "  fix       connect to a network, copy these files there, or name another folder as data_loader.args.data_dir"
    )
