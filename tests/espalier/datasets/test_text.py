"""Laws of texts: a vocabulary of the training texts alone, ids that go back to tokens; and what is refused."""

import json
import logging
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset

from base import BaseDataLoader
from espalier.data.collate import Pad
from espalier.data.length_buckets import LengthBuckets
from espalier.datasets import Text
from espalier.datasets.tokens import words
from espalier.errors import ConfigError, DataError

WORDS = st.lists(st.sampled_from(["a", "b", "cat", "dog", "!", "é", "हिन्दी"]), max_size=6).map(" ".join)
SAMPLES = st.tuples(WORDS, st.sampled_from(["bad", "good", "10", "9"]))
BOTH = [("a good film", "good"), ("a bad film", "bad")]  # two classes
OPTIONS = st.fixed_dictionaries({
    "tokenizer": st.sampled_from(["words", "characters", str.split]),
    "max_length": st.none() | st.integers(1, 5),
    "min_count": st.integers(1, 3),
    "max_vocab": st.none() | st.integers(3, 8),
})  # fmt: skip


def write(path, samples):
    """JSON lines of these texts and labels."""
    rows = (json.dumps({"text": text, "label": label}) for text, label in samples)
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


@given(samples=st.lists(SAMPLES, max_size=10), others=st.lists(SAMPLES, min_size=1, max_size=5), options=OPTIONS)
def test_texts_outside_of_the_training_part_change_nothing(tmp_path_factory, samples, others, options):
    """Neither what is fitted, nor a training sample; and what is fitted stays the same through JSON."""
    folder, train = tmp_path_factory.mktemp("text"), [*BOTH, *samples]
    alone = Text(write(folder / "a.jsonl", train), **options)
    among = Text(write(folder / "b.jsonl", [*others, *train]), **options)
    here, there = range(len(train)), range(len(others), len(others) + len(train))
    fitted = alone.fit(here)
    assert among.fit(list(there)[::-1]) == fitted == json.loads(json.dumps(fitted))
    alone.use(fitted)
    among.use({"vocabulary": ["x"], "classes": ["bad", "good"]})  # which leaves no trace
    among.use(json.loads(json.dumps(fitted)))
    for index, other in zip(here, there, strict=True):
        assert torch.equal(alone[index][0], among[other][0])
        assert alone[index][1] == among[other][1]
    assert [getattr(alone, name) for name in alone.facts] == [getattr(among, name) for name in among.facts]


@given(samples=st.lists(SAMPLES, max_size=10), options=OPTIONS)
def test_a_vocabulary_is_that_of_a_plain_count(tmp_path_factory, samples, options):
    """The frequent tokens first, those as frequent by the alphabet; ids decode to the tokens that are known."""
    samples = [*BOTH, *samples]
    dataset = Text(write(tmp_path_factory.mktemp("text") / "t.jsonl", samples), **options)
    tokenize = {"words": words, "characters": list}.get(options["tokenizer"], options["tokenizer"])
    tokens = [tokenize(text)[: options["max_length"]] for text, _ in samples]
    counts = Counter(token for each in tokens for token in each)
    wanted = sorted((token for token in counts if counts[token] >= options["min_count"]), key=lambda x: (-counts[x], x))
    wanted = wanted[: options["max_vocab"] and options["max_vocab"] - 2]
    dataset.use(dataset.fit(range(len(samples))))
    assert dataset.vocab_size == len(wanted) + 2
    for index, each in enumerate(tokens):
        ids, label = dataset[index]
        known = [token if token in wanted else "<unknown>" for token in each] or ["<unknown>"]
        assert dataset.decode(ids) == ("" if tokenize is list else " ").join(known)
        assert (ids.dtype, len(ids)) == (torch.int64, dataset.lengths[index])
        assert dataset.class_names[label] == samples[index][1]
        assert torch.equal(dataset.encode(samples[index][0]), ids)


def test_words_of_any_script_and_signs_are_tokens():
    """Lower-cased; marks belong to their letters, whether written with them or behind."""
    assert words("Don't PANIC,\u00a0naïve nai\u0308ve!") == ["don", "'", "t", "panic", ",", "naïve", "naïve", "!"]
    assert words("हिन्दी 3.5€ 🙂") == ["हिन्दी", "3", ".", "5", "€", "🙂"]
    assert words(" \n") == []


def test_a_batch_is_padded_to_its_longest(tmp_path):
    """With 0, behind; a sample is a copy of its own."""
    dataset = Text(write(tmp_path / "t.jsonl", [("a b", "x"), ("b", "y"), ("c a b", "x")]))
    loader = BaseDataLoader(dataset, 2)
    loader.parts.load_fitted(dataset.fit([0, 1]))
    (ids, labels), (last, _) = loader
    assert (ids.tolist(), labels.tolist()) == ([[3, 2], [2, 0]], [0, 1])
    assert last.tolist() == [[1, 3, 2]]
    assert (ids.dtype, labels.dtype) == (torch.int64, torch.int64)
    assert dataset.lengths.tolist() == [2, 1, 3]
    assert dataset.decode(ids[1]) == "b"
    dataset[0][0].zero_()
    assert dataset[0][0].tolist() == [3, 2]
    assert [len(each) for each, _ in dataset] == [2, 1, 3]  # and ends


def test_a_text_dataset_of_ones_own_is_asked_for_its_samples(tmp_path):
    """Not passed over by the gather of a whole batch."""

    class Reversed(Text):
        def __getitem__(self, index):
            ids, label = super().__getitem__(index)
            return ids.flip(0), label

    dataset = Reversed(write(tmp_path / "t.jsonl", [("a b", "x"), ("b", "y")]))
    ((ids, _),) = BaseDataLoader(dataset, 2)
    assert ids.tolist() == [[2, 3], [2, 0]]
    assert dataset.decode(ids[0]) == "b a"


class Reversed(Text):
    """Another sample."""

    def __getitem__(self, index):
        ids, label = super().__getitem__(index)
        return ids.flip(0), label


class Prefixed(Text):
    """Another batch."""

    @staticmethod
    def collate_fn(samples):
        ids, labels = Text.collate_fn(samples)
        return torch.nn.functional.pad(ids, (1, 0), value=1), labels


class Around(Dataset):
    """A dataset around another that shows all of it, and gives other samples."""

    collate_fn = staticmethod(Text.collate_fn)

    def __init__(self, texts):
        self.texts = texts

    def __getattr__(self, name):
        if name.startswith("_") or name == "texts":
            raise AttributeError(name)
        return getattr(self.texts, name)

    def __len__(self):
        return len(self.texts)

    def __getitem__(self, index):
        ids, label = self.texts[index]
        return ids + 1, label


BATCH_OPTIONS = [{}, {"num_workers": 1}, {"sampler": LengthBuckets()}, {"collate_fn": Pad(lengths=True)},
                 {"transform": torch.neg}, {"cache": "memory"}, {"split": {"valid": 3}}]  # fmt: skip


@pytest.mark.parametrize("options", BATCH_OPTIONS, ids=lambda options: "".join(options) or "plain")
@pytest.mark.parametrize("kind", [Text, Reversed, Prefixed, lambda path: Around(Text(path))])
def test_batches_are_those_of_its_samples(tmp_path, kind, options):
    """To the bit, whether a batch is one gather or made of samples."""
    texts = [(" ".join("abcdefgh"[: 1 + 3 * number % 7]), "good" if number % 3 else "bad") for number in range(23)]
    dataset = kind(write(tmp_path / "t.jsonl", texts))
    loader = BaseDataLoader(dataset, 4, shuffle=True, seed=1, **options)
    loader.fill_cache()
    for number, batch in enumerate(loader):
        samples = [loader.dataset[index] for index in loader.indices(1, number)]
        expected = options.get("collate_fn", dataset.collate_fn)(samples)
        for part, value in zip(batch, expected, strict=True):
            parts, values = (part, value) if isinstance(part, tuple) else ([part], [value])
            assert [each.dtype for each in parts] == [each.dtype for each in values]
            assert all(map(torch.equal, parts, values))


def test_a_csv_is_read_as_texts(tmp_path):
    """NA is a word, and 1 a text; other columns are there for splits."""
    (tmp_path / "t.csv").write_text("id,review,stars\n7,NA,10\n8,,9\n9,1,10\n")
    dataset = Text(tmp_path / "t.csv", "review", target="stars")
    dataset.use(dataset.fit([0, 1, 2]))
    assert [dataset.decode(ids) for ids, _ in dataset] == ["na", "<unknown>", "1"]
    assert (dataset.class_names, dataset.targets.tolist()) == (["9", "10"], [1, 0, 1])
    assert dataset.column("id").tolist() == ["7", "8", "9"]


def folder_of(path, **texts):
    """A folder with a folder for each class."""
    for name, each in texts.items():
        (path / name).mkdir(parents=True)
        for number, text in enumerate(each):
            (path / name / f"{number}.txt").write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
    return path


def test_a_folder_has_a_class_in_each_folder(tmp_path):
    """In the order of the names, whatever stands beside the texts."""
    path = folder_of(tmp_path / "films", pos=["Fine.", "\ufeffNice."], neg=["Dull."])
    (path / ".git").mkdir()
    (path / ".git" / "x.txt").write_text("no")
    (path / "README.txt").write_text("no")
    (path / "pos" / "notes.md").write_text("no")
    dataset = Text(path, tokenizer="characters")
    assert dataset.targets.tolist() == ["neg", "pos", "pos"]
    dataset.use(dataset.fit([0, 1, 2]))
    assert [(dataset.decode(ids), int(label)) for ids, label in dataset] == [("Dull.", 0), ("Fine.", 1), ("Nice.", 1)]
    assert dataset.column("path").tolist() == [str(path / each) for each in ("neg/0.txt", "pos/0.txt", "pos/1.txt")]
    assert dataset.column("label").tolist() == ["neg", "pos", "pos"]


def test_texts_that_are_cut_or_empty_are_told(tmp_path, caplog):
    """In a line of the log each."""
    path = write(tmp_path / "t.jsonl", [("a b c", "x"), (" ", "y")])
    with caplog.at_level(logging.INFO):
        Text(path, max_length=2)
    assert caplog.messages == [
        f"1 of 2 texts of {path} hold no token, and become one unknown one.",
        f"1 of 2 texts of {path} are cut to 2 tokens.",
    ]


def test_samples_before_the_fit_and_of_unseen_classes_are_refused(tmp_path):
    """As of a table."""
    path = write(tmp_path / "t.jsonl", [("a", "x"), ("b", "y"), ("c", "z")])
    dataset = Text(path)
    for ask in (lambda: dataset[0], lambda: dataset.encode("a"), lambda: dataset.decode([1])):
        with pytest.raises(DataError, match="gives no sample before it is fitted on the training part"):
            ask()
    dataset.use(dataset.fit([0, 1]))
    assert dataset[1][1] == 1
    with pytest.raises(DataError, match=f"class 'z' of {path} is not in the training part"):
        dataset[2]


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        ([(1, "x"), ("a", "y")], {}, "column 'text' of {path} holds something else than text\n  got       1 in row 1"),
        ([("a", ""), ("b", "y")], {},
         "the target 'label' of {path} has gaps\n  got       no value in 1 of 2 rows, the first is row 1\n"
         "  fix       take these rows out of the file"),
        ([("a", "x")], {"text": "txt"},
         "{path} has no column 'txt'\n  expected  one of: text, label\n  closest   text"),
        ([("a b", "x")], {"tokenizer": len}, "the tokenizer gives no list of texts for 'a b'\n  got       3"),
    ],
)  # fmt: skip
def test_texts_that_cannot_be_used_are_refused(tmp_path, samples, options, message):
    """With column and row."""
    path = write(tmp_path / "t.jsonl", samples)
    with pytest.raises(DataError) as error:
        Text(path, **options)
    assert str(error.value) == "data error: " + message.format(path=path)


def test_folders_that_cannot_be_used_are_refused(tmp_path):
    """Without texts, and in another encoding, which read can name."""
    path = folder_of(tmp_path / "none", pos=[], neg=[])
    with pytest.raises(DataError) as error:
        Text(path)
    assert (
        str(error.value) == f'data error: {path} holds no texts\n  got       the folders ["neg", "pos"]\n'
        "  expected  a folder for each class, with .txt files in it"
    )
    path = folder_of(tmp_path / "old", pos=["é".encode("cp1252")], neg=["e"])
    with pytest.raises(DataError) as error:
        Text(path)
    assert (
        str(error.value) == f"data error: {path / 'pos' / '0.txt'} is no text in utf-8\n"
        "  got       'utf-8' codec can't decode byte 0xe9 in position 0: unexpected end of data\n"
        '  fix       let read say which it is, as in {"encoding": "cp1252"}'
    )
    assert Text(path, read={"encoding": "cp1252"}).lengths.tolist() == [1, 1]
    with pytest.raises(ConfigError, match=r"args.read.sep is no option for a folder"):
        Text(path, read={"sep": ";"})


def test_wrong_arguments_are_refused_with_all_their_faults(tmp_path):
    """Before any file is read."""
    with pytest.raises(ConfigError) as error:
        Text(tmp_path / "no.csv", tokenizer="word", max_length=0, min_count=1.5, max_vocab=2)
    heads = [f"{problem.path} {problem.what}" for problem in error.value.problems]
    assert heads == [
        f"data_loader.args.dataset.args.{each}"
        for each in ("max_length is out of range", "max_vocab is out of range", "min_count is out of range",
                     "tokenizer is no choice")
    ]  # fmt: skip
