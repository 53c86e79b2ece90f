"""Batches of worker processes, brought over in shared memory that is used again and again.

`DataLoader` makes new shared memory for each tensor, hands it over through a socket and throws it away: for 64 images
of 32x32 pixels this takes as long as reading seven of them from their files. Here a worker copies its batch into memory
that both processes know, and the training process copies it out before it asks for one batch more.
"""

from __future__ import annotations

import io
import itertools
import pickle
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info
from torch.utils.data._utils.collate import collate, collate_tensor_fn, default_collate_fn_map

_MOST_BYTES = 16 << 20  # of a batch's tensors; to copy more takes longer than new shared memory does
_FEWEST_BYTES = 1024  # of an array; fewer are pickled
_ALIGNMENT = 64  # bytes
_PASSES = itertools.count()


@dataclass
class SentBatch:
    """A batch on its way: pickled, but for what is in shared memory."""

    worker: int
    number: int  # of the batch among those of this worker
    pickled: bytes
    places: list[slice]  # of the parts in shared memory
    buffer: int  # which of the worker's buffers these are in
    memory: torch.Tensor | None  # that buffer, where it is new


class Inbox:
    """Takes the batches that workers give in one pass, in the training process."""

    def __init__(self) -> None:
        self._pass = next(_PASSES)
        self._num_taken: dict[int, int] = {}  # by worker: its batches before this one are in shared memory no longer
        self._buffers: dict[tuple[int, int], torch.Tensor] = {}

    def keys(self, keys: Iterable[Any]) -> Iterator[Any]:
        """What an `Outbox` is to be asked for batches."""
        for key in keys:
            yield self._pass, dict(self._num_taken), key

    def take(self, sent: SentBatch) -> Any:
        """The batch, in memory of its own."""
        buffer = sent.worker, sent.buffer
        if sent.memory is not None:
            self._buffers[buffer] = sent.memory
        parts = [_copied(self._buffers[buffer][place]) for place in sent.places]
        self._num_taken[sent.worker] = sent.number + 1
        return _Unpickler(sent.pickled, parts).load()


def _copied(part: torch.Tensor) -> torch.Tensor:
    """A copy by one thread: the others that PyTorch would take wait busily on cores that the workers need."""
    copy = torch.empty_like(part)
    copy.numpy()[:] = part.numpy()
    return copy


class Outbox(Dataset[Any]):
    """Gives what `batches[key]` is, in a worker, for the keys of an `Inbox`."""

    def __init__(self, batches: Dataset[Any]) -> None:
        self.batches = batches
        self._begin(-1)

    def _begin(self, number: int) -> None:
        """Forget what an earlier pass used: it may have ended before its last buffers were made known."""
        self._pass, self._number = number, 0
        self._buffers: list[torch.Tensor] = []
        self._number_in: list[int] = []  # the batch that each buffer was last used for

    def __getitem__(self, key: tuple[int, dict[int, int], Any]) -> SentBatch:
        number_of_pass, num_taken, inner_key = key
        info = get_worker_info()
        assert info is not None
        if number_of_pass != self._pass:
            self._begin(number_of_pass)
        pickler = _Pickler()
        pickler.dump(self.batches[inner_key])
        sent = SentBatch(info.id, self._number, pickler.file.getvalue(), pickler.places, -1, None)
        if pickler.parts:
            sent.buffer, sent.memory = self._free_buffer(pickler.num_bytes, num_taken.get(info.id, 0))
            memory = self._buffers[sent.buffer].numpy()
            for part, place in zip(pickler.parts, pickler.places, strict=True):
                memory[place] = part
        self._number += 1
        return sent

    def _free_buffer(self, num_bytes: int, num_taken: int) -> tuple[int, torch.Tensor | None]:
        """The index of a buffer that is large enough and free now; and the buffer, if it had to be made."""
        free = [index for index, number in enumerate(self._number_in) if number < num_taken]
        index = next((index for index in free if self._buffers[index].numel() >= num_bytes), None)
        memory = None
        if index is None:
            memory = torch.empty(num_bytes, dtype=torch.uint8).share_memory_()  # type: ignore[no-untyped-call]
            index = free[0] if free else len(self._buffers)
            self._buffers[index : index + 1] = [memory]
        self._number_in[index : index + 1] = [self._number]
        return index, memory


class _Pickler(ForkingPickler):
    """Pickles as queues between processes do, but leaves out what tensors and arrays hold."""

    def __init__(self) -> None:
        self.file = io.BytesIO()
        super().__init__(self.file, pickle.HIGHEST_PROTOCOL)
        self.parts: list[np.ndarray] = []  # what was left out, as bytes
        self.places: list[slice] = []  # for each of them, in a buffer of `num_bytes`
        self.num_bytes = 0
        self._part_of: dict[int, int] = {}  # by the address of a storage, which several tensors may share
        self._room = _MOST_BYTES  # for tensors

    def persistent_id(self, thing: Any) -> tuple[str, int] | None:
        """What to look for instead of `thing`; None if it is pickled."""
        if isinstance(thing, pickle.PickleBuffer):
            raw = thing.raw()
            return ("array", self._left_out(np.frombuffer(raw, np.uint8))) if raw.nbytes >= _FEWEST_BYTES else None
        if not isinstance(thing, torch.UntypedStorage) or thing.device.type != "cpu" or not thing.nbytes():
            return None
        address = thing.data_ptr()
        if address not in self._part_of and thing.nbytes() <= self._room:
            self._room -= thing.nbytes()
            self._part_of[address] = self._left_out(torch.empty(0, dtype=torch.uint8).set_(thing).numpy())
        return ("storage", self._part_of[address]) if address in self._part_of else None

    def _left_out(self, part: np.ndarray) -> int:
        self.parts.append(part)
        self.places.append(slice(self.num_bytes, self.num_bytes + part.size))
        self.num_bytes += -(-part.size // _ALIGNMENT) * _ALIGNMENT
        return len(self.parts) - 1


class _Unpickler(pickle.Unpickler):
    """Puts the parts back in."""

    def __init__(self, pickled: bytes, parts: list[torch.Tensor]) -> None:
        super().__init__(io.BytesIO(pickled))
        self._parts = parts

    def persistent_load(self, pid: tuple[str, int]) -> Any:
        kind, number = pid
        return self._parts[number].numpy() if kind == "array" else self._parts[number].untyped_storage()


def collate_in_worker(samples: Any) -> Any:
    """`default_collate` without shared memory, where an `Outbox` will have room for the batch."""
    functions = default_collate_fn_map  # to which projects may add their own
    if functions[torch.Tensor] is collate_tensor_fn:
        functions = {**functions, torch.Tensor: _stack}
    return collate(samples, collate_fn_map=functions)


def _stack(tensors: Any, *, collate_fn_map: Any = None) -> Any:
    first = tensors[0]
    if first.is_nested or first.layout != torch.strided or first.nbytes * len(tensors) > _MOST_BYTES:
        return collate_tensor_fn(tensors, collate_fn_map=collate_fn_map)
    return torch.stack(tensors)
