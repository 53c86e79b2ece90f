"""Espalier: its Trainer with every default, wired as in train.py."""

import torch

from base import BaseDataLoader, InMemoryDataset
from benchmarks.tasks import accuracy
from parse_config import ConfigParser
from trainer import Trainer

CHOICES = (
    "Trainer and BaseDataLoader over InMemoryDataset with every default on: bar, TensorBoard with histograms and "
    "images, metrics.jsonl, a checkpoint an epoch with fsync, exact resume, NaN guard, run.json; Adam is fused, "
    "as in config.json"
)


def prepare(task, fused=True, **options):
    model = task.model()
    config = ConfigParser(
        {
            "name": "Benchmark",
            "n_gpu": 0,
            "arch": {"type": f"benchmarks.tasks.{task.model.__name__}", "args": {}},
            "data_loader": {"type": "BaseDataLoader", "args": {}},
            "optimizer": {"type": task.algorithm.__name__, "args": {"lr": task.lr, "fused": fused and task.is_fused}},
            "loss": {"type": f"torch.nn.{task.criterion.__name__}"},
            "metrics": ["accuracy"],
            "trainer": {"epochs": task.epochs, "save_dir": str(task.folder), **options},
        }
    )
    loader = BaseDataLoader(InMemoryDataset(task.inputs, task.targets), task.batch_size, shuffle=True)
    optimizer = config.init_obj("optimizer", torch.optim, model.parameters())
    trainer = Trainer(model, task.criterion(), [accuracy], optimizer, config, torch.device("cpu"), loader)

    def fit():
        trainer.train()
        return trainer.train_metrics.result()

    return fit
