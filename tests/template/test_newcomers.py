"""What courses teach, in a new project: a table, texts and images are a config and at most 25 lines each."""

import csv
import json
import random
import shutil

import numpy as np
import pytest
from PIL import Image

TRAINER = {"epochs": 2, "monitor": "min val_loss", "tensorboard": False}
SPLIT = {"valid": 0.2, "test": 0.2, "seed": 0}


def config_of(name, dataset, arch, loss="torch.nn.CrossEntropyLoss", metrics=("accuracy",), **data):
    """A config with the usual rest."""
    return {
        "name": name, "n_gpu": 0, "seed": 1,
        "data_loader": {"type": "base.BaseDataLoader",
                        "args": {"dataset": dataset, "batch_size": 32, "shuffle": True, "split": SPLIT, **data}},
        "arch": arch, "loss": loss, "metrics": list(metrics),
        "optimizer": {"type": "Adam", "args": {"lr": 0.01}},
        "trainer": TRAINER,
    }  # fmt: skip


# Tabular regression


def write_table(folder):
    """Houses: numbers with gaps, a category, and a price that follows from them."""
    draw = random.Random(0)
    with (folder / "houses.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["area", "rooms", "town", "price"])
        for _ in range(400):
            area, rooms, town = draw.uniform(30, 200), draw.randint(1, 8), draw.choice(["Aa", "Bb", "Cc"])
            price = 3000 * area + 10000 * rooms + {"Aa": 0, "Bb": 90000, "Cc": 200000}[town] + draw.gauss(0, 5000)
            rows.writerow([f"{area:.1f}" if draw.random() > 0.1 else "", rooms, town, f"{price:.0f}"])


MLP = '''
from torch import nn


class Mlp(nn.Sequential):
    """A network for tables."""

    def __init__(self, in_features: int, num_outputs: int):
        super().__init__(nn.Linear(in_features, 32), nn.ReLU(), nn.Linear(32, num_outputs))
'''
TABLE = config_of(
    "Houses",
    {"type": "espalier.datasets.Table", "args": {"path": "houses.csv", "target": "price", "scale_target": True}},
    {"type": "Mlp", "args": {"in_features": "${data.in_features}", "num_outputs": "${data.num_outputs}"}},
    "torch.nn.MSELoss", (),
)  # fmt: skip


# Texts, by a GRU


def write_texts(folder):
    """Sentences of different length that praise or blame."""
    draw = random.Random(0)
    with (folder / "reviews.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["review", "stars"])
        for _ in range(300):
            is_good = draw.random() < 0.5
            words = draw.choices(["the", "film", "plot", "actor", "scene", "was"], k=draw.randint(3, 15))
            words.insert(draw.randint(0, len(words)), draw.choice(["great", "fine"] if is_good else ["bad", "dull"]))
            rows.writerow([" ".join(words), "up" if is_good else "down"])


GRU = '''
import torch
from torch import nn


class Gru(nn.Module):
    """Ids (B, L) to scores (B, num_classes)."""

    def __init__(self, vocab_size: int, num_classes: int, width: int = 32):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width, padding_idx=0)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, num_classes)

    def forward(self, ids):
        outputs, _ = self.gru(self.embedding(ids))  # (B, L, width)
        last = (ids != 0).sum(1) - 1
        return self.head(outputs[torch.arange(len(ids)), last])
'''
TEXT = config_of(
    "Reviews",
    {"type": "espalier.datasets.Text", "args": {"path": "reviews.csv", "text": "review", "target": "stars"}},
    {"type": "Gru", "args": {"vocab_size": "${data.vocab_size}", "num_classes": "${data.num_classes}"}},
    sampler={"type": "espalier.data.length_buckets.LengthBuckets"},
)


# ResNet on a folder of images


def write_images(folder):
    """Red and green images of different size."""
    generator = np.random.default_rng(0)
    for name, channel in (("green", 1), ("red", 0)):
        (folder / "colours" / name).mkdir(parents=True)
        for index in range(40):
            image = generator.integers(0, 120, size=(40 + index % 5, 50, 3), dtype=np.uint8)
            image[..., channel] += 100
            Image.fromarray(image).save(folder / "colours" / name / f"{index}.jpg")


IMAGES = config_of(
    "Colours",
    {"type": "espalier.datasets.ImageFolder", "args": {"root": "colours", "size": 32}},
    {"type": "torchvision.models.resnet18", "args": {"num_classes": "${data.num_classes}"}},
    transform={"train": {"type": "torchvision.transforms.v2.RandomHorizontalFlip"}},
    cache="memory",
)


@pytest.mark.parametrize(
    ("config", "write", "code"),
    [
        pytest.param(TABLE, write_table, MLP, marks=pytest.mark.slow),
        (TEXT, write_texts, GRU),
        pytest.param(IMAGES, write_images, "", marks=pytest.mark.slow),
    ],
    ids=["table", "text", "images"],
)
def test_newcomers_project_is_a_config_and_few_lines(project, tmp_path, run, config, write, code):
    """It is checked, trains to a lower loss, is tested on the part set aside, and goes on where it was."""
    assert len(code.split("\n")) - 2 <= 25
    folder = shutil.copytree(project, tmp_path / "project")
    write(folder)
    (folder / "own.json").write_text(json.dumps(config))
    with (folder / "model/model.py").open("a") as file:
        file.write(code)
    checked = run("train.py", "-c", "own.json", "--check", cwd=folder)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout.endswith("works. No run was left behind.\n")
    trained = run("train.py", "-c", "own.json", cwd=folder)
    assert trained.returncode == 0, trained.stderr
    (place,) = (folder / "saved/models" / config["name"]).iterdir()
    tested = run("test.py", "-r", place, cwd=folder)
    assert tested.returncode == 0, tested.stderr
    more = run("train.py", "-r", place, "trainer.epochs=3", cwd=folder)
    assert more.returncode == 0, more.stderr
    losses = [json.loads(line)["loss"] for line in (place / "metrics.jsonl").read_text().splitlines()]
    assert len(losses) == 3 and losses[-1] < losses[0]
