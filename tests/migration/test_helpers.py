"""Helpers of a project: they move beside ours, and what was changed in replaced files is named."""

import subprocess
import sys

import pytest

from tests.migration.small import HELPERS, SENT, THEIRS, changed, git, has_row


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
