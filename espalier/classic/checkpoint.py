"""Checkpoints of the classic template brought into the plain format; no name in such a file is ever looked up."""

from __future__ import annotations

import re
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import torch

from espalier.checkpoints.bounds import check_values, load_bounded
from espalier.checkpoints.file import check_intact, is_old_format, save_checkpoint, too_much, why_refused
from espalier.checkpoints.pickle_bounds import TooMuchError
from espalier.config.interpolation import escaped
from espalier.errors import CheckpointError, explain, shorten


class _Inert:
    """Stands where the file names a class: holds what the file gives it, and does nothing."""

    args: tuple[Any, ...]
    state: Any = None

    def __new__(cls, *args: Any) -> _Inert:
        inert = super().__new__(cls)
        inert.args = args
        return inert

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _number(dtype: _Inert, data: bytes) -> Any:
    """The bool, integer or float of a pickled NumPy scalar."""
    code = dtype.state[1].replace("|", "=") + dtype.args[0]
    if not re.fullmatch("[<>=][fiub][1248]", code):
        raise ValueError(f"a NumPy scalar of type {code}")
    return np.frombuffer(data, code)[0].item()


# All that is read beside what torch's safe loader knows, and what stands in for it: the config object, the loggers,
# paths and NumPy values that checkpoints of the generations G0..G3 hold.
_INERT = ("parse_config.ConfigParser", "utils.parse_config.ConfigParser", "argparse.Namespace", "logging.getLogger",
          "logger.logger.Logger", "logger.Logger", "utils.logger.Logger", "numpy.dtype", "numpy.ndarray",
          "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")  # fmt: skip
_READ: list[Any] = [(type(name, (_Inert,), {}), name) for name in _INERT]
_READ += [(_number, f"numpy.{module}.multiarray.scalar") for module in ("core", "_core")]
for _module in ("pathlib", "pathlib._local"):
    _READ += [(PurePosixPath, f"{_module}.{name}") for name in ("PosixPath", "PurePosixPath")]
    _READ += [(PureWindowsPath, f"{_module}.{name}") for name in ("WindowsPath", "PureWindowsPath")]

# What is taken over, and the types that it may have.
_PARTS = {"arch": (str,), "epoch": (int,), "state_dict": (dict,), "optimizer": (dict, list),
          "monitor_best": (int, float), "config": (dict,)}  # fmt: skip


def convert(old: Path, new: Path, *, is_trusted: bool) -> list[str]:
    """Write what the classic checkpoint `old` holds to `new`, in the plain format.

    Returns:
        A line for each part: kept, missing or dropped; and one with the command to evaluate it.

    Raises:
        CheckpointError: no trust, `new` exists or cannot be written, or `old` is damaged or holds what is not read.
    """
    if not is_trusted:
        expected = "a file whose numbers and config you believe: its config says what train.py and test.py import"
        fix = "add --trust if it is one; even then only listed types are read, and no code in it is run"
        raise _error(old, "is converted only with --trust", expected=expected, fix=fix)
    if new.exists():
        raise _error(new, "exists already", fix="give another name")
    state = _load(old)
    dropped: list[str] = []
    try:
        parts = {key: _plain(key, state[key], dropped) for key in _PARTS if key in state}
        for key in [key for key, value in parts.items() if not isinstance(value, _PARTS[key])]:
            dropped.append(f"{key}, of type {type(parts.pop(key)).__name__}")
        save_checkpoint(parts, new)
    except TooMuchError as error:
        raise too_much(old, error) from error
    except (TypeError, RecursionError) as error:
        raise _error(old, "holds a value that has no plain form, so it was not converted", got=str(error)) from error
    except OSError as error:
        raise _error(new, "cannot be written", got=error.strerror) from error
    kept = (f"{key}: {shorten(list(map(str, value)) if isinstance(value, dict) else value)}"
            for key, value in parts.items())  # fmt: skip
    missing = (key for key in _PARTS if key not in state)
    dropped += [str(key) for key in state if key not in _PARTS]
    rows = {"kept": kept, "missing": missing, "dropped": dropped}
    told = [f"{label:<9} {_printable(text)}" for label, texts in rows.items() for text in texts]
    return [*told, f"Written to {new}; to evaluate it: python test.py -r {new}"]


def _load(path: Path) -> dict[Any, Any]:
    if not is_old_format(path):  # which has no checksums
        check_intact(path)
    try:
        with torch.serialization.safe_globals(_READ), path.open("rb") as file:
            state = load_bounded(file, names=[name for _, name in _READ])
    except MemoryError:
        raise
    except TooMuchError as error:
        raise too_much(path, error) from error
    except Exception as error:  # damaged or hostile pickles fail in every way there is
        name, reason = why_refused(error)
        if name:
            what = "holds a type that is not on the list, so it was not read and nothing in it was run"
            fix = "if you know who made it, save it without that type in the project it is from"
            raise _error(path, what, got=name, fix=fix) from error
        raise _error(path, "is damaged, or no checkpoint", got=reason) from error
    if not isinstance(state, dict) or not isinstance(state.get("state_dict"), dict):
        raise _error(path, "is no training checkpoint", expected="a dict with the key state_dict")
    if "format" in state:
        raise _error(path, "has the plain format already", fix="use it as it is")
    return state


def _plain(key: str, value: Any, dropped: list[str]) -> Any:
    """A part of the checkpoint as it is written."""
    if key == "state_dict" and value and all(str(name).startswith("module.") for name in value):
        dropped.append('"module." before each name of state_dict')
        return {str(name).removeprefix("module."): item for name, item in value.items()}
    if key in ("epoch", "monitor_best") and isinstance(value, torch.Tensor) and value.numel() == 1:
        return value.item()
    if key != "config":
        return value
    if isinstance(value, _Inert) and isinstance(value.state, dict):
        attributes = ("_config", "_ConfigParser__config", "config")  # of G2 and G3, of G1, and before its release
        config = next((name for name in attributes if isinstance(value.state.get(name), dict)), "")
        dropped += [f"{name} of the config object" for name in value.state if name != config]
        value = value.state.get(config)
        check_values(value)  # inside an object nobody has looked yet
    return escaped(_json_like(value, key, dropped)) if isinstance(value, dict) else value


def _json_like(value: Any, place: str, dropped: list[str]) -> Any:
    """`value` as a JSON file would hold it: texts as keys, lists, and null for what has no such form."""
    if isinstance(value, dict):
        return {str(key): _json_like(item, f"{place}.{key}", dropped) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_like(item, f"{place}.{index}", dropped) for index, item in enumerate(value)]
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, PurePath):
        return str(value)
    dropped.append(f"{place}, of type {type(value).__name__}; null stands there")
    return None


def _error(path: Path, what: str, **answers: str | None) -> CheckpointError:
    answers = {label: None if text is None else _printable(text) for label, text in answers.items()}
    return CheckpointError(explain(f"checkpoint error: {path} {what}", **answers))


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)[:200]
