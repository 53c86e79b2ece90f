"""MIGRATION.md: what to look at by hand."""

import shutil
from pathlib import Path

import pytest

from tests.migration.small import KEPT, THEIRS, TRAINER, changed, commit, has_row

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
    assert "## Added\n\n11 files of the framework.\n\n" in report
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
