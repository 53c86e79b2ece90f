"""The laws of a run: it equals a plain loop, goes on exactly, and cannot lose its checkpoint."""

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn

from base import BaseDataLoader, BaseTrainer, InMemoryDataset
from espalier.checkpoints.file import load_checkpoint
from espalier.errors import CheckpointError, ConfigError, TrainingError, python_command
from espalier.rng import seed_everything
from espalier.training.parts import own_attributes
from model.loss import nll_loss
from model.metric import accuracy
from model.model import MnistModel
from parse_config import ConfigParser
from tests.seams import go_to, monitor_of, start
from trainer import Trainer

NUM_SAMPLES = 47  # not a multiple of the batch size: the last batch is short


def make_loader(batch_size=10, split=0.2, **options):
    """Random images and labels, the same in every test."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (NUM_SAMPLES, 1, 28, 28), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (NUM_SAMPLES,), generator=generator)
    dataset = InMemoryDataset(images, labels, mean=128.0, std=64.0)
    return BaseDataLoader(dataset, batch_size, shuffle=True, validation_split=split, seed=5, **options)


def make_trainer(config, resume=None, run_folder=None, loader=None, trainer=Trainer, overrides=None, **options):
    """A trainer put together the way train.py does it, on the made-up data."""
    parser = ConfigParser(config, resume, overrides, run_folder=run_folder, **options)
    seed_everything(config["seed"])
    loader = make_loader() if loader is None else loader
    model = MnistModel()
    optimizer = parser.init_obj("optimizer", torch.optim, model.parameters())
    lr_scheduler = None
    if "lr_scheduler" in parser:
        lr_scheduler = parser.init_obj("lr_scheduler", torch.optim.lr_scheduler, optimizer)
    return trainer(
        model,
        nll_loss,
        [accuracy],
        optimizer,
        parser,
        torch.device("cpu"),
        loader,
        loader.split_validation(),
        lr_scheduler,
        len_epoch=config["trainer"].get("len_epoch"),
    )


def assert_equal_states(first, second):
    """Two checkpoints hold the same values, to the bit; the config may name other epochs."""
    first, second = ({k: v for k, v in each.items() if k != "config"} for each in (first, second))
    assert_equal(first, second)


def assert_equal(first, second):
    if isinstance(first, dict):
        assert list(first) == list(second)
        for key in first:
            assert_equal(first[key], second[key])
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_equal(one, other)
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    else:
        assert first == second


def read_metrics(folder):
    """The rows of metrics.jsonl without the clock."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


# Parity


def test_train_fp32_equals_plain_loop_bitwise(tiny_config):
    """Two epochs give the weights of a plain PyTorch loop over the same batches, to the bit."""
    trainer = make_trainer(tiny_config)
    trainer.train()

    seed_everything(tiny_config["seed"])
    loader = make_loader()
    model = MnistModel()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model.train()
    for _ in range(2):
        for data, target in loader:
            optimizer.zero_grad()
            loss = nn.functional.nll_loss(model(data), target)
            loss.backward()
            optimizer.step()

    assert_equal(dict(trainer.model.state_dict()), dict(model.state_dict()))


def test_train_reported_loss_equals_mean_over_samples(tiny_config):
    """The validation loss of an epoch is that of all validation samples in one batch."""
    trainer = make_trainer(tiny_config)
    trainer.train()
    loader = make_loader(batch_size=4).split_validation()
    samples = [loader.dataset[i] for i in loader.sampler]
    data, target = torch.stack([d for d, _ in samples]), torch.stack([t for _, t in samples])
    trainer.model.eval()
    expected = nn.functional.nll_loss(trainer.model(data), target).item()
    assert read_metrics(trainer.checkpoint_dir)[-1]["val_loss"] == pytest.approx(expected, rel=1e-6)


def test_train_two_runs_of_one_config_are_equal_bitwise(tiny_config):
    """Two runs of one config end in the same state."""
    states = []
    for _ in range(2):
        trainer = make_trainer(copy.deepcopy(tiny_config))
        trainer.train()
        states.append(trainer.state_dict())
    assert_equal_states(*states)


def test_train_with_tensorboard_on_does_not_change_the_run(tiny_config):
    """Pictures, histograms and the traced graph draw no random number and touch no weight."""
    plain = make_trainer(copy.deepcopy(tiny_config))
    plain.train()
    tiny_config["trainer"]["tensorboard"] = True
    shown = make_trainer(tiny_config)
    shown.train()
    assert_equal(dict(plain.model.state_dict()), dict(shown.model.state_dict()))


# Resume

STEP_LR = {"type": "StepLR", "args": {"step_size": 2, "gamma": 0.5}}
PLATEAU = {"type": "ReduceLROnPlateau", "args": {"patience": 0, "factor": 0.5}, "monitor": "val_loss"}
ONE_CYCLE = {"type": "OneCycleLR", "args": {"max_lr": 0.1, "total_steps": 40}, "interval": "step"}
ADAM = {"type": "Adam", "args": {"lr": 0.003, "amsgrad": True}}


@pytest.mark.parametrize(
    "stop_after", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(3, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, marks=pytest.mark.slow),
        {"optimizer": ADAM, "lr_scheduler": STEP_LR},
        {"lr_scheduler": PLATEAU},
        pytest.param({"lr_scheduler": ONE_CYCLE}, marks=pytest.mark.slow),
        pytest.param({"len_epoch": 3}, marks=pytest.mark.slow),
        {"monitor": "min val_loss", "early_stop": 2},
    ],
    ids=["sgd", "adam+step", "plateau", "one-cycle", "len_epoch", "monitor"],
)
def test_resume_at_epoch_boundary_equals_undisturbed_run(tiny_config, changes, stop_after):
    """A run stopped after any epoch and resumed ends where the undisturbed one does, with tolerance 0."""
    for key, value in changes.items():
        (tiny_config if key in ("optimizer", "lr_scheduler") else tiny_config["trainer"])[key] = value
    tiny_config["trainer"].update(epochs=4, keep_last=10)
    whole = make_trainer(copy.deepcopy(tiny_config))
    whole.train()

    stopped = make_trainer(copy.deepcopy(tiny_config))
    stopped.epochs = stop_after
    stopped.train()
    torch.rand(7)  # whatever happens between two processes
    checkpoint = stopped.checkpoint_dir / f"checkpoint-epoch{stop_after}.pth"
    resumed = make_trainer(copy.deepcopy(tiny_config), checkpoint, run_folder=stopped.checkpoint_dir)
    resumed.train()

    ends = (load_checkpoint(each.checkpoint_dir / "last.pth") for each in (whole, resumed))
    assert_equal_states(*ends)
    assert read_metrics(whole.checkpoint_dir) == read_metrics(resumed.checkpoint_dir)


def test_resume_keeps_folder_and_drops_later_rows(tiny_config):
    """Going on from an early epoch writes into the same folder and leaves no doubled row in metrics.jsonl."""
    tiny_config["trainer"].update(epochs=3, keep_last=10)
    first = make_trainer(copy.deepcopy(tiny_config))
    first.train()
    again = make_trainer(tiny_config, first.checkpoint_dir / "checkpoint-epoch1.pth", run_folder=first.checkpoint_dir)
    again.train()
    assert again.checkpoint_dir == first.checkpoint_dir
    assert [row["epoch"] for row in read_metrics(again.checkpoint_dir)] == [1, 2, 3]


def test_resume_of_finished_run_trains_nothing_and_says_so(tiny_config, caplog):
    """A run that has done its epochs is left as it is, with one line that tells how to go on."""
    first = make_trainer(copy.deepcopy(tiny_config))
    first.train()
    before = load_checkpoint(first.checkpoint_dir / "last.pth")
    again = make_trainer(tiny_config, first.checkpoint_dir / "last.pth", run_folder=first.checkpoint_dir)
    again.train()
    assert "All 2 epochs of this run are done; to go on, raise them: trainer.epochs=4." in caplog.messages
    assert_equal_states(before, load_checkpoint(again.checkpoint_dir / "last.pth"))


def test_resume_of_early_stopped_run_trains_nothing(tiny_config):
    """Patience that has run out stays run out."""
    tiny_config["trainer"].update(epochs=9, monitor="max val_loss", early_stop=1)
    first = make_trainer(copy.deepcopy(tiny_config))
    monitor_of(first).best = 1e9
    first.train()
    again = make_trainer(tiny_config, first.checkpoint_dir / "last.pth", run_folder=first.checkpoint_dir)
    again.train()
    assert (first.epoch, again.epoch) == (1, 1)


def test_resume_with_lr_from_command_line_trains_at_that_lr(tiny_config, caplog):
    """A learning rate given with -r wins over the saved one, and the log says so."""
    caplog.set_level("INFO")
    first = make_trainer(copy.deepcopy(tiny_config))
    first.epochs = 1
    first.train()
    again = make_trainer(
        tiny_config,
        first.checkpoint_dir / "last.pth",
        run_folder=first.checkpoint_dir,
        overrides={"optimizer;args;lr": 0.025},
    )
    again.train()
    assert read_metrics(again.checkpoint_dir)[-1]["learning_rate"] == [0.025]
    assert "optimizer.args.lr is 0.025 from the command line, not the saved 0.1." in caplog.messages


def test_resume_with_part_missing_is_refused(tiny_config, tmp_path):
    """A checkpoint that lacks what a continued run needs is an error that names the part."""
    first = make_trainer(copy.deepcopy(tiny_config))
    first.train()
    state = load_checkpoint(first.checkpoint_dir / "last.pth")
    del state["rng"], state["monitor"]
    path = tmp_path / "old.pth"
    torch.save(state, path)
    again = make_trainer(tiny_config, path, run_folder=first.checkpoint_dir)
    with pytest.raises(CheckpointError) as error:
        again.train()
    assert str(error.value) == (
        f"checkpoint error: {path} cannot be continued, since it lacks monitor, rng\n"
        "  fix       start a new run from its weights: train.py -c config.json -r ..."
    )


def test_new_run_from_checkpoint_starts_at_epoch_one_with_its_weights(tiny_config):
    """Fine-tuning takes the weights along, counts epochs anew, and has a folder of its own."""
    first = make_trainer(copy.deepcopy(tiny_config))
    first.train()
    again = make_trainer(tiny_config, first.checkpoint_dir / "last.pth", continues_run=False)
    start(again)
    assert_equal(dict(first.model.state_dict()), dict(again.model.state_dict()))
    assert (again.start_epoch, again.checkpoint_dir != first.checkpoint_dir) == (1, True)


def test_resume_of_moved_checkpoint_continues_in_a_new_folder(tiny_config):
    """Without its run folder a checkpoint is still continued, epoch and all, in a folder of its own."""
    first = make_trainer(copy.deepcopy(tiny_config))
    first.train()
    tiny_config["trainer"]["epochs"] = 3
    again = make_trainer(tiny_config, first.checkpoint_dir / "last.pth")
    again.train()
    assert [row["epoch"] for row in read_metrics(again.checkpoint_dir)] == [3]
    assert again.checkpoint_dir != first.checkpoint_dir


# Saving


@pytest.mark.parametrize(
    ("period", "expected"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (9, [5])], ids=["each", "second", "only-last"]
)
def test_save_period_keeps_those_epochs_and_the_last(tiny_config, period, expected):
    """Every save_period-th epoch has a file, and the last one always."""
    tiny_config["trainer"].update(epochs=5, save_period=period)
    trainer = make_trainer(tiny_config)
    trainer.train()
    found = sorted(path.name for path in trainer.checkpoint_dir.glob("checkpoint-*.pth"))
    assert found == [f"checkpoint-epoch{epoch}.pth" for epoch in expected]


class ScriptedTrainer(Trainer):
    """Reports the losses it is told to."""

    losses = ()

    def _train_epoch(self, epoch):
        super()._train_epoch(epoch)
        return {"loss": 1.0, "val_loss": self.losses[epoch - 1]}


def scripted(losses):
    return type("Scripted", (ScriptedTrainer,), {"losses": losses})


def test_best_epoch_between_save_periods_is_saved(tiny_config):
    """The best epoch is in model_best.pth although no epoch file was due."""
    tiny_config["trainer"].update(epochs=5, save_period=10, monitor="min val_loss")
    trainer = make_trainer(tiny_config, trainer=scripted([3.0, 1.0, 2.0, 2.0, 2.0]))
    trainer.train()
    assert load_checkpoint(trainer.checkpoint_dir / "model_best.pth")["epoch"] == 2


@pytest.mark.parametrize(("patience", "stopped_at"), [(1, 2), (2, 3), (0, 6)])
def test_early_stop_of_constant_value_stops_after_patience(tiny_config, patience, stopped_at):
    """A value that stays equal is not better, so training ends after exactly `early_stop` more epochs, and is saved."""
    tiny_config["trainer"].update(epochs=6, save_period=100, monitor="min val_loss", early_stop=patience)
    trainer = make_trainer(tiny_config, trainer=scripted([1.0] * 6))
    trainer.train()
    assert load_checkpoint(trainer.checkpoint_dir / "last.pth")["epoch"] == stopped_at
    assert (trainer.checkpoint_dir / f"checkpoint-epoch{stopped_at}.pth").exists()


def test_nan_value_is_never_best(tiny_config):
    """An epoch whose monitored value is NaN does not become model_best.pth, even as the first."""
    tiny_config["trainer"].update(epochs=3, monitor="min val_loss")
    trainer = make_trainer(tiny_config, trainer=scripted([float("nan"), 2.0, float("nan")]))
    trainer.train()
    assert load_checkpoint(trainer.checkpoint_dir / "model_best.pth")["epoch"] == 2


def fail_in_save(number, monkeypatch):
    """Let the disk be full in the middle of save `number`."""
    real, calls = torch.save, []

    def save(state, file):
        calls.append(1)
        if len(calls) == number:
            file.write(b"torn")
            raise OSError(28, "No space left on device")
        real(state, file)

    monkeypatch.setattr(torch, "save", save)


def test_save_disk_full_in_the_middle_goes_on_to_the_next_save(tiny_config, monkeypatch, caplog):
    """A failed save is told in one line; the checkpoint before stays, no temporary file does, and the run goes on."""
    tiny_config["trainer"]["epochs"] = 3
    trainer = make_trainer(tiny_config)
    fail_in_save(2, monkeypatch)
    trainer.train()
    assert sorted(path.name for path in trainer.checkpoint_dir.glob("*.pth")) == [
        "checkpoint-epoch1.pth",
        "checkpoint-epoch3.pth",
        "last.pth",
    ]
    assert not list(trainer.checkpoint_dir.glob(".*.tmp"))
    (line,) = (record.getMessage() for record in caplog.records if "could not be written" in record.getMessage())
    path = trainer.checkpoint_dir / "checkpoint-epoch2.pth"
    assert line.startswith(f"A checkpoint could not be written: No space left on device ({path}, on the disk mounted")


def test_save_disk_full_with_on_save_error_stop_ends_the_run(tiny_config, monkeypatch):
    """A run that is to stop when it cannot be saved does, with the checkpoint before intact."""
    tiny_config["trainer"]["on_save_error"] = "stop"
    trainer = make_trainer(tiny_config)
    fail_in_save(2, monkeypatch)
    with pytest.raises(CheckpointError, match="a checkpoint could not be written: No space left on device"):
        trainer.train()
    assert load_checkpoint(trainer.checkpoint_dir / "last.pth")["epoch"] == 1
    assert not list(trainer.checkpoint_dir.glob(".*.tmp"))


# Errors


def test_train_misspelt_monitor_is_refused_before_training(tiny_config, tmp_path):
    """A monitor that no epoch reports is an error that lists the names; no folder is made."""
    tiny_config["trainer"]["monitor"] = "min val_los"
    with pytest.raises(ConfigError) as error:
        make_trainer(tiny_config).train()
    assert str(error.value) == (
        "config error: trainer.monitor watches val_los, which no epoch reports\n"
        '  got       "min val_los"\n'
        "  expected  one of: loss, accuracy, val_loss, val_accuracy\n"
        "  closest   val_loss\n"
        "  fix       correct the name, or let _train_epoch return it (and Trainer.extra_log_names name it)"
    )
    assert not (tmp_path / "saved").exists()


def test_train_nan_loss_stops_and_saves_nothing(tiny_config):
    """A loss that is no longer finite ends the run with an error; no checkpoint holds it."""
    tiny_config["optimizer"]["args"]["lr"] = 1e30
    trainer = make_trainer(tiny_config)
    with pytest.raises(TrainingError) as error:
        trainer.train()
    assert str(error.value) == (
        "training error: the loss is nan in step 2\n"
        f"  from      batch 1 of epoch 1, samples {make_loader().indices(1, 1)}\n"
        "  module    conv2 (Conv2d) is the first whose output is not finite\n"
        "  rate      1e+30\n"
        "  fix       lower the learning rate or look at these samples; "
        "trainer.on_nonfinite can skip a step or roll back\n"
        f"  then      Nothing was saved yet; to begin again: {python_command()} train.py -r {trainer.checkpoint_dir}"
    )
    assert not list(trainer.checkpoint_dir.glob("*.pth"))


def test_base_trainer_without_train_epoch_cannot_be_made(tiny_config):
    """A subclass that forgot _train_epoch is found when it is constructed."""

    class Incomplete(BaseTrainer):
        pass

    with pytest.raises(TypeError, match="_train_epoch"):
        Incomplete(nn.Linear(1, 1), nll_loss, [], None, ConfigParser(tiny_config))


# The loop


def test_trainer_of_the_template_keeps_nothing_of_its_own(tiny_config):
    """Each of its attributes is known to the framework, and saved in its place; only others are saved as parts."""
    trainer = make_trainer(tiny_config)
    trainer.train()
    assert own_attributes(trainer) == {}
    trainer.teacher = trainer.model
    assert own_attributes(trainer) == {"teacher": trainer.model}


def test_batches_len_epoch_runs_exactly_that_many_steps(tiny_config):
    """An epoch of len_epoch batches does that many optimizer steps, and the next goes on where it ended."""
    tiny_config["trainer"].update(len_epoch=3, epochs=4)
    trainer = make_trainer(tiny_config)
    trainer.train()
    assert [row["step"] for row in read_metrics(trainer.checkpoint_dir)] == [3, 6, 9, 12]


def test_batches_len_epoch_gives_every_sample_before_any_twice(tiny_config):
    """Iteration-based epochs run through the data without repeating or leaving out a sample."""
    tiny_config["trainer"].update(len_epoch=2, epochs=1)
    loader = make_loader(split=0.0, batch_size=10)  # five batches a pass
    trainer = make_trainer(tiny_config, loader=loader)
    seen = []
    for epoch in range(5):
        go_to(trainer, epoch)
        seen += [tuple(target.tolist()) for _, (_, target) in trainer.batches(loader)]
    passes = [sorted(sum(seen[start : start + 5], ())) for start in (0, 5)]
    assert passes[0] == passes[1] == sorted(loader.dataset.targets.tolist())


def test_track_between_log_steps_does_not_wait_for_the_device(tiny_config, monkeypatch):
    """A step that is not logged asks no tensor for its value."""
    tiny_config["trainer"].update(epochs=1, log_step=1000)
    asked = []
    for name in ("item", "tolist", "__float__", "__bool__", "__int__"):
        real = getattr(torch.Tensor, name)
        monkeypatch.setattr(torch.Tensor, name, lambda self, name=name, real=real: asked.append(name) or real(self))
    loader = make_loader(batch_size=1, split=0.0)
    trainer = make_trainer(tiny_config, loader=loader)
    counts = []
    for batch_idx, (data, target) in trainer.batches(loader):
        before = len(asked)
        loss = trainer.criterion(trainer.model(data), target)
        trainer.update(loss)
        trainer.track(loss, trainer.model(data), target)
        counts.append(len(asked) - before)
    assert counts[0] > 0  # the first batch is logged: the count works
    assert set(counts[1:]) == {0}


def test_resume_of_trainer_with_its_own_len_epoch_keeps_the_order(tiny_config):
    """A loop over the loader itself, in a trainer that sets len_epoch as classic ones do, goes on in its order."""

    class Classic(Trainer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.len_epoch = len(self.data_loader)
            self.seen = []

        def _train_epoch(self, epoch):
            self.model.train()
            for data, target in self.data_loader:
                self.seen.append(target.tolist())
                self.optimizer.zero_grad()
                loss = self.criterion(self.model(data), target)
                loss.backward()
                self.optimizer.step()
            return {"loss": loss.item()}

    tiny_config["trainer"].update(epochs=2)
    whole = make_trainer(copy.deepcopy(tiny_config), trainer=Classic)
    whole.train()
    path = whole.checkpoint_dir / "checkpoint-epoch1.pth"
    resumed = make_trainer(copy.deepcopy(tiny_config), path, whole.checkpoint_dir, trainer=Classic)
    resumed.train()
    assert resumed.seen == whole.seen[len(resumed.seen) :]


def test_save_numpy_number_in_a_schedule_is_saved_as_plain(tiny_config):
    """A schedule that computes with NumPy does not end the run at its first checkpoint."""
    trainer = make_trainer(tiny_config)
    trainer.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(trainer.optimizer, lambda epoch: np.float64(0.5) ** epoch)
    trainer.train()
    assert type(load_checkpoint(trainer.checkpoint_dir / "last.pth")["optimizer"]["param_groups"][0]["lr"]) is float


def test_resume_restores_a_schedule_that_is_not_in_the_config(tiny_config):
    """A scheduler built by hand goes on where it was."""

    def with_schedule(*args):
        trainer = make_trainer(copy.deepcopy(tiny_config), *args)
        trainer.lr_scheduler = torch.optim.lr_scheduler.StepLR(trainer.optimizer, 1, 0.5)
        return trainer

    tiny_config["trainer"]["epochs"] = 3
    whole = with_schedule()
    whole.train()
    rates = [row["learning_rate"] for row in read_metrics(whole.checkpoint_dir)]
    with_schedule(whole.checkpoint_dir / "checkpoint-epoch1.pth", whole.checkpoint_dir).train()
    assert [row["learning_rate"] for row in read_metrics(whole.checkpoint_dir)] == rates


class Stream(torch.utils.data.IterableDataset):
    """Twelve samples and no length."""

    def __iter__(self):
        return iter([(torch.zeros(1, 28, 28), index % 10) for index in range(12)])


@pytest.mark.parametrize(("len_epoch", "is_told"), [(None, True), (2, False)])
def test_train_data_without_length_is_told(tiny_config, caplog, len_epoch, is_told):
    """Where nobody says how long an epoch is, the log says what ends it."""
    tiny_config["trainer"].update(epochs=1, len_epoch=len_epoch)
    make_trainer(tiny_config, loader=BaseDataLoader(Stream(), 4)).train()
    line = "The data has no length: an epoch lasts until it ends, or trainer.len_epoch batches."
    assert (line in caplog.messages) is is_told
