"""A run that was killed and resumed ends as one that never was, to the bit."""

import os

import pytest
from tests.kill import config_for, differences, end_of, exit_code_of, kill_self, make_loader, make_trainer, only_run

from trainer import Trainer

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked copy of this process")


def dying(moment):
    """A trainer that is killed at a moment of its run: a name and how often it has to come."""
    name, times = moment

    class Dying(Trainer):
        count = 0

        def come(self, what):
            self.count += what == name
            if what == name and self.count == times:
                kill_self()

        def update(self, loss):
            super().update(loss)
            self.come("step")

        def _save(self, **names):
            self.come("before save")
            super()._save(**names)
            self.come("after save")

        def _valid_epoch(self, epoch):
            self.come("validation")
            return super()._valid_epoch(epoch)

        def track(self, loss, output, target):
            super().track(loss, output, target)
            self.come("batch" if self._loop.is_training else "batch of validation")

        def _end_epoch(self, log):
            self.come("before end of epoch")
            super()._end_epoch(log)
            self.come("after end of epoch")

    return Dying


MOMENTS = {
    "before the first save": ("step", 2),
    "mid-epoch": ("step", 13),
    "in validation": ("batch of validation", 3),
    "between epochs": ("after end of epoch", 2),
    "right after a save": ("after save", 4),
    "after the last": ("after end of epoch", 3),
}


@needs_fork
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_resume_killed_at_any_moment_ends_as_undisturbed(tmp_path, moment, num_workers):
    """Killed with random samples, dropout and a rate that changes every step, a run ends in the same bits."""
    whole = make_trainer(config_for(tmp_path / "whole"), make_loader(num_workers))
    whole.train()
    config = config_for(tmp_path)
    killed = exit_code_of(lambda: make_trainer(config, make_loader(num_workers), kind=dying(moment)).train())
    assert killed == -9
    run = only_run(tmp_path)
    make_trainer(config, make_loader(num_workers), run).train()
    assert differences(end_of(whole.checkpoint_dir), end_of(run)) == []
