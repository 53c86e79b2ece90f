"""The contracts: what a trainer, a data loader and a model of yours build on."""

from typing import Any

from base.base_data_loader import BaseDataLoader
from base.base_model import BaseModel
from base.base_trainer import BaseTrainer
from base.in_memory_dataset import InMemoryDataset
from utils import doors

__all__ = ["BaseDataLoader", "BaseModel", "BaseTrainer", "InMemoryDataset", *doors.own_names("base")]


def __getattr__(name: str) -> Any:
    return doors.own("base", name)
