"""Every script that is run by its name tells what it does, and does nothing else."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PLACES = ("*.py", "examples/**/*.py", "benchmarks/*.py", "migration/__main__.py")
# Those that a user meets first; of the others one is like the other.
FIRST = {"train.py", "test.py", "report.py", "parse_config.py", "new_project.py", "examples/text/make_data.py"}
MAIN = re.compile("^if __name__ == .__main__.", re.MULTILINE)
SCRIPTS = [path.relative_to(ROOT) for place in PLACES for path in sorted(ROOT.glob(place))
           if path.name == "__main__.py" or MAIN.search(path.read_text())]  # fmt: skip
WITHOUT_PARSER = {"first_step.py", "launch.py", "scaling_rank.py", "shell.py", "worker.py"}  # run by other benchmarks


def command(script):
    """As its first line says that it is run: by its path, or as a module where it imports what lies beside it."""
    name = ".".join(script.with_suffix("").parts).removesuffix(".__main__")
    by_name = script.name == "__main__.py" or f"python -m {name}" in (ROOT / script).read_text()
    return ["-m", name] if by_name else [str(script)]


@pytest.mark.parametrize(
    "script", [pytest.param(each, id=str(each), marks=[] if str(each) in FIRST else [pytest.mark.slow])
               for each in SCRIPTS],
)  # fmt: skip
def test_help_of_a_script_is_told_and_nothing_is_run(run, script):
    """The exit code is 0, and all that comes is its usage and what it says of itself."""
    done = run(*command(script), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    if script.name in WITHOUT_PARSER:
        assert done.stdout.strip() == ast.get_docstring(ast.parse((ROOT / script).read_text()))
    else:
        assert done.stdout.startswith("usage: ") and "--help" in done.stdout


def test_scripts_are_found():
    """Those that a user meets, at least."""
    found = {str(script) for script in SCRIPTS}
    assert found >= FIRST
