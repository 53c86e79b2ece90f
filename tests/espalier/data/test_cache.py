"""Cached samples: equal to those of the dataset, in memory and on disk, and never those of other data."""

import importlib
import os
import pickle
import signal
import sys
import types

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset

from base import BaseDataLoader
from espalier.data.cache import Cached
from espalier.datasets import Table
from espalier.errors import ConfigError, DataError
from tests.espalier.datasets.pictures import write_folder

DTYPES = [
    torch.uint8,
    torch.bool,
    torch.int16,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
]


class Listed(Dataset):
    """Any samples; counts how often one is loaded."""

    is_deterministic = True

    def __init__(self, samples, name="a"):
        self.samples, self.made_from, self.loaded = samples, {"name": name}, 0
        self.facts = ("made_from",)

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        self.loaded += 1
        return self.samples[index]


def numbered(number, shape=(3, 4)):
    """Images that say their number."""
    return [(torch.full(shape, index % 256, dtype=torch.uint8), index) for index in range(number)]


def is_equal(one, other):
    """Whether values are equal in type and content, tensors bit for bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(is_equal, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(is_equal(one[key], other[key]) for key in one)
    if isinstance(one, torch.Tensor):
        as_bytes = [each.contiguous().reshape(-1).view(torch.uint8) if each.numel() else each for each in (one, other)]
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(*as_bytes)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    return one == other or (one != one and other != other)


def tensors(form, draw):
    """A tensor of a dtype and so many dimensions, some of them empty."""
    dtype, dims, is_turned = form
    shape = draw(st.lists(st.integers(0, 4), min_size=dims, max_size=dims))
    values = torch.randint(0, 100, shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 99)))).to(dtype)
    return values.transpose(0, -1) if is_turned and dims > 1 else values


@st.composite
def lists_of_samples(draw):
    """Samples of one form; the shapes of their tensors differ."""
    form = draw(st.tuples(st.sampled_from(DTYPES), st.integers(0, 3), st.booleans()))
    makers = {
        "tensor": lambda: tensors(form, draw),
        "array": lambda: tensors((torch.float32, 2, False), draw).numpy(),
        "scalar": lambda: np.int32(draw(st.integers(-5, 5))),
        "int": lambda: draw(st.integers(-(2**63), 2**63 - 1)),
        "float": lambda: draw(st.floats()),
        "bool": lambda: draw(st.booleans()),
        "text": lambda: draw(st.text(max_size=5)),
        "none": lambda: None,
        "tuple": lambda: (tensors(form, draw), draw(st.integers(0, 9))),
        "list": lambda: [tensors(form, draw), (draw(st.booleans()),), []],
        "dict": lambda: {"image": tensors(form, draw), "box": [1.5, draw(st.floats(0, 1))]},
    }
    maker = makers[draw(st.sampled_from(sorted(makers)))]
    return [maker() for _ in range(draw(st.integers(1, 6)))]


@given(samples=lists_of_samples())
def test_memory_and_disk_give_the_samples_of_the_dataset(tmp_path_factory, samples):
    """Every type, dtype, shape and nesting, bit for bit, in any order."""
    folder = tmp_path_factory.mktemp("cache")
    for cached in (Cached(Listed(samples), "memory"), Cached(Listed(samples), "disk", folder)):
        cached.fill()
        assert len(cached) == len(samples)
        for index in reversed(range(len(samples))):
            assert is_equal(cached[index], samples[index])
        assert is_equal(cached[-1], samples[-1])
        with pytest.raises(IndexError):
            cached[len(samples)]


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_samples_are_loaded_once(kind, tmp_path):
    """Later passes, and later runs where it is on disk, load none; until it is filled all comes from the dataset."""
    cached = Cached(Listed(numbered(5)), kind, tmp_path)
    assert is_equal(cached[3], numbered(5)[3])
    cached.dataset.loaded = 0
    cached.fill()
    cached.fill()
    assert torch.cat([targets for _, targets in BaseDataLoader(cached, 2)]).tolist() == [0, 1, 2, 3, 4]
    assert cached.dataset.loaded == 5
    again = Cached(Listed(numbered(5)), kind, tmp_path)
    again.fill()
    assert again.dataset.loaded == (5 if kind == "memory" else 0)


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_changing_a_sample_in_place_changes_no_cached_one(kind, tmp_path):
    """A transform may work in place."""
    cached = Cached(Listed(numbered(3)), kind, tmp_path)
    cached.fill()
    cached[1][0].fill_(99)
    assert is_equal(cached[1], numbered(3)[1])


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_filled_cache_can_be_sent_to_a_worker_that_starts_afresh(kind, tmp_path):
    """By its bytes or, on disk, by the name of the file."""
    cached = Cached(Listed(numbered(4)), kind, tmp_path)
    cached.fill()
    sent = pickle.dumps(cached)
    again = pickle.loads(sent)
    assert again.is_filled
    assert is_equal(again[2], numbered(4)[2])


def test_other_data_is_another_file(tmp_path):
    """What a dataset is made from, its class and its length are in the name."""
    made = [Listed(numbered(3)), Listed(numbered(4)), Listed(numbered(3), "b")]
    for dataset in made:
        Cached(dataset, "disk", tmp_path).fill()
    assert len(list(tmp_path.glob("*.samples"))) == 3
    assert [dataset.loaded for dataset in made] == [3, 4, 3]


def test_use_empties_the_cache():
    """What is fitted may change samples, such as the numbers of classes."""

    class Fitted(Listed):
        def use(self, fitted):
            self.samples = numbered(3, (fitted["size"],))

    cached = Cached(Fitted(numbered(3)), "memory")
    cached.fill()
    cached.use({"size": 5})
    assert not cached.is_filled
    cached.fill()
    assert is_equal(cached[2], numbered(3, (5,))[2])


def test_what_the_dataset_offers_shows_through():
    """The loader asks the cache for it."""
    cached = Cached(Listed(numbered(3)), "memory")
    assert cached.facts == ("made_from",)
    assert not hasattr(cached, "fit")
    assert cached.is_deterministic


def test_random_samples_are_a_function_of_their_index():
    """The same in every run, and nothing is drawn from the generators of the run."""

    class Noise(Listed):
        is_deterministic = False

        def __getitem__(self, index):
            return torch.rand(3)

    before = torch.get_rng_state()
    first, second = Cached(Noise(range(4)), "memory"), Cached(Noise(range(4)), "memory")
    first.fill()
    second.fill()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[index], second[index]) for index in range(4))
    assert not torch.equal(first[0], first[1])
    assert first.is_deterministic


@pytest.mark.parametrize("cut", [0, 1, 8, 20, 100])
def test_damaged_file_is_made_again(cut, tmp_path, caplog):
    """One that was cut short by a copy or a disk."""
    Cached(Listed(numbered(5)), "disk", tmp_path).fill()
    (path,) = tmp_path.glob("*.samples")
    path.write_bytes(path.read_bytes()[: cut or None][: None if cut else 0])
    cached = Cached(Listed(numbered(5)), "disk", tmp_path)
    cached.fill()
    assert f"The cache {path} is damaged and is made again." in caplog.messages
    assert cached.dataset.loaded == 5
    assert is_equal(cached[4], numbered(5)[4])


def test_file_of_a_killed_process_is_never_read(tmp_path):
    """It is left under another name, and removed by the next that makes the cache."""

    class Deadly(Listed):
        is_deadly = False

        def __getitem__(self, index):
            if index == 3 and self.is_deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__getitem__(index)

    if not (child := os.fork()):
        Deadly.is_deadly = True
        Cached(Deadly(numbered(5)), "disk", tmp_path).fill()
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert list(tmp_path.glob("*.samples")) == []
    assert len(list(tmp_path.glob(".*.tmp"))) == 1
    cached = Cached(Deadly(numbered(5)), "disk", tmp_path)
    cached.fill()
    assert is_equal(cached[4], numbered(5)[4])
    assert list(tmp_path.glob(".*.tmp")) == []


def test_second_process_waits_and_reads_what_the_first_made(tmp_path):
    """Both end with all samples, which were loaded once."""

    class Slow(Listed):
        def __getitem__(self, index):
            if index == 0:
                (tmp_path / f"loaded by {os.getpid()}").touch()
                while len(list(tmp_path.glob("started *"))) < 2:
                    pass
            return super().__getitem__(index)

    children = []
    for _ in range(2):
        if not (child := os.fork()):
            (tmp_path / f"started {os.getpid()}").touch()
            cached = Cached(Slow(numbered(5)), "disk", tmp_path)
            cached.fill()
            os._exit(0 if is_equal(cached[4], numbered(5)[4]) else 1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert len(list(tmp_path.glob("loaded by *"))) == 1
    assert len(list(tmp_path.glob("*.samples"))) == 1


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_too_many_samples_are_refused_early(kind, tmp_path, monkeypatch):
    """After 100 of them it is clear."""
    monkeypatch.setattr("espalier.data.cache.available_memory", lambda: 10_000)
    monkeypatch.setattr("espalier.data.cache.shutil.disk_usage", lambda path: Usage(10_000))
    cached = Cached(Listed(numbered(1000)), kind, tmp_path)
    with pytest.raises(DataError) as error:
        cached.fill()
    assert cached.dataset.loaded < 110
    where, fix = (
        ("memory", 'cache on "disk", or leave the cache out') if kind == "memory" else (tmp_path, "leave the cache out")
    )
    assert str(error.value) == (
        f"data error: the samples do not fit in a cache in {where}\n"
        f"  got       about 0.0 MB for 1,000 samples\n  expected  at most 0.0 MB\n  fix       {fix}"
    )
    assert list(tmp_path.glob("*.samples")) + list(tmp_path.glob(".*")) == []


class Usage:
    """What `shutil.disk_usage` gives."""

    def __init__(self, free):
        self.free = free


def test_samples_that_cannot_be_kept_are_explained():
    """An object of another kind, and samples of two forms."""
    with pytest.raises(DataError) as error:
        Cached(Listed([(1, object())]), "memory").fill()
    assert str(error.value) == (
        "data error: a sample that holds builtins.object cannot be cached\n"
        "  expected  tensors, arrays, numbers, texts, and tuples, lists and dicts of these"
    )
    with pytest.raises(DataError) as error:
        Cached(Listed([(torch.ones(2), 1), (torch.ones(2), 1.0)]), "memory").fill()
    assert str(error.value) == (
        "data error: samples of different form cannot be cached\n"
        '  got       sample 1 is ["tuple", "tensor float32 1", "number float64 0"]\n'
        '  expected  as sample 0: ["tuple", "tensor float32 1", "number int64 0"]'
    )


def test_dataset_that_says_nothing_of_its_making_is_not_cached_on_disk(tmp_path):
    """Its file could be that of other data."""
    dataset = Listed(numbered(2))
    del dataset.made_from
    with pytest.raises(DataError) as error:
        Cached(dataset, "disk", tmp_path).fill()
    assert str(error.value) == (
        "data error: samples of Listed cannot be cached on disk\n"
        "  expected  an attribute made_from: plain values that name its arguments and files\n"
        '  fix       add it, or cache in "memory"'
    )


def test_data_in_memory_needs_no_cache_on_disk(tmp_path):
    """Such as a table, whose rows no file could give faster."""
    (tmp_path / "rows.csv").write_text("a,y\n" + "1,0\n2,1\n" * 5)
    with pytest.raises(DataError) as error:
        Cached(Table(tmp_path / "rows.csv", "y"), "disk", tmp_path).fill()
    assert str(error.value) == (
        "data error: samples of Table cannot be cached on disk\n"
        "  fix       leave the cache out: they are in memory as it is"
    )


DARKER = """
from espalier.datasets import ImageFolder

def darker(image):
    return image // 2

class Middle(ImageFolder):
    def load(self, index):
        return darker(super().load(index))

class Darker(Middle):
    def __getitem__(self, index):
        image, target = super().__getitem__(index)
        return image, target
"""


@pytest.fixture
def load_class(tmp_path, monkeypatch):
    """Writes a module, and gives the class `Darker` of it."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def load(text):
        (tmp_path / "module_of_darker.py").write_text(text)
        sys.modules.pop("module_of_darker", None)
        importlib.invalidate_caches()
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        return importlib.import_module("module_of_darker").Darker

    yield load
    sys.modules.pop("module_of_darker", None)


@pytest.mark.parametrize(("old", "new"), [("image // 2", "image // 3"), ("super().load(index)", "super().load(0)"),
                                          ("return image, target", "return image, 1 - target")])  # fmt: skip
def test_cache_on_disk_is_not_that_of_other_code(tmp_path, load_class, old, new):
    """A subclass whose method, base class or helper was edited loads its samples again; one that was not does not."""
    write_folder(tmp_path / "images", {"a": 2, "b": 2})
    for text, number in ((DARKER, 1), (DARKER, 1), (DARKER.replace(old, new), 2)):
        dataset = load_class(text)(str(tmp_path / "images"), normalize=None)
        cached = Cached(dataset, "disk", tmp_path / "cache")
        cached.fill()
        assert all(is_equal(cached[index], dataset[index]) for index in range(4))
        assert len(list((tmp_path / "cache").glob("*.samples"))) == number


def test_arguments_that_an_inherited_made_from_does_not_know_are_refused_on_disk(tmp_path, load_class):
    """Other values of them would find the same file."""
    write_folder(tmp_path / "images", {"a": 1, "b": 1})
    text = DARKER + "    def __init__(self, root, *, by=2, **options):\n        super().__init__(root, **options)\n"
    dataset = load_class(text)(str(tmp_path / "images"), normalize=None, by=3)
    with pytest.raises(DataError) as error:
        Cached(dataset, "disk", tmp_path / "cache").fill()
    assert str(error.value) == (
        "data error: samples of Darker cannot be cached on disk: it has arguments that the made_from it inherits does "
        "not know\n"
        "  got       by\n"
        '  fix       give it a made_from of its own: {**super().made_from, "by": self.by}'
    )
    own = "    @property\n    def made_from(self):\n        return super().made_from\n"
    Cached(load_class(text + own)(str(tmp_path / "images"), normalize=None), "disk", tmp_path / "cache").fill()


def test_class_without_a_file_is_not_cached_on_disk(tmp_path):
    """As of a notebook: what it was when the cache was made is known to nobody."""
    dataset = Listed(numbered(2))
    dataset.__class__ = type("Typed", (Listed,), {"__module__": "typed_in"})
    sys.modules["typed_in"] = types.ModuleType("typed_in")
    try:
        with pytest.raises(DataError) as error:
            Cached(dataset, "disk", tmp_path).fill()
    finally:
        del sys.modules["typed_in"]
    assert str(error.value) == (
        "data error: samples of Typed cannot be cached on disk: it cannot be told what they are made from\n"
        "  got       <module 'typed_in'> is a built-in module\n"
        '  fix       write the class into a file, keep made_from to plain values, or cache in "memory"'
    )
    Cached(dataset, "memory").fill()


def test_folder_that_cannot_be_written_is_named(tmp_path):
    """Such as one that is a file."""
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=f"^data error: the cache {tmp_path}/file/.* cannot be written\n"):
        Cached(Listed(numbered(2)), "disk", tmp_path / "file").fill()


def test_other_kind_is_a_config_error():
    """Only two are known."""
    with pytest.raises(ConfigError) as error:
        Cached(Listed([]), "ram")
    assert str(error.value) == (
        'config error: data_loader.args.cache is not a kind of cache\n  got       "ram"\n  expected  memory or disk'
    )
