"""skorch: a network with the interface of scikit-learn."""

from skorch import NeuralNetClassifier
from skorch.callbacks import EpochScoring
from torch import nn

CHOICES = "NeuralNetClassifier on NumPy arrays, its table of epochs printed; EpochScoring of the training accuracy"


def prepare(task):
    net = NeuralNetClassifier(
        task.model,
        criterion=nn.CrossEntropyLoss,  # log-probabilities pass through it unchanged
        optimizer=task.algorithm,
        lr=task.lr,
        batch_size=task.batch_size,
        max_epochs=task.epochs,
        train_split=None,
        iterator_train__shuffle=True,
        callbacks=[EpochScoring("accuracy", name="accuracy", on_train=True, lower_is_better=False)],
    )
    inputs, targets = task.inputs.numpy(), task.targets.numpy()

    def fit():
        net.fit(inputs, targets)
        return {"loss": net.history[-1, "train_loss"], "accuracy": net.history[-1, "accuracy"]}

    return fit
