"""How much work a file may make, decided before it is done: a small file of a stranger must not fill the memory.

A checkpoint is a zip archive with a pickle in it, whose steps torch's safe loader carries out one by one. None of them
runs code, but some make much out of little. All limits allow what `torch.save` writes of the largest model.
"""

from __future__ import annotations

import os
import pickletools
import re
import struct
import zipfile
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, BinaryIO

import torch

MOST_NESTED = 220  # levels of dicts and lists; a config may have 200, and whoever walks through them calls itself
_MOST_VALUES, _MOST_BYTES = 1_000_000, 2**30  # that shared values may come to, counted each time they are met,
_TIMES = 10  # beside this many times what the file holds once

_ZIP = b"PK\3\4"
_PICKLES_OF_OLD_FORMAT = 5  # a magic number, the version, the machine, the state, and the names of its storages
_RECORD = re.compile(r"[^/]+/data/[0-9]+")
_END, _END_SIZE = b"PK\5\6", 22

# What a pickle of tensors and plain values names, as `module name`; others that torch allows ask for memory at will.
_NAME = re.compile(
    r"collections (OrderedDict|Counter)|torch\._utils _rebuild_(tensor(_v2|_v3)?|parameter(_with_state)?|sparse_tensor|"
    r"qtensor)|torch\._tensor _rebuild_from_type_v2|torch\.nn\.parameter (Parameter|Buffer)|"
    r"torch\.serialization _get_layout|torch(\.cuda|\.storage)? \w+Storage|torch (Size|Tensor|[a-z]\w*)|_codecs encode|"
    r"builtins complex"
)


class TooMuchError(ValueError):
    """A file that would take far more memory or time than its size accounts for."""


class ForeignNameError(ValueError):
    """A pickle that names something that is neither a tensor nor a plain value.

    Attributes:
        name: what it names, dotted.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"GLOBAL {name} was not expected")
        self.name = name


def load_bounded(file: BinaryIO, map_location: Any = "cpu", names: Collection[str] = ()) -> Any:
    """What an open file of `torch.save` holds, after a look at what it would take to load it.

    Args:
        names: what else than tensors and plain values its pickle may name (see `torch.serialization.safe_globals`).

    Raises:
        TooMuchError: more than its size says.
        Exception: anything, where it is damaged or holds other things.
    """
    check_bounds(file, names)
    state = torch.load(file, map_location=map_location, weights_only=True)
    check_values(state)
    return state


def check_bounds(file: BinaryIO, names: Collection[str] = ()) -> None:
    """The part of that before it is loaded; the file stands at its beginning again then."""
    file.seek(0)
    if file.read(len(_ZIP)) == _ZIP:  # as torch tells the two formats apart
        archive = check_archive(file)
        for name in archive.namelist():
            if name.endswith("/data.pkl"):
                check_pickle(archive.read(name), names)
    else:
        file.seek(0)
        for _ in range(_PICKLES_OF_OLD_FORMAT):
            check_pickle(file, names)
    file.seek(0)


# The archive


def check_archive(file: BinaryIO) -> zipfile.ZipFile:
    """The zip archive in `file`, which holds what `torch.save` writes: stored parts, each in bytes of its own.

    Raises:
        TooMuchError: it does not.
        zipfile.BadZipFile: it is none.
    """
    size = file.seek(0, os.SEEK_END)
    archive = zipfile.ZipFile(file)
    if archive.comment or not _is_read_alike(file, archive, size):
        raise TooMuchError("its list of parts is not where torch looks for it")
    end = 0
    for part in sorted(archive.infolist(), key=lambda each: each.header_offset):
        if part.compress_type != zipfile.ZIP_STORED or part.file_size != part.compress_size:
            raise TooMuchError(f"the part {part.filename} is compressed: {part.compress_size:,} bytes become "
                               f"{part.file_size:,}")  # fmt: skip
        if part.header_offset < end:
            raise TooMuchError(f"the part {part.filename} lies over another one")
        if "/data/" in part.filename.lower() and _RECORD.fullmatch(part.filename) is None:
            # torch finds a name in capital letters, too, and reads the same bytes again
            raise TooMuchError(f"no record of a tensor: {part.filename}")
        end = part.header_offset + 30 + len(part.filename) + part.file_size
    if end > archive.start_dir:
        raise TooMuchError("a part is longer than the file")
    return archive


def _is_read_alike(file: BinaryIO, archive: zipfile.ZipFile, size: int) -> bool:
    """Whether the list of parts that Python reads stands where it is said to be, so that torch reads the same."""
    file.seek(size - _END_SIZE)
    end = file.read(_END_SIZE)
    (at,) = struct.unpack_from("<I", end, 16)
    if at == 0xFFFFFFFF:  # of more than 4 GB: a longer record stands before it, and 20 bytes that say where
        file.seek(size - _END_SIZE - 20 - 56)
        (at,) = struct.unpack_from("<Q", file.read(56), 48)
    return end[:4] == _END and at == archive.start_dir


# The pickle


class _Value:
    """What is known of a value before it is there.

    Attributes:
        length: how many items or characters it has, so far.
        items: those of a tuple.
        total: how many values a tuple has with all inside, which each look-up as a key goes through; and `levels`.
    """

    __slots__ = ("items", "length", "levels", "total")

    def __init__(self, length: int = 0, items: Sequence[_Value] = ()) -> None:
        self.length, self.items, self.total, self.levels = length, items, 1, 1
        for each in items:
            self.total += each.total
            self.levels = max(self.levels, each.levels + 1)


_PLAIN, _LARGE_NUMBER = _Value(), _Value()  # numbers and the like, of which nothing need be known


def check_pickle(pickle: BinaryIO | bytes, names: Collection[str] = ()) -> None:
    """Make sure that a pickle holds tensors and plain values, and copies or compares them about once.

    Args:
        pickle: the bytes, or a file that stands at its beginning, and stands at its end then.
        names: what else it may name, dotted.

    Raises:
        ForeignNameError: it names something else.
        TooMuchError: it copies one value again and again, or has keys that take long to compare.
        ValueError, IndexError, KeyError: it is damaged.
    """
    steps = _Steps(names)
    for step, argument, _ in pickletools.genops(pickle):
        steps.taken += 1
        steps.take[step.name](argument) if step.name in steps.take else steps.stack.append(_PLAIN)
    if steps.copied > _MOST_VALUES + _TIMES * steps.taken:
        raise TooMuchError(f"it copies {steps.copied:,} values, of which it holds fewer than {steps.taken:,}")


class _Steps:
    """Goes through the steps of a pickle as torch's safe loader does, with a `_Value` in place of each value.

    Attributes:
        copied: how many items and characters are handed to what makes a copy of them.
        taken: how many steps, and characters.
        take: what to do with the argument of a step, by its name; all others push a plain value.
    """

    def __init__(self, names: Collection[str]) -> None:
        self.names, self.copied, self.taken = names, 0, 0
        self.stack: list[_Value] = []
        self._below: list[list[_Value]] = []  # a stack for each open mark
        self._memo: dict[Any, _Value] = {}
        self.take: dict[str, Callable[[Any], Any]] = {
            **dict.fromkeys(("PROTO", "STOP"), lambda _: None),
            **dict.fromkeys(("BINPUT", "LONG_BINPUT"), self._put),
            **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda number: self.stack.append(self._memo[number])),
            **dict.fromkeys(("EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET"), lambda _: self.stack.append(_Value())),
            **dict.fromkeys(("BINUNICODE", "SHORT_BINSTRING"), self._text),
            "GLOBAL": self._name,
            "LONG1": lambda value: self.stack.append(_LARGE_NUMBER if value.bit_length() > 64 else _PLAIN),
            "MARK": self._mark,
            "TUPLE": lambda _: self._tuple(self._marked()),
            "TUPLE1": lambda _: self._tuple(self._popped(1)),
            "TUPLE2": lambda _: self._tuple(self._popped(2)),
            "TUPLE3": lambda _: self._tuple(self._popped(3)),
            "APPEND": lambda _: self._fill(self._popped(1)),
            "APPENDS": lambda _: self._fill(self._marked()),
            "SETITEM": lambda _: self._set(self._popped(2)),
            "SETITEMS": lambda _: self._set(self._marked()),
            **dict.fromkeys(("REDUCE", "NEWOBJ"), self._call),
            "BUILD": lambda _: self._copy(self._popped(1)[0]),
            "BINPERSID": self._storage,
        }

    def _put(self, number: int) -> None:
        self._memo[number] = self.stack[-1]

    def _text(self, text: str) -> None:
        self.taken += len(text)
        self.stack.append(_Value(len(text)))

    def _name(self, argument: str) -> None:
        name = argument.replace("__builtin__ ", "builtins ")
        if _NAME.fullmatch(name) is None and name.replace(" ", ".") not in self.names:
            raise ForeignNameError(name.replace(" ", "."))
        self.stack.append(_PLAIN)

    def _storage(self, _: None) -> None:
        self._popped(1)
        self.stack.append(_PLAIN)

    def _mark(self, _: None) -> None:
        self._below.append(self.stack)
        self.stack = []

    def _tuple(self, items: list[_Value]) -> None:
        made = _Value(len(items), items)
        if made.total > _MOST_VALUES or made.levels > MOST_NESTED:
            raise TooMuchError("tuples are nested in each other again and again")
        self.stack.append(made)

    def _set(self, items: list[_Value]) -> None:
        if any(key is _LARGE_NUMBER for key in items[::2]):  # which may all look alike to a dict
            raise TooMuchError("numbers of more than 64 bits are keys")
        self._fill(items)

    def _fill(self, items: list[_Value]) -> None:
        if self.stack[-1] is not _PLAIN:
            self.stack[-1].length += len(items)

    def _call(self, _: None) -> None:
        length = self._copy(self._popped(2)[1])
        self.stack.append(_Value(length))

    def _copy(self, value: _Value) -> int:
        length = value.length + sum(each.length for each in value.items)
        self.copied += length
        return length

    def _popped(self, number: int) -> list[_Value]:
        if len(self.stack) < number:
            raise IndexError("a step of the pickle has no values to work on")
        items = self.stack[-number:]
        del self.stack[-number:]
        return items

    def _marked(self) -> list[_Value]:
        items, self.stack = self.stack, self._below.pop()
        return items


# The values


def check_values(state: Any) -> None:
    """Make sure that whoever walks through all of `state`, or copies it, comes to an end.

    Containers that stand in several places are gone through once here, and counted as often as they stand there.

    Raises:
        TooMuchError: a container holds itself, they are nested too deeply, shared ones multiply, or a tensor is larger
            than its bytes.
    """
    found: dict[int, tuple[int, int, int]] = {}  # of a container: values and bytes in it, and levels
    around: set[int] = set()
    storages: dict[int, int] = {}
    num_values, todo = 1, [(state, False)]
    while todo:
        value, is_counted = todo.pop()
        inside = list(_inside(value))
        if is_counted:
            around.discard(id(value))
            found[id(value)] = _total(inside, found)
            if found[id(value)][2] > MOST_NESTED:
                raise TooMuchError(f"values are nested more than {MOST_NESTED} levels deep")
        elif id(value) in around:
            raise TooMuchError(f"a {type(value).__name__} holds itself")
        elif id(value) not in found:
            around.add(id(value))
            num_values += len(inside)
            todo.append((value, True))
            todo += [(each, False) for each in inside if _is_container(each)]
            for each in (state, *inside):
                if isinstance(each, torch.Tensor) and each.layout is torch.strided:
                    storage = _storage_of(each)
                    storages[storage[0]] = storage[1]
    values, size, _ = _total([state], found)
    if values > _MOST_VALUES + _TIMES * num_values:
        raise TooMuchError(f"{num_values:,} values stand for {values:,}, since they are shared again and again")
    held = sum(storages.values())
    if size > _MOST_BYTES + _TIMES * held:
        raise TooMuchError(f"{held:,} bytes stand for tensors of {size:,}")


def _is_container(value: Any) -> bool:
    return isinstance(value, (dict, list, tuple, set, frozenset)) and len(value) > 0


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value
        yield from value.values()
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from value


def _total(inside: list[Any], found: dict[int, tuple[int, int, int]]) -> tuple[int, int, int]:
    """Values, bytes of tensors, and levels, of a container with these items."""
    values, size, levels = 1, 0, 0
    for each in inside:
        if _is_container(each):
            own = found[id(each)]
            values, size, levels = values + own[0], size + own[1], max(levels, own[2])
        elif isinstance(each, torch.Tensor):
            values, size = values + 1, size + _size(each)
        else:
            values += 1 + (len(each) // 100 if isinstance(each, (str, bytes)) else 0)
    return values, size, levels + 1


def _size(tensor: torch.Tensor) -> int:
    if tensor.device.type == "meta":
        raise TooMuchError("a tensor has no data")
    return tensor.numel() * tensor.element_size() if tensor.layout is torch.strided else 0


def _storage_of(tensor: torch.Tensor) -> tuple[int, int]:
    if hasattr(tensor, "to_local"):  # a part of a divided one
        tensor = tensor.to_local()
    try:
        storage = tensor.untyped_storage()
    except (RuntimeError, NotImplementedError):  # of a kind that keeps its data elsewhere
        return id(tensor), tensor.numel() * tensor.element_size()
    return storage.data_ptr() or id(tensor), storage.nbytes()
