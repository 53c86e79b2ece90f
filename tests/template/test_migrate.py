"""new_project.py --migrate: what is replaced, kept and moved, what is told, what is refused, and how it is undone."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
    "pyproject.toml": '[project]\ndependencies = [\n    "torch>=2.7",\n]\n',
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
# A line that a person has to look at, and the beginning of what is said of it.
LINES = {
    "torch.load('a.pth')": "`torch.load` without",
    "torch.save(a, 'a.pth')": "`torch.save` of the project's own",
    "np.random.permutation(3)": "Building a loader with a validation split no longer sets",
    "self.train_metrics.update('loss', 1)": "`update(key, value)` weighs",
    "model.cuda()": "`.cuda()` needs a GPU",
    "df.append(row, ignore_index=True)": "`DataFrame.append` is gone",
    "a[col].values[:] = 0": "pandas 3 refuses this",
    "a.values[...] = 0": "pandas 3 refuses this",
    "a.astype(np.float)": "These names are gone from NumPy",
    "from tensorboardX import SummaryWriter": "`torch.utils.tensorboard` has",
    "from torch._six import inf": "`torch._six` is gone",
    "transforms.Scale(3)": "`Scale` is `Resize` now",
    "CrossEntropyLoss(size_average=False)": "`size_average=` and `reduce=`",
    "CrossEntropyLoss(reduce=False)": "`size_average=` and `reduce=`",
    "Variable(a, volatile=True)": "`volatile=` is gone",
    "loss.data[0]": "`.data[0]` of a loss",
    "iterator.next()": "`.next()` is gone",
    "if batch_idx == self.len_epoch: break": "This loop runs one batch more",
}
FINE = ["np.random.seed(1)", "def _split_sampler(self): np.random.shuffle(a)",
        "torch.load('a.pth', weights_only=True)", "a.update({})", "np.float32(1)", "train_metrics.update('loss', 1, n)",
        "rows.append(row)", "dist.all_reduce(a, reduce=op)", "if batch_idx == last: break", "a.data[1]",
        "x = a.values[0]", "a.loc[:, col] = 0", "self.writer.next()", "a['b'][0] = 1",
        "images = torch.load('images.pt')", "x, y = torch.load(os.path.join(root, name))"]  # fmt: skip


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


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A small template with copies of what migrates."""
    folder = tmp_path_factory.mktemp("template")
    write_all(folder, OURS)
    (folder / "utils/__pycache__").mkdir()
    (folder / "utils/__pycache__/util.pyc").write_text("")
    shutil.copy(ROOT / "new_project.py", folder)
    shutil.copytree(ROOT / "migration", folder / "migration", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def forget_modules():
    """Take what migrates out of the loaded modules; returns it."""
    names = [name for name in sys.modules if name.split(".")[0] in ("new_project", "migration")]
    return {name: sys.modules.pop(name) for name in names}


@pytest.fixture(scope="module")
def migration(template):
    """The package of that template, for which our small classic project is what the classic template was."""
    before = forget_modules()
    sys.path.insert(0, str(template))
    package = importlib.import_module("migration")
    upstream, codes = package.upstream, [package.code.read_code(name, text.encode()) for name, text in THEIRS.items()
                                         if name in OURS]  # fmt: skip
    upstream.KNOWN.clear()
    upstream.KNOWN.update((name, upstream.short_hash(node)) for code in codes
                          for name, node in upstream.functions_of(code))  # fmt: skip
    yield package
    sys.path.remove(str(template))
    forget_modules()
    sys.modules.update(before)


@pytest.fixture(scope="module")
def classic(tmp_path_factory):
    """A committed project of the classic template."""
    folder = tmp_path_factory.mktemp("classic")
    write_all(folder, THEIRS)
    git(folder, "init", "-q")
    commit(folder)
    return folder


@pytest.fixture
def project(classic, tmp_path):
    """A copy of it for one test."""
    return Path(shutil.copytree(classic, tmp_path / "old"))


@pytest.fixture
def migrate(migration, capsys):
    """Migrate a project; returns exit code, output and report."""

    def run(folder, is_dry=False):
        code = migration.main(folder, is_dry=is_dry)
        shown = capsys.readouterr()
        report = folder / "MIGRATION.md"
        return code, shown.out or shown.err, report.read_text() if report.is_file() else ""

    return run


def changed(project, files):
    """The project with these files, committed."""
    write_all(project, files)
    commit(project)
    return project


def undo(project, commands):
    """Run the two commands that the migration shows."""
    for command in commands:
        subprocess.run(command.replace("git clean -n", "git clean -f"), shell=True, cwd=project, check=True)


# what is replaced, and what stays


def test_migrate_framework_rooms_become_those_of_the_template(migrate, project, template):
    """Every file of our rooms is there, data too, and no cache."""
    code, *_ = migrate(project)
    ours = {
        name: text for name, text in state(template).items() if name.startswith(("base", "espalier", "logger", "utils"))
    }
    found = state(project)
    assert code == 0
    assert {name: found[name] for name in ours} == ours
    assert not (project / "utils/__pycache__").exists()


def test_migrate_rooms_of_the_user_stay_byte_for_byte(migrate, project):
    """Nothing outside of the framework rooms changes, and the project's own files in them neither."""
    odd = {"utils/visual.py": "x = 1\r\n", "model/model.py": "y = 2", "notes.txt": "é", "base/base_loss.py": ""}
    before = state(changed(project, odd))
    migrate(project)
    stays = [name for name in before if name not in OURS]
    assert {name: state(project)[name] for name in stays} == {name: before[name] for name in stays}


def test_migrate_own_files_in_our_rooms_are_named(migrate, project):
    """The report says that they are as they were."""
    *_, report = migrate(changed(project, {"utils/visual.py": "x = 1\n"}))
    rows = "Unchanged.\n\n- `logger/logger_config.json`\n- `utils/visual.py`\n"
    assert f"## Files of the project's own in these rooms\n\n{rows}" in report


def test_migrate_output_has_a_line_for_each_group(migrate, project):
    """The terminal shows counts, where the report is, and the commands that come next."""
    code, out, _ = migrate(project)
    lines = [
        f"{project}: a project of the classic template, generation G3 (since November 2020)",
        "  replaced    8 files of the framework",
        "  added       9 files of the framework",
        "  unchanged   files of the project's own in these rooms: 1",
        "  to edit     0 places, before training",
        "  to know     0 notes",
        f"What to edit, what to know and what was done is in {project}/MIGRATION.md",
        f"Go on in {project} with:",
        '    git add -A && git commit -m "Migrate to Espalier"',
        "or undo it, the second with -f in place of -n:",
        "    git checkout -- .",
        "    git clean -n -- base espalier logger utils MIGRATION.md",
    ]
    assert (code, out.splitlines()) == (0, lines)


def test_migrate_dry_run_changes_nothing_and_shows_the_report(migrate, project):
    """What it prints is what the migration then does."""
    before = state(project)
    code, out, report = migrate(project, is_dry=True)
    assert (code, state(project), report) == (0, before, "")
    assert out.startswith("This would be done; nothing is changed.\n")
    *_, report = migrate(project)
    assert out.endswith(f"MIGRATION.md would say:\n\n{report}\n")


G1 = {
    "parse_config.py": "class ConfigParser:\n    def __init__(self, args, options='', timestamp=True): ...\n"
    "    def initialize(self, name, module, *args): ...\n",
    "utils/util.py": "def read_json(fname): ...\n",
    "train.py": "from parse_config import ConfigParser\nconfig = ConfigParser(1, 2)\nconfig.initialize('arch', None)\n",
}
PREPARES = {"base/base_trainer.py": THEIRS["base/base_trainer.py"] + "\n    def _prepare_device(self, n): ...\n"}
NO_HELPER = {"utils/util.py": THEIRS["utils/util.py"].replace("def prepare_device", "def _no")}


@pytest.mark.parametrize(
    ("files", "generation"),
    [
        ({**G1, **PREPARES}, "G1 (April to September 2019)"),
        ({**PREPARES, **NO_HELPER}, "G2 (September 2019 to November 2020)"),
        ({"notes.txt": ""}, "G3 (since November 2020)"),
        (PREPARES, "unclear; of the marks it has BaseTrainer._prepare_device, ConfigParser.from_args, "
                   "ConfigParser.init_obj, utils.prepare_device"),
    ],
)  # fmt: skip
def test_migrate_generation_is_told(migrate, project, files, generation):
    """The report says which template the project came from, or that its marks do not agree."""
    code, _, report = migrate(changed(project, files))
    assert code == 0
    assert (
        f"Generation: {generation}. The commit before: `{git(project, 'rev-parse', '--short', 'HEAD').strip()}`."
        in report
    )


def test_migrate_names_of_the_first_generation_are_no_reason_to_keep(migrate, project):
    """`config.initialize` and `ConfigParser(parser, options)` are answered by ours."""
    *_, report = migrate(changed(project, {**G1, **PREPARES}))
    assert "## Kept" not in report


# helpers


def test_migrate_helpers_are_imported_from_where_they_were(migrate, project):
    """Functions added to a framework file, and names that an __init__ passes on, are found through the hook."""
    migrate(changed(project, HELPERS))
    done = subprocess.run([sys.executable, "train.py"], cwd=project, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("1 2 3 WandbLogger\n", "")


def test_migrate_helpers_are_kept_in_a_file_beside_ours(migrate, project):
    """The old file gets another name, and the list names all that ours lacks of it."""
    changed(project, HELPERS)
    migrate(project)
    assert (project / "utils/project_util.py").read_text() == HELPERS["utils/util.py"]
    assert (project / "utils/project_utils.py").read_text() == (
        '"""This project\'s own names in `utils`: `from utils import ...` finds them here."""\n\n'
        "from utils.project_util import seed_all, other\n"
        "from utils.visual import draw as plot\n"
        "from utils.losses import dice\n"
    )


@pytest.mark.parametrize(
    "line",
    [
        "from utils import seed_all",
        "from utils.util import seed_all as s",
        "from utils import *\nseed_all(1)",
        "import utils\nutils.seed_all(1)",
        "import utils.util\nutils.util.seed_all(1)",
        "import utils.util as u\nu.seed_all(1)",
        "from utils import util\nutil.seed_all(1)",
        "def late():\n    from utils import seed_all",
    ],
)
def test_migrate_helper_is_found_however_it_is_imported(migration, project, line):
    """Each way to reach a name counts as a use."""
    changed(project, {"utils/util.py": HELPERS["utils/util.py"], "use.py": f"{line}\n"})
    plan = migration.plan.make_plan(project)
    assert plan.moved == {"utils/util.py": "utils/project_util.py"}


def test_migrate_helper_that_nothing_uses_goes_and_is_listed(migrate, project):
    """The report names it with its line."""
    *_, report = migrate(changed(project, {"utils/util.py": HELPERS["utils/util.py"]}))
    assert not (project / "utils/project_util.py").exists()
    assert "- utils/util.py:20 `seed_all`\n- utils/util.py:24 `other`\n" in report
    assert "These are replaced, and what the project had changed" not in report


CHANGED = {
    "base/base_trainer.py": THEIRS["base/base_trainer.py"].replace("_train_epoch(1)", "_train_epoch(2)"),
    "utils/util.py": THEIRS["utils/util.py"].replace("'cpu', []", "'cuda', []") + "\n\nprint(3)\n",
}


def test_migrate_functions_that_were_changed_are_named(migrate, project):
    """The report says what is not as in the classic template, with the command that shows it, and the terminal how
    much that is."""
    first = git(project, "rev-parse", "--short", "HEAD").strip()
    _, out, report = migrate(changed(project, CHANGED))
    second = git(project, "rev-parse", "--short", "HEAD").strip()
    command = f"git diff {first} {second} --"
    rows = [
        "- These are replaced, and what the project had changed in them is gone: bring over what it needs.",
        f"  - `base/base_trainer.py`: `BaseTrainer.train`; `{command} base/base_trainer.py`",
        f"  - `utils/util.py`: line 20, `prepare_device`; `{command} utils/util.py`",
    ]
    assert "## To edit before training\n\n" + "\n".join(rows) + "\n\n" in report
    assert "  to edit     2 places, before training\n" in out
    lost = "what the project had changed (3) or added (0) in them is gone"
    assert f"  replaced    8 files of the framework; {lost}\n" in out


def test_migrate_layout_and_quotes_are_no_change(migrate, project):
    """A formatter, comments and docstrings leave a function what it is."""
    text = THEIRS["utils/util.py"].replace("'cpu', []", '"cpu", [\n        # none\n    ]')
    text = text.replace("fname):\n", 'fname):\n    """Read it."""\n')
    *_, report = migrate(changed(project, {"utils/util.py": text}))
    assert "These are replaced, and what the project had changed" not in report


def test_migrate_hash_of_a_function_is_the_same_everywhere(migration):
    """The table of what is upstream holds for every version of Python."""
    text = "def f(a, *b, c=None):\n    return super(A, self).g(a, f'{c!r}', 1.5, 'ä', [], None)"
    node = migration.code.read_code("f.py", text.encode()).tree.body[0]
    assert migration.upstream.short_hash(node) == "3c12638103"


SENT = "Nothing of what these lines sent to `{}` is sent any more. "


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("import wandb", SENT.format("wandb")),
        ("from torch.utils import data; import comet_ml as c", SENT.format("comet_ml")),
        ("from mlflow.pytorch import log_model", SENT.format("mlflow")),
        ("import apex", "What these lines did with `apex` is gone."),
    ],
)
def test_migrate_import_of_a_replaced_file_that_is_not_the_templates_is_listed(migrate, project, line, advice):
    """What was built into the trainer, such as a tracker, leaves its import as the trace."""
    text = THEIRS["base/base_trainer.py"].replace("import torch\n", "import torch\nimport wandb\n")
    *_, report = migrate(changed(project, {"base/base_trainer.py": text.replace("import wandb", line)}))
    assert has_row(report, advice, "base/base_trainer.py:2")


# framework files that stay


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


@pytest.mark.parametrize(("files", "kept", "place"), KEPT.values(), ids=KEPT)
def test_migrate_class_that_ours_cannot_stand_for_is_kept(migrate, project, files, kept, place):
    """The file stays, with those it goes with; the report names the place that needs it."""
    changed(project, files)
    before = state(project)
    code, out, report = migrate(project)
    unchanged = [name for name in THEIRS if name in OURS and state(project)[name] == before[name]]
    assert (code, sorted(unchanged)) == (0, sorted(kept))
    assert f"  kept        {', '.join(kept)}: the project uses what ours lacks\n" in out
    line, _, what = place.partition(" ")
    assert f"  - {what}: {line}\n" in report


WRITER = {
    "base/base_trainer.py": THEIRS["base/base_trainer.py"].replace("import T", "import Sender, T"),
    "logger/__init__.py": "from .visualization import *\nfrom .sender import Sender\n",
    "logger/sender.py": "from logger.wires import Wire\n\n\nclass Sender: ...\n",
    "logger/wires.py": "import visdom\n\n\nclass Wire: ...\n",
}


@pytest.mark.parametrize(
    ("files", "rows"),
    [
        ({}, ["logger/sender.py, used by base/base_trainer.py", "logger/wires.py, used by logger/sender.py"]),
        ({"test.py": "from logger.wires import Wire\n"}, ["logger/sender.py, used by base/base_trainer.py"]),
        ({"test.py": "from logger import Sender\n"}, []),
        ({"test.py": "import logger.sender\n"}, []),
        (KEPT["attribute"][0], []),
    ],
    ids=["all", "one", "name", "module", "kept"],
)
def test_migrate_module_that_only_replaced_files_used_is_named(migrate, project, files, rows):
    """So is what such a module used in its turn, and where it sent the values of a run."""
    files = {**WRITER, **files}
    files["base/base_trainer.py"] = files["base/base_trainer.py"].replace("import T", "import Sender, T")
    *_, report = migrate(changed(project, files))
    advice = "- Only files that are replaced used these modules: nothing does any more.\n"
    found = report.partition(advice)[2].split("\n- ")[0].splitlines()
    assert [row.removeprefix("  - ") for row in found if row.startswith("  - ")] == rows
    assert (SENT.format("visdom") in report) == (len(rows) == 2)


def test_migrate_changed_split_is_kept(migrate, project):
    """Who is validated on stays what it was, and is not said to follow seed 0."""
    text = THEIRS["base/base_data_loader.py"].replace("return shuffled", "return stratified")
    use = "from base.base_data_loader import BaseDataLoader\n\n\nclass Own(BaseDataLoader):\n"
    use += "    def __init__(self, a):\n        super().__init__(a, 1, True, 0.1)\n"
    *_, report = migrate(changed(project, {"base/base_data_loader.py": text, "loaders.py": use}))
    assert (project / "base/base_data_loader.py").read_text() == text
    assert "`. Its `_split_sampler` is not that of the classic template: another split. Missing for it: " in report
    assert "The split into training" not in report


RENAMED = {
    "base/__init__.py": "from .base_trainer import *\nfrom .base_dataloader import *\n",
    "base/base_dataloader.py": THEIRS["base/base_data_loader.py"],
    "loaders.py": "import os\nfrom base import BaseDataLoader\n\n\nclass Own(BaseDataLoader):\n    pass\n",
}


@pytest.fixture
def renamed(migration, project, monkeypatch):
    """A project whose loader base lies in another file, before a template that exports its own."""
    files = migration.files.our_files()
    files["base/__init__.py"] += b"from base.base_data_loader import BaseDataLoader\n"
    monkeypatch.setattr(migration.plan, "our_files", lambda: files)
    (project / "base/base_data_loader.py").unlink()
    return changed(project, RENAMED)


def test_migrate_import_that_now_gives_ours_is_named(migrate, renamed):
    """Theirs is still there, but `from base import ...` does not give it any more."""
    *_, report = migrate(renamed)
    assert has_row(report, "`from base import BaseDataLoader` gives that of the framework now; the project's own is in "
                           "`base.base_dataloader`.", "loaders.py:2")  # fmt: skip


def test_migrate_export_of_a_class_that_ours_cannot_stand_for_is_kept(migrate, renamed):
    """What uses more than ours has goes on with theirs."""
    text = RENAMED["base/base_dataloader.py"] + "\n    def extra(self): ...\n"
    use = RENAMED["loaders.py"] + "\n    def a(self):\n        self.extra()\n"
    *_, report = migrate(changed(renamed, {"base/base_dataloader.py": text, "loaders.py": use}))
    assert (renamed / "base/__init__.py").read_text() == RENAMED["base/__init__.py"]
    assert "  - uses `self.extra` of its `BaseDataLoader`: loaders.py:9\n" in report
    assert "gives that of the framework now" not in report


def test_migrate_uses_of_one_name_stand_in_one_line(migrate, project):
    """They are sorted by file and line."""
    lines = "    def {name}(self):\n        self.extra()\n"
    own = "from base import BaseTrainer\n\n\nclass T{number}(BaseTrainer):\n" + lines
    files = {
        f"t{number}.py": own.format(number=number, name="a") + 5 * "\n" + lines.format(name="b") for number in "21"
    }
    *_, report = migrate(changed(project, {**grown("base/base_trainer.py", "extra"), **files}))
    assert "  - uses `self.extra` of its `BaseTrainer`: t1.py:6, t1.py:13, t2.py:6, t2.py:13\n" in report


def test_migrate_kept_file_says_what_is_missing_for_it(migrate, project):
    """Who keeps the trainer knows what that costs."""
    *_, report = migrate(changed(project, KEPT["attribute"][0]))
    assert "- `base/base_trainer.py`. Missing for it: atomic checkpoints, exact resume, " in report
    assert "A run whose loss is not finite" not in report


# A use of utils/util.py for which it is kept, or moved to another place.
STAYS = [("self.train_metrics.worst()", "utils/util.py"), ("from utils import seed_all", "utils/project_util.py")]


@pytest.mark.parametrize(("use", "place"), STAYS)
def test_migrate_file_of_theirs_that_stays_is_looked_through_too(migrate, project, use, place):
    """A kept or moved utils/util.py may need an older pandas; a replaced one is not spoken of."""
    text = THEIRS["utils/util.py"].replace("        pass", "        self._data[key].values[1:] = 0")
    text += "\n    def worst(self): ...\n\n\ndef seed_all(): ...\n"
    _, out, _ = migrate(changed(project, {"utils/util.py": text}), is_dry=True)
    assert "pandas" not in out
    *_, report = migrate(changed(project, {"trainer/trainer.py": f"{TRAINER}        {use}\n"}))
    assert has_row(report, "pandas 3 refuses this", f"{place}:17")


@pytest.mark.parametrize(("use", "place"), STAYS)
def test_migrate_data_frame_of_a_tracker_that_stays_is_written_as_pandas_3_wants_it(migrate, project, use, place):
    """The lines are rewritten and named, all others stay to the byte, and a second time there is nothing to do."""
    lines = ["self._data[key].values[:] = 0", "self._data.total[key] += self._data.counts[key]  # é"]
    text = THEIRS["utils/util.py"].replace("        pass", "\n".join(f"        {line}" for line in lines))
    text += "\n    def worst(self): ...\n\n\ndef seed_all(): ...\n"
    files = {"utils/util.py": text, "trainer/trainer.py": f"{TRAINER}        {use}\n"}
    *_, report = migrate(changed(project, files))
    new = ["self._data.loc[:, key] = 0", 'self._data.loc[key, "total"] += self._data.loc[key, "counts"]  # é']
    expected = text
    for line, other in zip(lines, new, strict=True):
        expected = expected.replace(line, other)
    assert (project / place).read_text(encoding="utf-8") == expected
    first = text[: text.index(lines[0])].count("\n") + 1
    what = "a data frame is written with `.loc`, since pandas 3 refuses or forgets the other form."
    assert f"\n## Mended\n\n- utils/util.py: lines {first}, {first + 1}: {what}\n" in report
    assert "pandas 3 refuses this" not in report
    assert "nothing to do" in migrate(project)[1]


FRAMES = """import pandas as pd


class MetricTracker:
    def __init__(self, *keys):
        self._data = pd.DataFrame(index=keys, columns=['total', 'counts', 'average'])
        self.other = {}

    def reset(self):
        for col in self._data.columns:
            self._data[col].values[:] = 0

    def update(self, key, value, n=1):
        self._data.total[key] += value * n
        self._data['counts'][key] += n
        self._data.average[key] = self._data.total[key] / self._data.counts[key]
        self._data.loc[key, 'total'] = self._data.total[key]
        self._data['new'] = 1
        self.other['a']['b'] = 1
"""


@pytest.mark.parametrize("path", ["trainer/metric.py", "logger/metric.py", "metrics/tracker.py"])
def test_migrate_data_frame_of_a_tracker_elsewhere_is_named_line_by_line(migrate, project, path):
    """Every line that pandas 3 refuses or forgets, with the line that it takes where there is one form."""
    *_, report = migrate(changed(project, {path: FRAMES}))
    rows = [
        f"{path}:11: `self._data.loc[:, col] = 0`",
        f'{path}:14: `self._data.loc[key, "total"] += value * n`',
        f"{path}:15",
        f'{path}:16: `self._data.loc[key, "average"] = self._data.loc[key, "total"] / self._data.loc[key, "counts"]`',
    ]
    advice = "- pandas 3 refuses this or forgets what is written: install `pandas<3`, or write it with `.loc`.\n"
    assert advice + "".join(f"  - {row}\n" for row in rows) in report
    assert report.count(f"{path}:") == len(rows)
    assert (project / path).read_text() == FRAMES


BOTH_KEPT = {
    "parse_config.py": grown("parse_config.py", "extra")["parse_config.py"],
    "base/base_trainer.py": THEIRS["base/base_trainer.py"] + """
    def _resume_checkpoint(self, path):
        checkpoint = torch.load(str(path))
        self.model.load_state_dict(torch.load(path, map_location='cpu',))
        self.images = torch.load(images)
        return torch.load(
            checkpoint)

    def extra(self): ...
""",
    "trainer/trainer.py": f"{TRAINER}        self.extra()\n",
    "train.py": THEIRS["train.py"] + "config.extra()\n",
    "test.py": "import torch\n\ncheckpoint = torch.load(config.resume)\nimages = torch.load('images.pt')\n",
}  # fmt: skip


def test_migrate_trainer_and_parser_that_are_kept_load_what_they_save(migrate, project):
    """Their checkpoints hold an object of the project's own, which torch loads only if told so."""
    *_, report = migrate(changed(project, BOTH_KEPT))
    text = BOTH_KEPT["base/base_trainer.py"]
    expected = text.replace("(str(path))", "(str(path), weights_only=False)")
    expected = expected.replace("'cpu',)", "'cpu', weights_only=False)")
    assert (project / "base/base_trainer.py").read_text() == expected
    what = (
        "`weights_only=False`, since the project's own `ConfigParser` is in its checkpoints, as an object. That runs "
        "code that is in the file: open only checkpoints of your own."
    )
    assert f"\n## Mended\n\n- base/base_trainer.py: lines 17, 18: {what}\n" in report
    advice = "`torch.load` refuses what this project saves since torch 2.6"
    assert has_row(report, advice, "test.py:3")
    assert has_row(report, advice, "base/base_trainer.py:20")
    assert "`torch.load` without `weights_only`" not in report and "test.py:4" not in report
    assert "nothing to do" in migrate(project)[1]


@pytest.mark.parametrize("kept", ["parse_config.py", "base/base_trainer.py"])
def test_migrate_trainer_or_parser_that_is_kept_alone_saves_what_loads(migrate, project, kept):
    """Ours saves plain values, and a plain config comes from ours."""
    files = {**BOTH_KEPT, "trainer/trainer.py": TRAINER} if kept == "parse_config.py" else {**BOTH_KEPT, "train.py": ""}
    files["embed.py"] = "import torch\n\ntorch.save({'words': 1, 'name': config['name']}, 'words.pth')\n"
    *_, report = migrate(changed(project, files))
    assert f"- `{kept}`. Missing for it: " in report
    assert "## Mended" not in report
    assert has_row(report, "`torch.load` without `weights_only`", "test.py:3")


@pytest.mark.parametrize(
    "line", ["{'config': self.config}", "dict(epoch=1, config=config)", "state\nstate['config'] = self.config"]
)
def test_migrate_object_in_what_a_project_saves_itself_is_seen(migrate, project, line):
    """A kept ConfigParser may go into a checkpoint of the project's own in other ways too."""
    first, _, then = line.partition("\n")
    code = f"import torch\n\nstate = {{}}\n{then}\ntorch.save({first}, 'a.pth')\n"
    files = {**BOTH_KEPT, "trainer/trainer.py": TRAINER, "trainer/save.py": code}
    *_, report = migrate(changed(project, files))
    assert has_row(report, "`torch.load` refuses what this project saves since torch 2.6", "test.py:3")


@pytest.mark.parametrize("arguments", ["*args", "model, **kwargs"])
def test_migrate_call_that_may_give_all_arguments_is_no_reason_to_keep(migrate, project, arguments):
    """What stars stand for is not known."""
    text = TRAINER.replace("super().__init__(model, criterion, metric_ftns, optimizer, config)",
                           f"super().__init__({arguments})")  # fmt: skip
    *_, report = migrate(changed(project, {"trainer/trainer.py": text}))
    assert "## Kept" not in report


def test_migrate_change_that_nothing_uses_is_no_reason_to_keep(migrate, project):
    """A method that only the framework file knows goes, and is listed."""
    *_, report = migrate(changed(project, grown("base/base_trainer.py", "extra")))
    assert "- base/base_trainer.py:16 `BaseTrainer.extra`\n" in report
    assert "## Kept" not in report


@pytest.mark.parametrize(
    "line", ["tracker.clear()", "tracker.worst()", "class Own:\n    def write_it(self): ...\n\nOwn().write_it()"]
)
def test_migrate_method_that_other_objects_have_too_is_no_certain_use(migrate, project, line):
    """Nothing is kept for the names of containers, short words, and methods of classes of the project's own."""
    text = "".join(f"\n    def {name}(self): ...\n" for name in ("clear", "worst", "write_it"))
    files = {"utils/util.py": THEIRS["utils/util.py"] + text, "test.py": f"{line}\n"}
    *_, report = migrate(changed(project, files))
    assert "## Kept" not in report
    assert "`MetricTracker.clear`\n" in report[report.index("no certain use") :]


def test_migrate_call_of_a_method_of_its_own_is_no_reason_to_keep(migrate, project):
    """A subclass that defines the method, or whose own parent does, does not call that of the framework."""
    base = THEIRS["base/base_trainer.py"].replace("def train(self)", "def train(self, epoch=1)")
    own = TRAINER + "\n    def train(self, epoch=1):\n        self.train(2)\n"
    gan = "from .trainer import Trainer\n\n\nclass Gan(Trainer):\n    def a(self):\n        super().train(3)\n"
    files = {"base/base_trainer.py": base, "trainer/trainer.py": own, "trainer/gan.py": gan}
    *_, report = migrate(changed(project, files))
    assert "## Kept" not in report


def test_migrate_kept_file_that_uses_a_helper_takes_it_along(migrate, project):
    """What a kept file needs is looked for as in the project's own files."""
    files = {**KEPT["attribute"][0], "utils/util.py": HELPERS["utils/util.py"]}
    files["base/base_trainer.py"] = "from utils import seed_all\n" + files["base/base_trainer.py"]
    migrate(changed(project, files))
    assert "import seed_all, other\n" in (project / "utils/project_utils.py").read_text()


# what to look at by hand


@pytest.fixture(scope="module")
def odd_report(migration, classic, tmp_path_factory):
    """The report on a project with one file of everything to look at."""
    folder = Path(shutil.copytree(classic, tmp_path_factory.mktemp("odd") / "old"))
    loop = "for batch_idx in range(3):\n    "
    config = (
        '{\n  "name": "a",\n  "lr_scheduler": {},\n  "palette": 1,\n  "trainer": {\n    "epochs": 1,\n    "clip": 2,\n'
    )
    config = config.replace(
        '1,\n  "trainer', '1,\n  "data": {"args": {"shuffle": false, "validation_split": 0.1}},\n  "trainer'
    )
    config += '    "monitor": "min val_loss",\n    "save_period": 5,\n    "early_stop": 3\n  }\n}\n'
    files = {
        f"odd{number}.py": f"{loop if line[:2] == 'if' else ''}{line}\n" for number, line in enumerate([*LINES, *FINE])
    }
    files["loader.py"] = (
        "from base import BaseDataLoader\n\n\nclass Loader(BaseDataLoader):\n"
        "    def __init__(self):\n        super().__init__(1, 2, 3, 4)\n"
    )
    files["clash.py"] = (
        "from base import BaseTrainer\n\n\nclass T(BaseTrainer):\n    def a(self):\n        self.step = 1\n"
    )
    files |= {"old.py": "print 'a'\n", "gone.py": "x = 1\nx.cuda(async=True)\n", "configs/a.json": config}
    files |= {"requirements.txt": "torch>=1.1\n", "new_project.py": "", "latin.py": "# a\n", "no.json": "{"}
    changed(folder, files)
    (folder / "latin.py").write_bytes(b"name = '\xe9'\n")
    commit(folder)
    assert migration.main(folder, is_dry=False) == 0
    return (folder / "MIGRATION.md").read_text()


@pytest.mark.parametrize(("number", "advice"), list(enumerate(LINES.values())), ids=LINES)
def test_migrate_line_to_look_at_is_named(odd_report, number, advice):
    """Each is listed under its advice, with file and line."""
    line = 2 if "loop" in advice else 1
    assert has_row(odd_report, advice, f"odd{number}.py:{line}")


@pytest.mark.parametrize("number", range(len(LINES), len(LINES) + len(FINE)), ids=FINE)
def test_migrate_line_that_is_fine_is_not_named(odd_report, number):
    """What only looks alike is not listed."""
    assert f"odd{number}.py" not in odd_report


@pytest.mark.parametrize(
    ("advice", "place"),
    [
        ("The split into training", "loader.py:6"),
        ("`BaseTrainer` of the framework has a member of this name", "clash.py:6 `step`"),
        ("The framework does not know these keys", "configs/a.json:4 `palette`"),
        ("The framework does not know these keys", "configs/a.json:8 `trainer.clip`"),
        ("The run ends after exactly `early_stop` epochs", "configs/a.json:11"),
        ("`shuffle: false` keeps the order", "configs/a.json:5"),
        ("The best epoch is saved", "configs/a.json:10"),
        ("The state of the scheduler", "configs/a.json:3"),
        ("Python cannot read these files", "gone.py:2: invalid syntax (`async` is a keyword since Python 3.7: write "
                                           "`non_blocking=True`)"),
    ],
)  # fmt: skip
def test_migrate_place_to_look_at_is_named(odd_report, advice, place):
    """So are subclasses, config keys and files that Python cannot read."""
    assert has_row(odd_report, advice, place)


@pytest.mark.parametrize(
    "row",
    [
        "- `requirements.txt`, unchanged: the framework needs torch>=2.7.",
        "- `new_project.py` is unchanged: that of the classic template.",
        "- A run whose loss is not finite at the end of an epoch ends there.",
        "`python parse_config.py --convert OLD NEW --trust`",
        "  - old.py:1: Missing parentheses in call to 'print'.",
        "  - latin.py:",
    ],
)
def test_migrate_report_tells(odd_report, row):
    """What is about the whole project, and files in an old encoding or of Python 2."""
    assert row in odd_report


def test_migrate_key_that_the_project_reads_is_not_called_unknown(migrate, project):
    """Its own code names it."""
    config = '{"palette": 1, "trainer": {"clip": 2, "other": 3}}'
    *_, report = migrate(changed(project, {"a.json": config, "use.py": "c['palette'], c['trainer'].get('clip')\n"}))
    assert has_row(report, "The framework does not know these keys", "a.json:1 `trainer.other`")
    assert "palette" not in report
    assert "clip" not in report


def test_migrate_report_on_a_plain_project_names_no_place(migrate, project):
    """What was not found is not spoken of, and files of the framework are only counted."""
    *_, report = migrate(project)
    assert "## Added\n\n9 files of the framework.\n\n" in report
    hand = report[report.index("## To edit") : report.index("## Replaced")]
    rows = ["A run whose loss is not finite at the end of an epoch ends there.",
            "No `requirements.txt`: the framework needs torch>=2.7."]  # fmt: skip
    head = (
        "## To edit before training\n\nNothing was found.\n\n## To know\n\nNone of this keeps the project from running."
    )
    assert hand == f"{head}\n\n" + "".join(f"- {row}\n" for row in rows) + "\n"


def test_migrate_note_that_repeats_itself_is_counted(migrate, project):
    """It has its first places and the number of the others; what is to be edited has them all."""
    text = TRAINER + 5 * "        self.train_metrics.update('a', 1)\n" + 5 * "        np.float\n"
    _, out, report = migrate(changed(project, {"trainer/trainer.py": text}))
    places = "trainer/trainer.py:12, trainer/trainer.py:13, trainer/trainer.py:14, and 2 more"
    assert f"`update(key, value, n)` weighs by samples. ({places})\n" in report
    rows = "".join(f"  - trainer/trainer.py:{line}\n" for line in range(17, 22))
    assert f"## To edit before training\n\n- These names are gone from NumPy, since 1.24 or 2.0.\n{rows}\n## " in report
    assert "  to edit     5 places, before training\n  to know     1 notes\n" in out


LOADER = "from base import BaseDataLoader\nimport numpy as np\n\n\nclass Own(BaseDataLoader):\n"
LOADER += "    def __init__(self, split={default}):\n        super().__init__(np.random.rand(3), 4, True, {given})\n"


@pytest.mark.parametrize(
    ("asked", "given", "has_split"),
    [(None, "0.0", False), (None, "split", True), ("0.0", "split", False), ("0", "0.2", True), ("0.1", "split", True)],
)
def test_migrate_split_is_spoken_of_where_there_may_be_one(migrate, project, asked, given, has_split):
    """Neither its seed nor what NumPy draws is of interest where all data is for training."""
    args = "{}" if asked is None else f'{{"validation_split": {asked}}}'
    config = f'{{"data_loader": {{"type": "Own", "args": {args}}}, "trainer": {{"epochs": 1}}}}'
    files = {"config.json": config, "loaders.py": LOADER.format(default="0.0", given=given)}
    *_, report = migrate(changed(project, files))
    for advice in ("The split into training", "Building a loader with a validation split"):
        assert (advice in report) is has_split


def test_migrate_split_of_a_loader_of_the_projects_own_is_not_spoken_of(migrate, project):
    """It is made as before, and draws what it draws."""
    own = (
        LOADER.format(default="0.1", given="split")
        + "\n    def _split_sampler(self, split):\n        return None, None\n"
    )
    config = '{"data_loader": {"args": {"validation_split": 0.1}}, "trainer": {"epochs": 1}}'
    *_, report = migrate(changed(project, {"config.json": config, "loaders.py": own}))
    assert "The split into training" not in report
    assert "Building a loader with a validation split" not in report


@pytest.mark.parametrize(("monitor", "early_stop"), [("off", 3), ("min val_loss", 0), ("min val_loss", -1)])
def test_migrate_early_stopping_that_never_was_is_not_spoken_of(migrate, project, monitor, early_stop):
    """Without a monitor or with 0 there is none."""
    config = f'{{"trainer": {{"epochs": 1, "monitor": "{monitor}", "early_stop": {early_stop}}}}}'
    *_, report = migrate(changed(project, {"config.json": config}))
    assert "The run ends after exactly" not in report


@pytest.mark.parametrize(
    ("folder", "is_changed", "is_named"),
    [
        ("/nowhere-at-all", False, True),
        ("/tmp/saved", True, True),
        ("/tmp/saved", False, False),
        ("saved", True, False),
    ],
)
def test_migrate_folder_for_runs_at_the_root_of_the_disk_is_named(migrate, project, folder, is_changed, is_named):
    """Where it is not there, or where a ConfigParser of the project's own may have led elsewhere."""
    parser = THEIRS["parse_config.py"].replace("= config\n", "= dict(config)\n" if is_changed else "= config\n")
    config = f'{{\n"trainer": {{"epochs": 1,\n"save_dir": "{folder}"}}}}\n'
    *_, report = migrate(changed(project, {"config.json": config, "parse_config.py": parser}))
    why = "its own `ConfigParser`, now gone, may have moved it" if is_changed else "there is no such folder here"
    advice = f"`save_dir` begins at the root of the disk, and {why}. Without the first slash it is in the project.\n"
    assert (f"- {advice}  - config.json:3 `{folder}`\n" in report) is is_named


def test_migrate_kept_config_parser_converts_with_that_of_the_template(migrate, project, template):
    """A kept parse_config.py has no --convert."""
    files = {**KEPT["config"][0], "load.py": "import torch\ntorch.load('a.pth')\n"}
    *_, report = migrate(changed(project, files))
    assert f"`python {template}/parse_config.py --convert OLD NEW --trust`" in report


# again, and back


@pytest.mark.parametrize("files", [{"notes.txt": ""}, HELPERS, KEPT["attribute"][0]], ids=["plain", "helpers", "kept"])
@pytest.mark.parametrize("is_committed", [True, False])
def test_migrate_twice_does_nothing_the_second_time(migrate, project, files, is_committed):
    """A migrated project is left alone, committed or not."""
    migrate(changed(project, files))
    if is_committed:
        commit(project)
    before = state(project)
    code, out, _ = migrate(project)
    assert (code, out) == (0, f"{project} is migrated: nothing to do\n")
    assert state(project) == before


def test_migrate_undo_brings_the_old_state_back(migrate, project):
    """The two commands that are shown restore every file, and spare those that git does not know."""
    changed(project, HELPERS)
    write_all(project, {"utils/my [notes].py": "x = 1\n", "espalier/old.py": "y = 2\n"})
    before = state(project)
    _, out, report = migrate(project)
    commands = out.splitlines()[-2:]
    assert "\n".join(commands) in report
    undo(project, commands)
    assert state(project) == before


def test_migrate_project_below_the_top_of_its_repository(migrate, project, tmp_path):
    """A repository may hold several projects; its other folders may have changes."""
    shutil.rmtree(project / ".git")
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    write_all(tmp_path, {"old/utils/mine.txt": "", "other/x.py": ""})
    before = state(project)
    code, out, _ = migrate(project)
    undo(project, out.splitlines()[-2:])
    assert (code, state(project)) == (0, before)


def test_migrate_failure_in_the_middle_says_how_to_undo_it(migration, migrate, project, monkeypatch):
    """A full disk leaves a project that two commands restore."""
    before, write_bytes = state(project), Path.write_bytes

    def fail(path, data):
        if path.name == "monitor.py":
            raise OSError(28, "No space left on device")
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", fail)
    code, message, _ = migrate(project)
    commands = ["    git checkout -- .", "    git clean -n -- base espalier logger utils MIGRATION.md"]
    assert (code, message.splitlines()) == (2, [
        f"new_project error: {project} is migrated in part: espalier/training/monitor.py could not be written",
        "  got       [Errno 28] No space left on device",
        "  fix       undo it there, the second with -f in place of -n, then try again:",
        *commands,
    ])  # fmt: skip
    undo(project, commands)
    assert state(project) == before


def test_migrate_file_that_git_ignores_is_named(migrate, project):
    """A new file that `git add -A` would leave out is told."""
    *_, report = migrate(changed(project, {".gitignore": "espalier/\n"}))
    assert "## Ignored by git\n\nAdd these with `git add -f`, or they are missing in a clone.\n\n- `espalier/" in report


# what is refused


def without_git(project):
    shutil.rmtree(project / ".git")


def without(name):
    """Take a file away, and commit that."""
    return lambda project: (project / name).unlink() or commit(project)


def with_files(*names, is_committed=True):
    """Add files with something in them."""
    return lambda project: write_all(project, dict.fromkeys(names, "x = 1\n")) or (is_committed and commit(project))


def with_link(project):
    shutil.move(project / "utils", project / "elsewhere")
    (project / "utils").symlink_to("elsewhere")
    commit(project)


def untracked_trainer(project):
    git(project, "rm", "-q", "--cached", "base/base_trainer.py")
    git(project, "commit", "-q", "-m", "gone")


def with_parser_elsewhere(project):
    (project / "parse_config.py").rename(project / "utils/parse_config.py")
    commit(project)


TAKEN = "names of the framework's are taken by files of the project's own"
RENAME = "  fix       rename them, and commit that"
UNCLEAN = "the project has changes that are not committed"
STASH = "  fix       commit or stash them, so that all can be undone"
REFUSED = {
    "nothing there": (shutil.rmtree, "{project} is no folder", [f"  fix       {NAME_ONE}"]),
    "another kind": (without("base/base_trainer.py"), "{project} is not from the classic template",
                     ["  got       no base/base_trainer.py", f"  fix       {NAME_ONE}"]),
    "too old": (without("parse_config.py"), "{project} is from the classic template before April 2019",
                ["  got       no parse_config.py", "  expected  the template of April 2019 or later",
                 "  fix       docs/migrating.md shows how to bring it over by hand"]),
    "parser elsewhere": (with_parser_elsewhere, "{project} has no parse_config.py",
                         ["  got       ConfigParser is in utils/parse_config.py",
                          "  fix       add a parse_config.py with `from utils.parse_config import ConfigParser`, "
                          "commit, and run this again"]),
    "changed": (with_files("utils/util.py", is_committed=False), UNCLEAN, ["  got       utils/util.py", STASH]),
    "not in git": (untracked_trainer, UNCLEAN, ["  got       base/base_trainer.py", STASH]),
    "own module of our name": (with_files("espalier/config/schema.py", "espalier/checkpoints/folder.py"), TAKEN,
                               ["  got       espalier/checkpoints/folder.py, espalier/config/schema.py", RENAME]),
    "own package of our name": (with_files("utils/util/a.py"), TAKEN, ["  got       utils/util", RENAME]),
    "own module of a room's name": (with_files("espalier.py"), TAKEN, ["  got       espalier.py", RENAME]),
    "file of a room's name": (with_files("espalier"), TAKEN, ["  got       espalier", RENAME]),
    "report of their own": (with_files("MIGRATION.md"), TAKEN, ["  got       MIGRATION.md", RENAME]),
    "link": (with_link, "{project}/utils is a link",
             ["  fix       put what it leads to in its place, and commit that"]),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "head", "answers"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("is_dry", [False, True])
def test_migrate_project_that_cannot_be_is_refused(migrate, project, spoil, head, answers, is_dry):
    """The message says why and what to do, and nothing is changed."""
    spoil(project)
    before = state(project) if project.exists() else None
    code, message, _ = migrate(project, is_dry)
    head = head.replace("{project}", str(project))
    assert (code, message.splitlines()) == (2, [f"new_project error: {head}", *answers])
    assert (state(project) if project.exists() else None) == before


def test_migrate_project_without_history_is_refused(migrate, project):
    """Without git nothing could be undone; its own words are quoted."""
    shutil.rmtree(project / ".git")
    code, message, _ = migrate(project)
    assert (code, message.splitlines()[0]) == (2, f"new_project error: {project} is in no git repository")
    assert "  fix       make it one, so that all can be undone: git init && git add -A && git commit\n" in message


def test_migrate_template_itself_is_refused(migrate, template):
    """The template is no project of the classic one."""
    git(template, "init", "-q")
    code, message, _ = migrate(template)
    shutil.rmtree(template / ".git")
    expected = [f"new_project error: {template} is part of the template itself", f"  fix       {NAME_ONE}"]
    assert (code, message.splitlines()) == (2, expected)


def test_migrate_project_of_ours_is_refused(migrate, project):
    """A project that was scaffolded here has nothing to migrate."""
    code, message, _ = migrate(changed(project, OURS))
    expected = [f"new_project error: {project} has this framework already", f"  fix       {NAME_ONE}"]
    assert (code, message.splitlines()) == (2, expected)


def test_migrate_untracked_files_elsewhere_do_not_matter(migrate, project):
    """Only what would be written over has to be in git."""
    write_all(project, {"scratch.py": "x = 1\n", "utils/scratch.py": "x = 1\n"})
    assert migrate(project)[0] == 0


def test_migrate_empty_module_of_our_name_is_replaced(migrate, project):
    """An empty espalier/__init__.py of a package of the project's own is no obstacle."""
    assert migrate(changed(project, {"espalier/__init__.py": "", "espalier/mine.py": "x = 1\n"}))[0] == 0


def test_migrate_link_out_of_the_project_is_not_followed(migrate, project, tmp_path):
    """A linked file of the user's rooms is neither read nor written."""
    write_all(tmp_path, {"shared.py": "torch.load('a')\n"})
    (project / "shared.py").symlink_to(tmp_path / "shared.py")
    commit(project)
    code, _, report = migrate(project)
    assert (code, "shared.py" in report) == (0, False)


# the command


def run_command(template, *args):
    command = [sys.executable, template / "new_project.py", *args]
    return subprocess.run(command, capture_output=True, text=True, cwd=template.parent)


def test_migrate_command_needs_no_target(template, project):
    """--migrate names the project, and --dry-run changes nothing."""
    before = state(project)
    done = run_command(template, "--migrate", project, "--dry-run")
    assert (done.returncode, done.stderr, state(project)) == (0, "", before)
    assert done.stdout.startswith("This would be done; nothing is changed.\n")


def test_migrate_output_that_nobody_reads_on_ends_quietly(template, project):
    """`--migrate OLD | head` shows no traceback."""
    command = [sys.executable, template / "new_project.py", "--migrate", project, "--dry-run"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


@pytest.mark.parametrize(
    "args", [["out", "--migrate", "old"], ["--dry-run", "out"], [], ["--migrate", "a", "--name", "b"]]
)
def test_migrate_options_that_do_not_go_together_are_refused(template, args):
    """One either makes a project or migrates one."""
    done = run_command(template, *args)
    assert done.returncode == 2
    assert done.stderr.endswith("error: give either target or --migrate\n")


def test_migrate_with_the_real_template_keeps_helpers_in_reach(project):
    """The hook of the framework finds what the migration moved."""
    changed(project, HELPERS)
    done = subprocess.run(
        [sys.executable, ROOT / "new_project.py", "--migrate", project], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    code = "from utils.util import seed_all; from utils import plot, dice; print(seed_all(1), plot(), dice())"
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("1 2 3\n", "")
