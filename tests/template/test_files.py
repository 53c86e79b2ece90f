"""What a project has around its code: workflow, container, editor."""

import json
import re
import subprocess
import sys

import pytest
import yaml

AROUND = {".github", ".devcontainer", ".vscode", ".dockerignore", "Dockerfile"}


@pytest.fixture(scope="module")
def fresh(root, tmp_path_factory):
    """A plain project, made by the command."""
    folder = tmp_path_factory.mktemp("fresh") / "My project"
    subprocess.run([sys.executable, root / "new_project.py", folder, "--no-git"], check=True, capture_output=True)
    return folder


def steps_of_workflow(project):
    """The steps of its one job."""
    workflow = yaml.safe_load((project / ".github/workflows/test.yml").read_text())
    assert workflow["permissions"] == {"contents": "read"}
    return workflow["jobs"]["test"]["steps"]


def steps_of_dockerfile(project):
    """Its steps: the word and what follows it."""
    lines = (project / "Dockerfile").read_text().splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line and not line.startswith("#")]


def starts_of_editor(project):
    """What launch.json starts, as arguments of python, by name."""
    launch = json.loads((project / ".vscode/launch.json").read_text())
    assert {each["cwd"] for each in launch["configurations"]} == {"${workspaceFolder}"}
    return {
        each["name"]: [*(["-m", each["module"]] if "module" in each else [each["program"]]), *each.get("args", [])]
        for each in launch["configurations"]
    }


def test_minimal_project_has_nothing_around_its_code(root, tmp_path):
    """Neither workflow nor container nor editor."""
    command = [sys.executable, root / "new_project.py", tmp_path / "small", "--no-git", "--minimal"]
    subprocess.run(command, check=True, capture_output=True)
    assert AROUND.isdisjoint(path.name for path in (tmp_path / "small").iterdir())


def test_workflow_runs_make_check_which_tests_and_lints(fresh):
    """And audits the packages as the last step, which is tried nowhere else: it asks a server."""
    runs = [step["run"] for step in steps_of_workflow(fresh) if "run" in step]
    assert runs[0] == "make check PYTHON=python" and len(runs) == 2 and "pip_audit" in runs[1]
    dry = subprocess.run(
        ["make", "-n", "-B", *runs[0].split()[1:]], cwd=fresh, capture_output=True, text=True, check=True
    )
    for command in ("python -m venv .venv", "-m pytest", "ruff check .", "ruff format --check ."):
        assert command in dry.stdout
    assert "mypy" not in dry.stdout


def test_ci_of_this_repository_is_make_check(root):
    """Which tests, lints and checks types."""
    assert (root / ".ci/run").read_text().splitlines()[-1] == "make check"
    dry = subprocess.run(["make", "-n", "-B", "check"], cwd=root, capture_output=True, text=True, check=True)
    order = [dry.stdout.index(command) for command in ("-m pytest", "ruff check .", "bin/mypy")]
    assert order == sorted(order)


def test_dockerfile_copies_what_there_is_and_installs_what_the_project_asks_for(fresh):
    """Code is copied after torch is installed, and somebody without rights trains."""
    found = steps_of_dockerfile(fresh)
    words = "FROM ARG RUN RUN WORKDIR COPY RUN COPY RUN USER ENTRYPOINT CMD"
    assert [word for word, _ in found] == words.split()
    copied = [name for word, step in found if word == "COPY" for name in step.split()[:-1]]
    assert copied[-1] == "." and all((fresh / name).exists() for name in copied)
    project = (fresh / "pyproject.toml").read_text()
    packages = re.findall(r'"([a-z]+>=.*?)"', dict(enumerate(step for _, step in found))[2])
    assert len(packages) == 2 and all(f'"{name}"' in project for name in packages)
    assert "docker build -t my-project ." in (fresh / "Dockerfile").read_text()


def test_files_of_editor_and_devcontainer_are_json_and_name_the_project(fresh):
    """What the container runs first is a target of the Makefile."""
    container = json.loads((fresh / ".devcontainer/devcontainer.json").read_text())
    assert container["name"] == "My project"
    subprocess.run(["make", "-n", *container["postCreateCommand"].split()[1:]], cwd=fresh, check=True)
    suggested = json.loads((fresh / ".vscode/extensions.json").read_text())["recommendations"]
    assert container["customizations"]["vscode"]["extensions"] == suggested
    assert json.loads((fresh / ".vscode/settings.json").read_text())["python.testing.pytestEnabled"]
    for start in starts_of_editor(fresh).values():
        assert start[0] == "-m" or (fresh / start[0]).is_file()


@pytest.mark.slow
def test_what_the_editor_and_the_container_start_runs(fresh):
    """Each configuration of launch.json and the container's command, training on a few batches."""
    rest = dict(steps_of_dockerfile(fresh))
    starts = [*starts_of_editor(fresh).values(), (json.loads(rest["ENTRYPOINT"]) + json.loads(rest["CMD"]))[1:]]
    assert len(starts) == 4
    for start in starts:
        words = [word.replace("${file}", str(fresh / "config.json")) for word in start]
        tries = ["--check"] if words[0] == "train.py" else []
        done = subprocess.run([sys.executable, *words, *tries], cwd=fresh, capture_output=True, text=True)
        assert done.returncode == 0, (start, done.stdout[-2000:], done.stderr[-2000:])
