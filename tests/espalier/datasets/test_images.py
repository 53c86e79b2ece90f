"""Folders of images: classes and order, normalisation by the training images alone, and what is wrong with a folder."""

import os
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from base import BaseDataLoader
from espalier.datasets import ImageFolder
from espalier.errors import ConfigError, DataError
from tests.espalier.datasets.pictures import picture, write_folder


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """5 cats, 4 dogs and 3 emus."""
    return write_folder(tmp_path_factory.mktemp("animals") / "root", {"cat": 5, "dog": 4, "emu": 3})


def fitted(root, **args):
    """A dataset that is fitted on all of its images."""
    dataset = ImageFolder(root, **args)
    dataset.use(dataset.fit(np.arange(len(dataset))))
    return dataset


def test_folder_gives_images_and_classes(root):
    """Images are uint8 as they are stored, targets the numbers of the folders by name."""
    dataset = fitted(root)
    image, target = dataset[5]
    assert torch.equal(image, F.pil_to_tensor(picture(5)))
    assert (target, type(target)) == (1, int)
    assert dataset.targets.tolist() == [0] * 5 + [1] * 4 + [2] * 3
    assert {name: getattr(dataset, name) for name in dataset.facts if name not in ("mean", "std")} == {
        "num_classes": 3, "class_names": ["cat", "dog", "emu"], "in_channels": 3, "image_size": [16, 20],
    }  # fmt: skip


@given(
    indices=st.sets(st.integers(0, 11), min_size=1),
    size=st.sampled_from([None, 8, [5, 6]]),
    channels=st.sampled_from([1, 3]),
)
def test_mean_and_std_are_exact_over_the_given_images(root, indices, size, channels):
    """As NumPy has them in float64, each channel of its own."""
    dataset = ImageFolder(root, size, channels=channels)
    values = dataset.fit(np.array(sorted(indices)))
    stacked = np.stack([dataset.image(index).numpy() for index in sorted(indices)]) / 255.0
    np.testing.assert_allclose(values["mean"], stacked.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(values["std"], stacked.std((0, 2, 3)), rtol=1e-9)


@given(indices=st.lists(st.integers(0, 11), min_size=1), shuffle=st.randoms())
def test_fit_depends_on_the_set_of_indices_alone(root, indices, shuffle):
    """Neither on their order nor on how often one is given."""
    shuffled = [*indices, indices[0]]
    shuffle.shuffle(shuffled)
    dataset = ImageFolder(root)
    assert dataset.fit(np.array(indices)) == dataset.fit(np.array(shuffled))


def test_fit_never_reads_other_images(root, tmp_path):
    """Images that do not train may be anything."""
    write_folder(tmp_path / "other", {"cat": 5, "dog": 4, "emu": 3})
    for path in [*(tmp_path / "other" / "emu").iterdir(), tmp_path / "other" / "cat" / "4.png"]:
        path.write_bytes(b"no image")
    train = np.array([0, 1, 2, 3, 5, 6, 7, 8])
    assert ImageFolder(tmp_path / "other").fit(train) == ImageFolder(root).fit(train)


def test_fit_takes_at_most_2000_images_evenly(root, monkeypatch):
    """Of more, every so many in their order."""
    monkeypatch.setattr("espalier.datasets.pixels._MOST_FITTED", 4)
    dataset, looked_at = ImageFolder(root), []
    monkeypatch.setattr(
        dataset, "image", lambda index: looked_at.append(index) or torch.zeros(3, 1, 1, dtype=torch.uint8)
    )
    dataset.fit(np.arange(12))
    assert looked_at == [0, 3, 6, 9]


@pytest.mark.parametrize(
    ("normalize", "mean", "std"),
    [
        ("imagenet", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        (None, [0, 0, 0], [1, 1, 1]),
        ({"mean": [0.1, 0.2, 0.3], "std": [1, 2, 3]}, [0.1, 0.2, 0.3], [1, 2, 3]),
    ],
)
def test_finish_is_torchvision_normalize(root, normalize, mean, std):
    """Of bytes, and of floats from 0 to 1, as transforms may have made of them; also of whole batches."""
    dataset = ImageFolder(root, normalize=normalize)
    image = dataset[0][0]
    expected = F.normalize(image.float() / 255, mean, std)
    for given_image in (image, image.float() / 255):
        before = given_image.clone()
        finished = dataset.finish_input(given_image)
        assert finished.dtype == torch.float32
        assert finished.is_contiguous()
        torch.testing.assert_close(finished, expected, atol=1e-5, rtol=1e-5)
        assert torch.equal(given_image, before)
    assert torch.equal(dataset.finish_input(image.expand(2, -1, -1, -1))[1], dataset.finish_input(image))


def test_loader_gives_normalised_batches(root):
    """Fitted on the training part, all values of which then have mean 0 and standard deviation 1."""
    loader = BaseDataLoader(ImageFolder(root), 4, split={"valid": 0.25, "stratify": True}, seed=1)
    images = torch.cat([images for images, _ in loader])
    assert images.shape == (9, 3, 16, 20)
    torch.testing.assert_close(images.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(images.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-4, rtol=0)


def to_float_by_chance(image):
    """Float for some samples, uint8 for others."""
    return image.float() / 255 if torch.rand(()) < 0.5 else image


class OwnFinish(ImageFolder):
    """Another last step."""

    def finish_input(self, image):
        return super().finish_input(image) + 1


class OwnCollate(ImageFolder):
    """Another batch."""

    @staticmethod
    def collate_fn(batch):
        return torch.stack([image for image, _ in batch])


@pytest.mark.parametrize("num_workers", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("cache", [None, "memory"])
@pytest.mark.parametrize("kind", [ImageFolder, OwnFinish, OwnCollate])
@pytest.mark.parametrize("transform", [None, v2.RandomHorizontalFlip(), v2.RandomCrop(12), to_float_by_chance,
                                       v2.Lambda(tv_tensors.Image)])  # fmt: skip
def test_batches_are_those_of_samples_finished_one_by_one(root, kind, transform, cache, num_workers):
    """To the bit and to the type, whatever is done to the whole batch at once."""
    options = {"seed": 1, "shuffle": True, "transform": transform, "num_workers": num_workers, "cache": cache}
    loader = BaseDataLoader(kind(root), 5, **options)
    loader.fill_cache()
    singles = BaseDataLoader(kind(root), 5, collate_fn=list, **options)
    singles.fill_cache()
    for batch, samples in zip(loader, singles, strict=True):
        expected = kind.collate_fn(samples)
        assert type(batch) is type(expected)
        for part, value in zip(batch, expected, strict=True):
            assert type(part) is type(value)
            assert part.dtype == value.dtype
            assert part.stride() == value.stride()
            assert torch.equal(part, value)


def test_transform_that_gives_no_image_is_told(root):
    """Such as one that takes the colours away."""
    loader = BaseDataLoader(ImageFolder(root), 4, transform=v2.Grayscale())
    with pytest.raises(DataError) as error:
        next(iter(loader))
    assert str(error.value) == (
        "data error: a transform gives no image that can be normalised\n"
        "  got       (1, 16, 20)\n"
        "  expected  a tensor (3, H, W)\n"
        "  fix       mend the transform, or give the dataset other channels"
    )


def test_constant_images_come_out_as_zeros(tmp_path):
    """Nothing is divided by a standard deviation of 0."""
    (tmp_path / "grey").mkdir()
    picture(0, 1, 1).save(tmp_path / "grey" / "a.png")
    dataset = fitted(tmp_path)
    assert dataset.finish_input(dataset[0][0]).abs().max() < 1e-6


def test_order_is_that_of_the_bytes_of_the_paths(tmp_path):
    """Whatever order the file system has, and whatever the locale: upper case first, then umlauts last."""
    names = ["a/z.png", "a/Z.png", "a/sub/x.png", "a/10.png", "a/9.png", "a-b/1.png", "B/1.PNG", "ä/1.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        picture().save(tmp_path / name)
    dataset = ImageFolder(tmp_path)
    expected = ["B/1.PNG", "a-b/1.png", "a/10.png", "a/9.png", "a/Z.png", "a/sub/x.png", "a/z.png", "ä/1.png"]
    assert [path.relative_to(tmp_path).as_posix() for path in dataset.paths] == expected
    assert dataset.class_names == ["B", "a", "a-b", "ä"]
    assert dataset.targets.tolist() == [0, 2, 1, 1, 1, 1, 1, 3]


def test_hidden_and_other_files_are_left_out(tmp_path, caplog):
    """What file managers and annotations leave is no image; images beside the folders are counted."""
    write_folder(tmp_path, {"cat": 2})
    for name in (".DS_Store", "cat/.hidden.png", "cat/._0.png", "cat/notes.txt", "cat/Thumbs.db"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / ".git").mkdir()
    picture().save(tmp_path / "loose.png")
    assert len(ImageFolder(tmp_path)) == 2
    assert caplog.messages == [f"Left out: 1 image beside the class folders of {tmp_path}."]


def test_extensions_choose_files(tmp_path):
    """With or without a dot, in any case."""
    write_folder(tmp_path, {"cat": 2})
    write_folder(tmp_path / "more", {"cat": 3}, ".bmp")
    assert len(ImageFolder(tmp_path / "more", extensions=["BMP"])) == 3
    with pytest.raises(DataError, match="has no images\n  expected  files that end in: .jpg"):
        ImageFolder(tmp_path / "more", extensions=[".jpg"])


def test_other_root_has_the_classes_of_training(root, tmp_path):
    """A test folder may lack a class: the others keep their numbers."""
    write_folder(tmp_path / "test", {"emu": 1, "cat": 1})
    dataset = ImageFolder(tmp_path / "test")
    dataset.use(ImageFolder(root).fit(np.arange(12)))
    assert dataset.targets.tolist() == [0, 2]
    assert dataset.num_classes == 3


def test_class_that_training_did_not_have_is_refused(root, tmp_path):
    """It has no number."""
    write_folder(tmp_path / "test", {"emu": 1, "yak": 1})
    dataset = ImageFolder(tmp_path / "test")
    with pytest.raises(DataError) as error:
        dataset.use(ImageFolder(root).fit(np.arange(12)))
    assert str(error.value) == (
        f"data error: {tmp_path / 'test'} has folders of classes that training did not have\n"
        "  got       yak\n  expected  only: cat, dog, emu"
    )


def test_sample_before_fitting_is_refused(root):
    """The message says who fits."""
    with pytest.raises(DataError) as error:
        ImageFolder(root)[0]
    assert str(error.value) == (
        "data error: ImageFolder gives no sample before it is fitted on the training part\n"
        "  fix       the data loader does so; by hand: dataset.use(dataset.fit(indices))"
    )


def test_images_of_different_size_are_no_batch(tmp_path):
    """The message says what to do."""
    write_folder(tmp_path, {"cat": 1})
    picture(1, 30, 30).save(tmp_path / "cat" / "large.png")
    dataset = fitted(tmp_path)
    assert dataset.image_size is None
    with pytest.raises(DataError) as error:
        next(iter(BaseDataLoader(dataset, 2)))
    assert str(error.value) == (
        "data error: samples of different shape cannot be one batch\n"
        "  got       (3, 16, 20) of sample cat/0.png and (3, 30, 30) of sample cat/large.png\n"
        '  fix       give a dataset of ours a size, such as "size": 224; a transform such as v2.Resize resizes; '
        '"collate_fn": {"type": "espalier.data.collate.Pad"} pads them'
    )
    assert next(iter(BaseDataLoader(ImageFolder(tmp_path, size=8), 2)))[0].shape == (2, 3, 8, 8)


def make_missing(root):
    return root.with_name("rot")


def make_empty(root):
    return root


def make_flat(root):
    picture().save(root / "1.png")
    return root


def make_parts(root):
    write_folder(root / "train", {"cat": 1})
    write_folder(root / "val", {"cat": 1})
    return root


def make_empty_class(root):
    write_folder(root, {"cat": 1, "dog": 0})
    return root


NO_CLASSES = """data error: {{root}}/root has no class folders
  got       {}
  expected  one folder for each class, as in cat/1.jpg and dog/1.jpg
  fix       where a table says the classes, use espalier.datasets.ImageTable"""
ENDINGS = ".jpg, .jpeg, .png, .webp, .gif, .bmp, .tif, .tiff, .ppm, .pgm"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_missing, "data error: there is no folder {root}/rot\n  closest   {root}/root"),
        (make_empty, NO_CLASSES.format("no folders")),
        (make_flat, NO_CLASSES.format("1 image, and no folders")),
        (make_parts, "data error: the folders of {root}/root are parts, not classes\n  got       train, val\n"
         "  expected  one folder for each class\n"
         "  fix       name one of them, and another one in a valid_data_loader section"),
        (make_empty_class, "data error: class folders of {root}/root have no images\n  got       dog\n"
         f"  expected  files that end in: {ENDINGS}\n  fix       remove them, or put images there"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_folder_of_another_layout_is_explained(make, message, tmp_path):
    """What is there, and what should be."""
    (tmp_path / "root").mkdir()
    with pytest.raises(DataError) as error:
        ImageFolder(make(tmp_path / "root"))
    assert str(error.value) == message.format(root=tmp_path)


@pytest.mark.parametrize(
    ("args", "path"),
    [
        ({"size": 0}, "size"), ({"size": [3]}, "size"), ({"size": True}, "size"), ({"size": "224"}, "size"),
        ({"channels": 4}, "channels"), ({"normalize": "imagenet", "channels": 1}, "normalize"),
        ({"normalize": "Fit"}, "normalize"), ({"normalize": {"mean": [1, 2, 3]}}, "normalize"),
        ({"normalize": {"mean": [1, 2], "std": [1, 2]}}, "normalize"),
        ({"normalize": {"mean": [0, 0, 0], "std": [1, 0, 1]}}, "normalize"),
    ],
    ids=str,
)  # fmt: skip
def test_argument_out_of_range_is_a_config_error(root, args, path):
    """Named as it stands in a config."""
    with pytest.raises(ConfigError) as error:
        ImageFolder(root, **args)
    assert [each.path for each in error.value.problems] == [f"data_loader.args.dataset.args.{path}"]


def test_unreadable_image_is_named_by_the_loader(tmp_path):
    """Not only its number."""
    write_folder(tmp_path, {"cat": 2})
    (tmp_path / "cat" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    dataset = ImageFolder(tmp_path, normalize=None)
    with pytest.raises(DataError, match="data error: the image .*cat/1.png cannot be decoded"):
        list(BaseDataLoader(dataset, 2))


def test_dataset_can_be_sent_to_a_worker_that_starts_afresh(root):
    """It is pickled there, fitted as it is."""
    dataset = fitted(root)
    again = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(again.finish_input(again[3][0]), dataset.finish_input(dataset[3][0]))


def test_made_from_changes_with_files_and_arguments(root, tmp_path):
    """A file that was touched, another size or another root are other data."""
    write_folder(tmp_path / "root", {"cat": 2})
    first = ImageFolder(tmp_path / "root").made_from
    assert ImageFolder(tmp_path / "root").made_from == first
    assert ImageFolder(tmp_path / "root", size=8).made_from != first
    os.utime(tmp_path / "root" / "cat" / "1.png", ns=(0, 0))
    assert ImageFolder(tmp_path / "root").made_from != first
