"""What earlier commits have written is continued to the bit."""

import json
import shutil

import pytest

from tests.golden import CONFIG, HERE, end_of, trainer_of

END = json.loads((HERE.parent / "golden_end.json").read_text())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to work in, with the config."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "golden.json").write_text(json.dumps(CONFIG))
    return tmp_path


def test_golden_run_from_its_beginning_ends_in_the_same_bits(folder):
    """What a run computes has not changed."""
    trainer = trainer_of()
    trainer.train()
    assert end_of(trainer.checkpoint_dir) == END


@pytest.mark.parametrize("start", [".", "last.pth"], ids=["run folder", "checkpoint"])
def test_golden_run_of_an_earlier_commit_goes_on_to_the_same_bits(folder, start):
    """A checkpoint from the middle of an epoch, and of a step, is read and continued as it was written."""
    run = shutil.copytree(HERE, folder / "saved" / "models" / "Golden" / "earlier", symlinks=True)
    trainer = trainer_of(run=run / start)
    trainer.train()
    assert trainer.step == 3 * 4
    assert end_of(run) == END
