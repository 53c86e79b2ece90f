"""Keras 3 on PyTorch."""

import os

os.environ["KERAS_BACKEND"] = "torch"

import keras

CHOICES = "the same PyTorch module in TorchModuleWrapper; compile and fit with their defaults (bar), its own optimizer"


def prepare(task):
    model = keras.Sequential([keras.Input(task.inputs.shape[1:]), keras.layers.TorchModuleWrapper(task.model())])
    model.compile(
        optimizer=getattr(keras.optimizers, task.algorithm.__name__)(task.lr),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )

    def fit():
        history = model.fit(task.inputs, task.targets, batch_size=task.batch_size, epochs=task.epochs, shuffle=True)
        log = {name: values[-1] for name, values in history.history.items()}
        return {**log, "steps": int(model.optimizer.iterations)}

    return fit
