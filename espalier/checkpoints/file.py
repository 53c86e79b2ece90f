"""Checkpoint files: written whole or not at all, checked before they are read, never a door for foreign code."""

from __future__ import annotations

import contextlib
import re
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import torch

from espalier.atomic import write_atomically
from espalier.checkpoints.bounds import check_archive, load_bounded
from espalier.checkpoints.pickle_bounds import ForeignNameError, TooMuchError
from espalier.checkpoints.plain import bring_to_cpu, plain_state
from espalier.checkpoints.safetensors_file import is_safetensors
from espalier.checkpoints.sharded_file import Shards, check_shards, load_tensors, shards_in
from espalier.checkpoints.split_state import merge_tensors
from espalier.checkpoints.wrong_file import missing_checkpoint, wrong_kind
from espalier.errors import CheckpointError, explain

_OLD_MAGIC = torch.serialization.MAGIC_NUMBER.to_bytes(10, "little")
_SHARDS_KEY = b"X\x06\x00\x00\x00shards"  # as torch pickles the text


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write `state` to `path` so that a kill at any moment leaves the old file or the new one, never a torn one.

    Raises:
        TypeError: a value that the safe loader would refuse later; names its place in `state`.
        OSError: the disk is full or not writable; nothing is left behind.
    """
    write_checkpoint(plain_state(state), path)


def write_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write a state that `plain_state` has made, as `save_checkpoint` does.

    Raises:
        OSError: as for `save_checkpoint`.
    """
    write_atomically(path, partial(_serialise, bring_to_cpu(state)))  # without a mark of the GPU it was on


def _serialise(state: dict[str, Any], file: BinaryIO) -> None:
    has_crcs = torch.serialization.get_crc32_options()  # a script may have turned them off
    torch.serialization.set_crc32_options(True)
    try:
        torch.save(state, file)
    except RuntimeError as error:
        # torch hides the cause of a failed write behind an error about positions; the OSError is in its chain.
        cause = error.__cause__ or error.__context__
        raise cause if isinstance(cause, OSError) else error from None
    finally:
        torch.serialization.set_crc32_options(has_crcs)


def load_checkpoint(
    path: str | Path, map_location: str | torch.device = "cpu", *, with_shards: bool = True
) -> dict[str, Any]:
    """Read a checkpoint after checking every CRC in it; nothing in the file is ever executed.

    Args:
        with_shards: whether to put the tensors of a sharded checkpoint, whole, where they belong; otherwise it is
            returned as it is in the file, and its shards are not looked at.

    Raises:
        CheckpointError: no such file, damaged, or not made of plain data (an old template's checkpoint, say).
    """
    path = Path(path)
    check_file(path)
    state = load_plain(path, map_location)
    if not isinstance(state, dict) or "state_dict" not in state:
        has_tensors = isinstance(state, dict) and any(isinstance(each, torch.Tensor) for each in state.values())
        fix = f"weights alone are named in the config: arch.init_from={path}" if has_tensors else None
        head = f"checkpoint error: {path} is no training checkpoint"
        raise CheckpointError(explain(head, expected="a dict with the key state_dict", fix=fix))
    return with_tensors(state, path, map_location) if with_shards else state


def with_tensors(state: Any, path: Path, map_location: str | torch.device = "cpu") -> Any:
    """What the checkpoint at `path` holds, with the tensors of its shards, if it has some."""
    shards = shards_in(state, path)
    return state if shards is None else merge_tensors(state, load_tensors(*shards, map_location))


def load_plain(path: Path, map_location: Any = "cpu", fix: str | None = None) -> Any:
    """What a file of `torch.save` holds, where that is tensors and plain values; nothing in it is ever executed.

    Args:
        fix: what to do about one that holds other things; None: it is to be a checkpoint of the classic template.

    Raises:
        CheckpointError: it holds other things, is damaged, or would take far more memory than its size says.
    """
    try:
        with path.open("rb") as file:
            return load_bounded(file, map_location)
    except MemoryError:
        raise
    except TooMuchError as error:
        raise too_much(path, error) from error
    except OSError as error:
        raise unread(path, error) from error
    except Exception as error:  # damaged or hostile pickles fail in every way there is
        name, reason = why_refused(error)
        if name is None:
            raise _unreadable(path, reason) from error
        head = f"checkpoint error: {path} holds more than tensors and plain values, so it was not opened"
        raise CheckpointError(explain(head, got=name, fix=fix or _conversion(path))) from error


def unread(path: Path, error: OSError) -> CheckpointError:
    """The error for a file that the system does not give to read."""
    return CheckpointError(explain(f"checkpoint error: {path} cannot be read", got=error.strerror or str(error)))


def _unreadable(path: Path, reason: str) -> CheckpointError:
    is_cut = re.search("EOF|exhausted|not enough data|input|expected .* bytes", reason) is not None
    what = "is cut short or damaged" if is_cut else "is no file of torch.save, or damaged"
    return wrong_kind(path) or CheckpointError(explain(f"checkpoint error: {path} {what}", got=reason))


def too_much(path: Path, error: TooMuchError) -> CheckpointError:
    """The error for a file that would take far more memory or time than its size says."""
    what = "is not read: it would take more memory or time than its size accounts for"
    return CheckpointError(explain(f"checkpoint error: {path} {what}", got=str(error)))


def why_refused(error: Exception) -> tuple[str | None, str]:
    """The dotted name at which torch's safe loader stopped, if that is why, and its reason without its advice."""
    if isinstance(error, ForeignNameError):
        return error.name, str(error)
    found = re.search(r"GLOBAL (\S+) (?:was not|whose module)", str(error))
    name = found and (found[1] if "." in found[1] else f"builtins.{found[1]}")  # torch leaves `builtins.` out
    reason = (str(error) or repr(error)).rpartition("WeightsUnpickler error: ")[2]
    return name, reason.strip().split("\n", 1)[0][:200]


def is_old_format(path: Path) -> bool:
    """Whether `path` was written as torch did before 1.6: no zip, and without checksums."""
    if not path.is_file():  # a pipe would be waited for
        return False
    with contextlib.suppress(OSError), path.open("rb") as file:
        return _OLD_MAGIC in file.read(32)
    return False


def no_zip(path: Path) -> CheckpointError:
    """The error for a file that is there but no zip, as checkpoints are."""
    if is_old_format(path):
        return CheckpointError(
            explain(f"checkpoint error: {path} has the format that torch wrote before 1.6", fix=_conversion(path))
        )
    if is_safetensors(path):
        what = "is a safetensors file, which has weights and nothing else of a run"
        fix = f"name it in the config: arch.init_from={path}"
        return CheckpointError(explain(f"checkpoint error: {path} {what}", fix=fix))
    return wrong_kind(path) or CheckpointError(explain(f"checkpoint error: {path} is no checkpoint, or cut short"))


def _conversion(path: Path) -> str:
    return f"if it is of the classic template and you trust it: python parse_config.py --convert {path} new.pth --trust"


def check_intact(path: Path) -> None:
    """Compare every byte range of the file with the CRC stored for it (`torch.load` does not), and so its shards.

    Raises:
        CheckpointError: no such file, cut short, changed since it was written, or of the format without checksums.
    """
    check_file(path)
    if (shards := shards_of(path)) is not None:
        check_shards(*shards)


def shards_of(path: Path) -> Shards | None:
    """What the checkpoint at `path` says of its shards; None where it has its tensors itself.

    Raises:
        CheckpointError: as for `load_plain`, and where it names files that are no shards of ours.
    """
    # Most checkpoints hold large tensors and no such key, and then need not be loaded to know.
    with _opened(path) as archive:
        if not any(_SHARDS_KEY in archive.read(name) for name in archive.namelist() if name.endswith("/data.pkl")):
            return None
    return shards_in(load_plain(path), path)


def check_file(path: Path) -> None:
    """Compare every byte range of the file itself with the CRC stored for it.

    Raises:
        CheckpointError: as for `check_intact`.
    """
    if not path.is_file():
        raise missing_checkpoint(path)
    if is_old_format(path):
        raise no_zip(path)
    with _opened(path) as archive:
        # torch reads a part that is marked as a folder (MS-DOS attribute 0x10) as zeros, without a word.
        folders = (part.filename for part in archive.infolist() if part.external_attr & 0x10)
        damaged = next(folders, None) or archive.testzip()
    if damaged is not None:
        raise CheckpointError(
            explain(f"checkpoint error: {path} is damaged", got=f"the part {damaged} fails its check")
        )


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with path.open("rb") as file, check_archive(file) as archive:
            yield archive
    except TooMuchError as error:
        raise too_much(path, error) from error
    except Exception as error:  # zipfile and zlib raise nearly everything, depending on which byte is wrong
        raise CheckpointError(explain(f"checkpoint error: {path} is cut short or damaged", got=str(error))) from error
