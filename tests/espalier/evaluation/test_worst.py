"""The samples with the largest loss."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import ConcatDataset, DataLoader, Subset, TensorDataset
from torchvision.datasets import ImageFolder

from espalier.evaluation.judged import Judge
from espalier.evaluation.recorder import Kept
from espalier.evaluation.samples import SamplesSeen
from espalier.evaluation.worst import draw, worst_lines, worst_samples


class Texts(TensorDataset):
    """Samples that were made from something, and classes with names."""

    classes = ("cat", "dog", "cow")
    features = ("age", "size")
    raw = "a\nlong text " * 40

    def raw_input(self, index):
        """A text, or the row of a table."""
        return self.raw


def worst_of(dataset, number, losses=None):
    """The worst samples of a dataset whose inputs are the outputs."""
    loader, kept, judge = DataLoader(dataset, batch_size=4), Kept(None), Judge(F.cross_entropy)
    for output, target in loader:
        kept.add(judge(output, target))
    if losses is None:
        losses = np.array([float(F.cross_entropy(output[None], target[None])) for output, target in dataset])
    return worst_samples(losses, number, kept, SamplesSeen(loader, len(dataset)))


@given(st.lists(st.sampled_from([0.0, 1.0, 2.5, float("nan"), float("inf")]), min_size=1, max_size=12),
       st.integers(1, 15), st.data())  # fmt: skip
def test_worst_samples_are_those_of_a_plain_sort(losses, number, data):
    """NaN and infinity first, in the order of the data where losses are equal; ignored samples are none at all."""
    target = torch.tensor([data.draw(st.sampled_from([0, 2, -100])) for _ in losses])
    found = worst_of(TensorDataset(torch.zeros(len(losses), 3), target), number, np.array(losses))
    counted = [index for index in range(len(losses)) if target[index] >= 0]
    expected = sorted(counted, key=lambda index: -losses[index] if np.isfinite(losses[index]) else -np.inf)
    assert [each["index"] for each in found] == expected[:number]


@pytest.mark.parametrize("wrap", [lambda data: data, lambda data: Subset(data, range(5)),
                                  lambda data: ConcatDataset([data, data])])  # fmt: skip
def test_worst_samples_have_names_of_classes_and_texts_through_wrappers(wrap):
    """A text is cut in test.json, and more so on a terminal."""
    dataset = wrap(Texts(torch.eye(3).repeat(2, 1), torch.tensor([1, 1, 2, 0, 1, 2])))
    first = worst_of(dataset, 2)[0]
    assert (first["target"], first["target_class"], first["prediction_class"]) == (1, "dog", "cat")
    assert first["text"] == Texts.raw[:300]
    assert worst_lines([first]) == [
        "  sample  loss   target  prediction  text",
        "  0       1.551  dog     cat         a long text a long text a long text a long text a long te...",
    ]


def test_samples_of_torchvisions_folder_are_called_by_their_files(tmp_path):
    """Below the root of each, through wrappers; other datasets with such attributes are called by their numbers."""
    from PIL import Image

    for name in ("cat/b.png", "cat/a.png", "dog/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (2, 2)).save(tmp_path / name)
    folder = ImageFolder(tmp_path)
    seen = SamplesSeen(DataLoader(ConcatDataset([folder, Subset(folder, [2, 0])])), 5)
    assert [seen.name(place) for place in range(5)] == ["cat/a.png", "cat/b.png", "dog/a.png", "dog/a.png", "cat/a.png"]
    assert seen.has_names
    other = TensorDataset(torch.zeros(2))
    other.root, other.samples = "data", [("x", 0)] * 3
    assert not SamplesSeen(DataLoader(other), 2).has_names


def test_worst_samples_of_rows_name_their_columns(monkeypatch):
    """As the file has them."""
    monkeypatch.setattr(Texts, "raw", [0.123456789, None])
    found = worst_of(Texts(torch.eye(3), torch.arange(3)), 1)
    assert found[0]["text"] == "age=0.123457, size=None"


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_worst_samples_are_drawn_of_one_three_or_four_channels(tmp_path, channels):
    """Of four the first three; normalised images, and those with NaN, are stretched to black and white."""
    from PIL import Image

    images = torch.randn(3, channels, 6, 5)
    images[0, 0, 0, 0] = torch.nan
    loader = DataLoader(TensorDataset(images, torch.arange(3)), batch_size=3)
    worst = [{"index": index, "place": index, "target": index, "prediction": None} for index in range(3)]
    found = draw(worst, SamplesSeen(loader, 3), tmp_path, "worst")
    assert (found is None) == (channels == 2)
    if found is not None:
        for each in worst:
            pixels = np.asarray(Image.open(tmp_path / each["picture"]))
            assert pixels.shape == (6, 5, 3)
            assert (pixels.min(), pixels.max()) == (0, 255)
