"""A small template, a small project of the classic one, and what tests do with them."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAME_ONE = "name a project of the classic template"

# A template with little in it: the names that the classic template has, and a hook for those of a project.
HOOK = """
def __getattr__(name):
    import importlib
    module = importlib.import_module("{room}.project_{room}")
    return getattr(module, name)
"""
OURS = {
    "base/__init__.py": "from base.base_trainer import BaseTrainer\n" + HOOK.format(room="base"),
    "base/base_trainer.py": "from espalier.training.saved_run import SavedRun\n\n\nclass BaseTrainer(SavedRun):\n"
    "    def train(self): self._train_epoch(1)\n    def _save_checkpoint(self, epoch, save_best=False): ...\n",
    "espalier/training/saved_run.py": "class SavedRun:\n"
    "    def __init__(self, model, criterion, metric_ftns, optimizer, config):\n"
    "        self.model, self.config = model, config\n        self.writer = None\n        self.step = 0\n",
    "base/base_data_loader.py": "class BaseDataLoader:\n"
    "    def __init__(self, dataset, batch_size, shuffle=False, validation_split=0.0, *, split_seed=None): ...\n"
    "    def _split_sampler(self, split): ...\n",
    "espalier/__init__.py": '"""Parts of a trainer."""\n',
    "espalier/checkpoints/folder.py": "def save(): ...\n",
    "espalier/training/monitor.py": "class Monitor: ...\n",
    "logger/__init__.py": "from espalier.journal.writer import TensorboardWriter\n__all__ = ['TensorboardWriter']\n"
    + HOOK.format(room="logger"),
    "logger/visualization.py": "from espalier.journal.writer import TensorboardWriter\n",
    "espalier/journal/writer.py": "class TensorboardWriter:\n    def __init__(self, log_dir, logger, enabled): ...\n"
    "    def set_step(self, step, mode='train'): ...\n",
    "parse_config.py": "class ConfigParser:\n"
    "    def __init__(self, config, resume=None, modification=None, run_id=None): ...\n"
    "    def get_logger(self, name, verbosity=2): ...\n    def init_obj(self, name, module, *args, **kwargs): ...\n",
    "utils/__init__.py": "__all__ = ['MetricTracker', 'read_json']\n" + HOOK.format(room="utils"),
    "utils/util.py": "__all__ = ['MetricTracker', 'read_json']\n\n\ndef read_json(fname): ...\n"
    + HOOK.format(room="utils"),
    "espalier/training/metric_tracker.py": "class MetricTracker:\n    def __init__(self, *keys, writer=None): ...\n"
    "    def update(self, key, value, n=1): ...\n    def result(self): ...\n",
    "espalier/config/schema.py": 'TOP = {"name": 1, "trainer": 1}\n',
    "espalier/config/settings.py": "class Settings:\n    epochs: int\n    early_stop: int = 0\n"
    "    save_period: int = 1\n",
    "utils/words.json": "[]\n",
    "pyproject.toml": '[project]\nversion = "3.2.1"\ndependencies = [\n    "torch>=2.7",\n]\n',
}  # fmt: skip

# A project of the classic template with the same names.
THEIRS = {
    "base/__init__.py": "from .base_trainer import *\n",
    "base/base_trainer.py": """import torch
from logger import TensorboardWriter


class BaseTrainer:
    def __init__(self, model, criterion, metric_ftns, optimizer, config):
        self.model = model
        self.writer = TensorboardWriter('log', None, True)

    def train(self):
        self._train_epoch(1)

    def _save_checkpoint(self, epoch, save_best=False):
        torch.save({'config': self.config}, 'x.pth')
""",
    "base/base_data_loader.py": """class BaseDataLoader:
    def __init__(self, dataset, batch_size, shuffle, validation_split):
        self.dataset = dataset

    def _split_sampler(self, split):
        return shuffled(self.dataset, split)
""",
    "logger/__init__.py": "from .visualization import *\n",
    "logger/visualization.py": """class TensorboardWriter:
    def __init__(self, log_dir, logger, enabled):
        self.step = 0

    def set_step(self, step, mode='train'):
        self.step = step
""",
    "logger/logger_config.json": "{}\n",
    "parse_config.py": """class ConfigParser:
    def __init__(self, config, resume=None, modification=None, run_id=None):
        self.config = config

    @classmethod
    def from_args(cls, args, options=''):
        return cls({})

    def init_obj(self, name, module, *args, **kwargs):
        return None
""",
    "utils/__init__.py": "from .util import *\n",
    "utils/util.py": """import json


def read_json(fname):
    return json.load(open(fname))


def prepare_device(n_gpu_use):
    return 'cpu', []


class MetricTracker:
    def __init__(self, *keys, writer=None):
        self.keys = keys

    def update(self, key, value, n=1):
        pass
""",
    "trainer/__init__.py": "from .trainer import *\n",
    "trainer/trainer.py": """from base import BaseTrainer
from utils import MetricTracker


class Trainer(BaseTrainer):
    def __init__(self, model, criterion, metric_ftns, optimizer, config):
        super().__init__(model, criterion, metric_ftns, optimizer, config)
        self.train_metrics = MetricTracker('loss')

    def _train_epoch(self, epoch):
        return {}
""",
    "train.py": "from parse_config import ConfigParser\n\nconfig = ConfigParser.from_args(None)\n",
    "config.json": '{\n    "name": "Old",\n    "trainer": {\n        "epochs": 3\n    }\n}\n',
    ".gitignore": "*.log\n__pycache__/\n",
}
OURS["utils/util.py"] += "\n\ndef prepare_device(n_gpu_use): ...\n"
OURS["parse_config.py"] += "    @classmethod\n    def from_args(cls, args, options=()): ...\n"

HELPERS = {
    "utils/util.py": THEIRS["utils/util.py"]
    + "\n\ndef seed_all(seed):\n    return seed\n\n\ndef other():\n    return 1\n",
    "utils/__init__.py": "from .util import *\nfrom .visual import draw as plot\nfrom .losses import *\n",
    "utils/visual.py": "from .util import seed_all\n\n\ndef draw():\n    return seed_all(2)\n",
    "utils/losses.py": "import os\n\n\ndef dice():\n    return 3\n\n\ndef _hidden():\n    pass\n",
    "logger/wandb_logger.py": "class WandbLogger:\n    pass\n",
    "logger/__init__.py": "from .visualization import *\nfrom .wandb_logger import WandbLogger\n",
    "train.py": "from utils.util import seed_all\nfrom utils import plot, dice\nfrom logger import WandbLogger\n"
    "print(seed_all(1), plot(), dice(), WandbLogger.__name__)\n",
}


def write_all(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", newline="")


def git(folder, *args):
    """The output of git, which may itself be running a hook that started these tests."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@x.org")
    return subprocess.run(["git", *who, *args], cwd=folder, env=env, capture_output=True, text=True, check=True).stdout


def commit(folder):
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "work")


def state(folder):
    """Each file of a folder and what is in it."""
    files = (path for path in folder.rglob("*") if path.is_file() and not {".git", "__pycache__"} & {*path.parts})
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def has_row(text, beginning, place):
    """Whether a place stands with an advice of the report that begins like this: below it or, for a note, behind it."""
    advice = text[text.index(f"- {beginning}") :].split("\n\n")[0].split("\n- ")[0]
    return f"  - {place}" in advice.split("\n") or place in advice.rpartition(" (")[2].rstrip(")").split(", ")


def changed(project, files):
    """The project with these files, committed."""
    write_all(project, files)
    commit(project)
    return project


def undo(project, commands):
    """Run the two commands that the migration shows."""
    for command in commands:
        subprocess.run(command.replace("git clean -n", "git clean -f"), shell=True, cwd=project, check=True)


def grown(name, method):
    """A classic file whose class has one more method."""
    return {name: f"{THEIRS[name]}\n    def {method}(self, a=1):\n        return a\n"}


TRAINER = THEIRS["trainer/trainer.py"]
WIDER = THEIRS["base/base_trainer.py"].replace("optimizer, config):", "optimizer, config, tag=None):")
KEPT = {
    "argument": (
        {"base/base_trainer.py": WIDER,
         "trainer/trainer.py": TRAINER.replace("config)\n        s", "config, 1)\n        s")},
        ["base/base_trainer.py"],
        "trainer/trainer.py:7 calls `super().__init__` with arguments that ours does not take"),
    "fewer arguments": (
        {"base/base_trainer.py": THEIRS["base/base_trainer.py"].replace("criterion, metric_ftns, ", ""),
         "trainer/trainer.py": TRAINER.replace("(model, criterion, metric_ftns, ", "(model, ")},
        ["base/base_trainer.py"],
        "trainer/trainer.py:7 calls `super().__init__` with arguments that ours does not take"),
    "fewer arguments, by the name of the class": (
        {"base/base_trainer.py": THEIRS["base/base_trainer.py"].replace("criterion, metric_ftns, ", ""),
         "trainer/trainer.py": TRAINER.replace("super().__init__(model, criterion, metric_ftns, ",
                                               "BaseTrainer.__init__(self, model, ")},
        ["base/base_trainer.py"],
        "trainer/trainer.py:7 calls `BaseTrainer.__init__` with arguments that ours does not take"),
    "hook with other arguments": (
        {"base/base_trainer.py": THEIRS["base/base_trainer.py"].replace("(1)\n", "(1, 2)\n"),
         "trainer/trainer.py": TRAINER.replace("(self, epoch)", "(self, epoch, steps)")},
        ["base/base_trainer.py"],
        "trainer/trainer.py:10 overrides `_train_epoch`, which its `BaseTrainer` calls with other arguments than ours"),
    "attribute": (
        {**grown("base/base_trainer.py", "extra"), "trainer/trainer.py": TRAINER + "        self.extra()\n"},
        ["base/base_trainer.py"], "trainer/trainer.py:12 uses `self.extra` of its `BaseTrainer`"),
    "hook": (
        {"base/base_trainer.py": THEIRS["base/base_trainer.py"].replace("(1)\n", "(1)\n        self._at_end()\n"),
         "trainer/trainer.py": TRAINER + "\n    def _at_end(self):\n        pass\n"},
        ["base/base_trainer.py"], "trainer/trainer.py:13 overrides `_at_end`, which its `BaseTrainer` calls"),
    "config": (
        {**grown("parse_config.py", "extra"), "train.py": THEIRS["train.py"] + "config.extra()\n"},
        ["parse_config.py"], "train.py:4 uses `config.extra` of its `ConfigParser`"),
    "metrics": (
        {**grown("utils/util.py", "worst"), "trainer/trainer.py": TRAINER + "        self.train_metrics.worst()\n"},
        ["utils/util.py", "utils/__init__.py"],
        "trainer/trainer.py:12 uses `self.train_metrics.worst` of its `MetricTracker`"),
    "method of any variable": (
        {**grown("utils/util.py", "write_to_logger"), "test.py": "def a(tracker):\n    tracker.write_to_logger()\n"},
        ["utils/util.py", "utils/__init__.py"],
        "test.py:2 uses `tracker.write_to_logger`, as it seems of its `MetricTracker`"),
    "writer": (
        {**grown("logger/visualization.py", "add_two"),
         "trainer/trainer.py": TRAINER + "        self.writer.add_two()\n"},
        ["logger/visualization.py", "logger/__init__.py", "base/base_trainer.py"],
        "trainer/trainer.py:12 uses `self.writer.add_two` of its `TensorboardWriter`"),
    "function": (
        {"utils/util.py": THEIRS["utils/util.py"].replace("(n_gpu_use)", "(n_gpu_use, ids)"),
         "train.py": "from utils import prepare_device\nprepare_device(1, [0])\n"},
        ["utils/util.py", "utils/__init__.py"],
        "train.py:2 calls `prepare_device` with arguments that ours does not take"),
    "subclass of a subclass": (
        {**grown("base/base_trainer.py", "extra"),
         "trainer/gan.py": "from .trainer import Trainer\n\n\nclass Gan(Trainer):\n"
                           "    def a(self):\n        self.extra()\n"},
        ["base/base_trainer.py"], "trainer/gan.py:6 uses `self.extra` of its `BaseTrainer`"),
}  # fmt: skip

# What is said where a replaced file sent values elsewhere.
SENT = "Nothing of what these lines sent to `{}` is sent any more. "
