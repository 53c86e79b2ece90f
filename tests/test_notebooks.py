"""Runs from Python: the bits of the command, gone on with after a stop, each in a folder of its own."""

import importlib
import json
import logging
import os
import random
import signal
import sys
import threading

import numpy as np
import pytest
import torch

import train
from espalier.checkpoints.file import load_checkpoint
from espalier.errors import ConfigError, TrainingError
from espalier.stop_signals import Interruption
from espalier.training.stop import Stopped
from parse_config import ConfigParser
from tests.seams import freeze_for, lay_out
from trainer import Trainer

pytestmark = pytest.mark.usefixtures("generators_restored")


@pytest.fixture
def config(tiny_config):
    """Short, with random numbers in the model (dropout), and one value watched."""
    tiny_config["trainer"] |= {
        "limit_train_batches": 4,
        "limit_valid_batches": 1,
        "monitor": "min val_loss",
        "verbosity": 1,
    }
    return tiny_config


@pytest.fixture
def prompt(monkeypatch):
    """A Python prompt, as far as the framework can tell."""
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)


def weights(result):
    """The weights that a run has saved last."""
    return load_checkpoint(result.folder / "last.pth")["state_dict"]


def is_equal(one, other):
    """Whether two runs ended with the same bits."""
    one, other = weights(one), weights(other)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def draw():
    """What the other cells of a notebook do to the generators."""
    return random.random(), np.random.rand(), torch.randn(3)


def interrupt_at(trainer, step):
    """Press the stop button after that many steps, once."""

    def press():
        if trainer.step == step:
            os.kill(os.getpid(), signal.SIGINT)

    trainer.on_step_end = press


@pytest.mark.slow
def test_run_from_python_has_the_bits_of_the_command_whatever_was_built_or_drawn_between(config, run, tmp_path):
    """Two built and then trained in turn equal the run of the command."""
    (tmp_path / "config.json").write_text(json.dumps(config))
    done = run("train.py", "-c", tmp_path / "config.json", f"trainer.save_dir={tmp_path / 'command'}")
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "command" / "models" / "Tiny").iterdir()
    draw()
    first = train.build(ConfigParser.from_file(tmp_path / "config.json"))
    draw()
    second = train.build(ConfigParser.from_file(tmp_path / "config.json"))
    draw()
    one, other = first.train(), second.train()
    reference = load_checkpoint(folder / "last.pth")["state_dict"]
    for result in (one, other):
        assert all(torch.equal(weights(result)[name], reference[name]) for name in reference)
    assert one.folder != other.folder


def test_train_returns_last_best_and_folder(config):
    """As metrics.jsonl has them; the text names folder and both epochs."""
    result = train.build(ConfigParser(config)).train()
    assert (result.epochs, result.steps, result.last["epoch"], result.stopped_early) == (2, 8, 2, False)
    assert result.best["val_loss"] <= result.last["val_loss"]
    assert repr(result).splitlines()[0] == f"2 epochs, 8 steps, in {result.folder}"
    assert [line.split()[0] for line in repr(result).splitlines()[1:]] == ["last", "best"]


def test_two_trainers_of_one_config_have_folders_of_their_own_and_logs_of_their_own(config):
    """Also hand in hand; nothing stays at the root logger, and no line of one stands in the log of the other."""
    parser, root = ConfigParser(config), logging.getLogger()
    before = list(root.handlers), root.level
    one, other = (train.build(parser).train() for _ in range(2))
    assert one.folder != other.folder
    assert (root.handlers, root.level) == before
    logs = [
        (each.folder.parents[2] / "log" / "Tiny" / each.folder.name / "info.log").read_text() for each in (one, other)
    ]
    assert [text.count("Trained to epoch 2") for text in logs] == [1, 1]
    assert [f"Run {each.folder}.\n" in text for text in logs for each in (one, other)] == [True, False, False, True]


@pytest.mark.parametrize("step", [2, *(pytest.param(step, marks=pytest.mark.slow) for step in (4, 6))])
def test_train_after_the_stop_button_goes_on_as_if_never_stopped(config, prompt, step):
    """In the middle of an epoch, at its end, in a later one; handlers of signals are as before."""
    whole = train.build(ConfigParser(config)).train()
    trainer, handler = train.build(ConfigParser(config)), signal.getsignal(signal.SIGINT)
    interrupt_at(trainer, step)
    with pytest.raises(Stopped, match=r"^Stopped by SIGINT in epoch ., after . steps\. trainer\.train\(\) goes on\.$"):
        trainer.train()
    assert signal.getsignal(signal.SIGINT) is handler
    trainer.on_step_end = lambda: None
    draw()
    assert is_equal(trainer.train(), whole)


@pytest.mark.slow
@pytest.mark.parametrize("step", [5, pytest.param(6, marks=pytest.mark.slow)])
def test_second_press_ends_at_once_and_train_goes_on_from_the_last_save(config, prompt, step):
    """Within a step, in which nothing is saved: the end of the first epoch is what it goes on from, to the bit."""
    whole = train.build(ConfigParser(config)).train()
    trainer, handler, stopped_at = train.build(ConfigParser(config)), signal.getsignal(signal.SIGINT), []

    def press_twice():
        if trainer.step == step:
            os.kill(os.getpid(), signal.SIGINT)
            stopped_at.append(trainer.step)
            os.kill(os.getpid(), signal.SIGINT)
            stopped_at.append("not at once")

    trainer.on_step_end = press_twice
    with pytest.raises(KeyboardInterrupt) as pressed:
        trainer.train()
    assert (type(pressed.value), stopped_at) == (KeyboardInterrupt, [step])
    assert signal.getsignal(signal.SIGINT) is handler
    assert load_checkpoint(trainer.checkpoint_dir / "last.pth")["progress"]["step"] == 4
    trainer.on_step_end = lambda: None
    draw()
    result = trainer.train()
    assert is_equal(result, whole) and result.folder == trainer.checkpoint_dir


def test_stop_at_no_prompt_ends_the_process_as_before(config):
    """A script ends with the exit code that shells expect."""
    trainer = train.build(ConfigParser(config))
    interrupt_at(trainer, 2)
    with pytest.raises(Interruption) as stopped:
        trainer.train()
    assert stopped.value.code == 130


def test_train_again_with_more_epochs_goes_on_from_memory(config):
    """2 and then 3 epochs are the 3 of one run, and the folder says 3."""
    whole = train.build(ConfigParser({**config, "trainer": {**config["trainer"], "epochs": 3}})).train()
    trainer = train.build(ConfigParser(config))
    trainer.train()
    draw()
    trainer.epochs = 3
    result = trainer.train()
    assert is_equal(result, whole) and result.epochs == 3
    assert ConfigParser.from_file(result.folder / "config.json")["trainer"]["epochs"] == 3


def test_train_that_failed_before_any_save_says_to_build_again(config):
    """Half of a step is nothing to go on from."""
    trainer = train.build(ConfigParser(config))
    trainer.on_step_end = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        trainer.train()
    (trainer.checkpoint_dir / "crash.pth").unlink(missing_ok=True)
    with pytest.raises(TrainingError, match="build it again"):
        trainer.train()


@pytest.mark.slow
def test_from_run_continues_and_from_file_with_resume_begins_from_the_weights(config, tmp_path):
    """As -r, and as -c with -r; the run that goes on stays in its folder."""
    (tmp_path / "config.json").write_text(json.dumps(config))
    whole = train.build(ConfigParser({**config, "trainer": {**config["trainer"], "epochs": 3}})).train()
    first = train.build(ConfigParser.from_file(tmp_path / "config.json")).train()
    resumed = train.build(ConfigParser.from_run(first.folder, {"trainer.epochs": 3})).train()
    assert resumed.folder == first.folder and is_equal(resumed, whole)
    new = train.build(
        ConfigParser.from_file(tmp_path / "config.json", {"trainer.epochs": 1}, resume=first.folder)
    ).train()
    assert new.folder != first.folder and new.epochs == 1


def test_train_in_a_thread_works(config):
    """Where signals cannot be had, the run goes without."""
    trainer, results = train.build(ConfigParser(config)), []
    thread = threading.Thread(target=lambda: results.append(trainer.train()))
    thread.start()
    thread.join()
    assert results[0].epochs == 2


@pytest.mark.parametrize(("given", "start"), [("file", "-c {path}"), ("dict", "-c config.json")])
def test_several_processes_at_a_prompt_name_the_command(config, prompt, tmp_path, given, start):
    """With the config's own path, where it is known."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    overrides = {"trainer.num_processes": 2}
    parser = (
        ConfigParser.from_file(path, overrides)
        if given == "file"
        else ConfigParser(config, None, {("trainer", "num_processes"): 2})
    )
    with pytest.raises(ConfigError) as told:
        train.build(parser)
    fix = f"  fix       in a notebook: !python train.py {start.format(path=path)} trainer.num_processes=2"
    assert str(told.value).splitlines()[-1] == fix


@pytest.mark.parametrize("is_checked", [True, False])
def test_unchecked_config_means_what_a_checked_one_means(config, is_checked):
    """`arch.freeze` is done, with and without a check."""
    config["arch"]["freeze"], config["trainer"]["monitor"] = ["conv1.*"], "off"
    parser = ConfigParser(config)
    if is_checked:
        parser.check()
    model = parser.init_obj("arch", importlib.import_module("model.model"))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = Trainer(model, torch.nn.functional.nll_loss, [], optimizer, parser, torch.device("cpu"), None)
    lay_out(trainer)
    freeze_for(trainer, 1)
    assert [name for name, each in model.named_parameters() if not each.requires_grad] == ["conv1.weight", "conv1.bias"]


@pytest.mark.parametrize(("section", "build"), [("arch", "model.model"), ("trainer", None)])
def test_unknown_key_of_an_unchecked_config_is_told_when_something_is_built(config, section, build):
    """At the section's own building, and of the rest when the trainer is made."""
    config[section]["freez"] = ["conv1.*"]
    parser = ConfigParser(config)
    with pytest.raises(ConfigError, match=f"config error: {section}.freez is not a key of the framework"):
        if build:
            parser.init_obj(section, importlib.import_module(build))
        model = torch.nn.Linear(1, 1)
        Trainer(model, None, [], torch.optim.SGD(model.parameters()), parser, torch.device("cpu"), None)


def test_value_changed_in_python_is_what_runs_and_what_is_saved(config):
    """Before building; what was built already may not change."""
    parser = ConfigParser(config)
    parser["trainer"]["epochs"] = 1
    result = train.build(parser).train()
    assert result.epochs == 1
    assert ConfigParser.from_file(result.folder / "config.json")["trainer"]["epochs"] == 1
    model = parser.init_obj("arch", importlib.import_module("model.model"))
    parser["arch"]["args"] = {"num_classes": 3}
    with pytest.raises(ConfigError, match="config error: arch was changed after it was built"):
        Trainer(model, None, [], torch.optim.SGD(model.parameters()), parser, torch.device("cpu"), None)


@pytest.mark.slow
def test_seed_is_said_only_where_it_was_set(config, caplog):
    """A trainer wired by hand without seeding has no seed in log and run.json."""
    caplog.set_level(logging.INFO)
    built = train.build(ConfigParser(config))
    torch.manual_seed(5)
    by_hand = Trainer(built.model, built.criterion, [], built.optimizer, ConfigParser(config), torch.device("cpu"),
                      built.data_loader, valid_data_loader=built.valid_data_loader)  # fmt: skip
    for trainer, line, seed in ((by_hand, "The random numbers were not seeded.", None), (built, "Seed 7.", 7)):
        caplog.clear()
        result = trainer.train()
        assert line in caplog.messages
        assert json.loads((result.folder / "run.json").read_text())[0]["seed"] == seed


def test_notebook_with_logging_of_its_own_has_no_line_twice(config, capsys, monkeypatch):
    """A console handler that is there already shows our lines, and is left as it was."""
    root = logging.getLogger()
    config["trainer"]["verbosity"] = 2
    handler = logging.StreamHandler(sys.stderr)
    monkeypatch.setattr(root, "handlers", [handler])
    monkeypatch.setattr(root, "level", logging.INFO)
    train.build(ConfigParser(config)).train()
    captured = capsys.readouterr()
    assert (captured.out + captured.err).count("Trained to epoch 2") == 1
    assert root.handlers == [handler]


def test_documented_snippet_runs(root, tmp_path, monkeypatch):
    """The first cell of docs/notebooks.md, as it stands, but for the place of the results."""
    text = (root / "docs" / "notebooks.md").read_text(encoding="utf-8")
    cell = text.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(root)
    place = f'"trainer.limit_train_batches": 1, "trainer.save_dir": {str(tmp_path)!r}, "trainer.epochs": 2'
    names = {}
    exec(cell.replace('"trainer.epochs": 2', place), names)
    assert names["result"].epochs == 2 and names["result"].best["val_loss"] > 0
