"""Suggestions for a value that does not fit: the last line of a message."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from espalier.config.literals import parse_value
from espalier.errors import shorten

if TYPE_CHECKING:
    from espalier.config.key import Key
    from espalier.config.tree import KeyPath

_PRECISIONS: dict[str | int, str] = {  # as other libraries call them
    **dict.fromkeys(("bfloat16", "bf16-mixed", "torch.bfloat16"), "bf16"),
    **dict.fromkeys(("float16", "half", "16-mixed", "torch.float16", "16", 16), "fp16"),
    **dict.fromkeys(("float32", "32-true", "torch.float32", "32", 32), "fp32"),
}
EXTRAS = {
    **dict.fromkeys(("onnx", "onnxscript", "onnxruntime"), "export"),
    **dict.fromkeys(("fastapi", "uvicorn"), "serve"),
    "segmentation_models_pytorch": "segmentation",
    "torchmetrics": "metrics",
    "comet_ml": "comet",
    "mlflow": "mlflow",
    "wandb": "wandb",
    "datasets": "hub",
    "matplotlib": "plots",
    "optuna": "tune",
    "ray": "ray",
    "pyarrow": "parquet",
}  # package: extra in pyproject.toml
# Packages that are installed by these names.
_OTHERS = ("albumentations", "bitsandbytes", "einops", "kornia", "monai", "peft", "schedulefree", "timm", "torchaudio",
           "transformers")  # fmt: skip
_NEWER = dict.fromkeys(("Muon", "torch.optim.Muon"), "torch>=2.9")  # what has it
_MODULES = ("torch.nn", "torch.nn.functional", "torch.utils.data", "torchvision.models", "torchmetrics",
            "torchmetrics.classification", "torchvision.transforms.v2")  # fmt: skip
# What else is often written without its module, and need not be imported to be known.
_OURS = {
    **dict.fromkeys(("Arrays", "HuggingFace", "HuggingFaceStream", "ImageFolder", "ImageTable", "MixedDatasets",
                     "Table", "Text", "Torchvision", "Windows"), "espalier.datasets"),
    **dict.fromkeys(("ClassBalanced", "Repeat", "Subset", "Weighted"), "espalier.data.samplers"),
    "BaseDataLoader": "base", "LengthBuckets": "espalier.data.length_buckets", "Mix": "espalier.data.mix",
    "OwnLoss": "espalier.losses", "Pad": "espalier.data.collate",
}  # fmt: skip


def suggest_value(value: Any, key: Key) -> str | None:
    """How to write a value so that `key` accepts it."""
    if isinstance(value, (str, dict)) and key.accepts([value]):
        return f"write [{shorten(value)}]"
    if isinstance(value, str) and not isinstance(parse_value(value), str) and key.accepts(parse_value(value)):
        return f"write {value}"
    if isinstance(value, float) and value.is_integer() and float not in key.kinds and key.accepts(int(value)):
        return f"write {int(value)}"
    known = _PRECISIONS.get(value) if type(value) in (str, int) else None
    return f'write "{known}"' if known is not None and key.choices and key.accepts(known) else None


def suggest_for_argument(path: KeyPath, name: str) -> str | None:
    """What to do about an argument that is not taken, where it is one that is known.

    Args:
        path: where the arguments stand.
    """
    if name == "verbose" and path[0] == "lr_scheduler":
        return "remove it: PyTorch has taken it out, and the log shows the learning rates"
    if name == "split" and path == ("data_loader", "args"):
        return "add split=None to the constructor of the loader, and pass it on to BaseDataLoader as split=split"
    return None


def suggest_module(name: str) -> str | None:
    """How to write the name of something in a module of PyTorch's or ours that was written without that module."""
    if name in _OURS:
        return f'write "{_OURS[name]}.{name}"'
    homes = [each for each in _MODULES if callable(getattr(sys.modules.get(each), name, None))]
    return f'write "{homes[0]}.{name}"' if homes else None


def ours_for(argument: str) -> list[str]:
    """The dotted paths of what we have for an argument of a loader: its dataset, its sampler."""
    home = {"dataset": "espalier.datasets", "sampler": "espalier.data.samplers"}.get(argument)
    return [f"{home}.{name}" for name, each in _OURS.items() if each == home]


def homes_of(name: str) -> list[str]:
    """The modules of PyTorch's or ours, beside those of the sections, that may have something of that name."""
    return [_OURS[name]] if name in _OURS else [*_MODULES]


def suggest_extra(kind: str) -> str | None:
    """How to install the package of a dotted path, where it is one that is known and not there, or too old."""
    if kind in _NEWER:
        return f'pip install "{_NEWER[kind]}": the one that is installed does not have it yet'
    package = kind.split(".")[0]
    if package not in (*EXTRAS, *_OTHERS) or find_spec(package) is not None:
        return None
    return install_command(package)


def install_command(package: str) -> str:
    """How to install a package, by the extra that has it, if one does."""
    return f'pip install -e ".[{EXTRAS[package]}]"' if package in EXTRAS else f"pip install {package}"
