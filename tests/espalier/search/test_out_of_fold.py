"""The predictions of all folds in one file, each sample once."""

import csv

import numpy as np
import pytest

from espalier.search.out_of_fold import PREDICTIONS, WITHOUT, write_out_of_fold
from espalier.search.points import params_of_point
from tests.espalier.search.studies import make_study

NUMBER = 10


def write_fold(trial, num_folds, *, shape=(), dtype=np.int64, classes=("a", "b")):
    """What a run predicts of its fold: every so many samples, shuffled."""
    fold = trial.record["params"]["fold"]
    index = np.arange(fold - 1, NUMBER, num_folds)[::-1]
    said = np.broadcast_to(index.reshape(-1, *[1] * len(shape)), (len(index), *shape)).astype(dtype)
    arrays = {"index": index, "name": np.asarray([f"s{each}" for each in index]), "target": said, "prediction": said}
    if not shape:
        arrays.update(target=said % 2, prediction=said % 2, classes=np.asarray(classes))
        arrays["probabilities"] = np.stack([1 - index / NUMBER, index / NUMBER], 1).astype(np.float32)[
            :, : len(classes)
        ]
    np.savez(trial.folder / PREDICTIONS, **arrays)


@pytest.fixture
def study_of(tmp_path):
    """A study of folds, and all its trials."""

    def make(tune):
        study = make_study(tmp_path, tune)
        trials = [study.claim([*range(number)], listed_params(study)) for number in range(study.num_trials)]
        return study, trials

    return make


def listed_params(study):
    """As a study has it: values and what a person is told of them."""
    return lambda number: (study.points[number], params_of_point(study.points[number]))


def rows_of(path):
    """Those of a table."""
    with path.open(newline="") as file:
        return [*csv.DictReader(file)]


def test_each_sample_is_in_the_file_once_for_each_seed_and_point(study_of):
    """In the order of the data, with fold, seed and value as columns."""
    study, trials = study_of({"folds": 3, "seeds": 2, "grid": {"optimizer.args.lr": [0.5]}})
    for trial in trials:
        write_fold(trial, 3)
    path, reasons = write_out_of_fold(study)
    rows = rows_of(path)
    assert (path.name, reasons) == ("out_of_fold.csv", [])
    assert [*rows[0]] == ["index", "fold", "optimizer.args.lr", "seed", "name", "target", "prediction", "target_class",
                          "prediction_class", "p_a", "p_b"]  # fmt: skip
    assert [(int(each["seed"]), int(each["index"])) for each in rows] == [(s, i) for s in (7, 8) for i in range(NUMBER)]
    assert all(int(each["fold"]) == int(each["index"]) % 3 + 1 for each in rows)
    assert all(
        each["name"] == f"s{each['index']}" and each["prediction_class"] == "ab"[int(each["index"]) % 2]
        for each in rows
    )


def test_pixels_go_into_arrays_and_short_numbers_into_a_table(study_of):
    """As `test.py --predictions` has it."""
    study, trials = study_of({"folds": 2})
    for shape, dtype, name in (((4, 4), np.int64, "out_of_fold.npz"), ((4, 4), np.float32, "out_of_fold.csv")):
        for trial in trials:
            write_fold(trial, 2, shape=shape, dtype=dtype)
        path, _ = write_out_of_fold(study)
        assert path.name == name
    with np.load(study.folder / "out_of_fold.npz") as file:
        assert file["index"].tolist() == [*range(NUMBER)] and file["prediction"].shape == (NUMBER, 4, 4)
        assert (file["prediction"][:, 0, 0] == file["index"]).all() and (file["fold"] == file["index"] % 2 + 1).all()


def test_what_is_missing_is_told(study_of):
    """A trial that failed, folds of other classes, predictions that there are not."""
    study, trials = study_of({"folds": 3})
    assert write_out_of_fold(study) == (None, [])
    write_fold(trials[0], 3)
    write_fold(trials[1], 3, classes=("a",))
    path, reasons = write_out_of_fold(study)
    assert reasons == ["without the samples of trials 2", "without probabilities: the folds have other classes"]
    assert not any(each.startswith("p_") for each in rows_of(path)[0])
    write_fold(trials[1], 3, shape=(2,), dtype=np.float32)
    trials[2].note(**{WITHOUT: "single samples are not seen"})
    path, reasons = write_out_of_fold(study)
    assert path is None
    assert reasons == ["single samples are not seen (trial 2)", "without the samples of trials 2",
                       "the folds have predictions of other sizes"]  # fmt: skip
