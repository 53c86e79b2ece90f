"""Weights that a library is to download: why it could not, and the file to put where; or that it does not know."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from espalier.config.objects import full_name, signature_of
from espalier.config.refusals import reason_of, refused
from espalier.config.tree import ConfigTree, KeyPath, dotted
from espalier.errors import Problem, chain_of, closest, shorten

_KEYS = ("weights", "pretrained", "encoder_weights", "pretrained_model_name_or_path", "weights_backbone")
_NO_NETWORK = {"URLError", "HTTPError", "gaierror", "ConnectError", "ConnectionError", "TimeoutException", "Timeout",
               "LocalEntryNotFoundError", "OfflineModeIsEnabled", "HfHubHTTPError"}  # fmt: skip
_LIBRARIES = ("torchvision.models", "timm", "segmentation_models_pytorch", "transformers")
# What they raise for a name that they lack.
_UNKNOWN = (AssertionError, KeyError, LookupError, RuntimeError, OSError, TypeError, ValueError)
_UNEXPECTED = re.compile(r"got an unexpected keyword argument '(\w+)'")  # of what they call in turn
_NUM_CLASSES = ("num_classes", "num_labels", "classes")  # as they call it
_FIXES = {
    "The parameter 'num_classes' expected value": 'leave "num_classes" out: the weights come with their head. For one '
    "of your own write arch.replace",
    "ignore_mismatched_sizes": 'write "ignore_mismatched_sizes": true, and the head is made anew in your size',
}


def fault_of_weights(tree: ConfigTree, path: KeyPath, target: Callable[..., Any], error: Exception) -> Problem | None:
    """What is to be told of an error that came out of `target`; None where it is no matter of published weights.

    Args:
        path: of the section that names `target`.
    """
    section = tree.at(path)
    arguments = (section.get("args") or {}) if isinstance(section, dict) else {}
    if not isinstance(arguments, dict):
        return None
    chain = [*chain_of(error)]
    if any(kind.__name__ in _NO_NETWORK for each in chain for kind in type(each).__mro__):
        return next((_not_downloaded(tree, path, target, arguments, chain[-1], *found)
                     for each in chain for found in _downloads(each)), None)  # fmt: skip
    module = str(target.__module__)
    if isinstance(error, _UNKNOWN) and any(f"{module}.".startswith(f"{each}.") for each in _LIBRARIES):
        return _not_known(tree, path, target, arguments, error)
    return None


def weights_asked(arguments: Any) -> str | None:
    """What the arguments of a model ask for in published weights, in words; None for nothing."""
    known = arguments if isinstance(arguments, dict) else {}
    key = next((key for key in _KEYS if known.get(key)), None)
    return None if key is None else f"{key}: {known[key] if isinstance(known[key], str) else shorten(known[key])}"


def _downloads(error: BaseException) -> Iterator[tuple[str, str]]:
    """What was to be downloaded when an error came, and where to put it, as the functions that do it know."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        known, name = frame.f_locals, frame.f_code.co_name
        if name == "load_state_dict_from_url" and known.get("cached_file"):
            yield str(known["url"]), f"download it elsewhere, and put it here as {known['cached_file']}"
        elif name == "hf_hub_download" and known.get("repo_id"):
            repo = str(known["repo_id"])
            folder = _hub_cache(known.get("cache_dir")) / f"models--{repo.replace('/', '--')}"
            advice = (f"fetch it elsewhere (hf download {repo}), and copy the folder here as {folder}. "
                      "HF_HUB_OFFLINE=1 spares the retries, of up to a minute")  # fmt: skip
            yield f"{known.get('filename')} of https://huggingface.co/{repo}", advice


def _hub_cache(given: Any) -> Path:
    constants: Any = sys.modules.get("huggingface_hub.constants")
    return Path(given or getattr(constants, "HF_HUB_CACHE", "~/.cache/huggingface/hub")).expanduser()


def _key_of(target: Callable[..., Any], arguments: dict[str, Any]) -> str | None:
    """The argument that asks for weights: one that is set or, by its default, one that could be."""
    signature = signature_of(target)
    defaults = {name: each.default for name, each in (signature.parameters if signature else {}).items()
                if each.default is not each.empty}  # fmt: skip
    return next((key for known in (arguments, defaults) for key in _KEYS if known.get(key)), None)


def _not_downloaded(
    tree: ConfigTree,
    path: KeyPath,
    target: Any,
    arguments: dict[str, Any],
    cause: BaseException,
    what: str,
    advice: str,
) -> Problem:
    key = _key_of(target, arguments)
    here = (*path, "args", key) if key else (*path, "args")
    got = f"{what} ({type(cause).__name__}: {shorten(str(cause))[1:-1]})"
    others = {None: "", "pretrained_model_name_or_path": "; or name a local folder that holds it"}
    nothing = "false" if key == "pretrained" else "null"
    other = others.get(key, f'; or write "{key}": {nothing}, and name a .pth or .safetensors file under arch.init_from')
    return Problem(dotted(here), "asks for weights that could not be downloaded", tree.origin(here), got,
                   fix=advice + other)  # fmt: skip


def _not_known(
    tree: ConfigTree, path: KeyPath, target: Any, arguments: dict[str, Any], error: BaseException
) -> Problem | None:
    """A name of a model or of weights that the library lacks, with the nearest that it has."""
    models: Any = sys.modules.get("torchvision.models")
    name, library = arguments.get("weights"), sys.modules.get("timm")
    if isinstance(error, KeyError) and isinstance(name, str) and str(target.__module__).startswith("torchvision."):
        here, known = (*path, "args", "weights"), [each.name for each in models.get_model_weights(target)]
        expected = f"one of: {', '.join([*known, 'DEFAULT'])}"
        near = closest(name.rpartition(".")[2], [*known, "DEFAULT"])
        what = f"names no weights of {full_name(target)}"
        return Problem(dotted(here), what, tree.origin(here), shorten(name), expected, near)
    for key, home in (("model_name", library), ("name", models)):
        name = arguments.get(key)
        if isinstance(name, str) and home is not None and str(error).startswith("Unknown model"):
            here, near = (*path, "args", key), closest(name, home.list_models())
            return Problem(dotted(here), f"names no model of {home.__name__}", tree.origin(here), shorten(name),
                           closest=near, fix=f'write "{near}"' if near else None)  # fmt: skip
    unknown = _UNEXPECTED.search(str(error))
    if unknown is not None and unknown[1] in arguments:
        here = (*path, "args", unknown[1])
        return Problem(dotted(here), f"is not an argument that {full_name(target)} can use here", tree.origin(here),
                       shorten(arguments[unknown[1]]), closest=closest(unknown[1], _NUM_CLASSES))  # fmt: skip
    reason = reason_of(error)
    fix = next((fix for words, fix in _FIXES.items() if words in reason), None)
    return refused(tree, path, target, arguments, error, fix)
