"""The contracts: what a trainer, a data loader and a model of yours build on."""

from typing import Any

from base.base_data_loader import BaseDataLoader
from base.base_model import BaseModel
from base.base_trainer import BaseTrainer
from espalier.classic import door
from espalier.data.in_memory import InMemoryDataset

__all__ = ["BaseDataLoader", "BaseModel", "BaseTrainer", "InMemoryDataset", *door.own_names("base")]


def __getattr__(name: str) -> Any:
    return door.own("base", name)
