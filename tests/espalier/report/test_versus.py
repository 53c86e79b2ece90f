"""Is A better than B: from the folders of runs to the sentences."""

import json

import numpy as np
import pytest

from espalier.errors import UserError
from espalier.report.caveats import advice, caveats
from espalier.report.find import find_runs
from espalier.report.sides import two_sides
from espalier.report.statistics import mcnemar, paired_t, welch
from espalier.report.verdict import NOTHING, sentences, versus_as_csv, versus_as_latex, winner
from espalier.report.versus import versus
from tests.espalier.report.folders import add_test, make_run, rows_of

BY_SAMPLE = "To compare them test sample by test sample, in what is a mean over samples: python test.py -r"
RNG = np.random.default_rng(0)
WRONG = RNG.permutation(200) < 40  # of A; B has half of these right, and 2 others wrong
A_RIGHT = (~WRONG).astype(float)
B_RIGHT = np.where(WRONG, np.cumsum(WRONG) % 2, (np.cumsum(~WRONG) > 2).astype(float))


def compared(*paths):
    """What is found for the groups of these paths."""
    return versus(*two_sides(paths, [find_runs([path])[0] for path in paths]))


def make_seeds(root, side, seeds, values=None, width=16, **kwargs):
    """A run for each seed in a folder of their own; `values` are their test accuracies."""
    for number, seed in enumerate(seeds):
        folder = make_run(root / side, f"seed{number}", seed=seed, arch__args__width=width, **kwargs)
        if values is not None:
            add_test(folder, {"accuracy": [values[number]]}, samples=False)
    return root / side


def one_of_each(root, first, second, **kwargs):
    """Two runs with the values of their test samples."""
    folders = [make_run(root, "a"), make_run(root, "b", arch__args__width=32)]
    for folder, values in zip(folders, (first, second), strict=True):
        add_test(folder, values)
    if kwargs:
        add_test(folders[1], second, **kwargs)
    return folders


# Over test samples


def test_two_runs_are_compared_by_the_samples_that_one_alone_has_right(tmp_path):
    """In any order of the samples: McNemar, interval and a sentence that a paper can have."""
    order = RNG.permutation(200)
    found = compared(*one_of_each(tmp_path, {"accuracy": A_RIGHT}, {"accuracy": B_RIGHT[order]}, index=order))
    (finding,) = found.findings
    assert finding.difference.p == mcnemar(2, 20)
    low, high = finding.difference.interval
    assert finding.difference.value == pytest.approx(-18 / 200)
    assert low < -18 / 200 < high < 0
    assert sentences(found) == [
        f"A's accuracy is 0.8000, B's 0.8900; the difference of -0.0900 [{low:.3f}, {high:.3f}] (95 % bootstrap over "
        "200 test samples, McNemar p < 0.001) is significant: the trained model of B is better."
    ]
    assert caveats(found) == ["This speaks of these trained models. It does not say which training is better: with "
                              "another seed the same training gives another model."]  # fmt: skip
    assert [line.partition(":")[0] for line in advice(found)] == ["To know what a seed alone makes"]


def test_equal_runs_have_no_winner(tmp_path):
    """Nor is one called where the difference is small; p is raised for several metrics at once."""
    close = A_RIGHT.copy()
    close[:30] = 1
    loss = RNG.random(200)
    found = compared(*one_of_each(tmp_path, {"accuracy": A_RIGHT, "loss": loss}, {"accuracy": close, "loss": loss}))
    assert [each.metric for each in found.findings] == ["loss", "accuracy"]  # that which is watched first
    assert [each.holm for each in found.findings] == [1, min(1, 2 * found.findings[1].difference.p)]
    assert winner(found, "loss") is None
    assert sentences(found)[0].endswith("is not significant: these data do not say which is better.")
    assert "2 metrics are tested at once: p by Holm's method is what counts." in caveats(found)


def test_direction_of_a_metric_is_that_of_its_monitor_or_name(tmp_path):
    """A lower loss is better; of a metric that nobody knows it is said which is higher."""
    low, high = RNG.random(50), 5 + RNG.random(50)
    names = ("loss", "accuracy", "drift", "mae")
    folders = one_of_each(tmp_path, dict.fromkeys(names, low), dict.fromkeys(names, high))
    ends = {line.split()[1]: line.rpartition(": the trained model of ")[2] for line in sentences(compared(*folders))}
    assert ends == {"loss": "A is better.", "accuracy": "B is better.", "drift": "B is higher.", "mae": "A is better."}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"index": np.arange(200) + 1}, "200 of 200 test samples are others"),
        ({"target": np.arange(200) % 10 + (np.arange(200) == 7)}, "1 of 200 test samples have other targets"),
        ({"name": "far"}, "the sets of test data are  and far"),
    ],
)
def test_other_test_samples_are_not_paired(tmp_path, change, told):
    """It is said why, and nothing else."""
    right = {"accuracy": A_RIGHT}
    found = compared(*one_of_each(tmp_path, right, right, **change))
    assert found.findings == []
    assert caveats(found)[0] == f"Not compared test sample by test sample: {told}."
    assert sentences(found) == [NOTHING]


def test_fewer_test_samples_are_not_paired(tmp_path):
    """Part of the data is other data."""
    found = compared(*one_of_each(tmp_path, {"accuracy": A_RIGHT}, {"accuracy": A_RIGHT[:150]}))
    assert caveats(found)[0] == "Not compared test sample by test sample: there are 200 and 150 test samples."


def test_data_that_differs_in_words_alone_is_known_by_its_samples(tmp_path):
    """As where one way augments; the checkpoint that was tested is told."""
    changes = {"data": {"type": "Other"}, "checkpoint": "last.pth", "weights": "average"}
    found = compared(*one_of_each(tmp_path, {"accuracy": A_RIGHT}, {"accuracy": B_RIGHT}, **changes))
    assert winner(found, "accuracy") == "B"
    assert "Other checkpoints were tested of A (model_best.pth) than of B (last.pth)." in caveats(found)


def test_metric_that_is_no_mean_over_samples_is_named(tmp_path):
    """Such as F1: it has no values of single samples."""
    metrics = {"accuracy": 0.5, "f1": 0.5}
    folders = one_of_each(tmp_path, {"accuracy": A_RIGHT}, {"accuracy": B_RIGHT}, metrics=metrics)
    add_test(folders[0], {"accuracy": A_RIGHT}, metrics=metrics)
    assert "No mean over samples, so not tested over them: f1." in caveats(compared(*folders))


def test_value_that_is_not_finite_has_no_test(tmp_path):
    """It is named; the others are tested."""
    broken = np.where(np.arange(200) < 3, np.nan, 1.0)
    found = compared(*one_of_each(tmp_path, {"loss": np.ones(200), "accuracy": A_RIGHT},
                                  {"loss": broken, "accuracy": B_RIGHT}))  # fmt: skip
    assert [each.metric for each in found.findings] == ["accuracy"]
    assert "loss is not finite for 3 test samples, so no test of it is possible." in caveats(found)


# Over seeds


def test_other_seeds_are_compared_by_welch(tmp_path):
    """With a permutation test beside; a metric is called better where both kinds of test say so."""
    first, second = [0.9, 0.92, 0.91], [0.95, 0.96, 0.97]
    found = compared(make_seeds(tmp_path, "a", [1, 2, 3], first),
                     make_seeds(tmp_path, "b", [4, 5, 6], second, width=32))  # fmt: skip
    (finding,) = found.findings
    assert finding.difference == welch(first, second)
    assert (finding.permuted.p, finding.permuted.ways) == (0.1, 20)
    assert sentences(found) == [
        "A's mean accuracy is 0.9100, B's 0.9600; the difference of -0.0500 [-0.073, -0.027] (95 % t interval over "
        "3 and 3 runs, Welch's t p = 0.0036, permutation p = 0.1, the least that so few runs allow) is "
        "significant: B is better."
    ]


def test_same_seeds_are_compared_as_pairs(tmp_path):
    """In the order of the seeds, whatever the order of the folders."""
    found = compared(make_seeds(tmp_path, "a", [1, 2, 30], [0.8, 0.9, 0.7]),
                     make_seeds(tmp_path, "b", [30, 1, 2], [0.72, 0.81, 0.93], width=32))  # fmt: skip
    (finding,) = found.findings
    assert finding.difference == paired_t([0.8 - 0.81, 0.9 - 0.93, 0.7 - 0.72])
    assert finding.permuted.p == 0.25
    assert "runs of one seed are compared as a pair" in " ".join(caveats(found))


def test_few_seeds_and_some_shared_are_told(tmp_path):
    """Two runs are few; seeds in part the same are no pairs."""
    found = compared(make_seeds(tmp_path, "a", [1, 2], [0.8, 0.9]),
                     make_seeds(tmp_path, "b", [2, 3], [0.7, 0.72], width=32))  # fmt: skip
    told = " ".join(caveats(found))
    assert "Both have seed 2, but not all the same" in told
    assert "2 runs of a side hardly tell what a seed makes" in told


@pytest.mark.parametrize(("second", "told"), [([0.95, 0.96], "p = 0.1, the least"), ([0.905, 0.96], "p = 0.2)")])
def test_least_p_of_groups_of_other_sizes_is_that_of_one_way(tmp_path, second, told):
    """Of 10 ways to choose 3 of 5 runs one alone is as large as the largest difference."""
    found = compared(make_seeds(tmp_path, "a", [1, 2, 3], [0.9, 0.91, 0.89]),
                     make_seeds(tmp_path, "b", [4, 5], second, width=32))  # fmt: skip
    assert f"permutation {told}" in sentences(found)[0]


def test_without_tests_the_best_epochs_are_compared_and_doubted(tmp_path):
    """They were chosen on the data that they are of; what no run varies in has no test."""
    for side, width, begin in (("a", 16, 0.5), ("b", 32, 0.3)):
        for seed in range(3):
            rows = [{**row, "val_loss": row["val_loss"] + 0.01 * seed * seed * width} for row in rows_of(3, begin)]
            make_run(tmp_path / side, f"s{seed}", rows, seed=seed, arch__args__width=width)
    found = compared(tmp_path / "a", tmp_path / "b")
    assert [each.metric for each in found.findings] == ["val_loss"]
    told = caveats(found)
    assert told[0].startswith("The values are those of the epoch that was chosen by val_loss")
    assert told[-1] == "val_accuracy differs by the same in all pairs, so no test of it over seeds is possible."
    patterns = [f"{tmp_path}/{side}/saved/models/Net/*" for side in "ab"]
    assert advice(found) == [f"{BY_SAMPLE} {' '.join(patterns)}"]


def test_samples_and_seeds_must_agree(tmp_path):
    """B wins on every sample that tells them apart, but its seeds differ too much: no winner."""
    for side, width, gains in (("a", 16, (0, 0, 0)), ("b", 32, (60, 0, 1))):
        for seed, gain in enumerate(gains):
            right = A_RIGHT.copy()
            right[np.flatnonzero(WRONG)[:gain]] = 1
            add_test(make_run(tmp_path / side, f"s{seed}", seed=seed, arch__args__width=width), {"accuracy": right})
    found = compared(tmp_path / "a", tmp_path / "b")
    assert [(each.over, each.is_significant) for each in found.findings] == [("samples", True), ("seeds", False)]
    assert winner(found, "accuracy") is None
    (line,) = sentences(found)
    assert "is significant over the test samples ([" in line
    assert ", and is not significant over seeds ([" in line
    assert line.endswith("): these data do not say which is better.")


# What is compared


def test_nothing_is_said_of_single_runs_without_samples(tmp_path):
    """But what to do: tests, and more seeds."""
    folders = make_run(tmp_path, "a b"), make_run(tmp_path, "b", seed=2)
    found = compared(*folders)
    assert sentences(found) == [NOTHING]
    assert advice(found) == [
        f"{BY_SAMPLE} '{folders[0]}' {folders[1]}",
        "To know what a seed alone makes: train A and B with other seeds, three or more of each side (python train.py "
        "-c CONFIG seed=2), and compare the folders.",
    ]
    assert caveats(found) == ["A and B differ in nothing but the seed: what is found is what a seed makes."]


def test_large_test_data_needs_a_flag(tmp_path):
    """Without it test.py leaves the values of so many samples out, to save the time."""
    folders = make_run(tmp_path, "a"), make_run(tmp_path, "b", arch__args__width=32)
    for folder in folders:
        add_test(folder, {"accuracy": A_RIGHT}, samples=False, num_samples=10_001)
    assert advice(compared(*folders))[0] == f"{BY_SAMPLE} {folders[0]} {folders[1]} --predictions out.npz"


def test_groups_of_one_folder_are_those_that_differ_in_more_than_the_seed(tmp_path):
    """Two are compared; another number is an error that says what differs."""
    make_seeds(tmp_path, "a", [1, 2, 3], [0.8, 0.9, 0.85])
    make_seeds(tmp_path, "b", [1, 2, 3], [0.7, 0.8, 0.75], width=32)
    found = compared(tmp_path)
    assert [(side.label, side.seeds) for side in found.sides] == [("width=16", ["1", "2", "3"]),
                                                                  ("width=32", ["1", "2", "3"])]  # fmt: skip
    make_run(tmp_path, "c", optimizer__args__lr=0.5)
    with pytest.raises(UserError, match="compares two groups\n  got       3 kinds of runs, which differ in"):
        compared(tmp_path)
    with pytest.raises(UserError, match="holds runs that differ in more than their seed"):
        compared(tmp_path, tmp_path / "a")
    with pytest.raises(UserError, match="a run that is in both"):
        compared(tmp_path / "a", tmp_path / "a")
    with pytest.raises(UserError, match="got       1 kinds of runs"):
        compared(tmp_path / "a")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty has no run"):
        compared(tmp_path / "a", tmp_path / "empty")


def test_what_a_run_brings_with_it_is_told(tmp_path):
    """The same seed twice counts once, the latest; runs that are not finished; weights of the other side."""
    first = make_seeds(tmp_path, "a", [1, 1, 2], [0.1, 0.8, 0.9])
    other = first / "saved" / "models" / "Net" / "seed0"
    entry = {"pid": 1, "state": "stopped", "folder": str(tmp_path), "command": "train.py -c x.json -r"}
    entry["command"] += f" {other.relative_to(tmp_path)}/model_best.pth"
    second = make_seeds(tmp_path, "b", [1, 2], [0.7, 0.75], width=32, processes=[entry])
    found = compared(first, second)
    assert [run.id for run in found.sides[0].runs] == ["seed1", "seed2"]
    told = caveats(found)
    assert "A: seed0 left out, as a later run has the same seed, which is no other result." in told
    assert "B: seed0 is not finished (stopped)." in told
    longer = "B began with weights of A, so it has been trained for longer: fair is A trained on for as long."
    assert longer in told
    for seed, source in ((0, "nowhere.pth"), (1, str(first / "saved/models/Net/seed1/last.pth"))):
        place = second / f"saved/models/Net/seed{seed}"
        (place / "run.json").write_text("[]")
        config = json.loads((place / "config.json").read_text())
        (place / "config.json").write_text(json.dumps({**config, "arch": {**config["arch"], "init_from": source}}))
        single = compared(first / "saved/models/Net/seed1", place)
        assert (longer in caveats(single)) == (seed == 1)


def test_tables_say_what_the_sentences_say(tmp_path):
    """LaTeX escapes; CSV has the numbers in full."""
    found = compared(*one_of_each(tmp_path, {"top_k": A_RIGHT}, {"top_k": B_RIGHT}))
    text = versus_as_latex(found)
    assert r"A's top\_k is 0.8000, B's 0.8900" in text
    assert "McNemar p $<$ 0.001" in text
    assert r"top\_k & 200 samples & 0.8000 & 0.8900 & $-$0.0900 & [$-$" in text
    head, row = versus_as_csv(found).splitlines()
    cells = dict(zip(head.split(","), row.split(","), strict=True))
    assert float(cells["p"]) == mcnemar(2, 20)
    assert (cells["number of A"], cells["number of B"], cells["better"]) == ("200", "200", "B")
