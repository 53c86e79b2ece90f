"""Data sets of torchvision by name, with files made by the tests."""

import pickle

import numpy as np
import pytest
import torch

from base import BaseDataLoader
from espalier.datasets import Torchvision
from espalier.errors import ConfigError, DataError
from tests.espalier.datasets.pictures import picture, write_folder


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """CIFAR10 with 4 images, whose checksums nobody knows."""
    from torchvision.datasets import CIFAR10

    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    values = np.stack([np.asarray(picture(seed, 32, 32)).transpose(2, 0, 1).reshape(-1) for seed in range(4)])
    for name in [name for name, _ in CIFAR10.train_list]:
        (folder / name).write_bytes(pickle.dumps({"data": values, "labels": [3, 0, 9, 3]}))
    (folder / CIFAR10.meta["filename"]).write_bytes(pickle.dumps({"label_names": [f"class {n}" for n in range(10)]}))
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5=None: True)
    return tmp_path


def test_images_targets_and_classes_are_those_of_torchvision(cifar):
    """As uint8, and normalised by the loader."""
    dataset = Torchvision("CIFAR10", str(cifar), args={"train": True})
    dataset.use(dataset.fit(np.arange(20)))
    image, target = dataset[2]
    assert torch.equal(image, torch.from_numpy(np.asarray(picture(2, 32, 32)).transpose(2, 0, 1).copy()))
    assert (target, type(target)) == (9, int)
    assert dataset.targets.tolist() == [3, 0, 9, 3] * 5
    assert (dataset.num_classes, dataset.class_names[9]) == (10, "class 9")
    assert (dataset.in_channels, dataset.image_size) == (3, [32, 32])
    images, _ = next(iter(BaseDataLoader(Torchvision("CIFAR10", str(cifar)), 20)))
    torch.testing.assert_close(images.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)


def test_data_set_that_decodes_files_gives_targets_without_images(tmp_path):
    """Here one that knows the targets by its folders, and decodes with our decoder."""
    write_folder(tmp_path, {"a": 2, "b": 1})
    dataset = Torchvision("ImageFolder", str(tmp_path), normalize=None, channels=1)
    assert dataset.targets.tolist() == [0, 0, 1]
    assert dataset[0][0].shape == (1, 16, 20)


def test_data_without_files_is_taken_by_samples():
    """FakeData has neither targets nor a root."""
    with pytest.raises(
        ConfigError, match="data_loader.args.dataset.args.args.sizes is not an argument of torchvision's Fake"
    ):
        Torchvision("FakeData", "unused", args={"sizes": 3})
    dataset = Torchvision(
        "FakeData", "unused", normalize=None, args={"size": 3, "image_size": [3, 8, 8], "num_classes": 4}
    )
    assert len(dataset) == 3
    assert dataset[0][0].shape == (3, 8, 8)


def test_name_that_torchvision_does_not_have_is_refused(tmp_path):
    """With the closest."""
    with pytest.raises(ConfigError) as error:
        Torchvision("CIFAR", str(tmp_path))
    assert str(error.value) == (
        "config error: data_loader.args.dataset.args.name is no data set of torchvision\n"
        '  got       "CIFAR"\n  closest   CIFAR10'
    )


def test_arguments_of_the_loader_are_refused(tmp_path):
    """A transform belongs to a part."""
    with pytest.raises(ConfigError) as error:
        Torchvision("MNIST", str(tmp_path), args={"transform": None, "trains": True})
    assert str(error.value) == (
        "config error: data_loader.args.dataset.args.args.trains is not an argument of torchvision's MNIST\n"
        "  got       true\n  expected  one of: train\n  closest   train\n"
        "config error: data_loader.args.dataset.args.args.transform is an argument of the loader\n"
        "  got       null\n  expected  one of: train"
    )


def test_data_that_is_not_there_is_explained(tmp_path):
    """Without a network, or not to be downloaded."""
    with pytest.raises(DataError) as error:
        Torchvision("MNIST", str(tmp_path), download=False)
    assert str(error.value) == (
        f"data error: torchvision's MNIST is not in {tmp_path}\n"
        "  got       Dataset not found. You can use download=True to download it\n"
        "  fix       copy its files there, or name another folder as root"
    )


def test_download_that_fails_is_explained(tmp_path, monkeypatch):
    """As where there is no network."""

    def fail(self):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.datasets.MNIST.download", fail)
    with pytest.raises(DataError) as error:
        Torchvision("MNIST", str(tmp_path))
    assert str(error.value) == (
        f"data error: torchvision's MNIST is not in {tmp_path} and could not be downloaded\n"
        "  got       no route to host\n"
        "  fix       connect to a network, or copy its files there, or name another folder as root"
    )


def test_other_value_of_an_argument_is_a_config_error(tmp_path):
    """Torchvision's own words say which are known."""
    with pytest.raises(
        ConfigError, match="data_loader.args.dataset.args.args does not suit STL10\n  got       .*Unknown value"
    ):
        Torchvision("STL10", str(tmp_path), args={"split": "all"})
