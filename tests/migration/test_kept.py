"""Framework files that a project keeps, since ours cannot stand for them, and what is mended in them."""

import pytest

from tests.migration.small import HELPERS, KEPT, OURS, SENT, THEIRS, TRAINER, changed, grown, has_row, state


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
