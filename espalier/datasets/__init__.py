"""Datasets that a config names: `"type": "espalier.datasets.Table"`."""

from espalier.data.mixture import MixedDatasets
from espalier.datasets.arrays import Arrays
from espalier.datasets.hub import HuggingFace, HuggingFaceStream
from espalier.datasets.image_table import ImageTable
from espalier.datasets.images import ImageFolder
from espalier.datasets.table import Table
from espalier.datasets.text import Text
from espalier.datasets.torchvision import Torchvision
from espalier.datasets.windows import Windows

__all__ = [
    "Arrays",
    "HuggingFace",
    "HuggingFaceStream",
    "ImageFolder",
    "ImageTable",
    "MixedDatasets",
    "Table",
    "Text",
    "Torchvision",
    "Windows",
]
