"""A graph as `torch.export` sees it, with sizes that may change: the first step of each format but weights."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.export import Dim, ExportedProgram
from torch.nn.utils.rnn import PackedSequence

from espalier.errors import UserError, explain
from espalier.export.graph import Graph
from espalier.export.sizes import BATCH, Sizes
from espalier.inference.named_tensors import named_tensors

# What is kept of where a node came from: files of this machine, and places in memory, which differ each time.
_ORIGIN = ("stack_trace", "from_node", "nn_module_stack", "source_fn_stack", "torch_fn")


@dataclass(frozen=True)
class Program:
    """A graph that was traced.

    Attributes:
        graph: as it was.
        exported: the program.
        sizes: the dimensions that may change.
        symbols: what the program calls them, by their names.
    """

    graph: Graph
    exported: ExportedProgram
    sizes: Sizes
    symbols: dict[str, str]


def trace(graph: Graph, example: Any, sizes: Sizes, *, is_strict: bool = False) -> Program:
    """Trace a graph.

    Args:
        example: an input of two samples or more.
        sizes: the dimensions that are to be free.
        is_strict: whether PyTorch reads the code of `forward` rather than to run it: so `len(x)` is no fixed number,
            and much else is refused.

    Raises:
        UserError: PyTorch cannot export this network.
    """
    tensors = [*named_tensors(example, "input").values()]
    asked = [dict.fromkeys(sizes.of[name], Dim.AUTO(min=1)) for name in graph.names]  # type: ignore[operator]
    try:
        with quiet(), torch.no_grad():
            # Ones: a file keeps what it was traced with, and real samples are nobody's business.
            ones = tuple(map(torch.ones_like, tensors))
            program = torch.export.export(graph, ones, dynamic_shapes=(tuple(asked),), strict=is_strict)
    except Exception as error:  # of many kinds, as a network may do anything
        raise cannot_export(error, "traced") from error
    for node in program.graph.nodes:
        for key in _ORIGIN:
            node.meta.pop(key, None)
    symbols = _symbols(program, graph, sizes)
    for name in sizes.names:
        if name not in symbols:
            sizes = sizes.without(name, "fixed: PyTorch finds one size alone in what forward does")
    if BATCH not in symbols:
        raise _one_batch()
    return Program(graph, program, sizes, symbols)


def _one_batch() -> UserError:
    head = "export error: the network takes one number of samples alone, as PyTorch traces it"
    fix = "let forward compute all samples at once, with x.shape[0] or -1 where their number stands"
    return UserError(explain(head, fix=fix))


def _symbols(program: ExportedProgram, graph: Graph, sizes: Sizes) -> dict[str, str]:
    """What the program calls the dimensions that it has left free, by their names."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    shapes = [values[name].shape for name in program.graph_signature.user_inputs]  # type: ignore[index, union-attr]
    found: dict[str, str] = {}
    for name, shape in zip(graph.names, shapes, strict=True):
        for dim, called in sizes.of[name].items():
            if not isinstance(shape[dim], int):
                found.setdefault(called, str(shape[dim]))
    return found


def cannot_export(error: Exception, verb: str) -> UserError:
    """The error for a network that PyTorch cannot export, in two lines of the many that it says."""
    root = error.__cause__ if type(error).__name__ == "OnnxExporterError" and error.__cause__ else error
    said = next((line.strip() for line in str(root).splitlines() if line.strip()), repr(root))
    head = f"export error: the network cannot be {verb} by PyTorch"
    fix = ("let forward depend on the shapes of tensors alone, not on the numbers in them (.item(), if x.sum() > 0); "
           "--debug shows where it failed")  # fmt: skip
    if _is_packed(root):
        fix = "let it read padded inputs without pack_padded_sequence, and take the state behind the last: lengths - 1"
    return UserError(explain(head, got=f"{type(root).__name__}: {said[:300]}", fix=fix))


def _is_packed(error: BaseException) -> bool:
    """Whether an error arose where a packed sequence was made or read."""
    traceback, packs = error.__traceback__, False
    while traceback is not None:
        code, known = traceback.tb_frame.f_code, traceback.tb_frame.f_locals
        packs |= code.co_name == "pack_padded_sequence" or any(isinstance(each, PackedSequence)
                                                               for each in known.values())  # fmt: skip
        traceback = traceback.tb_next
    return packs


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let libraries keep to themselves what they print while they export; errors are raised in any case."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with _nowhere(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _nowhere() -> Iterator[None]:
    """Both outputs of the process, C++ of libraries included, go nowhere."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [(number, os.dup(number)) for number in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number, _ in kept:
            os.dup2(nowhere, number)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, other in kept:
            os.dup2(other, number)
            os.close(other)
        os.close(nowhere)
