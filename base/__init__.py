"""The contracts: what a trainer, a data loader and a model of yours build on."""

from base.base_data_loader import BaseDataLoader
from base.base_model import BaseModel
from base.base_trainer import BaseTrainer
from base.in_memory_dataset import InMemoryDataset

__all__ = ["BaseDataLoader", "BaseModel", "BaseTrainer", "InMemoryDataset"]
