"""A test for each known defect of the classic template (victoresque/pytorch-template), named after it.

Each docstring says in one sentence what went wrong there.
"""

import argparse
import ast
import collections
import copy
import importlib
import json
import logging
import random
import re
import shutil
import sys
import threading
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, IterableDataset, WeightedRandomSampler

import espalier.checkpoints.run_folder
import train
from base import BaseDataLoader, BaseModel, BaseTrainer, InMemoryDataset
from espalier.checkpoints.file import load_checkpoint
from espalier.errors import CheckpointError, ConfigError, TrainingError
from espalier.journal.tensorboard import Board
from espalier.rng import seed_everything
from espalier.training import restore
from espalier.training.rng_state import get_rng_state, set_rng_state
from logger import TensorboardWriter
from parse_config import ConfigParser
from trainer import Trainer
from utils import MetricTracker

# What is small enough to train in a few milliseconds.


class Classifier(nn.Module):
    """Scores of three classes from inputs of any shape and type; with dropout, so that it draws random numbers."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 3)
        self.dropout = nn.Dropout(0.3)

    def forward(self, x):
        flat = x.flatten(1).float()
        return self.layer(self.dropout(torch.stack([flat.mean(dim=1), flat.amax(dim=1)], dim=1)))


class Echo(nn.Module):
    """Gives its inputs back as scores; has a parameter, as an optimizer needs one."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return x * self.factor


class ScriptedTrainer(Trainer):
    """Its validation loss of epoch n is `script[n - 1]`, whatever the model does."""

    script = ()

    def _train_epoch(self, epoch):
        log = {**super()._train_epoch(epoch), "val_loss": self.script[epoch - 1]}
        self.schedule(log)
        return log


def accuracy(output, target):
    """The share of samples whose highest score is at the target."""
    return (output.argmax(dim=1) == target).float().mean()


def make_dataset(size=30, shape=(4,)):
    """Vectors and classes, the same every time."""
    generator = torch.Generator().manual_seed(0)
    return InMemoryDataset(
        torch.randn(size, *shape, generator=generator), torch.randint(0, 3, (size,), generator=generator)
    )


def make_loader(dataset=None, **options):
    """A loader of ten samples a batch, with a validation split."""
    return BaseDataLoader(dataset or make_dataset(), **{"batch_size": 10, "shuffle": True, "validation_split": 10,
                                                        "seed": 5, **options})  # fmt: skip


def make_trainer(config, loader=None, *, model=None, kind=Trainer, resume=None, overrides=None, script=None):
    """A trainer put together as in train.py; with `resume` it goes on in the folder of that checkpoint."""
    parser = ConfigParser(config, resume, overrides, run_folder=resume and resume.parent)
    seed_everything(config["seed"])
    loader = make_loader() if loader is None else loader
    model = model or Classifier()
    optimizer = parser.init_obj("optimizer", torch.optim, model.parameters())
    scheduler = None
    if "lr_scheduler" in parser:
        scheduler = parser.init_obj("lr_scheduler", torch.optim.lr_scheduler, optimizer)
    if script is not None:
        kind = type("Scripted", (ScriptedTrainer,), {"script": script})
    return kind(model, nn.CrossEntropyLoss(), [accuracy], optimizer, parser, torch.device("cpu"), loader,
                loader.split_validation(), scheduler, len_epoch=config["trainer"].get("len_epoch"))  # fmt: skip


def trained(config, *args, **kwargs):
    """Make a trainer and let it train."""
    trainer = make_trainer(config, *args, **kwargs)
    trainer.train()
    return trainer


def rows_of(trainer):
    """The epochs as metrics.jsonl has them."""
    return [json.loads(line) for line in (trainer.checkpoint_dir / "metrics.jsonl").read_text().splitlines()]


def checkpoints_in(folder):
    """The names of the checkpoints."""
    return {path.name for path in folder.glob("*.pth")}


def only_run(config):
    """The folder of the only run of a config."""
    (folder,) = (Path(config["trainer"]["save_dir"]) / "models" / config["name"]).iterdir()
    return folder


def events_of(folder):
    """What TensorBoard reads from a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder)).Reload()


def write_config(folder, config, name="config.json"):
    """A config as a file."""
    path = folder / name
    path.write_text(json.dumps(config))
    return path


def from_command_line(monkeypatch, *tokens, options=(), **kwargs):
    """The config that a command with -c, -r and -d makes of `tokens`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-c", "--config")
    parser.add_argument("-r", "--resume")
    parser.add_argument("-d", "--device")
    monkeypatch.setattr(sys, "argv", ["train.py", *map(str, tokens)])
    return ConfigParser.from_args(parser, options, **kwargs)


@pytest.fixture
def short_config(tiny_config):
    """A config for train.main that takes two steps an epoch on the digits."""
    tiny_config["trainer"].update(epochs=1, len_epoch=2)
    return tiny_config


@pytest.fixture(autouse=True)
def _generators_restored():
    """A test leaves the generators of the others alone."""
    state = get_rng_state()
    yield
    set_rng_state(state)


# Crashes and dead ends on a current stack


def test_metric_update_works_with_the_pandas_installed():
    """MetricTracker wrote through DataFrame.values, which raises with pandas 3, so that training could not start."""
    tracker = MetricTracker("loss")
    tracker.update("loss", 2.0)
    tracker.update("loss", 4.0)
    assert tracker.avg("loss") == 3.0


def test_every_import_is_a_listed_requirement(root):
    """pandas was imported but not in requirements.txt, so that a clean install failed at the first import."""
    text = (root / "pyproject.toml").read_text()
    (dependencies,) = re.findall(r"^dependencies = \[(.*?)^\]", text, re.M | re.S)
    (extras,) = re.findall(r"^\[project.optional-dependencies\](.*?)^test = ", text, re.M | re.S)
    listed, optional = set(re.findall(r'"([\w-]+)', dependencies)), set(re.findall(r'"([\w-]+)', extras))
    rooms = ("base", "data_loader", "espalier", "logger", "model", "trainer", "utils")
    files = [*root.glob("*.py"), *(path for room in rooms for path in (root / room).rglob("*.py"))]
    imported, on_loading = set(), set()
    of_an_extra = root / "espalier" / "serving"  # which serve.py loads once the extra is there
    for file, tree in ((file, ast.parse(file.read_text())) for file in files):
        for node in ast.walk(tree):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.split(".")[0] for name in names}
            is_on_loading = node in tree.body and file.parent != of_an_extra
            on_loading |= {name.split(".")[0] for name in names if is_on_loading}
    ours = {path.stem for path in root.iterdir()}
    comes_along = {"PIL"}  # with torchvision
    needed = imported - set(sys.stdlib_module_names) - ours - comes_along
    optional = {name.replace("-", "_") for name in optional}  # comet-ml is imported as comet_ml
    assert needed <= listed | optional
    assert not optional & on_loading  # only where it is used, in a function


def test_checkpoint_loads_with_the_defaults_of_torch(tiny_config):
    """Each checkpoint held a pickled ConfigParser, which torch.load has refused since 2.6: no resume and no test."""
    trainer = trained(tiny_config)
    state = torch.load(trainer.checkpoint_dir / "last.pth")
    assert type(state["config"]) is dict


def test_checkpoint_written_on_a_gpu_loads_without_one(tiny_config, monkeypatch):
    """torch.load had no map_location, so that a checkpoint of a GPU could not be read on a machine without."""
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        path = trained(tiny_config).checkpoint_dir / "last.pth"
    assert all(value.device.type == "cpu" for value in load_checkpoint(path)["state_dict"].values())


def test_plateau_scheduler_is_given_its_value(tiny_config):
    """The scheduler was stepped without a metric, which is a TypeError with ReduceLROnPlateau."""
    tiny_config["lr_scheduler"] = {"type": "ReduceLROnPlateau", "args": {"patience": 0}, "monitor": "val_loss"}
    tiny_config["trainer"]["epochs"] = 3
    trainer = trained(tiny_config)
    assert trainer.lr_scheduler.last_epoch == 3
    assert trainer.lr_scheduler.best == min(row["val_loss"] for row in rows_of(trainer))


def test_config_without_scheduler_trains(short_config):
    """Without an lr_scheduler section there was a KeyError, and the README said to edit the code."""
    assert "lr_scheduler" not in short_config
    train.main(ConfigParser(short_config))
    assert load_checkpoint(only_run(short_config) / "last.pth")["lr_scheduler"] is None


def test_loader_with_batch_sampler_trains(tiny_config):
    """The trainer took the square root of batch_size, which is None with a batch_sampler."""
    loader = make_loader(validation_split=0, shuffle=False, batch_size=None, batch_sampler=[[0, 1], [2, 3, 4]])
    assert trained(tiny_config, loader).step == 4


@pytest.mark.parametrize("tensorboard", [False, True])
@pytest.mark.parametrize(
    "inputs",
    [torch.arange(36).reshape(12, 3), torch.rand(12, 1), torch.rand(12, 3, 2, 4, 4)],
    ids=["tokens", "vectors", "video"],
)
def test_inputs_that_are_no_images_train(tiny_config, inputs, tensorboard):
    """make_grid was called on every input, TensorBoard on or off: tokens, vectors and video raised."""
    tiny_config["trainer"]["tensorboard"] = tensorboard
    loader = make_loader(InMemoryDataset(inputs, torch.arange(12) % 3), validation_split=4)
    trainer = trained(tiny_config, loader)
    assert trainer.epoch == 2
    if tensorboard:
        assert {*events_of(trainer.config.log_dir).Tags()["images"]} <= {"confusion"}  # which needs no images


class DictTrainer(Trainer):
    """Takes batches that are dicts."""

    def _train_epoch(self, epoch):
        for _, batch in self.batches(self.data_loader):
            output = self.model(batch["x"])
            loss = self.criterion(output, batch["y"])
            self.update(loss)
            self.track(loss, output, batch["y"])
        return self.train_metrics.result()


class ListTrainer(Trainer):
    """Takes batches of inputs of different lengths: a list of tensors, and the targets."""

    def _train_epoch(self, epoch):
        for _, (sequences, target) in self.batches(self.data_loader):
            output = self.model(torch.stack([each.mean(dim=0) for each in sequences]))
            loss = self.criterion(output, target)
            self.update(loss)
            self.track(loss, output, target)
        return self.train_metrics.result()


def one_hot_scores(is_right):
    """Scores of three classes that are highest at class 0 for each sample that is to be right."""
    return torch.eye(3)[torch.tensor([0 if right else 1 for right in is_right])]


class DictDataset(Dataset):
    """Eleven samples as dicts, of which the last one is answered wrongly."""

    def __len__(self):
        return 11

    def __getitem__(self, index):
        return {"x": one_hot_scores([True] * 10 + [False])[index], "y": 0}


class RaggedDataset(DictDataset):
    """The same as sequences, each of another length."""

    def __getitem__(self, index):
        return super().__getitem__(index)["x"].expand(2 + index, 3), 0

    @staticmethod
    def collate_fn(samples):
        return [sequence for sequence, _ in samples], torch.tensor([target for _, target in samples])


@pytest.mark.parametrize(
    ("dataset", "kind"), [(DictDataset(), DictTrainer), (RaggedDataset(), ListTrainer)], ids=["dict", "ragged"]
)
def test_batches_that_are_no_pair_of_tensors_train(tiny_config, dataset, kind):
    """A batch had to be a pair of tensors; dicts and lists of ragged tensors failed. They count by samples, too."""
    tiny_config["optimizer"]["args"]["lr"] = 0.0
    loader = make_loader(dataset, shuffle=False, validation_split=0)
    trainer = trained(tiny_config, loader, model=Echo(), kind=kind)
    assert rows_of(trainer)[0]["accuracy"] == pytest.approx(10 / 11)


class Stream(IterableDataset):
    """Seven samples and no length."""

    def __iter__(self):
        return iter([(torch.ones(4) * index, index % 3) for index in range(7)])


def test_iterable_dataset_trains_epochs(tiny_config):
    """An epoch asked for len(loader), so that an IterableDataset could not be used."""
    trainer = trained(tiny_config, BaseDataLoader(Stream(), 3))
    assert (trainer.epoch, trainer.step) == (2, 6)


def test_iterable_dataset_trains_epochs_of_a_given_length(tiny_config):
    """Where an epoch is len_epoch batches no length is needed, and the stream is begun again when it ends."""
    tiny_config["trainer"]["len_epoch"] = 4
    trainer = trained(tiny_config, BaseDataLoader(Stream(), 3))
    assert (trainer.epoch, trainer.step) == (2, 8)


def load_test_script(root):
    """test.py as a module; its own name belongs to the standard library too."""
    spec = spec_from_file_location("evaluate", root / "test.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_test_uses_the_loader_arguments_of_the_config(short_config, root, monkeypatch, tmp_path):
    """test.py built the loader with arguments of its own (batches of 512, two workers), not those of the config."""
    train.main(ConfigParser(short_config))
    (tmp_path / "sevens.py").write_text(
        "from base import BaseDataLoader, InMemoryDataset\n"
        "from data_loader.data_loaders import DigitsDataLoader\n"
        "def sevens(folder, how_many):\n"
        "    digits = DigitsDataLoader(folder, 8, training=False).dataset\n"
        "    chosen = (digits.targets == 7).nonzero().flatten()[:how_many]\n"
        "    return BaseDataLoader(InMemoryDataset(digits.inputs[chosen], digits.targets[chosen], 78.0, 86.0), 8)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    folder = only_run(short_config)
    arguments = {"folder": short_config["data_loader"]["args"]["data_dir"], "how_many": 13}
    short_config["test_data_loader"] = {"type": "sevens.sevens", "args": arguments}
    load_test_script(root).main(ConfigParser(short_config, folder / "last.pth", run_folder=folder))
    assert json.loads((folder / "test.json").read_text())["evaluations"][-1]["num_samples"] == 13


def test_test_without_checkpoint_shows_its_usage(monkeypatch, capsys):
    """A missing -r was an AttributeError inside torch.load(None)."""
    with pytest.raises(SystemExit) as caught:
        from_command_line(monkeypatch, evaluating=True)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: ")


@pytest.mark.parametrize("wrap_when", ["training", "loading", "both"])
def test_weights_fit_whichever_side_is_spread_over_gpus(tiny_config, wrap_when):
    """train.py and test.py wrapped the model under different conditions, so that the names of the weights differed."""
    model = Classifier()
    wrapped = model if wrap_when == "loading" else nn.DataParallel(model)
    state = load_checkpoint(trained(tiny_config, model=wrapped).checkpoint_dir / "last.pth")
    target = Classifier()
    restore.load_weights(target if wrap_when == "training" else nn.DataParallel(target), state["state_dict"])
    assert torch.equal(target.layer.weight, model.layer.weight)


@pytest.mark.parametrize("name", ["add_graph", "add_hparams", "add_figure", "add_mesh", "add_video", "flush", "close"])
@pytest.mark.parametrize("enabled", [False, True])
def test_writer_has_every_method_of_summary_writer(tmp_path, name, enabled):
    """Methods that were not on a list raised a misleading AttributeError, whether TensorBoard was on or off."""
    writer = TensorboardWriter(tmp_path, logging.getLogger("test"), enabled)
    assert callable(getattr(writer, name))
    writer.close()


def test_writer_add_mesh_arrives_in_tensorboard(tmp_path):
    """add_mesh was one of the methods that could not be called."""
    writer = TensorboardWriter(tmp_path, logging.getLogger("test"), True)
    writer.set_step(3)
    writer.add_mesh("shape", torch.zeros(1, 4, 3))
    writer.close()
    assert any(tag.startswith("shape") for tag in events_of(tmp_path).Tags()["tensors"])


def test_checkpoint_moved_without_its_config_is_resumed(tiny_config, tmp_path, monkeypatch):
    """-r needed config.json beside the file, so that a moved or downloaded checkpoint could not be used."""
    moved = tmp_path / "elsewhere" / "downloaded.pth"
    moved.parent.mkdir()
    shutil.copyfile(trained(tiny_config).checkpoint_dir / "last.pth", moved)
    assert from_command_line(monkeypatch, "-r", moved).config == tiny_config


def test_option_with_a_hyphen_is_taken(tiny_config, tmp_path, monkeypatch):
    """Of a flag only the leading "--" was cut off, so that --learning-rate was an AttributeError."""
    Option = collections.namedtuple("Option", "flags type target")
    options = [Option(["--lr", "--learning-rate"], float, "optimizer;args;lr")]
    path = write_config(tmp_path, tiny_config)
    config = from_command_line(monkeypatch, "-c", path, "--learning-rate", "0.25", options=options)
    assert config["optimizer"]["args"]["lr"] == 0.25


def test_option_with_a_tuple_as_target_is_taken(tiny_config, tmp_path, monkeypatch):
    """The README showed targets as tuples, which the code could not take: 'tuple' has no attribute 'split'."""
    Option = collections.namedtuple("Option", "flags type target")
    options = [Option(["--lr"], float, ("optimizer", "args", "lr"))]
    path = write_config(tmp_path, tiny_config)
    config = from_command_line(monkeypatch, "-c", path, "--lr", "0.25", options=options)
    assert config["optimizer"]["args"]["lr"] == 0.25


def test_key_save_freq_of_the_old_readme_is_refused(short_config):
    """The README named the key save_freq, which the code ignored before it raised KeyError: save_period."""
    short_config["trainer"]["save_freq"] = 2
    with pytest.raises(ConfigError) as caught:
        train.main(ConfigParser(short_config))
    assert [problem.path for problem in caught.value.problems] == ["trainer.save_freq"]


def test_save_period_may_be_left_out(short_config):
    """Without save_period there was a KeyError."""
    assert "save_period" not in short_config["trainer"]
    train.main(ConfigParser(short_config))
    assert "checkpoint-epoch1.pth" in checkpoints_in(only_run(short_config))


def test_histograms_leave_nan_parameters_out(tmp_path):
    """Histograms of all parameters were made each epoch, and a NaN among the parameters raised there."""
    model = nn.Linear(2, 2)
    model.weight.data[0, 0] = float("nan")
    writer = TensorboardWriter(tmp_path, logging.getLogger("test"), True)
    Board(writer, True).histograms(1, model)
    writer.close()
    assert [tag.rpartition("/")[2] for tag in events_of(tmp_path).Tags()["histograms"]] == ["bias"]


# Silent wrong results


def test_averages_are_weighted_by_samples(tiny_config):
    """Every batch counted the same: of 11 samples in batches of 10 and 1, ten of them right, it reported 0.5."""
    scores, target = one_hot_scores([True] * 10 + [False]), torch.zeros(11, dtype=torch.int64)
    both = torch.cat([scores, scores]), torch.cat([target, target])
    tiny_config["optimizer"]["args"]["lr"] = 0.0
    loader = make_loader(InMemoryDataset(*both), shuffle=False, validation_split=0)
    loader.split_validation = lambda: BaseDataLoader(InMemoryDataset(scores, target), 10)
    (first, *_) = rows_of(trained(tiny_config, loader, model=Echo()))
    assert first["val_accuracy"] == pytest.approx(10 / 11)
    assert first["accuracy"] == pytest.approx(20 / 22)


def test_resume_restores_more_than_weights_and_optimizer(tiny_config):
    """Scheduler, step, random numbers and early stopping were not saved: a resumed run was another run."""
    tiny_config["lr_scheduler"] = {"type": "StepLR", "args": {"step_size": 3, "gamma": 0.1}}
    tiny_config["trainer"]["epochs"] = 5
    whole = trained(copy.deepcopy(tiny_config))
    tiny_config["trainer"]["epochs"] = 2
    stopped = trained(copy.deepcopy(tiny_config))
    tiny_config["trainer"]["epochs"] = 5
    resumed = trained(tiny_config, resume=stopped.checkpoint_dir / "last.pth")
    assert [row["learning_rate"] for row in rows_of(resumed)] == [row["learning_rate"] for row in rows_of(whole)]
    assert resumed.step == whole.step
    assert torch.equal(resumed.model.layer.weight, whole.model.layer.weight)


def test_resume_between_passes_of_a_sampler_goes_on(tiny_config):
    """The place in the data was not saved; a sampler of the user has none, and its run can be resumed all the same."""
    sampler = WeightedRandomSampler([1.0] * 30, num_samples=30)
    tiny_config["trainer"].update(epochs=1, len_epoch=2)
    loader = make_loader(sampler=sampler, shuffle=False, validation_split=0)
    path = trained(copy.deepcopy(tiny_config), loader).checkpoint_dir / "last.pth"
    tiny_config["trainer"]["epochs"] = 2
    assert trained(tiny_config, loader, resume=path).step == 4


def test_resume_with_a_learning_rate_trains_at_that_rate(tiny_config):
    """The optimizer's state brought the old learning rate back: `-r ... --lr 0.1` trained at 0.00025 without a word."""
    path = trained(copy.deepcopy(tiny_config)).checkpoint_dir / "last.pth"
    tiny_config["trainer"]["epochs"] = 3
    resumed = trained(tiny_config, resume=path, overrides={"optimizer;args;lr": 0.025})
    assert [row["learning_rate"] for row in rows_of(resumed)] == [[0.1], [0.1], [0.025]]


@pytest.mark.parametrize("before", ["off", "max val_accuracy"])
def test_resume_with_another_monitor_starts_the_search_anew(tiny_config, before):
    """monitor_best was taken over whatever it was of (0 of a run without monitor), so that nothing ever improved."""
    tiny_config["trainer"]["monitor"] = before
    path = trained(copy.deepcopy(tiny_config)).checkpoint_dir / "last.pth"
    tiny_config["trainer"].update(epochs=3, monitor="min val_loss")
    resumed = trained(tiny_config, resume=path)
    assert load_checkpoint(resumed.checkpoint_dir / "model_best.pth")["epoch"] == 3


def test_split_without_validation_samples_is_refused():
    """A split too small for one sample reported a val_loss of 0.0, which was the best for ever."""
    with pytest.raises(ConfigError):
        make_loader(validation_split=0.01)


def test_constant_value_stops_early(tiny_config):
    """Equal counted as better: a constant value never stopped a run, and each epoch was written as the best."""
    tiny_config["trainer"].update(epochs=8, early_stop=2, monitor="min val_loss")
    trainer = trained(tiny_config, script=[1.0] * 8)
    assert trainer.epoch == 3
    assert load_checkpoint(trainer.checkpoint_dir / "model_best.pth")["epoch"] == 1


def test_early_stop_waits_exactly_as_long_as_it_says(tiny_config, caplog):
    """A run stopped one bad epoch later than early_stop and its own message said."""
    tiny_config["trainer"].update(epochs=8, early_stop=3, monitor="min val_loss", verbosity=1)
    trainer = trained(tiny_config, script=[1.0, *range(2, 9)])
    assert trainer.epoch == 1 + 3
    assert "Stopped: val_loss was not better for 3 epochs." in caplog.messages


def test_best_epoch_between_saves_is_kept(tiny_config):
    """The best was looked for on save epochs only: one between them was lost."""
    tiny_config["trainer"].update(epochs=5, save_period=5, monitor="min val_loss")
    trainer = trained(tiny_config, script=[3.0, 1.0, 2.0, 2.0, 2.0])
    assert load_checkpoint(trainer.checkpoint_dir / "model_best.pth")["epoch"] == 2


@pytest.mark.parametrize(("early_stop", "last"), [(0, 5), (2, 3)], ids=["all epochs", "early stop"])
def test_last_epoch_is_saved(tiny_config, early_stop, last):
    """The last epoch was saved only if save_period divided it, and never on an early stop."""
    tiny_config["trainer"].update(epochs=5, save_period=4, monitor="min val_loss", early_stop=early_stop)
    folder = trained(tiny_config, script=[1.0] * 5).checkpoint_dir
    assert load_checkpoint(folder / f"checkpoint-epoch{last}.pth")["epoch"] == last
    assert load_checkpoint(folder / "last.pth")["epoch"] == last


def test_misspelt_monitor_stops_before_training(tiny_config, tmp_path):
    """A misspelt monitor switched monitoring off: a whole run without best model or early stop, and one warning."""
    tiny_config["trainer"]["monitor"] = "min val_los"
    with pytest.raises(ConfigError) as caught:
        trained(tiny_config)
    assert caught.value.problems[0].closest == "val_loss"
    assert list(tmp_path.iterdir()) == []


def test_nan_loss_ends_the_run(tiny_config):
    """A run whose loss was NaN went on to its last epoch, and saved each of them."""
    tiny_config["optimizer"]["args"]["lr"] = 1e38
    with pytest.raises(TrainingError):
        trained(tiny_config)
    assert not checkpoints_in(only_run(tiny_config)) & {"checkpoint-epoch2.pth"}


def test_len_epoch_runs_that_many_batches(tiny_config):
    """With len_epoch an epoch ran one batch more, so that the step numbers of two epochs overlapped."""
    tiny_config["trainer"]["len_epoch"] = 3
    assert [row["step"] for row in rows_of(trained(tiny_config))] == [3, 6]


def test_shuffle_false_with_a_split_keeps_the_order():
    """With a split the sampler was always random: `shuffle: false` shuffled, and validation too."""
    loader = make_loader(shuffle=False)
    validation = loader.split_validation()
    state = torch.get_rng_state()
    first, second = ([list(each.sampler) for each in (loader, validation)] for _ in range(2))
    assert first == second
    assert first[0] == sorted(first[0])
    assert torch.equal(torch.get_rng_state(), state)


def test_split_does_not_seed_numpy():
    """The split called np.random.seed(0), so that whatever seed the user had set was gone."""
    np.random.seed(41)
    expected = np.random.RandomState(41).rand()
    make_loader()
    assert np.random.rand() == expected


def test_split_follows_the_seed():
    """The split was the same for every seed, so that runs with several seeds all validated on the same samples."""
    assert set(make_loader(seed=1).valid_sampler) != set(make_loader(seed=2).valid_sampler)


def test_split_of_one_and_a_half_is_refused():
    """A share above 1 was an IndexError."""
    with pytest.raises(ConfigError):
        make_loader(validation_split=1.5)


def test_split_of_everything_is_refused():
    """1 meant one sample and 1.0 all of them, which left nothing to train on."""
    assert len(make_loader(validation_split=1).valid_sampler) == 1
    with pytest.raises(ConfigError):
        make_loader(validation_split=1.0)


def test_seed_comes_from_the_config(short_config):
    """The seed was fixed in train.py, so that the config could not change it."""
    weights = []
    for run_number, seed in enumerate((1, 1, 2)):
        config = {**copy.deepcopy(short_config), "seed": seed, "name": f"run{run_number}"}
        train.main(ConfigParser(config))
        weights.append(load_checkpoint(only_run(config) / "last.pth")["state_dict"]["fc2.weight"])
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_seed_reaches_the_random_module(short_config):
    """Python's own generator was never seeded."""
    draws = []
    for _ in range(2):
        train.main(ConfigParser(short_config))
        draws.append(random.random())
    assert draws[0] == draws[1]


def test_import_of_train_changes_nothing(monkeypatch):
    """Importing train.py seeded PyTorch and made cuDNN deterministic and slow, whatever the config said."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    state = torch.get_rng_state()
    importlib.reload(train)
    assert torch.equal(torch.get_rng_state(), state)
    assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark) == (False, True)


def test_resume_of_a_finished_run_says_so(tiny_config, caplog):
    """To resume a run whose epochs were done ended at once and without a word."""
    path = trained(copy.deepcopy(tiny_config)).checkpoint_dir / "last.pth"
    trained(tiny_config, resume=path)
    assert caplog.messages == ["All 2 epochs of this run are done; to go on, raise them: trainer.epochs=4."]


def test_partial_section_is_merged_into_that_of_the_checkpoint(tiny_config, tmp_path, monkeypatch):
    """`-c` with `-r` replaced whole sections: a partial one lost everything it did not repeat."""
    path = trained(tiny_config).checkpoint_dir / "last.pth"
    fine = write_config(tmp_path, {"optimizer": {"args": {"lr": 0.001}}}, "fine.json")
    config = from_command_line(monkeypatch, "-c", fine, "-r", path)
    assert config["optimizer"] == {"type": "SGD", "args": {"lr": 0.001, "momentum": 0.9}}


def test_resume_with_other_parameter_groups_is_refused(tiny_config):
    """Only the type of the optimizer was compared: other parameter groups failed late, or kept stale settings."""
    path = trained(copy.deepcopy(tiny_config)).checkpoint_dir / "last.pth"
    tiny_config["trainer"]["epochs"] = 3
    resumed = make_trainer(tiny_config, resume=path)
    layer = resumed.model.layer
    resumed.optimizer = torch.optim.SGD([{"params": [layer.weight]}, {"params": [layer.bias]}], lr=0.1)
    with pytest.raises(CheckpointError):
        resumed.train()


def test_resume_with_another_optimizer_starts_it_fresh(tiny_config, caplog):
    """With another type the old state was left out; here too, and the log says so."""
    path = trained(copy.deepcopy(tiny_config)).checkpoint_dir / "last.pth"
    tiny_config["optimizer"] = {"type": "Adam", "args": {"lr": 0.003}}
    tiny_config["trainer"]["epochs"] = 3
    resumed = trained(tiny_config, resume=path)
    assert caplog.messages == ["optimizer was SGD in the checkpoint and is Adam now: it starts fresh."]
    assert resumed.optimizer.state_dict()["state"][0]["step"].item() == 2


def test_curves_of_training_and_validation_share_their_axis(tiny_config):
    """Values were plotted by batch, over different axes: curves of training and validation could not be compared."""
    tiny_config["trainer"]["tensorboard"] = True
    log_dir = trained(tiny_config).config.log_dir
    steps = [[point.step for point in events_of(log_dir).Scalars(f"loss/{part}")] for part in ("train", "valid")]
    assert steps == [[2, 4], [2, 4]]


def test_steps_per_second_leave_validation_out(tmp_path):
    """The clock of steps_per_sec went on during validation, so that the first step after it looked slow."""
    writer = TensorboardWriter(tmp_path, logging.getLogger("test"), True)
    for step, mode in ((1, "train"), (2, "train"), (2, "valid"), (3, "train"), (4, "train")):
        writer.set_step(step, mode)
    writer.close()
    (tag,) = (tag for tag in events_of(tmp_path).Tags()["scalars"] if tag.startswith("steps_per_sec"))
    assert [point.step for point in events_of(tmp_path).Scalars(tag)] == [2, 4]


# Loss of data, isolation, robustness


def test_kill_during_a_save_leaves_the_best_intact(tiny_config, monkeypatch):
    """model_best.pth was written in place: a kill in the middle of a save destroyed the best there was."""
    tiny_config["trainer"].update(epochs=1, monitor="min val_loss")
    path = trained(copy.deepcopy(tiny_config), script=[3.0]).checkpoint_dir / "last.pth"

    def killed(state, target):
        torn = b"half a checkpoint"
        Path(target).write_bytes(torn) if isinstance(target, (str, Path)) else target.write(torn)
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    tiny_config["trainer"].update(epochs=3, save_period=3)  # the better epoch 2 is written as the best alone
    with pytest.raises(KeyboardInterrupt):
        trained(tiny_config, resume=path, script=[3.0, 1.0, 2.0])
    assert load_checkpoint(path.with_name("model_best.pth"))["epoch"] == 1
    assert load_checkpoint(path)["epoch"] == 1


def test_best_epoch_takes_the_disk_once(tiny_config):
    """A best epoch was serialised twice, as its own file and as model_best.pth."""
    tiny_config["trainer"].update(epochs=1, monitor="min val_loss")
    folder = trained(tiny_config).checkpoint_dir
    assert (folder / "model_best.pth").samefile(folder / "checkpoint-epoch1.pth")


def test_old_checkpoints_go_and_the_last_has_a_name(tiny_config):
    """Each epoch left a file for ever, which filled disks, and none was called the last."""
    tiny_config["trainer"].update(epochs=4, keep_last=2)
    folder = trained(tiny_config).checkpoint_dir
    assert checkpoints_in(folder) == {"checkpoint-epoch3.pth", "checkpoint-epoch4.pth", "last.pth"}


def test_two_runs_of_one_second_have_folders_of_their_own(tiny_config, monkeypatch):
    """Run ids were month, day and time: two starts in one second were a FileExistsError, and years were mixed up."""

    class Clock(espalier.checkpoints.run_folder.datetime):
        @classmethod
        def now(cls):
            return cls(2031, 2, 3, 4, 5, 6)

    monkeypatch.setattr(espalier.checkpoints.run_folder, "datetime", Clock)
    names = [ConfigParser(copy.deepcopy(tiny_config)).save_dir.name for _ in range(2)]
    assert names == ["20310203_040506", "20310203_040506_2"]


def test_config_in_a_notebook_leaves_no_trace(tiny_config, tmp_path):
    """The constructor made folders, wrote files and changed logging: in tests, notebooks and on every rank."""
    handlers = logging.getLogger().handlers[:]
    config = ConfigParser(tiny_config)
    config.init_obj("optimizer", torch.optim, nn.Linear(1, 1).parameters())
    assert list(tmp_path.iterdir()) == []
    assert logging.getLogger().handlers == handlers


def test_device_is_chosen_before_torch_is_imported(run):
    """CUDA_VISIBLE_DEVICES was set after the imports, when CUDA might have been touched already."""
    code = (
        "import argparse, os, sys, train\n"
        "from parse_config import ConfigParser\n"
        "parser = argparse.ArgumentParser()\n"
        "for flag in ('--config', '--resume', '--device'): parser.add_argument(flag)\n"
        "sys.argv = ['train.py', '--config', 'config.json', '--device', '1']\n"
        "ConfigParser.from_args(parser)\n"
        "print(os.environ['CUDA_VISIBLE_DEVICES'], 'torch' in sys.modules)\n"
    )
    assert run("-c", code).stdout == "1 False\n"


def test_log_file_is_written_from_any_folder(short_config, tmp_path, monkeypatch):
    """The logging config was looked for in the working directory: from another one there was no info.log."""
    monkeypatch.chdir(tmp_path)
    short_config["trainer"]["verbosity"] = 1
    config = ConfigParser(short_config)
    train.main(config)
    lines = (config.log_dir / "info.log").read_text().splitlines()
    assert lines[0].endswith(f" - trainer - INFO - Run {config.save_dir}.")


def test_debug_lines_reach_the_log_file(tiny_config):
    """The file took INFO and above, so that the lines of single batches, logged as DEBUG, were never in it."""
    tiny_config["trainer"]["verbosity"] = 2

    class Chatty(Trainer):
        def _train_epoch(self, epoch):
            self.logger.debug("batch 1 of epoch %d", epoch)
            return super()._train_epoch(epoch)

    trainer = trained(tiny_config, kind=Chatty)
    assert " - trainer - DEBUG - batch 1 of epoch 2\n" in (trainer.config.log_dir / "info.log").read_text()


def test_resume_reaches_attributes_of_the_subclass(tiny_config):
    """Resume ran inside the base constructor, before a subclass had made what it wanted restored."""

    class Averaging(Trainer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.average = 0.0

        def _train_epoch(self, epoch):
            self.average += epoch
            return super()._train_epoch(epoch)

        def state_dict(self):
            return {**super().state_dict(), "average": self.average}

        def _resume_checkpoint(self, resume_path):
            super()._resume_checkpoint(resume_path)
            self.average = load_checkpoint(resume_path)["average"]

    path = trained(copy.deepcopy(tiny_config), kind=Averaging).checkpoint_dir / "last.pth"
    tiny_config["trainer"]["epochs"] = 3
    assert trained(tiny_config, kind=Averaging, resume=path).average == 1 + 2 + 3


def test_interrupted_run_closes_its_curves(tiny_config):
    """The writer was never closed, so that Ctrl-C lost what its thread had not written yet."""

    class Interrupted(Trainer):
        def _train_epoch(self, epoch):
            if epoch == 2:
                raise KeyboardInterrupt
            return super()._train_epoch(epoch)

    tiny_config["trainer"]["tensorboard"] = True
    trainer = make_trainer(tiny_config, kind=Interrupted)
    threads = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert [point.step for point in events_of(trainer.config.log_dir).Scalars("loss/valid")] == [2]
    begun = set(threading.enumerate()) - threads
    assert [each for each in begun if type(each).__module__.startswith("tensorboard")] == []


def test_checkpoint_of_a_spread_model_has_plain_names(tiny_config):
    """A model in DataParallel was saved with `module.` before each name, which a plain model does not load."""
    folder = trained(tiny_config, model=nn.DataParallel(Classifier())).checkpoint_dir
    assert list(load_checkpoint(folder / "last.pth")["state_dict"]) == ["layer.weight", "layer.bias"]


@pytest.mark.parametrize(("base", "method"), [(BaseModel, "forward"), (BaseTrainer, "_train_epoch")])
def test_abstract_method_left_out_is_found_at_construction(base, method):
    """abstractmethod stood in classes without ABC, so that a missing forward or _train_epoch was found late."""
    with pytest.raises(TypeError, match=f"abstract method '?{method}'?"):
        type("Incomplete", (base,), {})()


def test_misspelt_type_names_the_nearest(short_config):
    """A misspelt type was a bare AttributeError without a candidate."""
    short_config["optimizer"]["type"] = "Adamm"
    with pytest.raises(ConfigError) as caught:
        train.main(ConfigParser(short_config))
    assert [(problem.path, problem.closest) for problem in caught.value.problems] == [("optimizer.type", "Adam")]


def test_argument_set_twice_is_refused_without_assert(tiny_config):
    """An argument set in the config and in the code was an assert, which vanishes under -O."""
    with pytest.raises(ConfigError):
        ConfigParser(tiny_config).init_obj("optimizer", torch.optim, nn.Linear(1, 1).parameters(), lr=0.5)
