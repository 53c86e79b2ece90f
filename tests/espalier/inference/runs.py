"""Short runs, what their evaluation gives for the test data, and datasets as users write them."""

import argparse
import copy

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

import data_loader.data_loaders
import model.loss
import model.metric
import model.model
import trainer
from base import BaseDataLoader, InMemoryDataset
from espalier.datasets import ImageFolder
from espalier.evaluation.build import build_evaluation
from espalier.inference.load import load_run
from espalier.training.build_data import build_test_data, section_of_test
from parse_config import ConfigParser
from train import build

ROOMS = {"arch": model.model, "loss": model.loss, "metrics": model.metric, "trainer": trainer,
         "data_loader": data_loader.data_loaders}  # fmt: skip
HERE = "tests.espalier.inference.runs"


def config_of(folder, data, **changes):
    """A config of one epoch on some data; `changes` replace sections, and are added to `trainer`."""
    trainer_section = {"epochs": 1, "monitor": "off", "tensorboard": False, "verbosity": 0, "save_dir": str(folder)}
    config = {"name": "Run", "n_gpu": 0, "seed": 3, "data_loader": data, "arch": {"type": f"{HERE}.Net", "args": {}},
              "loss": {"type": "torch.nn.CrossEntropyLoss"}, "metrics": ["accuracy"],
              "optimizer": {"type": "SGD", "args": {"lr": 0.05}}}  # fmt: skip
    changes["trainer"] = {**trainer_section, **changes.get("trainer", {})}
    return {**config, **changes}


def trained(config):
    """The folder of a run that was trained by a config."""
    built = build(ConfigParser(config))
    built.train()
    return built.checkpoint_dir


def read(path):
    """The config of a run as `predict.py` and `test.py` read it."""
    return ConfigParser.from_args(argparse.Namespace(resume=str(path)), evaluating=True, strict=True)


def evaluated(path, *, is_raw=False, of_output=None):
    """What the network gives for all batches of the test data, as test.py computes it, and its loader.

    Args:
        of_output: the part that counts; None for all.
    """
    config = read(path)
    config.config["trainer"]["limit_valid_batches"] = None
    section = section_of_test(config, data_loader.data_loaders)
    built, loader, _ = build_evaluation(
        config, ROOMS, lambda state: build_test_data(config, section, data_loader.data_loaders, state), is_raw=is_raw
    )
    outputs = []
    chosen = of_output or (lambda output: output)
    built.model.register_forward_hook(lambda module, inputs, output: outputs.append(chosen(output).float().cpu()))
    built.evaluate_epoch(1)
    return torch.cat(outputs), loader


def loaded(path, **options):
    """The model of a run, to predict with; loading it leaves the data sections of its config as they were."""
    config = read(path)
    before = copy.deepcopy([config.get("data_loader"), config.get("test_data_loader")])
    model = load_run(config, ROOMS, "cpu", **options)
    assert [config.get("data_loader"), config.get("test_data_loader")] == before
    return model


def check_parity(path, raw_inputs, *, is_raw=False, of_output=None):
    """Predicting the raw inputs of the test data gives what evaluation gave, bit for bit."""
    expected, loader = evaluated(path, is_raw=is_raw, of_output=of_output)
    chosen = [int(each) for each in loader.sampler]
    found = loaded(path, is_raw=is_raw).predict(raw_inputs(chosen))
    assert found.faults == {}
    assert len(chosen) > 3  # else nothing is shown
    assert torch.equal(torch.as_tensor(found.outputs), expected)
    return found


class Net(nn.Module):
    """Images of any size and type `(B, C, H, W)`, or vectors `(B, F)`, to 3 scores."""

    def __init__(self, channels: int = 3, num_classes: int = 3):
        super().__init__()
        self.first = nn.Conv2d(channels, 4, 3, padding=1)
        self.norm, self.drop = nn.BatchNorm2d(4), nn.Dropout(0.3)
        self.last = nn.Linear(4, num_classes)

    def forward(self, x):
        x = self.norm(self.first(x.float())).relu()
        return self.last(self.drop(x.mean((2, 3))))


class Flat(nn.Sequential):
    """Vectors to 3 scores, with batch norm."""

    def __init__(self, features: int = 4):
        super().__init__(nn.Linear(features, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


class TwoInputs(nn.Module):
    """Two vectors by name or place to 3 scores."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(4, 3), nn.Linear(2, 3)

    def forward(self, left, right):
        return self.left(left) + self.right(right)


class ManyOutputs(Flat):
    """Scores and more."""

    def forward(self, x):
        return {"scores": super().forward(x), "more": x}


class RandomProjection(Flat):
    """A projection that is drawn when it is made, and in no checkpoint."""

    def __init__(self):
        super().__init__()
        self.projection = torch.randn(4, 4)

    def forward(self, x):
        return super().forward(x @ self.projection)


def small_images():
    """Images (3, 8, 8) in memory."""
    generator = torch.Generator().manual_seed(2)
    return InMemoryDataset(torch.randn(60, 3, 8, 8, generator=generator), torch.arange(60) % 3)


class LazyNet(nn.Sequential):
    """Images to 3 scores, its sizes told by the data."""

    def __init__(self):
        super().__init__(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
                         nn.LazyLinear(3))  # fmt: skip


class Points(Dataset):
    """Points `(4,)`, and the number of a class."""

    def __init__(self, number: int = 60):
        generator = torch.Generator().manual_seed(1)
        self.targets = torch.arange(number) % 3
        self.points = torch.randn(number, 4, generator=generator) + self.targets[:, None]

    def __len__(self):
        return len(self.points)

    def __getitem__(self, index):
        return self.points[index], self.targets[index]


class NamedPoints(Points):
    """Inputs by name."""

    def __getitem__(self, index):
        return {"left": self.points[index], "right": self.points[index][:2]}, self.targets[index]


class PairsOfPoints(Points):
    """Inputs by place."""

    def __getitem__(self, index):
        return (self.points[index], self.points[index][:2]), self.targets[index]


class RecordsOfPoints(Points):
    """Whole samples by name, as data sets of a hub have them."""

    def __getitem__(self, index):
        return {"point": self.points[index], "label": self.targets[index]}


class RecordsTrainer(trainer.Trainer):
    """Says which is which."""

    def unpack(self, batch):
        return batch["point"], batch["label"]


class PairsTrainer(trainer.Trainer):
    """Gives the model two inputs by place."""

    def unpack(self, batch):
        return tuple(batch[0]), batch[1]


class FinishedPoints(Points):
    """A last step of its own, after the transform."""

    def finish_input(self, points):
        return points * 2 - 1


class LearnedPoints(Points):
    """Learns its mean, and says so."""

    def fit(self, indices):
        return {"mean": self.points[indices].mean(0).tolist()}

    def use(self, fitted):
        self.mean = torch.tensor(fitted["mean"])
        self.preprocessing = {"kind": "function", "function": f"{HERE}.centred", "args": {"mean": fitted["mean"]},
                              "takes": "4 numbers"}  # fmt: skip

    def __getitem__(self, index):
        return self.points[index] - self.mean, self.targets[index]


def centred(values, mean):
    """The input that `LearnedPoints` makes of a row."""
    return torch.as_tensor(values, dtype=torch.float32) - torch.tensor(mean)


class SilentPoints(LearnedPoints):
    """Learns its mean, and does not say so."""

    def use(self, fitted):
        self.mean = torch.tensor(fitted["mean"])


class Brighter(ImageFolder):
    """Images that are changed where nobody but this class knows it."""

    def image(self, index):
        return super().image(index).clamp(min=30)


def tensors():
    """A dataset of PyTorch."""
    points = Points()
    return TensorDataset(points.points, points.targets)


def subset():
    """A part of one."""
    return Subset(tensors(), range(5, 50))


class HiddenTransform(BaseDataLoader):
    """A loader with a transform that the config does not name."""

    def __init__(self, batch_size: int, training: bool = True):
        super().__init__(Points(60 if training else 20), batch_size, transform=lambda points: points / 2)


class HiddenCollate(BaseDataLoader):
    """A loader with a collate function that the config does not name."""

    def __init__(self, batch_size: int, training: bool = True):
        super().__init__(Points(60 if training else 20), batch_size, collate_fn=doubled)


def doubled(samples):
    """Twice the points."""
    points, targets = zip(*samples, strict=True)
    return 2 * torch.stack(points), torch.stack(targets)


class ClassicLoader(BaseDataLoader):
    """As projects of the classic template have it: a data set of torchvision with a transform, in a loader."""

    def __init__(self, data_dir: str, batch_size: int, shuffle: bool = True, validation_split: float = 0.0,
                 num_workers: int = 0, training: bool = True):  # fmt: skip
        from torchvision import datasets, transforms

        steps = [transforms.Resize(12), transforms.CenterCrop(10), transforms.ToTensor(),
                 transforms.Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))]  # fmt: skip
        steps = [transforms.RandomHorizontalFlip(), *steps] if training else steps
        dataset = datasets.ImageFolder(data_dir, transform=transforms.Compose(steps))
        super().__init__(dataset, batch_size, shuffle, validation_split, num_workers)


class VisionLoader(BaseDataLoader):
    """A data set of torchvision that is in memory, with a transform, in a loader."""

    def __init__(self, batch_size: int, training: bool = True):
        from torchvision import transforms

        steps = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.4,), (0.2,))])
        super().__init__(vision_data(60 if training else 20, steps), batch_size)


def vision_data(number, transform=None):
    """Grey images (9, 8) as those of MNIST."""
    from PIL import Image
    from torchvision.datasets import VisionDataset

    class Grey(VisionDataset):
        data = torch.randint(0, 256, (number, 9, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(4))
        targets = torch.arange(number) % 3

        def __len__(self):
            return len(self.data)

        def __getitem__(self, index):
            return self.transform(Image.fromarray(self.data[index].numpy())), int(self.targets[index])

    return Grey("", transform=transform)


class OwnLoop:
    """A loader that is no DataLoader, and has no dataset."""

    def __init__(self, batch_size: int, training: bool = True):
        self.points, self.batch_size = Points(60 if training else 20), batch_size

    def __len__(self):
        return len(self.points) // self.batch_size

    def __iter__(self):
        for batch in range(len(self)):
            chosen = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
            yield self.points.points[chosen], self.points.targets[chosen]


class PlainLoader(DataLoader):
    """A loader of PyTorch alone."""

    def __init__(self, batch_size: int, training: bool = True):
        super().__init__(Points(60 if training else 20), batch_size)
