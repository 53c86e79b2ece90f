"""What the runs on the folds of the data say of samples that they did not train on: together, in one file."""

from __future__ import annotations

import copy
import gc
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espalier.atomic import write_atomically
from espalier.errors import UserError
from espalier.evaluation.predictions import write_arrays, write_predictions
from espalier.evaluation.recorder import Kept, Recorder
from espalier.evaluation.samples import SamplesSeen
from espalier.json_file import write_json
from espalier.search.points import SPLIT
from espalier.search.study import Study, Trial
from espalier.search.summary import OUT_OF_FOLD, group_of, metrics_over_folds
from espalier.training.metrics import EpochMetrics

PREDICTIONS, COUNTED = "predictions.npz", "counted.pth"  # in the folder of a trial
WITHOUT = "no_predictions"  # in the record of a trial: why there are none
_MOST_COLUMNS = 1000

# Gives, of a run folder, the trainer with the best weights of the run and the loader of its validation data.
Evaluation = Callable[[Path], tuple[Any, Any]]


def predict(study: Study, trial: Trial, evaluation: Evaluation) -> None:
    """Let the best weights of a fold's run predict the samples that it validates on.

    The last of the folds also brings together what they have counted, into the metrics over all samples. Where single
    samples cannot be told from each other, the record of the trial says why.
    """
    gc.collect()  # the trainer of the run, which takes memory
    try:
        counted = _predict(trial, *evaluation(trial.run_folder))
        with study.lock():
            _bring_together(study, trial, counted)
    except UserError as error:
        trial.note(**{WITHOUT: str(error).strip().partition("\n")[0]})


def _predict(trial: Trial, trainer: Any, loader: Any) -> EpochMetrics:
    if type(trainer.valid_metrics) is not EpochMetrics:
        raise UserError(f"{type(trainer).__name__} sets valid_metrics itself, so that single samples are not seen")
    path = trial.folder / PREDICTIONS
    kept, before = Kept(path), trainer.valid_metrics
    trainer.valid_metrics = recorder = Recorder(trainer, {"kept": kept}, most=0)
    trainer.evaluate_epoch(0)
    samples = SamplesSeen(loader, recorder.num_samples)
    if not recorder.has_seen_outputs:
        raise UserError(f"{type(trainer).__name__} tracks losses alone, so that single samples are not seen")
    if not samples.is_known:
        raise UserError("the loader does not tell which samples it gives")
    content = io.BytesIO()
    torch.save(recorder.state_dict(), content)
    write_atomically(trial.folder / COUNTED, lambda file: file.write(content.getbuffer()))
    write_predictions(path, kept, samples)
    return before


def _bring_together(study: Study, trial: Trial, metrics: EpochMetrics) -> None:
    """Write the metrics over all folds, where this was the last of them."""
    group = group_of(trial)
    trials = [each for each in study.trials() if group_of(each) == group]
    num_folds = trial.record["values"][SPLIT]["num_folds"]
    if len(trials) < num_folds or not all((each.folder / PREDICTIONS).exists() for each in trials):
        return
    metrics.check_mergeable()
    total = copy.deepcopy(metrics)
    total.reset()
    for each in trials:
        part = copy.deepcopy(metrics)
        part.load_state_dict(torch.load(each.folder / COUNTED, weights_only=True))
        total.merge_state(part)
    path = study.folder / f"{OUT_OF_FOLD}.json"
    others = [each for each in metrics_over_folds(study) if each["params"] != group]
    found = {"params": group, "num_samples": total.num_samples,
             "metrics": {f"val_{name}": value for name, value in total.result().items()}}  # fmt: skip
    write_json([*others, found], path)


def write_out_of_fold(study: Study) -> tuple[Path | None, list[str]]:
    """Write the predictions of all folds into one file of the study, each sample once for each grid point and seed.

    Returns:
        The file, None where there is none; and sentences on what is missing in it.
    """
    trials = study.trials()
    reasons = [f"{each.record[WITHOUT]} (trial {each.number})" for each in trials if each.record.get(WITHOUT)][:1]
    lacking = [each.number for each in trials if not (each.folder / PREDICTIONS).exists()]
    trials = [each for each in trials if each.number not in lacking]
    parts = [_arrays_of(each) for each in trials]
    if not parts:
        return None, reasons
    if lacking:
        reasons.append(f"without the samples of trials {', '.join(map(str, lacking))}")
    names = [name for name in parts[0] if all(name in each for each in parts)]
    if len({tuple(each["classes"].tolist()) for each in parts if "classes" in each}) > 1:
        names = [name for name in names if name not in ("classes", "probabilities")]
        reasons.append("without probabilities: the folds have other classes")
    if any(len({each[name].shape[1:] for each in parts}) > 1 for name in ("target", "prediction")):
        return None, [*reasons, "the folds have predictions of other sizes"]
    group = np.repeat(_numbers_of_groups(trials), [len(each["index"]) for each in parts])
    order = np.lexsort((np.concatenate([each["index"] for each in parts]), group))
    joined = {name: parts[0][name] if name == "classes" else np.concatenate([each[name] for each in parts])[order]
              for name in names}  # fmt: skip
    path = study.folder / f"{OUT_OF_FOLD}{'.csv' if _has_columns(joined['prediction']) else '.npz'}"
    write_arrays(path, joined)
    return path, reasons


def _arrays_of(trial: Trial) -> dict[str, np.ndarray]:
    """The arrays of its file, with what tells it from other trials."""
    with np.load(trial.folder / PREDICTIONS) as file:
        arrays = dict(file)
    index = arrays.pop("index")
    own = {name: np.full(len(index), value if isinstance(value, (int, float, str)) else json.dumps(value))
           for name, value in trial.record["params"].items()}  # fmt: skip
    return {"index": index, "fold": own.pop("fold"), **own, **arrays}


def _numbers_of_groups(trials: Sequence[Trial]) -> list[int]:
    groups = [group_of(each) for each in trials]
    return [groups.index(each) for each in groups]


def _has_columns(prediction: np.ndarray) -> bool:
    """Whether it has a form in a table: not the classes of pixels."""
    is_short = prediction[0].size <= _MOST_COLUMNS
    return prediction.ndim == 1 or (is_short and (prediction.ndim == 2 or prediction.dtype.kind == "f"))
