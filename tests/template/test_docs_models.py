"""What docs/models.md shows holds: each config trains, each mistake gets the message, each table is the one printed."""

import argparse
import csv
import json
import logging
import re
import shlex
import socket
import sys
import urllib.error

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.data import Dataset
from torchvision.utils import save_image

import train
from espalier.errors import UserError
from parse_config import ConfigParser
from tests.conftest import ROOT

PAGE = "docs/models.md"
LIBRARIES = ("timm", "transformers")
SHORT = ["trainer.epochs=1", "trainer.limit_train_batches=1", "trainer.limit_valid_batches=1",
         "trainer.tensorboard=false", "data_loader.args.batch_size=4", "n_gpu=0"]  # fmt: skip
SMALL = ('"torchvision.models.vit_b_16", "args": {',
         '"torchvision.models.VisionTransformer", "args": {"image_size": 64, "patch_size": 32, "num_layers": 2, '
         '"num_heads": 2, "hidden_dim": 8, "mlp_dim": 8, ')  # fmt: skip
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
PATH = re.compile(r'"([\w.]+)"')
SHAPE = re.compile(r"\(\d+, \d+\)")  # batches are smaller here


class Masks(Dataset):
    """Images and their masks of four classes."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        return torch.rand(3, 64, 64, generator=generator), torch.randint(4, (64, 64), generator=generator)


class Pairs(Dataset):
    """Two vectors and whether they belong together."""

    targets = [0, 1] * 5

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return (torch.rand(6), torch.rand(6)), self.targets[index]


class Twins(nn.Module):
    """One network for both."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 2)

    def forward(self, left, right):
        return self.layer(left) + self.layer(right)


def read(root):
    """The blocks of the page in their order: language and text."""
    return BLOCK.findall((root / PAGE).read_text(encoding="utf-8"))


def cases(root):
    """Each config of the page but the whole one, with the texts that stand below it."""
    found = []
    for language, text in read(root):
        if language == "jsonc":
            found.append((text, []))
        elif language == "text":
            found[-1][1].append(text)
    return found[0][0], found[1:]


@pytest.fixture(scope="module")
def place(root, tmp_path_factory):
    """A folder with what the page takes to be there: pictures, texts, weights, and the code of the page."""
    folder = tmp_path_factory.mktemp("place")
    for index, name in enumerate(("daisy", "rose", "tulip")):
        (folder / "flowers" / name).mkdir(parents=True)
        for number in range(5):
            save_image(torch.rand(3, 40, 40) * 0.5 + 0.1 * index, folder / "flowers" / name / f"{number}.png")
    rows = [("the film was good", 1), ("the film was long and bad", 0)] * 5
    with (folder / "reviews.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    published = torchvision.models.resnet18().state_dict()
    (folder / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(published, folder / "hub" / "checkpoints" / "resnet18-f37072fd.pth")
    torch.save({f"backbone.{name}": value for name, value in published.items()}, folder / "resnet18.pth")
    for language, text in read(root):
        if language == "python":
            (folder / re.match(r"# (\w+\.py)\n", text)[1]).write_text(text)
    return folder


@pytest.fixture
def begun(root, place, tmp_path, monkeypatch, generators_restored):
    """A config of the page, in the place of those sections of the whole one, short and small."""
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setenv("TORCH_HOME", str(place))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("torch.hub.download_url_to_file", download_nothing)
    monkeypatch.setitem(sys.modules, "my_data", sys.modules[__name__])

    def begin(text, words=()):
        for library in {name.partition(".")[0] for name in PATH.findall(text)} & {*LIBRARIES}:
            pytest.importorskip(library)
        text = text.replace("google/vit-base-patch16-224", "vit-tiny").replace("bert-base-uncased", "bert-tiny")
        text = text.replace('"pretrained": true', '"pretrained": false').replace(*SMALL)
        if "transformers." in text:
            save_small_transformers(place)
        sections = re.findall(r'^"(\w+)":', text, re.MULTILINE)
        rest = {name: value for name, value in whole_config(root).items() if name not in sections}
        (place / "rest.json").write_text(json.dumps(rest))
        (place / "new.json").write_text(f'{{"extends": "rest.json", {text}}}')
        epochs = ["trainer.epochs=5"] if "unfreeze_at" in text else []  # what learns after the run is called frozen
        overrides = [*words, *SHORT, *epochs, f"trainer.save_dir={tmp_path}"]
        return ConfigParser.from_args(argparse.Namespace(config="new.json", resume=None, overrides=overrides))

    return begin


def download_nothing(*args, **kwargs):
    """A machine without network."""
    raise urllib.error.URLError("unreachable") from socket.gaierror(-2, "Name or service not known")


def is_shown(printed, shown):
    """Whether a message is the one on the page, where `...` at the end of a line stands for its rest."""
    printed, shown = (SHAPE.sub("", text).splitlines() for text in (printed, shown))
    same = [one.startswith(other.removesuffix("...")) if other.endswith("...") else one == other
            for one, other in zip(printed, shown, strict=False)]  # fmt: skip
    return len(printed) == len(shown) and all(same)


def save_small_transformers(place):
    """Models and a tokenizer in folders, as `save_pretrained` writes them."""
    transformers = pytest.importorskip("transformers")
    if (place / "vit-tiny").exists():
        return
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "film", "was", "good", "long", "and", "bad"]
    vision = transformers.ViTConfig(image_size=64, num_labels=1000, **small)
    transformers.ViTForImageClassification(vision).save_pretrained(place / "vit-tiny")
    text = transformers.BertConfig(vocab_size=len(words), **small)
    transformers.BertForSequenceClassification(text).save_pretrained(place / "bert-tiny")
    (place / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(str(place / "vocab.txt")).save_pretrained(place / "bert-tiny")


def whole_config(root):
    """The first of the page, with smaller images."""
    return json.loads(cases(root)[0].replace('"size": 224', '"size": 64'))


def title(case):
    """A name for a case: what its model is."""
    return re.search(r'"type": "([\w.]+)"', case[0])[1].rpartition(".")[2]


def by_model(found):
    """A parameter for each case; those of a model that stood before run with `make slow`."""
    models = [title(case) for case in found]
    return [
        pytest.param(case, id=f"{models[:number].count(model) + 1} {model}",
                     marks=pytest.mark.slow if model in models[:number] else [])
        for number, (case, model) in enumerate(zip(found, models, strict=True))
    ]  # fmt: skip


@pytest.mark.parametrize("case", by_model(cases(ROOT)[1]))
def test_config_of_the_page_trains_and_its_mistakes_are_told(begun, place, caplog, case):
    """A run of one batch; the tables below the config are in its log, and a mistake ends it with the message shown."""
    text, below = case
    caplog.set_level(logging.INFO)
    train.build(begun(text)).train()
    for shown in below:
        first, _, rest = shown.partition("\n")
        if first.startswith("$ "):
            *_, words = re.findall(r"^\$ python train.py -c new.json (.*)$", first)
            with pytest.raises(UserError) as error:
                train.build(begun(text, shlex.split(words))).train()
            assert is_shown(str(error.value).replace(str(place), "/home/me/.cache/torch"), rest), str(error.value)
        else:
            assert [line for line in shown.splitlines() if line not in caplog.text] == []


def test_page_begins_with_a_whole_config(root, begun):
    """It trains as it stands."""
    train.build(begun('"user": {}')).train()
