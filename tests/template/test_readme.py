"""What the README says is run here."""

import json
import os
import re
import shlex
import shutil
import subprocess

import pytest
import torch
from PIL import Image

from tests.template import keys_page

TRIED_ELSEWHERE = {"export.py", "--check", "--overfit", "--find-lr", "--find-batch-size"}  # each has tests of its own
MADE = {".venv", "saved", "__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis"}


def files_of(root):
    """The names of the files a clone has; of a download without `.git`, all but what commands have left there."""
    if not (root / ".git").exists():
        files = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
        return [path for path in files if not MADE.intersection(path.parts)]
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return [name for name in filter(None, listed.stdout.split("\0")) if (root / name).is_file()]


@pytest.fixture
def copy_of_repository(root, tmp_path):
    """A clone in a folder that may be written to."""
    for name in files_of(root):
        (tmp_path / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, tmp_path / "clone" / name)
    return tmp_path / "clone"


def commands(block):
    """The commands of a block, without comments."""
    return [shlex.split(line, comments=True) for line in block.splitlines() if line.strip()]


def test_readme_first_screen_has_the_two_make_commands(blocks):
    """The first block is `make train` and `make test`, nothing else."""
    assert commands(blocks("README.md")[0]) == [["make", "train"], ["make", "test"]]


def test_readme_pip_lines_are_what_make_does(blocks, root):
    """The lines for people without make install and run the same as make does."""
    for target, line in zip(("train", "test"), blocks("README.md")[1].splitlines(), strict=True):
        dry_run = subprocess.run(
            ["make", "-n", "-B", "UV=", target],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ},
        ).stdout.replace(".venv/bin/", "")
        for command in line.split(" && "):
            assert command in dry_run


@pytest.mark.parametrize("tries", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_readme_commands_run_in_order(blocks, copy_of_repository, tmp_path, run, tries):
    """Train, override, go on, fine-tune, evaluate, compare, predict and scaffold work as the README writes them."""
    config = copy_of_repository / "config.json"
    quick = re.sub('"epochs": [0-9]+', '"epochs": 1', config.read_text())
    quick = re.sub('"validation_split": [0-9.]+', '"validation_split": 0.8', quick)
    config.write_text(quick)
    study = copy_of_repository / "configs" / "tune.json"
    study.write_text(re.sub('"num_trials": [0-9]+', '"num_trials": 2', study.read_text()))
    (copy_of_repository / "new.json").write_text('{"optimizer": {"args": {"lr": 0.0001}}}')
    (copy_of_repository / "images").mkdir()
    Image.new("L", (28, 28)).save(copy_of_repository / "images" / "black.png")
    classic = {"arch": "MnistModel", "epoch": 3, "state_dict": {"weight": torch.zeros(2)}, "config": {"name": "old"}}
    torch.save(classic, copy_of_repository / "old.pth")
    name = json.loads(quick)["name"]
    for command in (command for text in blocks("README.md", "sh")[2:] for command in commands(text)):
        if command[0] != "python" or "configs/mnist.json" in command:  # the second would download
            continue
        if "serve.py" in command or (not tries and TRIED_ELSEWHERE.intersection(command)):  # the first would not end
            continue
        runs = copy_of_repository / "saved" / "models" / name
        newest = max((path.name for path in runs.glob("[0-9]*")), default="")
        two = {f"RUN{index}": str(path) for index, path in enumerate(sorted(runs.glob("[0-9]*"))[:2], 1)}
        words = [two.get(word, word).replace("<name>", name).replace("<run>", newest) for word in command[1:]]
        result = run(*words, cwd=copy_of_repository)
        assert result.returncode == 0, (command, result.stderr)
    assert (tmp_path / "myproj" / "config.json").is_file()
    assert (copy_of_repository / "new.pth").is_file()
    assert (len([*runs.glob("[0-9]*")]), len([*runs.glob("search_*")])) == (2, 2)


def test_page_of_keys_is_what_the_tables_say(root):
    """`python -m tests.template.keys_page` writes it anew."""
    assert (root / "docs" / "reference" / "keys.md").read_text(encoding="utf-8") == keys_page.page()


@pytest.mark.slow
def test_readme_two_commands_set_up_and_pass_in_a_clean_clone(copy_of_repository):
    """`make train` and `make test` do everything on a fresh machine; nothing but the editable link is installed."""
    for target in ("train", "test"):
        done = subprocess.run(["make", target], cwd=copy_of_repository, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    site_packages = next((copy_of_repository / ".venv" / "lib").glob("python*/site-packages"))
    rooms = ("base", "data_loader", "espalier", "logger", "model", "trainer", "utils")
    assert [room for room in rooms if [*site_packages.glob(f"{room}"), *site_packages.glob(f"{room}.py")]] == []
