"""Runs that are listed: their number, what each sets in the config, and what is said to vary."""

import copy
import json
from math import prod
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.config.check_keys import check_without_imports
from espalier.config.interpolation import interpolate
from espalier.config.tree import ConfigTree
from espalier.errors import ConfigError
from espalier.search.points import SPLIT, points_of, what_varies
from espalier.search.study import Study, with_values
from tests.espalier.search.studies import SPACE, config_of_study, listed, make_study

PATHS = ("optimizer.args.lr", "arch.args.dropout", "seed")


def config_alone(tune, **changes):
    """Without a folder."""
    return copy.deepcopy(config_of_study(Path("/nowhere"), tune, **changes))


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from(PATHS[:2]), st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True)),
       st.none() | st.integers(2, 4), st.none() | st.integers(2, 4))  # fmt: skip
def test_points_are_each_combination_once(grid, seeds, folds):
    """Of the grid, the seeds and the folds; trial and config say the same."""
    config = config_alone({"grid": grid, "seeds": seeds, "folds": folds})
    points = points_of(config)
    assert len(points) == prod(map(len, grid.values())) * (seeds or 1) * (folds or 1)
    assert len({json.dumps(each, sort_keys=True) for each in points}) == len(points)
    for point in points:
        made = with_values(config, point)
        arguments = made["data_loader"]["args"]
        assert all(made[path.split(".")[0]]["args"][path.split(".")[-1]] == point[path] for path in grid)
        assert made["seed"] in range(7, 7 + (seeds or 1))
        if folds is None:
            assert "split" not in arguments and arguments["validation_split"] == 0.1
        else:
            assert arguments["split"]["num_folds"] == folds and 1 <= arguments["split"]["fold"] <= folds
            assert "validation_split" not in arguments


def test_folds_keep_what_else_the_split_says():
    """The test part and the seed; the size of the validation part is that of a fold."""
    config = config_alone({"folds": 2})
    config["data_loader"]["args"]["split"] = {"valid": 0.2, "test": 0.1, "stratify": True, "seed": 3}
    own = {"test": 0.1, "stratify": True, "seed": 3, "num_folds": 2}
    assert [each[SPLIT] for each in points_of(config)] == [{**own, "fold": 1}, {**own, "fold": 2}]


def test_references_follow_what_a_trial_sets():
    """The largest rate of a schedule is the one that is searched."""
    schedule = {"type": "OneCycleLR", "args": {"max_lr": "${optimizer.args.lr}"}}
    config = config_alone({"grid": {"optimizer.args.lr": [0.5]}}, lr_scheduler=schedule)
    tree = ConfigTree(with_values(config, points_of(config)[0]))
    interpolate(tree)
    assert tree.values["lr_scheduler"]["args"]["max_lr"] == 0.5


@pytest.mark.parametrize("order", [1, -1])
def test_another_type_drops_the_arguments_of_the_first_and_keeps_those_of_the_trial(order):
    """Whichever of them the grid names first."""
    values = dict([("optimizer.type", "Adam"), ("optimizer.args.lr", 0.5)][::order])
    made = with_values(config_alone({"grid": {}}), values)
    assert made["optimizer"] == {"type": "Adam", "args": {"lr": 0.5}}


@pytest.mark.parametrize("tune", [{"space": SPACE}, {"grid": {"optimizer.args.lr": [1]}}, {"folds": 2}])
def test_what_stands_in_the_environment_is_in_no_file_of_a_study(tmp_path, monkeypatch, tune):
    """A secret, such as the key of a service, is read by each trial."""
    monkeypatch.setenv("OUR_KEY", "hush-hush")
    study = make_study(tmp_path, tune, user={"key": "${env:OUR_KEY}"})
    values = {"optimizer.args.lr": 0.5}
    study.claim([], lambda number: (values, values) if study.is_search else listed(study)(number))
    assert Study(study.folder).config["user"]["key"] == "hush-hush"
    texts = [path.read_text() for path in study.folder.rglob("*.json")]
    assert len(texts) == 3 and not any("hush-hush" in each for each in texts)
    assert sum("${env:OUR_KEY}" in each for each in texts) == 2


SEEDS = "The seeds vary the initial weights, the order of the batches, and whatever is random in training"
FOLDS = "Each two of them share training samples, so that the interval over folds is a rough one."
VARIED = {
    "nothing": ({"grid": {}}, None, []),
    "seeds, split by the seed": ({"seeds": 2}, None, [
        f'{SEEDS}, and which samples validate ("data_loader.args.split_seed" would keep those).']),
    "seeds, split of its own": ({"seeds": 2}, {"valid": 0.1}, [
        f'{SEEDS}, and which samples validate ("data_loader.args.split.seed" would keep those).']),
    "seeds, a fixed split": ({"seeds": 2}, {"valid": 0.1, "seed": 0}, [f"{SEEDS}; the validation data stays."]),
    "folds": ({"folds": 2}, None, [
        f"The folds vary which samples train and which validate; the seed is 7 in all. {FOLDS}"]),
    "both": ({"seeds": 2, "folds": 2}, None, [
        f'{SEEDS}, and which samples are in which fold ("data_loader.args.split.seed" would keep those).',
        f"The folds vary which samples train and which validate. {FOLDS}"]),
    "both, fixed folds": ({"seeds": 2, "folds": 2}, {"seed": 1}, [
        f"{SEEDS}; the folds stay.", f"The folds vary which samples train and which validate. {FOLDS}"]),
}  # fmt: skip


@pytest.mark.parametrize(("tune", "split", "expected"), VARIED.values(), ids=VARIED)
def test_summary_says_what_seeds_and_folds_vary(tune, split, expected):
    """In plain sentences."""
    config = config_alone(tune)
    if split is not None:
        config["data_loader"]["args"].update(validation_split=0.0, split=split)
    assert what_varies(config) == expected


WRONG = {
    "split twice": ({"folds": 2, "grid": {"data_loader.args.validation_split": [0.1]}}, "is set by tune.folds, too"),
    "seed twice": ({"seeds": 2, "grid": {"seed": [1]}}, "tune.grid.seed is set by tune.seeds, too"),
    "folder": ({"seeds": 2, "name": "../x"}, "tune.name is no name for a folder"),
    "long": ({"seeds": 2, "name": "x" * 251}, "at most 250 bytes"),
    "one objective": ({"seeds": 2, "objectives": "max x"}, 'fix       write ["max x"]'),
    "of a search": ({"seeds": 2, "num_trials": 3}, "tune.num_trials says nothing without tune.space"),
}


@pytest.mark.parametrize(("tune", "words"), WRONG.values(), ids=WRONG)
def test_wrong_section_has_one_error(tune, words):
    """Which says what to write."""
    (problem,) = check_without_imports(ConfigTree(config_alone(tune)), ())
    assert words in str(ConfigError(problem))
