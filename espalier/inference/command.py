"""What `predict.py` does: read what the command line names, ask the model, write what it says, name what is bad."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import torch
from tqdm import tqdm

from espalier.atomic import write_atomically
from espalier.config.check_processes import fault_of_named
from espalier.console import readable
from espalier.device import accelerator, num_accelerators
from espalier.errors import ConfigError, UserError, counted, explain, parts_of_message, printable
from espalier.inference.drawn import Pictures
from espalier.inference.feed import Fault, as_inputs, reason_of
from espalier.inference.folders import is_folder
from espalier.inference.model import OF_MACHINE, Model, together
from espalier.inference.predictions import Predictions
from espalier.inference.request import Request
from espalier.inference.shown_table import ShownTable
from espalier.inference.sources import Source, Unread, sources_of
from espalier.inference.written import ArraysFile, CsvFile, JsonFile, ParquetFile
from espalier.journal.progress import progress_bar

_FILES: dict[str, Any] = {
    ".csv": CsvFile, ".json": JsonFile, ".jsonl": lambda file: JsonFile(file, is_lines=True),
    ".parquet": ParquetFile, ".npz": ArraysFile,
}  # fmt: skip

_GIVES_UP = 500  # inputs of one shape, none of which could be used
_MOST_ALIKE = 10  # rows of a file that are named with the same fault


def predict_files(model: Model, request: Request, stdout: TextIO) -> int:
    """Predict what a command line names; bad inputs are told on stderr.

    Args:
        stdout: where a table goes that no file is named for.

    Returns:
        The exit code: 0, or 1 where inputs could not be used.

    Raises:
        UserError: nothing can be written, or not so.
    """
    if (why := model.facts.get("why_loader")) is not None:
        print(printable(f"The data loader of the run prepares the inputs: {why}"), file=sys.stderr)
    work = _Work(model, request)
    if request.output is None:
        work.write(ShownTable(stdout) if stdout.isatty() else CsvFile(stdout.buffer))
        stdout.flush()
    else:
        _write_file(request.output, work)
    print(printable(_summary(work, request)), file=sys.stderr)
    return 1 if work.num_bad else 0


def gpu_of(named: str | None) -> str | None:
    """The GPU that `-d` names, the first to be seen then; None where it names none.

    Raises:
        ConfigError: it is not there.
    """
    if named is None:
        return None
    if (fault := fault_of_named(named, num_accelerators())) is not None:
        raise ConfigError(fault)
    return f"{accelerator()}:0"


def _write_file(path: Path, work: _Work) -> None:
    def write(file: BinaryIO) -> None:
        work.write(_FILES[path.suffix](file))
        if not work.num_said:
            raise _NothingSaid

    try:
        write_atomically(path, write)
    except _NothingSaid:
        pass
    except OSError as error:
        raise UserError(explain(f"--output: {path} could not be written: {error.strerror or error}")) from error


class _NothingSaid(Exception):
    """No input could be used: no file is written."""


def _summary(work: _Work, request: Request) -> str:
    number = work.num_said + work.num_bad
    where = [str(each) for each in (request.output, request.draw) if each is not None and work.num_said]
    told = f"{work.num_said:,} of {counted(number, 'input')} predicted"
    return told + (f", {work.num_bad:,} could not be used" if work.num_bad else "") + (
        f": {' and '.join(where)}" if where else "")  # fmt: skip


class _Work:
    """The inputs of a command, predicted in their order.

    Attributes:
        num_said: inputs that were predicted.
        num_bad: inputs that could not be used.
    """

    def __init__(self, model: Model, request: Request) -> None:
        self.model, self.request = model, request
        self.num_said = self.num_bad = 0
        self._alike: Counter[str] = Counter()  # faults of the rows of a source
        self._bar = progress_bar(0, "Predicting", unit=" input", device=model.device)
        self._pictures = None if request.draw is None else Pictures(request.draw, model)

    def write(self, file: Any) -> None:
        """Predict all, and give it to what writes a file, or a table on stdout."""
        with self._bar, self._pictures or nullcontext():
            for said, names, source in self._chunks():
                file.add(said, names if self._has_names(source) else None, self.request.top)
                if self._pictures is not None:
                    self._pictures.add(said, names, source)
        file.close()

    def _has_names(self, source: Source) -> bool:
        """Of the rows of one file numbers say as much."""
        return source.is_of_files or len(self.request.inputs) > 1 or is_folder(self.request.inputs[0])

    def _chunks(self) -> Iterator[tuple[Predictions, list[str], Source]]:
        """What is said of some inputs at a time, `places` being those among all inputs of the command; their names."""
        request, start = self.request, 0
        for source in sources_of(request.inputs, self.model.preprocessing, every_window=request.every_window):
            if isinstance(source, Unread):
                self._tell(source.name, source.reason)
                start += 1
                continue
            source.start = start
            self._bar.total = start + len(source)
            yield from self._of(source)
            self._tell_rest(source)
            start += len(source)
            self._bar.update(start - self._bar.n)

    def _of(self, source: Source) -> Iterator[tuple[Predictions, list[str], Source]]:
        try:
            encoded = self.model.preprocessing.encode(as_inputs(source.inputs))
        except Exception as error:  # whatever a file may hold: all of its inputs are lost, and no others
            self._tell(source.name, reason_of(error), number=len(source))
            return
        batches = self.model.outputs_of_encoded(encoded, batch_size=self.request.batch_size,
                                                num_workers=self.request.workers)  # fmt: skip
        num_good = num_tried = 0
        try:
            for outputs, faults in batches:
                for each in faults:
                    self._tell_of(source, each)
                if outputs:
                    said = together(self.model.meaning, outputs, {})
                    names = [readable(source.name_of(place)) for place in said.places.tolist()]
                    said.places += source.start
                    self.num_said += len(names)
                    yield said, names, source
                num_good += sum(len(each.places) for each in outputs)
                num_tried = num_good + sum(self._alike.values())
                self._bar.update(source.start + num_tried - self._bar.n)
                if source.is_uniform and not num_good and _GIVES_UP <= num_tried < len(source):
                    rest = len(source) - num_tried
                    self._tell(source.name, f"{counted(rest, 'input')} more are not tried", number=rest)
                    return
        except torch.OutOfMemoryError as error:
            raise UserError(explain(f"the GPU has not enough memory: {error}", fix="a smaller --batch-size")) from error
        except OF_MACHINE as error:
            what = f"the GPU has failed: {str(error).partition(chr(10))[0]}"
            raise UserError(explain(what, fix="on the CPU, with CUDA_VISIBLE_DEVICES=, it is said of which input")
                            ) from error  # fmt: skip

    def _tell_of(self, source: Source, fault: Fault) -> None:
        """Name an input; of the rows of a file that all have one fault the first, and how many there are is told."""
        told = self._alike[fault.reason] if not source.is_of_files else 0
        self._alike[fault.reason] += 1
        if told < _MOST_ALIKE:
            self._tell(source.name_of(fault.place), fault.reason)
        else:
            self.num_bad += 1

    def _tell_rest(self, source: Source) -> None:
        """How many more rows of a source had a fault that was told of others."""
        for reason, number in self._alike.items():
            if number > _MOST_ALIKE and not source.is_of_files:
                self._tell(source.name, f"{counted(number - _MOST_ALIKE, 'input')} more: {reason}", number=0)
        self._alike.clear()

    def _tell(self, name: str, reason: str, number: int = 1) -> None:
        """Name inputs that cannot be used, on stderr."""
        self.num_bad += number
        tqdm.write(printable(_sentence(readable(name).replace("\n", "\\n"), reason)), file=sys.stderr)


def _sentence(name: str, reason: str) -> str:
    """One line: the name of an input, unless the message has it, what is wrong, and what would be right."""
    head, answers = parts_of_message(UserError(reason))
    told = [f"{label} {text}" for label, text in answers.items() if label != "from"]
    head = "; ".join([head.removeprefix("checkpoint error: "), *told])
    return head if name in head else f"{name}: {head}"
