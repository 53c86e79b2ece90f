"""Texts as `espalier.datasets.Text` makes ids of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from espalier.checkpoints.saved_shape import COUNT, NAMED, SWITCH, TEXT, TEXTS, Maybe, check_shape
from espalier.datasets.table_file import check_column, load_table
from espalier.datasets.text import Text, tokens_of
from espalier.datasets.tokens import TOKENIZERS, UNKNOWN, Vocabulary
from espalier.errors import CheckpointError, DataError, closest, explain, shorten
from espalier.preprocessing.contract import EachOf, Preprocessing
from espalier.preprocessing.row_files import options_for

_STATE = {
    "tokenizer": Maybe(TEXT), "pattern?": TEXT, "function?": Maybe(TEXT), "args?": NAMED, "max_length": Maybe(COUNT),
    "vocabulary": TEXTS, "column": TEXT, "is_folder": SWITCH, "is_csv": SWITCH, "read": Maybe(NAMED),
}  # fmt: skip


class Texts(Preprocessing):
    """Texts become ids; nothing is left to do then but to pad them, which is `collate_fn`.

    State: `tokenizer`, "words" or "characters", or None and `function`, the dotted name of one, with its `args`; of
    words the `pattern` of `re` whose matches in the lower-cased text, in the form NFC, are the tokens; `vocabulary`,
    the first of which has id 2; `max_length`; `column`, of the texts in a table; and how files are read.

    Args:
        tokenizer: the function that `function` stands for.
    """

    takes = "texts"

    def __init__(self, state: Mapping[str, Any], tokenizer: Callable[[str], list[str]] | None = None) -> None:
        super().__init__(state)
        check_shape(self.state, _STATE, "how texts are prepared")
        name = self.state["tokenizer"]
        if tokenizer is None and name not in TOKENIZERS:
            what = "checkpoint error: the tokenizer of training is not one that can be found again"
            raise CheckpointError(explain(what, got=shorten(name) if name else "a function without a name of its own",
                                          expected=f"one of: {', '.join(TOKENIZERS)}, or a function of a module",
                                          closest=closest(str(name), TOKENIZERS)))  # fmt: skip
        self.tokenizer = name if tokenizer is None else tokenizer
        self.vocabulary = Vocabulary(self.state["vocabulary"])

    def encode(self, inputs: Sequence[Any]) -> Dataset[Any]:
        """The ids of each text, int64 `(L,)`, at least one.

        Args:
            inputs: texts, paths (no texts) of files that are a text each, or dicts with one under the name of the
                column; or a `DataFrame` with that column.
        """
        return EachOf(self._values(inputs), self._ids)

    def read_file(self, path: str | Path) -> list[str]:
        """The texts of a file: of a table its column, of any other a text a line; or one text, if training had that.

        Raises:
            DataError: it cannot be read.
        """
        path = Path(path).expanduser()
        if path.suffix.lower() != ".txt":
            frame = load_table(path, options_for(path, self.state), is_text=True)
            check_column(self.state["column"], frame, path)
            return list(frame[self.state["column"]].tolist())
        text = self._content(path)
        return [text] if self.state["is_folder"] else text.splitlines()

    @property
    def collate_fn(self) -> Callable[[list[Any]], Any]:
        """Ids `(B, L)`, padded behind with 0."""
        return Text.collate_fn

    def _values(self, inputs: Any) -> Sequence[Any]:
        import pandas as pd

        if not isinstance(inputs, pd.DataFrame):
            return [inputs] if isinstance(inputs, Mapping) else inputs
        check_column(self.state["column"], inputs, "the table")
        return list(inputs[self.state["column"]].tolist())

    def _ids(self, given: Any) -> torch.Tensor:
        name = self.state["column"]
        value = given.get(name) if isinstance(given, Mapping) else given
        text = self._content(value) if isinstance(value, Path) else value
        if not isinstance(text, str):
            expected = f'a text, or {{"{name}": a text}}'
            raise DataError(explain("data error: the input is no text", got=shorten(given), expected=expected))
        tokens = tokens_of(text, self.tokenizer)[: self.state["max_length"]]
        return torch.tensor(self.vocabulary.ids(tokens) or [UNKNOWN])

    def _content(self, path: Path) -> str:
        encoding = (self.state["read"] or {}).get("encoding", "utf-8-sig")
        try:
            return path.expanduser().read_text(encoding=encoding)
        except (OSError, ValueError, LookupError) as error:
            what = f"data error: {path} is no text in {encoding.removesuffix('-sig')}"
            raise DataError(explain(what, got=str(error))) from error
