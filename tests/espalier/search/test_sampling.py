"""Optuna asked: values are a function of seed, number and what is known, and are told once."""

import json

import pytest

pytest.importorskip("optuna")

from espalier.config.space import space_of
from espalier.errors import ConfigError
from espalier.journal.writers.contract import Point
from espalier.search.sampling import PRUNED, Judge, Sampling
from espalier.search.study import Study
from tests.espalier.search.studies import RULES, SPACE, make_study

CONDITIONAL = {
    **SPACE,
    "optimizer.args.momentum": {"type": "float", "low": 0.0, "high": 0.9, "step": 0.1},
    "arch": {"type": "choice", "choices": [
        {"type": "MnistModel", "args": {"dropout": {"type": "float", "low": 0.0, "high": 0.5}}},
        {"type": "Other", "args": {"width": {"type": "int", "low": 1, "high": 64, "log": True}}}]},
}  # fmt: skip


def run_through(study, number, *, begun_again=False):
    """The values of so many trials, each of which ends with an accuracy of its learning rate."""
    sampling, found = Sampling(study, RULES), []
    for index in range(number):
        if begun_again:
            sampling.sample(index)  # by a process that is killed before it has written that down
            sampling = Sampling(study, RULES)
        trial = study.claim([*range(index)], sampling.sample)
        found.append(trial.record["values"])
        trial.note(state="finished", objectives={"val_accuracy": trial.record["values"]["optimizer.args.lr"]})
        sampling.tell_all(study.trials())
    return found


def test_values_are_the_same_however_often_the_search_was_begun_again(tmp_path):
    """In one go, or by processes that were killed after they had asked; another seed gives others."""
    tune = {"space": CONDITIONAL, "num_trials": 20}
    whole = run_through(make_study(tmp_path / "a", tune), 14)
    assert run_through(make_study(tmp_path / "b", tune), 14, begun_again=True) == whole
    assert run_through(make_study(tmp_path / "c", {**tune, "seed": 1}), 1) != whole[:1]
    archs = [each["arch"] for each in whole]
    assert all([*each["args"]] == ({"MnistModel": ["dropout"], "Other": ["width"]}[each["type"]]) for each in archs)
    assert {each["type"] for each in archs} == {"MnistModel", "Other"}
    assert len({json.dumps(each) for each in whole}) == 14


@pytest.mark.parametrize("kept", [0, 0.2, 0.5, 0.9, 0.99])
def test_journal_that_is_cut_is_written_again_from_the_trials(tmp_path, kept):
    """Wherever it was cut: what Optuna knows is what our own records say, and the search goes on as it would have."""
    tune = {"space": CONDITIONAL, "num_trials": 14, "sampler": "RandomSampler"}
    whole = run_through(make_study(tmp_path / "a", tune), 14)
    study = make_study(tmp_path / "b", tune)
    run_through(study, 7)
    journal = study.folder / "journal.log"
    journal.write_bytes(journal.read_bytes()[: int(kept * journal.stat().st_size)])
    run_through(study, 7)
    trials = study.trials()
    assert [each.record["values"] for each in trials] == whole
    known = Sampling(study, RULES)._study.trials
    assert [each.params for each in known] == [each.record["params"] for each in trials]
    assert [each.value for each in known] == [each.record["objectives"]["val_accuracy"] for each in trials]


def test_trials_of_another_study_are_no_part_of_this_one(tmp_path):
    """As those of a database in which a study has the same name."""
    study, other = (make_study(tmp_path / name, {"space": SPACE}) for name in "ab")
    run_through(other, 2)
    journal = (other.folder / "journal.log").read_bytes()
    (study.folder / "journal.log").write_bytes(journal)
    with pytest.raises(ConfigError, match="has other trials under the name of this study, Tiny/search\n"):
        Sampling(study, RULES)
    (study.folder / "journal.log").unlink()
    study.claim([], lambda number: ({"optimizer.args.lr": 0.5}, {"optimizer.args.lr": 0.5}))
    (study.folder / "journal.log").write_bytes(journal)
    with pytest.raises(ConfigError, match="has other trials"):
        Sampling(study, RULES)


def test_study_that_is_told_twice_knows_it_once(tmp_path):
    """And its trials have the numbers and states of ours."""
    study = make_study(tmp_path, {"space": SPACE, "num_trials": 3})
    sampling = Sampling(study, RULES)
    for state, objectives in (("finished", {"val_accuracy": 0.5}), ("failed", {}), ("pruned", {"val_accuracy": 0.1})):
        trial = study.claim([*range(3)], sampling.sample)
        trial.note(state=state, objectives=objectives, reason="")
    for _ in range(2):
        sampling.tell_all(study.trials())
    states = [each.state.name for each in sampling._study.trials]
    assert states == ["COMPLETE", "FAIL", "PRUNED"]
    assert study.claim([], sampling.sample) is None


@pytest.mark.parametrize(
    ("tune", "words"),
    [
        ({"sampler": "TPE"}, "tune.sampler names no sampler of Optuna"),
        ({"pruner": "Median"}, "closest   MedianPruner"),
        ({"pruner": {"type": "MedianPruner", "args": {"warmup": 3}}}, "tune.pruner.args does not fit"),
        ({"storage": "nothing://"}, "tune.storage cannot be used"),
    ],
)
def test_sampler_pruner_and_storage_that_are_not_to_be_had_are_told(tmp_path, tune, words):
    """With the names there are."""
    with pytest.raises(ConfigError) as error:
        Sampling(make_study(tmp_path, {"space": SPACE, **tune}), RULES)
    assert words in str(error.value)


@pytest.mark.parametrize("name", ["TPESampler", "RandomSampler", "QMCSampler", "BruteForceSampler", "NSGAIISampler"])
def test_samplers_of_optuna_give_values_of_the_space(tmp_path, name):
    """Those that need no further package."""
    space = {"optimizer.args.momentum": {"type": "float", "low": 0.0, "high": 0.9, "step": 0.1}}
    study = make_study(tmp_path, {"space": space, "sampler": name})
    values = Sampling(study, RULES).sample(0)[0]
    assert [*values] == [*space_of(space)] and 0 <= values["optimizer.args.momentum"] <= 0.9


class TestJudge:
    """What gives a run up."""

    @pytest.fixture
    def study(self, tmp_path):
        """Whose pruner looks at every step from the third trial on."""
        pruner = {"type": "MedianPruner", "args": {"n_startup_trials": 2}}
        study = make_study(tmp_path, {"space": SPACE, "pruner": pruner})
        sampling = Sampling(study, RULES)
        for value in (0.5, 0.6):
            trial = study.claim([*range(9)], sampling.sample)
            judge = self.judge(study, trial.number)
            assert [judge(Point(10 * epoch, epoch, {"val_accuracy": value})) for epoch in (1, 2)] == [None, None]
            trial.note(state="finished", objectives={"val_accuracy": value})
            sampling.tell_all(study.trials())
        study.claim([*range(9)], sampling.sample)
        return study

    def judge(self, study, number):
        return Judge(Sampling(Study(study.folder), RULES), number, "val_accuracy", by_steps=False)

    def test_it_gives_up_what_is_worse_than_the_median(self, study):
        """Of the same epoch of others."""
        assert self.judge(study, 2)(Point(10, 1, {"val_accuracy": 0.1})) == PRUNED
        assert self.judge(study, 2)(Point(20, 2, {"val_accuracy": 0.9})) is None

    def test_it_is_told_of_an_epoch_once(self, study):
        """Which a process that was killed may have told, too."""
        for _ in range(2):
            assert self.judge(study, 2)(Point(10, 1, {"val_accuracy": 0.9})) is None
        sampling = Sampling(study, RULES)
        assert sampling._study.trials[2].intermediate_values == {1: 0.9}

    def test_it_knows_nothing_of_other_values(self, study):
        """Such as those of a batch, or an epoch whose value is not finite."""
        assert self.judge(study, 2)(Point(10, 1, {"loss": 0.1})) is None

    def test_a_storage_that_is_gone_stops_no_run(self, study, monkeypatch, caplog):
        """A warning tells."""
        judge = self.judge(study, 2)
        monkeypatch.setattr(judge._sampling, "may_go_on", lambda *args: 1 / 0)
        assert judge(Point(10, 1, {"val_accuracy": 0.1})) is None
        assert "The pruner of the study could not be asked: division by zero" in caplog.text
