"""What a project has around its code: workflow, container, editor. None of these can be run here; their steps can."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from espalier.config.json_text import parse_json

TOOLS = ("actions/checkout@v4", "actions/setup-python@v5")


@pytest.fixture(scope="module")
def project(root, tmp_path_factory):
    """A project called "My Shapes"."""
    folder = tmp_path_factory.mktemp("files") / "shapes"
    command = [sys.executable, root / "new_project.py", folder, "--name", "My Shapes", "--no-git"]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def made(project, *args, path=os.environ["PATH"]):
    """The lines that make would run; a make that runs these tests passes nothing on."""
    kept = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    command = ["make", "-n", "-B", *args]
    done = subprocess.run(command, cwd=project, env={**kept, "PATH": path}, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def targets(project):
    """The names of what make can do in a project."""
    return set(re.findall(r"^([a-z-]+):", (project / "Makefile").read_text(), re.MULTILINE))


def test_workflow_runs_what_make_does_with_the_least_rights(project):
    """On a push and a pull request; pip-audit has a job of its own, since it is not part of `make check`."""
    workflow = yaml.safe_load((project / ".github/workflows/test.yml").read_text())
    assert workflow["permissions"] == {"contents": "read"}
    assert {*workflow[True]} == {"push", "pull_request"}  # YAML reads "on" as true
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert {step["uses"] for step in steps if "uses" in step} == {*TOOLS}
    commands = [step["run"] for step in steps if "run" in step]
    assert commands == ["make check", "make setup", ".venv/bin/pip install pip-audit",
                        ".venv/bin/pip-audit --skip-editable"]  # fmt: skip
    assert {command.split()[1] for command in commands[:2]} <= targets(project)
    assert "pip-audit" not in (project / "Makefile").read_text()


def test_check_of_a_project_is_its_tests_and_its_style(project):
    """`make check` asks for what `make test` and `make lint` ask for."""
    commands = [line for line in made(project, "check", "UV=") if "pip" not in line and "touch" not in line]
    assert commands[1:] == [".venv/bin/python -m pytest", ".venv/bin/ruff check .", ".venv/bin/ruff format --check ."]


@pytest.mark.parametrize("has_uv", [False, True])
def test_make_installs_with_uv_where_it_is_there(project, tmp_path, has_uv):
    """The environment is made by Python all the same, so that it has pip."""
    if has_uv:
        (tmp_path / "uv").write_text("#!/bin/sh\n")
        (tmp_path / "uv").chmod(0o755)
    places = [place for place in os.environ["PATH"].split(":") if shutil.which("uv", path=place) is None]
    lines = made(project, "setup", path=":".join([str(tmp_path), *places]))
    installer = f"{tmp_path}/uv pip install --python .venv/bin/python" if has_uv else ".venv/bin/pip install"
    assert lines[:2] == ["python3 -m venv .venv", f"{installer} -e ."]


def test_container_copies_what_is_there_and_installs_before_the_code(project):
    """As somebody without rights; versions are those of pyproject.toml."""
    text = (project / "Dockerfile").read_text()
    steps = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    words = "FROM ARG RUN WORKDIR COPY RUN RUN USER COPY ENTRYPOINT CMD"
    assert [word for word, _ in steps] == words.split()
    assert (project / "pyproject.toml").is_file() and steps[4][1] == "pyproject.toml ."
    packages = re.findall(r'"(torch\w*>=[\d.]+)"', text)
    assert len(packages) == 2 and all(f'"{each}"' in (project / "pyproject.toml").read_text() for each in packages)
    program, config = json.loads(steps[-2][1])[1], json.loads(steps[-1][1])[1]
    assert (project / program).is_file() and (project / config).is_file()
    assert {".venv", "saved", ".git"} <= {*(project / ".dockerignore").read_text().splitlines()}


def test_editor_starts_what_is_there(project):
    """Every program, config, target and file that VS Code and the container of development name."""
    launch, settings, extensions = (json.loads((project / ".vscode" / f"{name}.json").read_text())
                                    for name in ("launch", "settings", "extensions"))  # fmt: skip
    programs = [each.get("program", "").removeprefix("${workspaceFolder}/") for each in launch["configurations"]]
    assert [name for name in programs if name and not (project / name).is_file()] == []
    asked = {name for each in launch["configurations"] for name in re.findall(r"\${input:(\w+)}", str(each))}
    assert asked == {each["id"] for each in launch["inputs"]}
    (schema,) = settings["json.schemas"]
    assert schema["url"].removeprefix("./") in (project / "Makefile").read_text()
    container = json.loads((project / ".devcontainer/devcontainer.json").read_text())
    assert container["name"] == "My Shapes"
    assert {*container["postCreateCommand"].split()[1:]} <= targets(project)
    assert {*container["customizations"]["vscode"]["extensions"]} == {*extensions["recommendations"]}


@pytest.mark.slow
def test_editor_configurations_run(project):
    """What launch.json would start, with one epoch: train, check, go on, test."""
    config = project / "config.json"
    values = parse_json(config.read_text(), "config.json").values
    values["trainer"]["epochs"] = 1
    config.write_text(json.dumps(values))
    for each in json.loads((project / ".vscode/launch.json").read_text())["configurations"]:
        runs = sorted((project / "saved/models/My Shapes").glob("*"))
        words = {"${file}": str(config), "${input:checkpoint}": str(runs[-1]) if runs else ""}
        program = [each["program"].replace("${workspaceFolder}", str(project))] if "program" in each else None
        command = program or ["-m", each["module"], "-q", "--collect-only"]
        args = [words.get(word, word) for word in each.get("args", [])]
        done = subprocess.run([sys.executable, *command, *args], cwd=project, capture_output=True, text=True)
        assert done.returncode == 0, (each["name"], done.stderr)
