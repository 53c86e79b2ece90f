"""A project made from the repository: it trains, and its tests hold, also when its owner has renamed everything."""

import shutil
import subprocess

import pytest

PYTEST = "import sys\n\nimport pytest\n\nsys.exit(pytest.main())\n"  # python -m pytest, as a script


@pytest.fixture
def python(run):
    """Run a script in a folder; what it prints."""

    def run_there(folder, *command):
        done = run(*command, cwd=folder)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    return run_there


@pytest.fixture
def tests_of(python, tmp_path):
    """Run the tests of a project; what pytest prints."""
    script = tmp_path / "run_tests.py"
    script.write_text(PYTEST)
    return lambda folder: python(folder, script)


def test_project_trains_and_evaluates_under_its_name(project, tmp_path, python):
    """Its runs are filed under it."""
    folder = shutil.copytree(project, tmp_path / "project")
    python(folder, "train.py", "-c", "config.json", "trainer.epochs=1", "trainer.limit_train_batches=4", "n_gpu=0")
    (run,) = (folder / "saved/models/Leaf shapes").iterdir()
    python(folder, "test.py", "-r", run)
    assert (run / "model_best.pth").is_file() and (run / "test.json").is_file()


@pytest.mark.slow
def test_project_passes_its_own_tests(project, tmp_path, tests_of):
    """As it is made."""
    assert "passed" in tests_of(shutil.copytree(project, tmp_path / "project"))


NAMES = {"MnistModel": "LeafNet", "DigitsDataLoader": "Leaves", "data_loaders": "leaves"}


@pytest.mark.slow
def test_project_whose_model_and_loader_have_other_names_passes_its_own_tests(project, tmp_path, tests_of):
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
    assert "passed" in tests_of(folder)


def test_project_framework_is_as_its_manifest_says(project):
    """By the command that the README names."""
    command = ["sha256sum", "--quiet", "--check", "MANIFEST"]
    if shutil.which(command[0]):
        subprocess.run(command, cwd=project / "espalier", check=True)
    listed = {line.split("  ")[1] for line in (project / "espalier/MANIFEST").read_text().splitlines()}
    assert {"VERSION", "classic/g1.py", "training/stepper.py"} <= listed
