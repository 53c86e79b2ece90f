"""The commands of docs/search.md, in a project made from the repository."""

import json
import re
import shlex
import shutil
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_docs_commands_of_studies_run_in_order(blocks, project, tmp_path):
    """Each as it stands, but for the number of trials and the length of a run."""
    folder = tmp_path / "project"
    shutil.copytree(project, folder)
    for path, old, new in (("config.json", '("epochs": )[0-9]+', r'\g<1>1, "limit_train_batches": 2'),
                           ("configs/tune.json", '("num_trials": )20', r"\g<1>3")):  # fmt: skip
        text = (folder / path).read_text()
        assert re.search(old, text)
        (folder / path).write_text(re.sub(old, new, text))
    name = json.loads(re.search('"name": *("[^"]*")', (folder / "config.json").read_text())[1])
    for line in blocks("docs/search.md", "sh")[0].splitlines():
        words = shlex.split(line.replace("--trials 40", "--trials 4"), comments=True)
        command = [sys.executable, *(word.replace("Digits_LeNet", name) for word in words[1:])]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    runs = [path.name for path in (folder / "saved" / "models" / name).iterdir()]
    kinds = {kind: sum(run.startswith(f"{kind}_") for run in runs) for kind in ("search", "grid", "seeds", "folds")}
    assert kinds == {"search": 4, "grid": 4, "seeds": 5, "folds": 5} and len(runs) == 19
