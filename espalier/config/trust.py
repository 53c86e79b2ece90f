"""The one door for names that came out of a checkpoint: what they may lead to.

A name is resolved without running anything new, and what it leads to is judged by where that is really defined: its own
module and qualified name, found again from there. It must be a class or a function that only computes, whatever its
arguments are: none that reads, downloads, unpickles, compiles or starts something.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import sys
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import FunctionType, MethodType, ModuleType
from typing import Any

from espalier.config.objects import NameNotFound, find_object
from espalier.config.tree import ConfigTree, KeyPath, dotted
from espalier.errors import CheckpointError, Problem, explain, shorten

ROOMS = ("data_loader", "model", "trainer")  # the project's own code, which whoever opens a checkpoint has written
PACKAGES = (
    "torch.nn", "torch.optim", "torchvision.models", "torchvision.ops", "torchvision.transforms", "torchmetrics",
    "timm",
)  # fmt: skip

_METRICS = "classification clustering nominal regression retrieval segmentation shape"
_TEXT = "bleu cer chrf edit eed mer perplexity squad ter wer wil wip"
_IMAGE = "d_lambda d_s ergas psnr psnrb qnr rase rmse_sw sam scc ssim tv uqi vif"
_LIGHT = (*_METRICS.split(), *(f"text.{name}" for name in _TEXT.split()), *(f"image.{name}" for name in _IMAGE.split()))

# Where classes may be defined: subclasses of nn.Module, as metrics are, too (those that load no other model); or any.
_MODULES_IN = ("torch.nn.modules", "torchvision.models", "torchvision.ops", "timm.models", "timm.layers", "timm.loss",
               "torchmetrics.aggregation", "torchmetrics.collections", "torchmetrics.detection",
               "torchmetrics.wrappers", *(f"torchmetrics.{name}" for name in _LIGHT))  # fmt: skip
_CLASSES_IN = ("torch.optim", "torchvision.transforms", "timm.optim", "timm.scheduler", "espalier.data.samplers",
               "espalier.losses", "espalier.data.length_buckets", "espalier.data.collate", "espalier.data.mix",
               "espalier.data.mixture", "espalier.journal.writers.csv_tables",
               "espalier.journal.writers.named")  # fmt: skip
_CLASSES = ("torch.utils.data.dataloader.DataLoader", "base.base_data_loader.BaseDataLoader",
            "espalier.data.in_memory.InMemoryDataset")  # fmt: skip
_NOT_IN = ("torchvision.models.feature_extraction", "torchvision.models.quantization")  # these write code and run it

# Where functions may be defined, all of them or those named.
_FUNCTIONS_IN = ("torchvision.ops", "torchvision.transforms.functional", "torchvision.transforms.v2.functional",
                 "torchmetrics.functional.pairwise", "torchmetrics.functional.detection",
                 *(f"torchmetrics.functional.{name}" for name in _LIGHT))  # fmt: skip
_NO_FUNCTIONS = ("register_kernel",)
_FUNCTIONAL = """
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
    adaptive_max_pool3d affine_grid alpha_dropout avg_pool1d avg_pool2d avg_pool3d batch_norm bilinear
    binary_cross_entropy binary_cross_entropy_with_logits celu celu_ channel_shuffle conv1d conv2d conv3d
    conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d cosine_embedding_loss cosine_similarity
    cross_entropy ctc_loss dropout dropout1d dropout2d dropout3d elu elu_ embedding embedding_bag
    feature_alpha_dropout fold fractional_max_pool2d fractional_max_pool3d gaussian_nll_loss gelu glu
    grid_sample group_norm gumbel_softmax hardshrink hardsigmoid hardswish hardtanh hardtanh_
    hinge_embedding_loss huber_loss instance_norm interpolate kl_div l1_loss layer_norm leaky_relu leaky_relu_
    linear linear_cross_entropy local_response_norm log_softmax logsigmoid lp_pool1d lp_pool2d lp_pool3d
    margin_ranking_loss max_pool1d max_pool2d max_pool3d max_unpool1d max_unpool2d max_unpool3d mish mse_loss
    multi_head_attention_forward multi_margin_loss multilabel_margin_loss multilabel_soft_margin_loss nll_loss
    normalize one_hot pad pairwise_distance pdist pixel_shuffle pixel_unshuffle poisson_nll_loss prelu relu
    relu6 relu_ rms_norm rrelu rrelu_ scaled_dot_product_attention selu selu_ sigmoid silu smooth_l1_loss
    soft_margin_loss softmax softmin softplus softshrink softsign tanh tanhshrink threshold threshold_
    triplet_margin_loss triplet_margin_with_distance_loss unfold upsample
"""
_CREATE_MODEL = "timm.models._factory.create_model"  # with these arguments alone: others name files and addresses
_NAMED = (*(f"torch.nn.functional.{name}" for name in _FUNCTIONAL.split()),
          "torch.nn.utils.weight_norm.weight_norm", "torch.nn.utils.spectral_norm.spectral_norm",
          *(f"torch.nn.utils.parametrizations.{name}" for name in ("weight_norm", "spectral_norm", "orthogonal")),
          "torchvision.models.get_model", _CREATE_MODEL)  # fmt: skip
_ITS_ARGUMENTS = {"model_name", "pretrained", "num_classes", "in_chans", "drop_rate", "drop_path_rate", "global_pool",
                 "img_size", "features_only", "out_indices", "output_stride"}  # fmt: skip


_HOMES = (*_MODULES_IN, *_CLASSES_IN, *_CLASSES, *_FUNCTIONS_IN, *_NAMED, *ROOMS, "torch.nn.init")


class NotTrusted(LookupError):
    """A name that came out of a checkpoint and leads to code that no config on disk asks for."""


def find(tree: ConfigTree, path: KeyPath, name: str, room: Any) -> Any:
    """The object that `name` stands for, the value at `path` of a config: in `room`, or at a dotted path.

    Whatever turns a text of a config into an object asks here.

    Args:
        path: where the text stands, so that it is known whether it came out of a checkpoint.
        room: any namespace.

    Raises:
        NotTrusted: it came out of a checkpoint, and leads elsewhere than such names may.
        NameNotFound: there is no such name.
        ImportError: the module that it names failed while it was imported.
    """
    if not tree.is_from_checkpoint(path):
        return find_object(name, room)
    found = _find_trusted(name, room)
    if _is_defined_at(found, _CREATE_MODEL) and not _only_names_a_model(tree, path):
        raise NotTrusted(name)
    return found


def find_function(name: str, modules: Collection[str] = ()) -> Any:
    """The function of a project that a checkpoint or a bundle names by its dotted path.

    Args:
        modules: outside of the project's rooms, those that a config on disk names.

    Raises:
        CheckpointError: it is not there, or is neither the project's own nor in one of these modules.
    """
    try:
        found = find_object(name, None) if name.rpartition(".")[0] in modules else _find_own(name)
    except (LookupError, ImportError) as error:
        got = str(error) if isinstance(error, (NameNotFound, ImportError)) else "a name that leads to foreign code"
        expected = f"a function in {', '.join(ROOMS)}, or in a module that the config of the run names"
        what = f"checkpoint error: inputs are read by {shorten(name)}, which may not be used"
        raise CheckpointError(explain(what, got=got, expected=expected)) from error
    return found


def _find_own(name: str) -> Any:
    if "." not in name or not _is_own(found := _find_trusted(name, None)):
        raise NotTrusted(name)
    return found


_WRITES_HERE = ("tensorboard", "csv")  # into the folders of the run alone


def places_outside(tree: ConfigTree) -> Iterator[Problem]:
    """What a checkpoint says of where runs are kept, where that leads out of the folder that the command runs in."""
    trainer = tree.values.get("trainer")
    save_dir = trainer.get("save_dir") if isinstance(trainer, dict) else None
    for path, value, leads_out in (
        (("trainer", "save_dir"), save_dir, _leads_out),
        (("name",), tree.values.get("name"), lambda name: _leads_out(name) or set(name) & set("/\\")),
    ):
        if isinstance(value, str) and tree.is_from_checkpoint(path) and leads_out(value):
            fix = f"if you trust it, give it yourself: {'.'.join(path)}=... on the command line"
            what = "is a place out of a checkpoint that leads out of this folder"
            yield Problem(".".join(path), what, tree.origin(path), shorten(value), "a folder below this one", fix=fix)


def deeds(tree: ConfigTree) -> Iterator[Problem]:
    """What a checkpoint asks a run to do beside training: a command at its end, and telling a tracker of it."""
    fix = "if you trust it, write it into a config and give that with -c, or give it on the command line"
    trainer = tree.values.get("trainer")
    path: KeyPath = ("trainer", "on_end_command")
    command = trainer.get(path[1]) if isinstance(trainer, dict) else None
    if command is not None and tree.is_from_checkpoint(path):
        yield Problem(dotted(path), "is a command out of a checkpoint", tree.origin(path), shorten(command), fix=fix)
    section = tree.values.get("writers")
    for index, entry in enumerate(section if isinstance(section, list) else ()):
        kind = entry.get("type") if isinstance(entry, dict) else entry
        if kind not in _WRITES_HERE and tree.is_from_checkpoint(("writers", index)):
            yield Problem(f"writers.{index}", "is a tracker out of a checkpoint", tree.origin(("writers", index)),
                          shorten(entry), fix=fix)  # fmt: skip


def _leads_out(path: str) -> bool:
    places = PurePosixPath(path), PureWindowsPath(path)
    is_elsewhere = any(each.anchor for each in places) and not Path(path).is_relative_to(Path.cwd())
    return path.startswith("~") or not path.isprintable() or is_elsewhere or any(".." in each.parts for each in places)


def _find_trusted(name: str, room: Any) -> Any:
    parts = name.split(".")
    if any(part.startswith("_") for part in parts):
        raise NotTrusted(name)
    found = _attribute(room, name, room) if len(parts) == 1 else _walk(parts)
    if not _is_trusted(found):
        raise NotTrusted(name)
    return found


def _walk(parts: list[str]) -> Any:
    """What a dotted name leads to: from a module that may be imported by attributes that are there already."""
    name = ".".join(parts)
    for end in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:end])
        if not _may_import(module):
            raise NotTrusted(name)
        if parts[end - 1] in vars(sys.modules.get(".".join(parts[: end - 1]), object)) and module not in sys.modules:
            continue  # no module
        try:
            found: Any = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise
            continue
        except (Exception, SystemExit) as error:  # a module may do anything while it is imported
            raise ImportError(f"{type(error).__name__} in {module}: {error}") from error
        for part in parts[end:]:
            found = _attribute(found, part, found)
        return found
    raise NameNotFound(name, "the installed packages", ())


def _attribute(namespace: Any, name: str, where: Any) -> Any:
    """An attribute that is there: a module's own way of finding others, which may import them, is not asked."""
    if name in vars(namespace) if isinstance(namespace, ModuleType) else hasattr(namespace, name):
        return getattr(namespace, name)
    known = (each for each in dir(namespace) if not each.startswith("_"))
    raise NameNotFound(name, getattr(where, "__name__", repr(where)), known)


def _may_import(module: str) -> bool:
    """Whether to import a module because a checkpoint says so: one of those below, or a package around them."""
    return _is_in(module, _HOMES) or any(_is_in(home, (module,)) for home in (*_HOMES, *PACKAGES))


def _is_in(name: str, places: tuple[str, ...]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def _is_trusted(found: Any) -> bool:
    """Whether an object is one that a checkpoint may name, by where it is defined."""
    if inspect.isclass(found):
        return _is_trusted_class(found)
    if isinstance(found, MethodType):  # a class method of the project
        return inspect.isclass(found.__self__) and _is_own(found.__func__) and _is_trusted(found.__self__)
    if isinstance(found, FunctionType) and (_is_own(found) or _is_trusted_function(found)):
        return True
    if isinstance(found, enum.Enum):
        return _is_in(type(found).__module__, ("torchvision.transforms",))
    return _is_constant(found) or any(_is_defined_at(found, name) for name in _NAMED)


def _is_trusted_class(found: Any) -> bool:
    home = _home(found)
    if home is None or _is_in(home, _NOT_IN):
        return False
    if _is_in(home, (*ROOMS, *_CLASSES_IN)) or home in _CLASSES:
        return not issubclass(found, enum.Enum) or _is_in(home, ROOMS)
    return _is_in(home, _MODULES_IN) and issubclass(found, _torch().nn.Module)


def _is_trusted_function(found: FunctionType) -> bool:
    home = _home(found)
    if home is None:
        return False
    name = found.__qualname__
    if _is_in(home, ("torch.nn.init",)):
        return name.endswith("_")
    if _is_in(home, ("torchvision.models",)):
        return name in _builders() and not _is_in(home, _NOT_IN)
    return _is_in(home, _FUNCTIONS_IN) and name not in _NO_FUNCTIONS


def _home(found: Any) -> str | None:
    """The module and qualified name under which an object is found again; None where it is not."""
    module, qualified = getattr(found, "__module__", None), getattr(found, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualified, str):
        return None
    there: Any = sys.modules.get(module)
    for part in qualified.split("."):
        there = vars(there).get(part) if isinstance(there, (ModuleType, type)) else None
    there = there.__func__ if isinstance(there, (staticmethod, classmethod)) else there
    return f"{module}.{qualified}" if there is found else None


def _is_own(found: Any) -> bool:
    """Whether a function was written in the project: found again there, or made there (a lambda, a closure)."""
    made_in = getattr(found, "__globals__", {}).get("__name__", "")
    return _is_in(_home(found) or "", ROOMS) or _is_in(made_in, ROOMS)


def _is_defined_at(found: Any, name: str) -> bool:
    """Whether an object is what a fixed name stands for, in a module that is there."""
    module, _, last = name.rpartition(".")
    return last in vars(there) and vars(there)[last] is found if (there := sys.modules.get(module)) else False


def _is_constant(found: Any) -> bool:
    torch = _torch()
    return isinstance(found, (torch.dtype, torch.layout, torch.memory_format))


def _builders() -> set[str]:
    """The names of torchvision's models: functions that load nothing but its own published weights."""
    models: Any = sys.modules["torchvision.models"]
    return set(models.list_models())


def _only_names_a_model(tree: ConfigTree, path: KeyPath) -> bool:
    """Whether a section asks timm for a published model by its name, and for nothing that it would read or download."""
    section = tree.at(path[:-1]) if path[-1:] == ("type",) else {}
    arguments = section.get("args") or {}
    name = arguments.get("model_name") if isinstance(arguments, dict) else None
    is_name = isinstance(name, str) and name.replace(".", "_").isidentifier()
    return is_name and arguments.keys() <= _ITS_ARGUMENTS and not section.get("partial")


def _torch() -> Any:
    return sys.modules["torch"]  # there: what a checkpoint says was read by it
