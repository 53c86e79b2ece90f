"""A project made from the repository: it trains, and its tests hold, also when its owner has renamed everything."""

import os
import shutil
import subprocess
import sys

import pytest


def python(folder, *arguments):
    """Run Python there."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_project_trains_and_evaluates_under_its_name(project, tmp_path):
    """Its runs are filed under it."""
    folder = shutil.copytree(project, tmp_path / "project")
    python(folder, "train.py", "-c", "config.json", "trainer.epochs=1", "trainer.limit_train_batches=4", "n_gpu=0")
    (run,) = (folder / "saved/models/Leaf shapes").iterdir()
    python(folder, "test.py", "-r", run)
    assert (run / "model_best.pth").is_file() and (run / "test.json").is_file()


@pytest.mark.slow
def test_project_passes_its_own_tests(project, tmp_path):
    """As it is made."""
    assert "passed" in python(shutil.copytree(project, tmp_path / "project"), "-m", "pytest")


NAMES = {"MnistModel": "LeafNet", "DigitsDataLoader": "Leaves", "data_loaders": "leaves"}


def test_project_whose_model_and_loader_have_other_names_passes_its_own_tests(project, tmp_path):
    """Every owner gives them others, and the file too: the tests know them from config.json alone."""
    folder = shutil.copytree(project, tmp_path / "project")
    (folder / "data_loader/data_loaders.py").rename(folder / "data_loader/leaves.py")
    for path in [
        *folder.glob("*.*"),
        *folder.glob("configs/*"),
        *folder.glob("model/*"),
        *folder.glob("data_loader/*"),
    ]:
        if path.suffix in (".py", ".json"):
            text = path.read_text()
            for old, new in NAMES.items():
                text = text.replace(old, new)
            path.write_text(text)
    assert "passed" in python(folder, "-m", "pytest")


def test_project_framework_is_as_its_manifest_says(project):
    """By the command that the README names."""
    command = ["sha256sum", "--quiet", "--check", "MANIFEST"]
    if shutil.which(command[0]):
        subprocess.run(command, cwd=project / "espalier", check=True)
    listed = {line.split("  ")[1] for line in (project / "espalier/MANIFEST").read_text().splitlines()}
    assert {"VERSION", "classic/g1.py", "training/stepper.py"} <= listed
