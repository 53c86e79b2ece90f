"""Whether a model is in the mode that a loop is for: dropout and batch norm do other things in evaluation."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

_HOW = {
    True: ("trains in evaluation mode", "self.model.train() at the beginning of _train_epoch"),
    False: ("is evaluated in training mode", "self.model.eval() at the beginning of _valid_epoch"),
}


class ModeCheck:
    """Says once of training and once of evaluation what is wrong."""

    def __init__(self) -> None:
        self._told: set[bool] = set()

    def look(self, model: nn.Module, is_training: bool) -> str | None:
        """A sentence where all modules that know modes, and the model itself, are in the other one.

        Single modules in another mode are meant: frozen batch norm, dropout that samples predictions.
        """
        if is_training in self._told:
            return None
        concerned = [each for each in model.modules() if isinstance(each, _BatchNorm) or _drops(each)]
        if not concerned or any(each.training == is_training for each in (model, *concerned)):
            return None
        self._told.add(is_training)
        kinds = ", ".join(sorted({type(each).__name__ for each in concerned}))
        how, fix = _HOW[is_training]
        return f"The model {how}, which makes a difference to {kinds}. Call {fix}."


def _drops(module: nn.Module) -> bool:
    return isinstance(module, _DropoutNd) and module.p > 0
