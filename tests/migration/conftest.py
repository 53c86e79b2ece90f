"""The small template and the small project on disk, and the command between them."""

import importlib
import shutil
import sys
from pathlib import Path

import pytest

from tests.migration.small import OURS, ROOT, THEIRS, commit, git, write_all


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A small template with copies of what migrates."""
    folder = tmp_path_factory.mktemp("template")
    write_all(folder, OURS)
    (folder / "utils/__pycache__").mkdir()
    (folder / "utils/__pycache__/util.pyc").write_text("")
    shutil.copy(ROOT / "new_project.py", folder)
    shutil.copytree(ROOT / "scaffold", folder / "scaffold", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "migration", folder / "migration", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def forget_modules():
    """Take what migrates out of the loaded modules; returns it."""
    names = [name for name in sys.modules if name.split(".")[0] in ("scaffold", "migration")]
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
