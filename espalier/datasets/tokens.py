"""Texts as tokens: words or characters, counted, and a vocabulary of the frequent ones."""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import groupby
from typing import Any

import numpy as np
import torch

PADDING, UNKNOWN = 0, 1
NUM_SPECIAL = 2  # ids that are no token's
Tokenizer = Callable[[str], list[str]]


def words(text: str) -> list[str]:
    """Lower-cased words of any script, and every other sign but white space by itself: `Don't!` is `don ' t !`."""
    return word_pattern().findall(unicodedata.normalize("NFC", text.lower()))


@cache
def word_pattern() -> re.Pattern[str]:
    """Letters, digits and underscores with the marks on them, which Python does not count as part of a word."""
    is_mark = [unicodedata.category(chr(each))[0] == "M" for each in range(0x20000)]  # no script is beyond that
    runs = [[code for code, _ in run] for mark, run in groupby(enumerate(is_mark), key=lambda each: each[1]) if mark]
    marks = "".join(f"{re.escape(chr(run[0]))}-{re.escape(chr(run[-1]))}" for run in runs)
    return re.compile(rf"\w[\w{marks}]*|[^\w\s]")


TOKENIZERS: dict[str, Tokenizer] = {"words": words, "characters": list}


class TokenizedTexts:
    """All tokens of many texts, as one array of codes.

    Args:
        texts: of any number.
        tokenizer: gives the tokens of a text.
        max_length: tokens of a text that are kept, from its start; None for all.

    Attributes:
        lengths: int64 `(N,)`, at least 1: a text without tokens becomes one unknown token.
        num_empty: texts without tokens.
        num_cut: texts longer than `max_length`.
    """

    def __init__(self, texts: Iterable[str], tokenizer: Tokenizer, max_length: int | None = None) -> None:
        numbers: dict[str, int] = {}
        codes, lengths = array("i"), array("q")
        self.num_empty = self.num_cut = 0
        for text in texts:
            tokens = tokenizer(text)
            self.num_cut += max_length is not None and len(tokens) > max_length
            self.num_empty += not tokens
            found = [numbers.setdefault(token, len(numbers)) for token in tokens[:max_length]] or [-1]
            codes.extend(found)
            lengths.append(len(found))
        self.tokens = list(numbers)
        self.codes = np.frombuffer(codes, dtype=np.int32) if codes else np.zeros(0, dtype=np.int32)
        self.lengths = np.array(lengths, dtype=np.int64)

    def most_frequent(self, rows: np.ndarray, min_count: int, most: int | None) -> list[str]:
        """The tokens of these texts, the frequent ones first, those as frequent by the alphabet.

        Args:
            min_count: how often a token must be there.
            most: of them that are taken; None for all.
        """
        times = np.repeat(np.bincount(rows, minlength=len(self.lengths)), self.lengths)
        is_token = self.codes >= 0
        counts = np.bincount(self.codes[is_token], weights=times[is_token], minlength=len(self.tokens)).astype(np.int64)
        chosen = np.flatnonzero(counts >= max(min_count, 1)).tolist()
        return [
            self.tokens[code] for code in sorted(chosen, key=lambda code: (-counts[code], self.tokens[code]))[:most]
        ]

    def ids(self, vocabulary: Vocabulary) -> np.ndarray:
        """The ids of all tokens of all texts, int64."""
        found = np.array([*vocabulary.ids(self.tokens), UNKNOWN], dtype=np.int64)  # the last is that of -1
        return np.asarray(found[self.codes])


class Vocabulary:
    """Ids for tokens: 0 is padding, 1 an unknown token, the others follow.

    Args:
        tokens: different ones; the first has id 2.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = list(tokens)
        self._ids = {token: number for number, token in enumerate(self.tokens, NUM_SPECIAL)}

    def __len__(self) -> int:
        return len(self.tokens) + NUM_SPECIAL

    def ids(self, tokens: Iterable[str]) -> list[int]:
        """The id of each token."""
        return [self._ids.get(token, UNKNOWN) for token in tokens]

    def names(self, ids: Any) -> list[str]:
        """The token of each id; nothing for padding, `<unknown>` for the unknown."""
        names = ["", "<unknown>", *self.tokens]
        return [names[each] for each in torch.as_tensor(ids).tolist() if each != PADDING]
