"""What is installed: its licences, and the list of it, by the commands of the Makefile."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def command_of(root, program):
    """The line of the Makefile that runs a program, for this Python."""
    (line,) = re.findall(rf"^\t\$\(BIN\)/({program} .*)$", (root / "Makefile").read_text(), re.MULTILINE)
    if shutil.which(program, path=PATH) is None:
        pytest.skip(f"{program} is of the extra audit")
    return shlex.split(line.replace("$(BIN)/python", sys.executable))


def package(folder, name, licence):
    """A package as pip leaves it."""
    place = folder / f"{name}-1.0.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nLicense: {licence}\n")


@pytest.mark.slow
@pytest.mark.parametrize(("licence", "code"), [("MIT", 0), ("GPL-3.0-or-later", 1), ("GNU Affero GPL", 1)])
def test_licence_that_binds_code_that_uses_it_is_told(root, tmp_path, licence, code):
    """Of an environment with one package; the exit code says so, and the package is named."""
    package(tmp_path, "bound", licence)
    words = [*command_of(root, "pip-licenses"), "--packages", "bound"]
    env = {**os.environ, "PATH": PATH, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(words, env=env, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert "bound" in done.stdout + done.stderr


@pytest.mark.slow
def test_list_of_packages_has_what_training_needs(root, tmp_path):
    """With name and version of each, as CycloneDX."""
    words = command_of(root, "cyclonedx-py")
    (tmp_path / "build").mkdir()
    subprocess.run(words, cwd=tmp_path, env={**os.environ, "PATH": PATH}, check=True, capture_output=True)
    bom = json.loads((tmp_path / "build" / "sbom.json").read_text())
    assert bom["bomFormat"] == "CycloneDX"
    versions = {each["name"]: each["version"] for each in bom["components"]}
    assert {"torch", "torchvision", "tensorboard", "numpy", "tqdm", "pandas"} <= {*versions}
