"""Whether a model is right as often as it is sure: of predictions at 80 %, four in five."""

from __future__ import annotations

from typing import Any

import torch

from espalier.evaluation.judged import CLASSES, Judged

_NUM_BINS = 10


class Calibration:
    """Counts predictions by their confidence, the probability of the predicted class.

    Source: Guo et al., On Calibration of Modern Neural Networks, 2017: the expected calibration error is the mean over
    samples of |accuracy - confidence| of the bin that a sample is in; here of ten bins of equal width. A sample whose
    outputs are not finite has no confidence, and is left out.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all."""
        self.num_left_out = 0  # for outputs that are not finite
        self._sums = torch.zeros(3, _NUM_BINS, dtype=torch.float64)  # samples, confidence, right ones

    def add(self, judged: Judged | None) -> None:
        """Count a batch; nothing of one without classes."""
        if judged is None or judged.kind != CLASSES or judged.probabilities is None:
            return
        confidence = judged.probabilities.gather(1, judged.prediction.unsqueeze(1)).squeeze(1)  # (B, ...)
        is_class = (judged.target >= 0) & (judged.target < judged.probabilities.shape[1])
        is_counted = is_class & confidence.isfinite()
        self.num_left_out += int(is_class.sum() - is_counted.sum())
        confidence = confidence[is_counted].cpu().double()
        is_right = (judged.prediction == judged.target)[is_counted].cpu().double()
        places = (confidence * _NUM_BINS).long().clamp(0, _NUM_BINS - 1)
        for row, values in enumerate((torch.ones_like(confidence), confidence, is_right)):
            self._sums[row] += torch.bincount(places, values, minlength=_NUM_BINS)

    def found(self) -> dict[str, Any] | None:
        """The bins and the expected calibration error, for `test.json`; None where nothing was counted."""
        counts, confidence, right = self._sums.tolist()
        if not (total := sum(counts)):
            return None
        gap = sum(abs(one - other) for one, other in zip(confidence, right, strict=True)) / total
        bins = [{"low": index / _NUM_BINS, "high": (index + 1) / _NUM_BINS, "count": int(count),
                 "confidence": confidence[index] / count if count else None,
                 "accuracy": right[index] / count if count else None}
                for index, count in enumerate(counts)]  # fmt: skip
        return {"expected_error": gap, "bins": bins}
