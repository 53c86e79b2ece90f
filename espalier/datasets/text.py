"""Texts with a label as a dataset: tokens, a vocabulary of the training texts, and batches that are padded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from espalier.data.workers import as_it_is
from espalier.datasets.cells import raw_values
from espalier.datasets.for_use import makes_own_samples, state_of_texts
from espalier.datasets.labels import Labels, not_fitted
from espalier.datasets.table_file import check_column, load_table
from espalier.datasets.tokens import NUM_SPECIAL, PADDING, TOKENIZERS, UNKNOWN, TokenizedTexts, Vocabulary
from espalier.errors import ConfigError, DataError, Problem, closest, explain, shorten

logger = logging.getLogger("data")

PATH = "data_loader.args.dataset.args"  # where it usually stands, for messages


Sample = tuple[torch.Tensor, int]


class Text(Dataset[Sample]):
    """Texts of a file or a folder; a sample is `(ids, label)`: int64 `(L,)`, at least one, and the number of a class.

    A batch is `(ids, labels)`, int64 `(B, L)` and `(B,)`, padded behind with 0 to the longest of it.

    Args:
        path: a CSV, TSV, Parquet or JSON lines file; or a folder with one folder a class, of .txt files. In CSV all
            cells are texts, also "NA" and "1".
        text: the name of the column of texts.
        target: the name of the column of classes.
        tokenizer: "words" (lower-cased words, and punctuation), "characters", or a function that gives the tokens of a
            text as a list. Scripts without spaces need "characters" or one of your own.
        max_length: tokens of a text that are kept, from its start; None for all.
        min_count: how often a token must be in the training texts to be known.
        max_vocab: ids there are at most, padding and unknown among them; None for all. The frequent tokens come first.
        read: options of pandas' reader, such as `{"sep": ";"}`; of a folder, only "encoding".

    Attributes:
        targets: the values as in the file, `(N,)`; after `use` the numbers of their classes.
        lengths: number of tokens of each sample, `(N,)`.
        vocab_size: number of ids.
        class_names, num_classes: by the alphabet, or numbers in their order.
        padding_idx: 0. The id 1 stands for a token that the training texts do not have.

    Raises:
        ConfigError: an argument is none of those above.
        DataError: the file or the folder is not what it should be.
    """

    is_deterministic = is_in_memory = True
    facts: tuple[str, ...] = ("vocab_size", "num_classes", "class_names", "padding_idx")
    padding_idx = PADDING

    def __init__(
        self,
        path: str | Path,
        text: str = "text",
        *,
        target: str = "label",
        tokenizer: Literal["words", "characters"] | Callable[[str], list[str]] = "words",
        max_length: int | None = None,
        min_count: int = 1,
        max_vocab: int | None = None,
        read: Mapping[str, Any] | None = None,
    ) -> None:
        _check_arguments(
            tokenizer, {"max_length": (max_length, 1), "min_count": (min_count, 1), "max_vocab": (max_vocab, 3)}
        )
        self.path, self.tokenizer, self.read = Path(path).expanduser(), tokenizer, dict(read or {})
        self.max_length, self.min_count, self.max_vocab = max_length, min_count, max_vocab
        if self.path.is_dir():
            self._frame = load_folder(self.path, read).rename(columns={"text": text, "label": target})
        else:
            self._frame = load_table(self.path, read, is_text=True)
        self.column_of_texts = text
        for name in (text, target):
            check_column(name, self._frame, self.path)
        self._labels = Labels(self._frame[target].replace("", None), self.path)
        self.targets: Any = self._labels.raw
        self._texts = TokenizedTexts(self._texts_of(text), self._tokens, max_length)
        self.lengths = self._texts.lengths
        self._starts = np.cumsum(self.lengths) - self.lengths
        self._refusal: Callable[[Any], None] | None = self._refuse  # of samples; None where all may be given
        for number, what in ((self._texts.num_empty, "hold no token, and become one unknown one"),
                             (self._texts.num_cut, f"are cut to {max_length} tokens")):  # fmt: skip
            if number:
                logger.info("%s of %s texts of %s %s.", f"{number:,}", f"{len(self):,}", self.path, what)

    def _texts_of(self, name: str) -> list[str]:
        found = self._frame[name].tolist()
        for row, text in enumerate(found, 1):
            if not isinstance(text, str):
                raise DataError(explain(f"data error: column {name!r} of {self.path} holds something else than text",
                                        got=f"{shorten(text)} in row {row}"))  # fmt: skip
        return list(found)

    def _tokens(self, text: str) -> list[str]:
        return tokens_of(text, self.tokenizer)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Sample:
        return self._samples([range(len(self))[index]])[0]  # an IndexError where the texts end

    def __getitems__(self, indices: Sequence[int] | torch.Tensor) -> list[Sample]:
        """These samples as a list, gathered at once, which is what loaders ask for."""
        if type(self).__getitem__ is not Text.__getitem__:
            return [self[int(index)] for index in indices]
        return self._samples(indices)

    def _samples(self, indices: Sequence[int] | torch.Tensor) -> list[Sample]:
        if self._refusal is not None:
            self._refusal(indices)
        chosen = np.asarray(indices)
        lengths = self.lengths[chosen]
        ends = np.cumsum(lengths)
        places = np.arange(ends[-1]) + np.repeat(self._starts[chosen] - ends + lengths, lengths)
        ids = torch.split_with_sizes(torch.from_numpy(self._ids[places]), lengths.tolist())
        return list(zip(ids, self._classes[chosen].tolist(), strict=True))

    @property
    def preprocessing(self) -> dict[str, Any] | None:
        """How texts become ids, see `espalier.preprocessing`; None before `use`, and where a subclass does it."""
        return None if not hasattr(self, "fitted") or makes_own_samples(self, Text) else state_of_texts(self)

    def raw_input(self, index: int) -> str:
        """The text of a sample, as it stands in the file."""
        return str(self._frame[self.column_of_texts].iat[index])

    def name_of(self, index: int) -> str:
        """The file of a text in a folder; else the number of the sample."""
        return (
            Path(self._frame["path"].iat[index]).relative_to(self.path).as_posix() if self.path.is_dir() else f"{index}"
        )

    def by_batch(self, collate_fn: Callable[[Any], Any]) -> tuple[Any, Callable[[Any], Any]]:
        """A dataset and a function to collate its samples, with the batches that this one and `collate_fn` give.

        Where nothing of it is a subclass's a batch is one gather, in place of a tensor for each text.
        """
        kind, is_own = type(self), collate_fn is Text.collate_fn
        is_own = is_own and kind.__getitem__ is Text.__getitem__ and kind.__getitems__ is Text.__getitems__
        return (_WholeBatches(self), as_it_is) if is_own else (self, collate_fn)

    def batch(self, indices: Sequence[int] | torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The batch of these samples, as `collate_fn` makes it."""
        if self._refusal is not None:
            self._refusal(indices)
        chosen = np.asarray(indices)
        lengths = self.lengths[chosen][:, None]
        steps = np.arange(lengths.max())
        places = np.where(steps < lengths, self._starts[chosen][:, None] + steps, -1)  # (B, L); the last is padding
        return torch.from_numpy(self._ids[places]), torch.from_numpy(self._classes[chosen])

    @staticmethod
    def collate_fn(samples: list[Sample]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids `(B, L)`, padded behind with 0, and labels `(B,)`."""
        ids, labels = zip(*samples, strict=True)
        return pad_sequence(list(ids), batch_first=True, padding_value=PADDING), torch.tensor(labels)

    def column(self, name: str) -> np.ndarray:
        """The values of any column of the file, `(N,)`; a folder has those of text and label, and `path`.

        Raises:
            DataError: there is none of that name.
        """
        check_column(name, self._frame, self.path)
        return raw_values(self._frame[name])

    def fit(self, indices: Any) -> dict[str, Any]:
        """Vocabulary and classes of these samples alone, as plain values.

        Raises:
            DataError: they are of one class alone.
        """
        rows = np.asarray(indices, dtype=np.int64)
        most = None if self.max_vocab is None else self.max_vocab - NUM_SPECIAL
        return {"vocabulary": self._texts.most_frequent(rows, self.min_count, most), "classes": self._labels.fit(rows)}

    def use(self, fitted: Mapping[str, Any]) -> None:
        """Take over a vocabulary and classes that `fit` found, here or on another file."""
        self.fitted = fitted
        self._vocabulary = Vocabulary(fitted["vocabulary"])
        self._ids = np.append(self._texts.ids(self._vocabulary), PADDING)
        self.vocab_size, self.class_names = len(self._vocabulary), list(fitted["classes"])
        self.num_classes = len(self.class_names)
        self.targets = self._labels.use(self.class_names)
        self._classes = self.targets.numpy().copy()  # a tensor sent to a spawned worker takes its memory with it
        self._refusal = self._labels.check if self._labels.has_unseen else None

    def check_samples(self, indices: Any) -> None:
        """Make sure that these samples can be used: before a run, not when the first batch with one of them comes.

        Raises:
            DataError: one is of a class that no training text has.
        """
        if self._refusal is not None:
            self._refusal(indices)

    def encode(self, text: str) -> torch.Tensor:
        """The ids of any text, int64 `(L,)`, as of a sample."""
        if self._refusal == self._refuse:
            self._refuse(text)
        return torch.tensor(self._vocabulary.ids(self._tokens(text)[: self.max_length]) or [UNKNOWN])

    def decode(self, ids: Any) -> str:
        """The tokens of ids `(L,)` as one text, without padding; an unknown one is `<unknown>`."""
        if self._refusal == self._refuse:
            self._refuse(ids)
        return ("" if self.tokenizer == "characters" else " ").join(self._vocabulary.names(ids))

    def _refuse(self, _: Any) -> None:
        raise not_fitted(self.path)


def tokens_of(text: str, tokenizer: str | Callable[[str], list[str]]) -> list[str]:
    """The tokens that a tokenizer of ours, by its name, or another gives of a text.

    Raises:
        DataError: it gives something else.
    """
    if isinstance(tokenizer, str):
        return TOKENIZERS[tokenizer](text)
    tokens = tokenizer(text)
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise DataError(explain(f"data error: the tokenizer gives no list of texts for {text!r:.60}",
                                got=f"{tokens!r:.80}"))  # fmt: skip
    return tokens


class _WholeBatches(Dataset[Any]):
    """Batches of texts in the place of samples."""

    def __init__(self, texts: Text) -> None:
        self.texts = texts

    def __getitems__(self, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        return self.texts.batch(indices)


def load_folder(path: Path, read: Mapping[str, Any] | None = None) -> Any:
    """The texts of a folder with one folder a class, sorted by name: columns `text`, `label` and `path`.

    Raises:
        DataError: there are none, or a file cannot be read.
    """
    import pandas as pd

    if other := {*(read or {})} - {"encoding"}:
        raise ConfigError(Problem(f"{PATH}.read.{min(other)}", "is no option for a folder", expected="encoding"))
    encoding = (read or {}).get("encoding", "utf-8-sig")
    classes = sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))
    files = [file for each in classes for file in sorted(each.iterdir()) if file.suffix.lower() == ".txt"]
    if not files:
        raise DataError(explain(f"data error: {path} holds no texts",
                                got=f"the folders {shorten([each.name for each in classes])}",
                                expected="a folder for each class, with .txt files in it"))  # fmt: skip
    texts = []
    for file in files:
        try:
            texts.append(file.read_text(encoding=encoding))
        except (OSError, ValueError, LookupError) as error:
            fix = 'let read say which it is, as in {"encoding": "cp1252"}' if isinstance(error, UnicodeError) else None
            what = f"data error: {file} is no text in {encoding.removesuffix('-sig')}"
            raise DataError(explain(what, got=str(error), fix=fix)) from error
    labels = [file.parent.name for file in files]
    return pd.DataFrame({"text": texts, "label": labels, "path": [str(file) for file in files]})


def _check_arguments(tokenizer: Any, counts: Mapping[str, tuple[int | None, int]]) -> None:
    found = [
        Problem(f"{PATH}.{name}", "is out of range", got=shorten(value), expected=f"a whole number of at least {least}")
        for name, (value, least) in counts.items() if value is not None and (type(value) is not int or value < least)
    ]  # fmt: skip
    if not callable(tokenizer) and tokenizer not in TOKENIZERS:
        found.append(Problem(f"{PATH}.tokenizer", "is no choice", got=shorten(tokenizer),
                             expected=f"one of: {', '.join(TOKENIZERS)}, or a function",
                             closest=closest(str(tokenizer), TOKENIZERS)))  # fmt: skip
    if found:
        raise ConfigError(found)
