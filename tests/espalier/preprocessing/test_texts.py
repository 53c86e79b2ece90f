"""Laws of texts: they become the ids that the dataset of training has for them."""

import json
import re
import unicodedata

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from espalier.datasets import Text
from espalier.errors import CheckpointError, DataError
from espalier.preprocessing.kinds import load_preprocessing
from espalier.preprocessing.texts import Texts

WORDS = ["good", "Bad", "don't", "हिन्दी", "e\u0301te\u0301", "été", "NA", "7.5", "İ"]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join) | st.text(max_size=12)


def shouted(text):
    """A tokenizer of one's own."""
    return text.upper().split()


def texts_of(folder, texts, **options):
    """A dataset of these texts, fitted on the first two thirds."""
    rows = {"label": [str(i % 2) for i in range(len(texts))], "text": texts}
    pd.DataFrame(rows).to_json(folder / "t.jsonl", orient="records", lines=True)
    dataset = Text(folder / "t.jsonl", **options)
    dataset.use(dataset.fit(range(max(2, len(texts) * 2 // 3))))
    return dataset


@given(texts=st.lists(TEXTS, min_size=2, max_size=8), tokenizer=st.sampled_from(["words", "characters", shouted]),
       max_length=st.none() | st.integers(1, 5), max_vocab=st.none() | st.integers(3, 9))  # fmt: skip
def test_texts_become_the_ids_of_the_dataset(tmp_path_factory, texts, tokenizer, max_length, max_vocab):
    """As do those of a batch, after JSON, and out of a file."""
    options = {"tokenizer": tokenizer, "max_length": max_length, "max_vocab": max_vocab}
    dataset = texts_of(tmp_path_factory.mktemp("texts"), texts, **options)
    state = json.loads(json.dumps(dataset.preprocessing))
    preprocessing = Texts(state, shouted) if tokenizer is shouted else load_preprocessing(state)
    assert preprocessing.module is None
    for inputs in (texts, preprocessing.read_file(dataset.path), pd.DataFrame({"text": texts})):
        encoded = preprocessing.encode(inputs)
        samples = [(encoded[index], 0) for index in range(len(encoded))]
        assert [each.tolist() for each, _ in samples] == [dataset[index][0].tolist() for index in range(len(dataset))]
        batch = preprocessing.collate_fn(samples)[0]
        assert torch.equal(batch, dataset.batch(range(len(texts)))[0])


@given(texts=st.lists(TEXTS, min_size=2, max_size=8))
def test_words_can_be_told_from_the_state_by_plain_python(tmp_path_factory, texts):
    """In five lines, which need nothing of ours."""
    dataset = texts_of(tmp_path_factory.mktemp("texts"), texts)
    state = json.loads(json.dumps(dataset.preprocessing))
    ids = {token: number for number, token in enumerate(state["vocabulary"], 2)}
    for index, text in enumerate(texts):
        tokens = re.findall(state["pattern"], unicodedata.normalize("NFC", text.lower()))[: state["max_length"]]
        assert ([ids.get(token, 1) for token in tokens] or [1]) == dataset[index][0].tolist()


def test_files_are_read_as_those_of_training(tmp_path):
    """A text a line; or one in each file where training had folders of such; in tables the column of texts."""
    preprocessing = load_preprocessing(texts_of(tmp_path, ["a b", "c", "a"]).preprocessing)
    (tmp_path / "more.txt").write_text("a\n\nb c\n")
    assert preprocessing.read_file(tmp_path / "more.txt") == ["a", "", "b c"]
    (tmp_path / "more.csv").write_text("id,text\n1,NA\n2,\n")
    assert preprocessing.read_file(tmp_path / "more.csv") == ["NA", ""]
    assert preprocessing.encode([tmp_path / "more.txt"])[0].tolist() == preprocessing.encode(["a b c"])[0].tolist()
    for name in ("one", "two"):
        (tmp_path / "all" / name).mkdir(parents=True)
        (tmp_path / "all" / name / "1.txt").write_text(f"{name} more\nlines")
    dataset = Text(tmp_path / "all")
    dataset.use(dataset.fit([0, 1]))
    assert load_preprocessing(dataset.preprocessing).read_file(tmp_path / "more.txt") == ["a\n\nb c\n"]


@pytest.mark.parametrize(("value", "got"), [(7, "7"), (None, "null"), ({"txt": "a"}, '{"txt": "a"}')])
def test_what_is_no_text_is_told(tmp_path, value, got):
    """Of that input alone."""
    preprocessing = load_preprocessing(texts_of(tmp_path, ["a b", "c"]).preprocessing)
    encoded = preprocessing.encode(["a", value, {"text": "a"}])
    assert torch.equal(encoded[0], encoded[2])
    with pytest.raises(DataError) as error:
        encoded[1]
    assert str(error.value) == (
        f'data error: the input is no text\n  got       {got}\n  expected  a text, or {{"text": a text}}'
    )


def test_tokenizer_without_a_name_is_refused_when_it_is_needed(tmp_path):
    """Not when the run is saved."""
    dataset = texts_of(tmp_path, ["a b", "c"], tokenizer=lambda text: text.split())
    with pytest.raises(CheckpointError) as error:
        load_preprocessing(dataset.preprocessing)
    assert str(error.value) == (
        "checkpoint error: the tokenizer of training is not one that can be found again\n"
        "  got       a function without a name of its own\n"
        "  expected  one of: words, characters, or a function of a module"
    )


def test_subclass_with_samples_of_its_own_says_nothing(tmp_path):
    """What its base knows would be wrong of it."""

    class Reversed(Text):
        def __getitem__(self, index):
            ids, label = super().__getitem__(index)
            return ids.flip(0), label

    texts_of(tmp_path, ["a b", "c"])
    dataset = Reversed(tmp_path / "t.jsonl")
    assert dataset.preprocessing is None
    dataset.use(dataset.fit([0, 1]))
    assert dataset.preprocessing is None
