"""Frozen projects in the style of the classic template run unchanged on our rooms, alone or mixed with classic ones.

`projects/` holds them: what a researcher wrote, without the framework. `rooms/classic/` holds a framework with the
public behaviour of the classic one. A tree is put together of both and of ours, and used by its commands alone.
"""

import compileall
import itertools
import json
import math
import pickle
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from espalier.json_file import read_json

HERE = Path(__file__).parent
ROOMS = ("base", "espalier", "logger", "utils", "parse_config.py")
STEPS_IN_EPOCH = {  # of all optimizers
    "g1_images": 6,
    "g2_segmentation": 6,
    "g2_sequences": 6,
    "g3_gan": 12,
    "g3_images": 5,
    "g3_series": 8,
    "g3_text": 5,
}
RARE = "g2_sequences", "g3_series", "g3_text"  # in the slow run
PROJECTS = tuple(pytest.param(each, marks=pytest.mark.slow if each in RARE else []) for each in STEPS_IN_EPOCH)
# All their state is what the framework keeps. g3_series saves by itself, g3_text has a loop over epochs of its own.
EXACT = ("g1_images", "g2_segmentation", "g2_sequences", "g3_gan", "g3_images")
ONE = ("g3_images", *(pytest.param(each, marks=pytest.mark.slow) for each in EXACT if each != "g3_images"))
ON_CLASSIC = tuple(name for name in STEPS_IN_EPOCH if name != "g1_images")  # those rooms are of generations 2 and 3
MIXES = {
    "base": ("base",),
    "parse_config": ("parse_config.py",),
    "logger": tuple(
        f"logger/{name}" for name in ("__init__.py", "logger.py", "visualization.py", "logger_config.json")
    ),
    "utils": ("utils/__init__.py", "utils/util.py"),
    "base_trainer": ("base/base_trainer.py",),
    "base_data_loader": ("base/base_data_loader.py",),
    "base_model": ("base/base_model.py",),
    "base_trainer+parse_config": ("base/base_trainer.py", "parse_config.py"),
}
# It saves less than a run needs to go on to the bit.
THEIR_TRAINER = ("base", "base_trainer", "base_trainer+parse_config")
PICKLED_CONFIG = ("classic", "base_trainer+parse_config")  # what their trainer saves of their config object
IN_DEFAULT_RUN = [("g3_images", "parse_config"), ("g2_sequences", "base_trainer")]
MIXED = [
    each if each in IN_DEFAULT_RUN else pytest.param(*each, marks=pytest.mark.slow)
    for each in itertools.product(("g3_images", "g2_sequences"), MIXES)
]
OLD_TORCH = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}  # torch.load as it was before 2.6
COMPILED_BESIDE = {"PYTHONPYCACHEPREFIX": ""}  # as `rooms` makes them
INTERRUPT = """
import os, runpy, signal, sys
from torch.optim.optimizer import register_optimizer_step_post_hook

left = int(sys.argv[2])
def count(*call):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), getattr(signal, name))
name, sys.argv = sys.argv[1], sys.argv[3:]
register_optimizer_step_post_hook(count)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Tree:
    """A project together with the rooms it runs on.

    Args:
        project: its folder under `projects/`.
        mix: a key of `MIXES`, for classic files laid over ours; "classic" for classic rooms alone; None for ours.
    """

    def __init__(self, folder, project, mix, run):
        self.folder, self.project, self.mix, self._run = folder, project, mix, run
        config = read_json(HERE / "projects" / project / "config.json")
        self.name, self.epochs = config["name"], config["trainer"]["epochs"]

    def assemble(self, rooms):
        """Copy everything together."""
        classic = HERE / "rooms" / "classic"
        if self.mix != "classic":
            _copy(rooms, self.folder)
        for name in MIXES.get(self.mix, ()) if self.mix != "classic" else [each.name for each in classic.iterdir()]:
            _copy(classic / name, self.folder / name)
        _copy(HERE / "projects" / self.project, self.folder)
        return self

    def copied(self, folder):
        """The same tree with all its runs, once more."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return Tree(folder, self.project, self.mix, self._run)

    def run(self, *command):
        """Run a command in the tree; checkpoints with their config object are read as before torch 2.6."""
        env = {**COMPILED_BESIDE, **(OLD_TORCH if self.mix in PICKLED_CONFIG else {})}
        return self._run(*command, cwd=self.folder, env=env)

    def train(self, *arguments):
        """Run train.py on config.json, or on what the arguments name."""
        has_default = self.project == "g3_series" or {"-c", "-r"} & set(arguments)
        return self.run("train.py", *(() if has_default else ("-c", "config.json")), *arguments)

    def go_on(self):
        """Resume the first run after its second epoch; the output."""
        return succeeded(self.train("-r", self.checkpoint("checkpoint-epoch2.pth")))

    def metrics(self, checkpoint):
        """The numbers that test.py logs of a checkpoint, all of which are finite."""
        told = succeeded(self.run("test.py", "-r", self.checkpoint(checkpoint)))
        found = logged_metrics(told)
        assert all(map(math.isfinite, found.values()))
        return found

    def interrupt(self, signal):
        """Run train.py and let a signal come in the middle of the last epoch but one."""
        (self.folder / "interrupt.py").write_text(INTERRUPT)
        steps = (self.epochs - 2) * STEPS_IN_EPOCH[self.project] + 3
        return self.run("interrupt.py", signal, steps, "train.py", "-c", "config.json")

    def config(self, file="config.json"):
        """A config of the tree, or of a run."""
        return read_json(self.folder / file)

    def edit_config(self, change, file="config.json"):
        """Let `change` change a config in place, as an editor would."""
        config = self.config(file)
        change(config)
        (self.folder / file).write_text(json.dumps(config))

    @property
    def runs(self):
        """The run folders, the newest last, relative to the tree."""
        folders = (self.folder / "saved" / "models" / self.name).iterdir()
        return [each.relative_to(self.folder) for each in sorted(folders, key=lambda each: each.stat().st_ctime_ns)]

    def checkpoint(self, name):
        """The path of a checkpoint in the first run, relative to the tree."""
        return self.runs[0] / name

    @property
    def last(self):
        """The name of the checkpoint of the last epoch."""
        return f"checkpoint-epoch{self.epochs}.pth"

    def without_last(self):
        """The newest state after the last epoch; its file is removed."""
        state = self.end()
        (self.folder / self.checkpoint(self.last)).unlink()
        return state

    def end(self):
        """The newest state after the last epoch."""
        found = (self.folder / "saved" / "models" / self.name).glob(f"*/{self.last}")
        return load(max(found, key=lambda each: each.stat().st_mtime_ns))


def _copy(source, target):
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


class _Stub:
    """Stands for an object of a class that lives in a tree."""

    def __init__(self, *args):
        pass

    def __setstate__(self, state):
        pass


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        return (
            _Stub if module.split(".")[0] in ("parse_config", "utils", "__main__") else super().find_class(module, name)
        )


def load(path):
    """A checkpoint, whatever objects its config is made of."""
    own = SimpleNamespace(__name__="own", Unpickler=_Unpickler, load=pickle.load)
    return torch.load(path, weights_only=False, pickle_module=own)


def succeeded(result):
    """Make sure that a command ended as it should; its output."""
    assert result.returncode == 0, (result.stdout[-1500:], result.stderr[-3000:])
    assert "Traceback" not in result.stderr
    return result.stdout


def assert_same(one, other):
    """Weights, and what the optimizer keeps, are equal to the bit."""
    assert one["state_dict"].keys() == other["state_dict"].keys()
    for name, value in one["state_dict"].items():
        assert torch.equal(value, other["state_dict"][name]), name
    assert str(one["optimizer"]) == str(other["optimizer"])


def assert_begins_with_epoch(epoch, told):
    """Earlier ones are not trained once more."""
    assert f"Train Epoch: {epoch} " in told and f"Train Epoch: {epoch - 1} " not in told


def logged_metrics(stdout):
    """The dict that the test scripts log at their end."""
    line = next(line for line in reversed(stdout.splitlines()) if line.startswith("{"))
    return {name: float(value) for name, value in re.findall(r"'([^']+)': (?:np\.float\d+\()?([-+.\deinfa]+)", line)}


@pytest.fixture(scope="session")
def rooms(root, tmp_path_factory):
    """Our rooms, compiled: each command would do that again where Python may not write beside the sources."""
    folder = tmp_path_factory.mktemp("rooms")
    for name in ROOMS:
        copy = shutil.copytree if (root / name).is_dir() else shutil.copy2
        copy(root / name, folder / name)
    compileall.compile_dir(folder, quiet=1)
    return folder


@pytest.fixture
def tree(run, rooms, tmp_path):
    """Put the tree of a project together."""

    def assemble(project, mix=None):
        return Tree(tmp_path / "tree", project, mix, run).assemble(rooms)

    return assemble


@pytest.fixture(scope="session")
def trained(run, rooms, tmp_path_factory):
    """The tree of a project that was trained undisturbed, and the process; made once each, and not to be changed."""
    made = {}

    def train(project, mix=None):
        if (project, mix) not in made:
            whole = Tree(tmp_path_factory.mktemp(f"{project}-{mix}"), project, mix, run).assemble(rooms)
            made[project, mix] = whole, whole.train()
        return made[project, mix]

    return train


@pytest.fixture
def finished(trained, tmp_path):
    """A copy of the tree of a project after its training."""

    def copy(project, mix=None):
        whole, result = trained(project, mix)
        succeeded(result)
        return whole.copied(tmp_path / "tree")

    return copy


# Ours under each project


@pytest.mark.parametrize("project", PROJECTS)
def test_train_of_a_frozen_project_runs_to_its_end(trained, project):
    """It exits with 0, and tells of each epoch what the trainer returned for it."""
    whole, result = trained(project)
    told = succeeded(result)
    for name in {"g3_gan": ("loss_g", "spread"), "g2_segmentation": ("val_IoU/mean", "calibration"),
                 "g1_images": ("val_loss", "val_my_metric2"), "g2_sequences": ("by length", "remark", "val_worst"),
                 "g3_series": ("val_mape",), "g3_text": ("table", "ETA")}.get(project, ("val_top_k_acc",)):  # fmt: skip
        assert told.count(name) >= whole.epochs


@pytest.mark.parametrize("project", PROJECTS)
def test_train_of_a_frozen_project_leaves_the_classic_files(trained, project):
    """Checkpoints, config and log lie where the classic template puts them."""
    whole, _ = trained(project)
    (folder,) = whole.runs
    names = {path.name for path in (whole.folder / folder).iterdir()}
    period = whole.config()["trainer"]["save_period"]
    assert names >= {f"checkpoint-epoch{epoch}.pth" for epoch in range(period, whole.epochs + 1, period)}
    assert ("model_best.pth" in names) == (project != "g3_gan")  # which monitors nothing
    log = whole.folder / "saved" / "log" / whole.name / folder.name
    assert ("tag: untagged" if project == "g3_gan" else "Trainable parameters: ") in (log / "info.log").read_text()
    assert any(log.rglob("events*")) == (project != "g3_series")
    assert whole.config(folder / "config.json") == whole.config()


@pytest.mark.parametrize("project", PROJECTS)
def test_checkpoint_of_a_frozen_project_is_read_by_a_plain_load(trained, project):
    """`torch.load(path)` gives the classic keys, the config as a mapping among them."""
    whole, _ = trained(project)
    state = torch.load(whole.folder / whole.checkpoint(whole.last))
    assert state.keys() >= {"arch", "epoch", "state_dict", "optimizer", "monitor_best", "config"}
    assert state["epoch"] == whole.epochs
    assert state["config"]["trainer"]["epochs"] == whole.epochs
    assert state["arch"] == state["config"]["generator" if project == "g3_gan" else "arch"]["type"]


@pytest.mark.parametrize("project", PROJECTS)
def test_test_of_a_frozen_project_logs_its_metrics(finished, project):
    """test.py reads the best checkpoint, or the last where nothing is monitored, and logs finite numbers."""
    whole = finished(project)
    metrics = whole.metrics(whole.last if project == "g3_gan" else "model_best.pth")
    assert len(metrics) == {"g3_gan": 1, "g3_series": 5, "g3_text": 2}.get(project, 3)


@pytest.mark.slow
@pytest.mark.parametrize("project", EXACT)
def test_resume_of_an_earlier_checkpoint_ends_as_the_undisturbed_run(finished, project):
    """From epoch 2 on everything happens once more, equal to the bit."""
    whole = finished(project)
    before = whole.without_last()
    whole.go_on()
    assert_same(whole.end(), before)


@pytest.mark.parametrize("project", ONE)
def test_run_killed_in_an_epoch_ends_as_the_undisturbed_run(tree, trained, project):
    """Resumed by its folder, it loses what was not saved and nothing else."""
    whole = tree(project)
    assert whole.interrupt("SIGKILL").returncode == -9
    succeeded(whole.train("-r", whole.runs[0]))
    assert_same(whole.end(), trained(project)[0].end())


@pytest.mark.slow
@pytest.mark.parametrize("project", ONE)
def test_run_asked_to_stop_ends_as_the_undisturbed_run(tree, trained, project):
    """SIGTERM ends it with exit code 143, and its folder is what to go on from."""
    whole = tree(project)
    result = whole.interrupt("SIGTERM")
    assert result.returncode == 143
    assert f"train.py -r {whole.runs[0]}" in result.stdout
    succeeded(whole.train("-r", whole.runs[0]))
    assert_same(whole.end(), trained(project)[0].end())


@pytest.mark.slow
@pytest.mark.parametrize(
    "project", ["g3_gan", *(pytest.param(each, marks=pytest.mark.slow) for each in EXACT if each != "g3_gan")]
)
def test_resume_of_a_finished_run_with_more_epochs_goes_on(tree, trained, project):
    """Two epochs, then the number in the config of the run is raised: the same as all of them at once."""
    whole = tree(project)
    whole.edit_config(lambda config: config["trainer"].update(epochs=2))
    succeeded(whole.train())
    whole.edit_config(lambda config: config["trainer"].update(epochs=whole.epochs), whole.runs[0] / "config.json")
    whole.go_on()
    assert_same(whole.end(), trained(project)[0].end())


# What single projects do beyond that


@pytest.mark.slow
def test_parser_with_flags_of_its_own_keeps_them(tree):
    """A project's own --debug and positional argument mean what they meant."""
    told = succeeded(tree("g3_gan").train("first", "-c", "config.json", "--debug", "--lrd", "0.003"))
    assert "tag: first" in told
    assert "Discriminator(" in told


def test_resume_written_by_the_project_goes_on_with_its_own_state(finished):
    """What its `_save_checkpoint` wrote, its `_resume_checkpoint` reads, though -c has a default."""
    whole = finished("g3_series")
    whole.without_last()
    told = whole.go_on()
    assert "Resumed, start epoch 3, best 0." in told
    assert_begins_with_epoch(3, told)
    assert whole.end()["lr_scheduler"]["last_epoch"] == whole.epochs


@pytest.mark.slow
@pytest.mark.parametrize("signal", ["SIGKILL", pytest.param("SIGTERM", marks=pytest.mark.slow)])
def test_interrupted_run_with_saving_of_its_own_goes_on_to_its_end(tree, signal):
    """Resumed by its folder, it trains the epochs that are left."""
    whole = tree("g3_series")
    assert whole.interrupt(signal).returncode in (-9, 143)
    told = succeeded(whole.run("train.py", "-r", whole.runs[0]))
    assert_begins_with_epoch(2, told)
    assert whole.end()["lr_scheduler"]["last_epoch"] == whole.epochs


def test_config_that_is_a_default_of_the_parser_is_used(trained):
    """`train.py` alone trains config.json, one batch more than len_epoch each epoch, as it always did."""
    whole, result = trained("g3_series")
    assert succeeded(result).count("Train Epoch: 3 [6/7 (86%)]") == 1
    assert whole.end()["optimizer"]["param_groups"][0]["lr"] == 0.05 / 4


def test_loader_that_is_no_loader_of_ours_trains(tree):
    """A plain DataLoader serves for training and validation."""
    whole = tree("g3_series")
    succeeded(whole.run("train.py", "-c", "config_plain.json"))
    whole.name = "WavesPlain"
    assert whole.end()["epoch"] == whole.epochs


@pytest.mark.slow
def test_resume_of_a_trainer_with_a_loop_of_its_own_goes_on(finished):
    """A trainer that overrides `train` finds the state of the checkpoint and the epoch to begin with."""
    whole = finished("g3_text")
    before = whole.without_last()
    told = whole.go_on()
    assert_begins_with_epoch(3, told)
    assert whole.end()["optimizer"]["state"][0]["step"] == before["optimizer"]["state"][0]["step"]
    assert whole.end()["monitor_best"] >= load(whole.folder / whole.checkpoint("checkpoint-epoch2.pth"))["monitor_best"]


def test_script_without_a_trainer_uses_config_and_writer(tree):
    """What saves the config object by itself can load it again, and has its curves and files in the run folders."""
    whole = tree("g3_text")
    assert logged_metrics(succeeded(whole.run("pretrain.py")))["dim"] == 8
    (folder,) = whole.runs
    assert (whole.folder / folder / "embedding.pth").exists()
    assert any((whole.folder / "saved" / "log" / whole.name / folder.name).rglob("events*"))


@pytest.mark.parametrize("project", [pytest.param("g1_images", marks=pytest.mark.slow), "g3_images"])
def test_options_of_the_project_reach_the_config(tree, project):
    """Targets are texts with semicolons (G3) or tuples (G1); what was not given stays as it is."""
    whole = tree(project)
    whole.edit_config(lambda config: config["trainer"].update(epochs=1))
    succeeded(whole.train("--lr", "0.25", "--batch_size", "32"))
    written = whole.config(whole.runs[0] / "config.json")
    assert written["optimizer"]["args"]["lr"] == 0.25
    assert written["data_loader"]["args"]["batch_size"] == 32
    assert written["trainer"]["epochs"] == 1


@pytest.mark.slow
def test_config_with_checkpoint_is_laid_over_that_of_the_run(finished):
    """-c with -r: the sections of the file replace those of the run, the others stay."""
    whole = finished("g3_images")
    scheduler = {"type": "ExponentialLR", "args": {"gamma": 0.9}}
    tuned = {"optimizer": {"type": "SGD", "args": {"lr": 0.001}}, "lr_scheduler": scheduler}
    (whole.folder / "tuned.json").write_text(json.dumps(tuned))
    succeeded(whole.train("-c", "tuned.json", "-r", whole.checkpoint("checkpoint-epoch2.pth")))
    written = whole.config(whole.runs[-1] / "config.json")
    assert written["name"] == "Stripes_LeNet"
    assert {name: written[name] for name in tuned} == tuned
    assert whole.end()["optimizer"]["param_groups"][0]["weight_decay"] == 0


@pytest.mark.slow
def test_function_in_the_config_does_not_keep_a_run_from_being_saved(tree):
    """What cannot be pickled or written as JSON may be put into the config; the run is saved, and goes on."""
    whole = tree("g2_sequences")
    whole.edit_config(lambda config: config["trainer"].update(search=True))
    told = succeeded(whole.train())
    assert told.count("REPORT") == whole.epochs
    told = whole.go_on()
    assert told.count("REPORT") == whole.epochs - 2


# Theirs laid over ours


@pytest.mark.parametrize(("project", "mix"), MIXED)
def test_train_with_a_classic_room_runs_to_its_end(trained, project, mix):
    """A part of the framework that a project kept works with our other parts."""
    whole, result = trained(project, mix)
    succeeded(result)
    folder = whole.runs[-1]
    names = {path.name for path in (whole.folder / folder).iterdir()}
    assert names >= {"config.json", "model_best.pth", *(f"checkpoint-epoch{n}.pth" for n in range(1, whole.epochs + 1))}
    assert (whole.folder / "saved" / "log" / whole.name / folder.name / "info.log").stat().st_size > 0


@pytest.mark.slow
@pytest.mark.parametrize(("project", "mix"), MIXED)
def test_resume_with_a_classic_room_goes_on(finished, project, mix):
    """From epoch 2 on everything happens once more, equal to the bit where the trainer is ours."""
    whole = finished(project, mix)
    before = whole.without_last()
    told = whole.go_on()
    assert_begins_with_epoch(3, told)
    if mix not in THEIR_TRAINER:
        assert_same(whole.end(), before)


@pytest.mark.slow
@pytest.mark.parametrize(("project", "mix"), MIXED)
def test_test_with_a_classic_room_logs_its_metrics(finished, project, mix):
    """test.py reads the best checkpoint and logs finite numbers."""
    whole = finished(project, mix)
    assert len(whole.metrics("model_best.pth")) == 3


# Theirs alone: the projects are what they claim to be


@pytest.mark.slow
@pytest.mark.parametrize("project", ON_CLASSIC)
def test_frozen_project_runs_on_classic_rooms(finished, project):
    """Training, resume and test work there, with the torch.load of their time; a GAN cannot be resumed."""
    whole = finished(project, "classic")
    if project != "g3_gan":  # the classic trainer looks for "arch" and "optimizer" in the config
        whole.go_on()
    assert whole.metrics(whole.last if project == "g3_gan" else "model_best.pth")
