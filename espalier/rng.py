"""All the random number generators a run draws from, seeded, saved and restored together."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import random
from collections.abc import Iterator
from types import NoneType
from typing import Any

import numpy as np
import torch

from espalier.device import accelerator, num_accelerators
from espalier.processes import collectives

DEFAULT_SEED = 123
_UNSEEDED = torch.Generator().initial_seed()  # where PyTorch begins by itself
_SPARE: list[Any] = []  # generators that stand in for NumPy's own while samples are loaded
_PYTHON: Any = random.random.__self__  # type: ignore[attr-defined]  # the generator behind the functions of `random`
_LEGACY: Any = np.random  # it does not declare some of its functions
_MT19937_BYTES = 4 * (624 + 1)  # its numbers, and the position in them
_Mt19937 = ctypes.c_char * _MT19937_BYTES
_place_without_second: bytes | str | None = None


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and PyTorch (CPU and every GPU)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def known_seed(wanted: int | None) -> int | None:
    """What this process was seeded with; None where it was not, or not with the number that is `wanted`."""
    seed = torch.initial_seed()
    is_set = seed != _UNSEEDED if wanted is None else seed == wanted
    return seed if is_set else None


def be_deterministic() -> None:
    """Let PyTorch use only operations that give the same bits each time; one that has no such form raises and is named.

    On a GPU it is slower. It holds for the rest of the process.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA first multiplies
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


@functools.lru_cache(maxsize=8)
def mix_seed(*parts: int) -> int:
    """One seed out of several numbers, so that neighbouring numbers give unrelated seeds."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


def seed_sample(stream: int, number: int) -> None:
    """Seed what a dataset may draw from (Python, NumPy, PyTorch on the CPU) for sample `number` of a stream.

    It takes 8 us, where `seed_everything` takes 130 us.
    """
    mixed = mix_sample_seed(stream, number)
    random.seed(mixed)
    np.random.seed(mixed & 0xFFFFFFFF)
    torch.default_generator.manual_seed(mixed)


def mix_sample_seed(stream: int, number: int) -> int:
    """The seed of sample `number` of a stream, 64 bits. Source: splitmix64."""
    mixed = (stream + number * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return mixed ^ (mixed >> 31)


class PrivateRng:
    """A stream of random numbers beside the global one: inside `with` the global CPU generators stand on it."""

    def __init__(self, seed: int) -> None:
        self._seed: int | None = seed
        self._own: Any = None

    def __enter__(self) -> None:
        self._global = _cpu_state()
        if self._seed is None:
            _set_cpu_state(self._own)
        else:
            seed_sample(self._seed, 0)
            self._seed = None

    def __exit__(self, *error: object) -> None:
        self._own = _cpu_state()
        _set_cpu_state(self._global)


@contextlib.contextmanager
def kept_rng() -> Iterator[None]:
    """Put the global CPU generators back at the end to where they were at the beginning."""
    python, numpy, torch_state = python_place(), _LEGACY.get_bit_generator(), torch.get_rng_state()
    state = _state_with_second_normal()
    spare = _SPARE.pop() if _SPARE else np.random.MT19937(0)
    _LEGACY.set_bit_generator(spare)  # a hundredth of the time that setting its state takes
    try:
        yield
    finally:
        if python_place() != python:
            _put_python_back(python)
        _LEGACY.set_bit_generator(numpy)
        if state is not None:
            _set_numpy_state(state)
        torch.set_rng_state(torch_state)
        _SPARE.append(spare)


def python_place() -> Any:
    """Where Python's generator stands: what it has in memory, since `getstate` makes 625 Python numbers of that."""
    memory = _python_memory()
    return random.getstate() if memory is None else (memory.raw, _PYTHON.gauss_next)


@functools.cache
def _python_memory() -> Any:
    """Its position and numbers, or None where this Python keeps them in another way than is known."""
    if type(_PYTHON).__basicsize__ < object.__basicsize__ + _MT19937_BYTES:
        return None
    memory = _Mt19937.from_address(id(_PYTHON) + object.__basicsize__)
    return memory if _python_numbers(memory.raw) == random.getstate()[1] else None


def _python_numbers(memory: bytes) -> tuple[int, ...]:
    position, *numbers = np.frombuffer(memory, np.uint32).tolist()
    return (*numbers, position)


def _put_python_back(place: Any) -> None:
    if _python_memory() is not None:
        place = random.Random.VERSION, _python_numbers(place[0]), place[1]
    random.setstate(place)


def numpy_place() -> bytes | str:
    """Where NumPy's generator stands; of an MT19937, which is the default, without the second normal number of a pair.

    There it is what that has in memory; whoever has set a bit generator of another kind pays for taking its state out.
    """
    memory = _numpy_memory(_LEGACY.get_bit_generator())
    return repr(np.random.get_state(legacy=False)) if memory is None else memory.raw


@functools.lru_cache(maxsize=4)
def _numpy_memory(generator: Any) -> Any:
    is_known = type(generator) is np.random.MT19937
    return _Mt19937.from_address(generator.ctypes.state_address) if is_known else None


def _state_with_second_normal() -> Any:
    """NumPy's state if it keeps the second normal number of a pair, which another bit generator makes it forget.

    To take the state out takes 30 us. That is left out where the generator stands as it did when there was no such
    number: to get one, it would have had to move, or to be put back to an earlier state (`_set_numpy_state`).
    """
    global _place_without_second
    place = numpy_place()
    if place == _place_without_second:
        return None
    state: Any = np.random.get_state(legacy=False)
    _place_without_second = None if state["has_gauss"] else place
    return state if state["has_gauss"] else None


def _set_numpy_state(state: Any) -> None:
    global _place_without_second
    _place_without_second = None  # at the same place there may be one in an earlier state
    np.random.set_state(state)


def _cpu_state() -> Any:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def _set_cpu_state(state: Any) -> None:
    random.setstate(state[0])
    _set_numpy_state(state[1])
    torch.set_rng_state(state[2])


def get_rng_state() -> dict[str, Any]:
    """The state of all generators as tensors and plain values, fit for a checkpoint; of GPUs only if one is in use."""
    version, internal, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    assert isinstance(keys, np.ndarray)
    return {
        "python": [version, torch.tensor(internal, dtype=torch.int64), gauss],
        "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
        "cuda": [],
        accelerator(): [_gpu_module().get_rng_state(*each) for each in _gpus()] if _has_gpu_in_use() else [],
    }


def set_rng_state(state: dict[str, Any]) -> None:
    """Put all generators back to a state from `get_rng_state`.

    GPU generators are restored when there are as many GPUs as before; on other hardware nothing can be bit-exact.

    Raises:
        Exception: of any kind, where it is no such state.
    """
    version, internal, gauss = state["python"]
    kind, keys, position, has_gauss, cached = state["numpy"]
    if type(position) is not int or not 0 <= position <= 624:  # NumPy would read what lies behind its numbers
        raise ValueError(f"no position of a generator: {position}")
    if not isinstance(gauss, (float, NoneType)) or not isinstance(cached, float):
        raise ValueError(f"no normal numbers: {gauss}, {cached}")
    random.setstate((version, tuple(internal.tolist()), gauss))
    _set_numpy_state((kind, keys.cpu().numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"].cpu())
    saved = state.get(accelerator(), [])
    if len(saved) == len(_gpus()):
        for each, own in zip(saved, _gpus(), strict=True):
            _gpu_module().set_rng_state(each.cpu(), *own)


def num_gpus_in(state: dict[str, Any]) -> int:
    """Of how many GPUs like those here a state from `get_rng_state` is."""
    return len(state.get(accelerator(), []))


def _gpu_module() -> Any:
    """What of PyTorch is for the GPUs here: `torch.cuda`, say."""
    return torch.get_device_module(accelerator())


def _has_gpu_in_use() -> bool:
    return bool(getattr(_gpu_module(), "is_initialized", lambda: True)())  # Apple's is not asked for before it is used


def _gpus() -> list[tuple[int, ...]]:
    """What those that this process computes on are called: one of several processes would disturb those of others."""
    if num_accelerators() == 0:
        return []
    if accelerator() == "mps":
        return [()] * num_accelerators()  # there is one, without a number
    if collectives.world_size() > 1:
        return [(_gpu_module().current_device(),)] if num_accelerators() else []
    return [(index,) for index in range(num_accelerators())]
