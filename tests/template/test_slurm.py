"""The batch files in docs/slurm hold commands that exist, and docs/slurm.md speaks of the same."""

import re
import shlex
import subprocess

import pytest
from torch.distributed.run import get_args_parser

from espalier.config.overrides import parse_overrides
from espalier.config.settings import TRAINER


@pytest.fixture(params=["one-node", "many-nodes", "study"])
def script(root, request):
    """The path of a batch file."""
    return root / "docs" / "slurm" / f"{request.param}.sbatch"


def words_of(script):
    """What the batch file gives to srun, without its variables."""
    (command,) = re.findall(r"^srun (.*?[^\\])$", script.read_text(), re.DOTALL | re.MULTILINE)
    return shlex.split(command.replace("\\\n", " ").replace('"$@"', "").replace("$processes", "2"))


def test_batch_file_is_one_that_bash_takes_and_is_short(script):
    """A student reads it to the end."""
    subprocess.run(["bash", "-n", script], check=True)
    assert len(script.read_text().splitlines()) <= 26


def test_batch_file_gives_train_options_that_it_has(script, root):
    """Of its command line, and of the config."""
    words = words_of(script)
    if script.stem == "study":
        assert words[:4] == ["python", "tune.py", "-c", "configs/tune.json"] and (root / words[3]).is_file()
        options = words[4:]
    else:
        assert words[words.index("train.py") + 1 :][:3] == ["-c", "config.json", "--auto-resume"]
        assert "--auto-resume" in (root / "train.py").read_text()
        options = words[words.index("train.py") + 4 :]
    values, problems = parse_overrides(options)
    assert problems == []
    assert [path[1] for path in values if path[0] == "trainer" and path[1] not in TRAINER] == []
    assert values["trainer", "slurm_requeue"] is True


def test_batch_file_gives_torchrun_options_that_it_has(root):
    """Those that let a signal reach the processes, too, where this PyTorch knows them."""
    words = words_of(root / "docs" / "slurm" / "many-nodes.sbatch")
    if "--signals-to-handle" not in get_args_parser().format_help():
        pytest.skip("an older torchrun")
    args = get_args_parser().parse_args([word.replace("$SLURM_NNODES", "2") for word in words[1:]])
    assert (args.training_script, args.nproc_per_node, args.rdzv_backend) == ("train.py", "2", "c10d")
    assert "SIGUSR1" in args.signals_to_handle.split(",")
