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


ASKING = ("train.py", "test.py", "tune.py", "export.py", "parse_config.py")  # that take a config


@pytest.mark.parametrize("script", [pytest.param(each, marks=[] if each == "train.py" else [pytest.mark.slow])
                                    for each in ASKING])  # fmt: skip
@pytest.mark.parametrize("arguments", [["--help", "trainer.precision"], ["-h", "trainer.precision"],
                                       ["-c", "config.json", "--help=trainer.precision"],
                                       ["--he", "trainer.precision", "-c", "no_such.json"]], ids=" ".join)  # fmt: skip
def test_help_on_a_key_needs_no_torch_wherever_it_stands(run, script, arguments):
    """Each command that takes a config answers at once; a config that is not there is told of beside it."""
    done = run("-X", "importtime", script, *arguments)
    told, *others = done.stdout.split("\n\n")
    assert (done.returncode, told.split(":")[0]) == (0, "trainer.precision")
    assert "one of: fp32, bf16, fp16" in told
    assert bool(others) == ("no_such.json" in arguments)
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "espalier" in loaded
    assert loaded & {"torch", "numpy"} == set()


def test_help_on_a_section_tells_of_the_class_that_the_config_names(run):
    """With what a flag sets, a required flag or not."""
    done = run("train.py", "--help", "optimizer", "--lr", "0.5", "optimizer.type=SGD")
    assert (done.returncode, done.stderr) == (0, "")
    assert "torch.optim.SGD: Implements stochastic gradient descent" in done.stdout
    assert "here 0.5, command line" in done.stdout


def test_help_on_what_is_not_there_names_the_nearest_and_exits_with_2(run):
    """As any other error."""
    done = run("train.py", "--help", "trainer.precison")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "help error: trainer has no key precison\n  closest   trainer.precision\n"


def test_help_on_a_key_does_without_what_a_project_requires(root, run, tmp_path):
    """A flag of a project's own script may be required, and help is asked without it."""
    script = tmp_path / "own.py"
    script.write_text(
        f"import argparse, sys\nsys.path.insert(0, {str(root)!r})\nfrom parse_config import ConfigParser\n"
        "parser = argparse.ArgumentParser()\nparser.add_argument('--fold', required=True)\n"
        "parser.add_argument('-c', '--config', required=True)\nConfigParser.from_args(parser)\n"
    )
    done = run(script, "--help", "trainer.precision")
    assert (done.returncode, done.stdout.split(":")[0]) == (0, "trainer.precision"), done.stderr
    assert run(script, "-c", "config.json").returncode == 2


def test_scripts_are_found():
    """Those that a user meets, at least."""
    found = {str(script) for script in SCRIPTS}
    assert found >= FIRST
