"""Tables out of files: what is written comes back, and what would surprise is refused."""

import gzip
import json
import logging

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.datasets.table_file import load_table
from espalier.errors import DataError

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), min_size=1, max_size=6)
NUMBERS = st.floats(allow_infinity=False, allow_nan=False)


@st.composite
def tables(draw):
    """Columns of floats, whole numbers, texts and truth values, each with gaps, but no row of gaps alone."""
    num_rows = draw(st.integers(1, 6))
    kinds = draw(st.lists(st.sampled_from([NUMBERS, st.integers(-(2**53), 2**53), TEXTS.map("x".__add__)]), max_size=4))
    columns = {
        f"c{number}": draw(st.lists(st.none() | kind, min_size=num_rows, max_size=num_rows))
        for number, kind in enumerate(kinds)
    }
    return {"row": [f"r{number}" for number in range(num_rows)], **columns}


def values_of(frame):
    """The columns as lists, with None for gaps."""
    return {name: [None if pd.isna(value) else value for value in frame[name].tolist()] for name in frame.columns}


@given(columns=tables(), form=st.sampled_from(["t.csv", "t.tsv", "t.csv.gz", "t.jsonl", "t.jsonl.gz", "t.json"]))
def test_tables_of_numbers_texts_and_gaps_come_back(tmp_path_factory, columns, form):
    """Whatever pandas or json writes, in every format; some versions of pandas are a bit off in the last digit."""
    path = tmp_path_factory.mktemp("table") / form
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if ".json" in form:
        text = json.dumps(rows) if form == "t.json" else "\n".join(map(json.dumps, rows))
        path.write_bytes(gzip.compress(text.encode()) if form.endswith("gz") else text.encode())
    else:
        pd.DataFrame(columns).to_csv(path, index=False, sep="\t" if form == "t.tsv" else ",")
    found = values_of(load_table(path))
    assert found.keys() == columns.keys()
    for name, values in columns.items():
        assert found[name] == [
            pytest.approx(value, rel=1e-12) if isinstance(value, float) else value for value in values
        ]


def test_parquet_comes_back(tmp_path):
    """With a named index as one more column."""
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"a": [1.5, None], "b": ["x", None]}, index=pd.Index(["u", "v"], name="key"))
    frame.to_parquet(tmp_path / "t.parquet")
    assert values_of(load_table(tmp_path / "t.parquet")) == {"key": ["u", "v"], "a": [1.5, None], "b": ["x", None]}


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    """In place of a list of what pandas has tried."""
    monkeypatch.setattr(pd, "read_parquet", lambda *_, **__: pd.io.parquet.get_engine("none"))
    monkeypatch.setattr(pd.io.parquet, "get_engine", lambda _: (_ for _ in ()).throw(ImportError("no engine")))
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError) as error:
        load_table(tmp_path / "t.parquet")
    assert (
        str(error.value) == f"data error: {tmp_path / 't.parquet'} cannot be read without pyarrow\n"
        '  fix       pip install -e ".[parquet]"'
    )


@pytest.mark.parametrize(
    ("text", "read", "columns"),
    [
        (b"\xef\xbb\xbfa,b\n1,x\n", None, {"a": [1], "b": ["x"]}),
        ("a,b\n1,é\n".encode("cp1252"), {"encoding": "cp1252"}, {"a": [1], "b": ["é"]}),
        ("a,b\n1,é\n".encode("utf-16"), {"encoding": "utf-16"}, {"a": [1], "b": ["é"]}),
        (b"a;b\n1,5;?\n", {"sep": ";", "decimal": ",", "na_values": ["?"]}, {"a": [1.5], "b": [None]}),
        (b"1,2\n3,4\n", {"names": ["u", "v"]}, {"u": [1, 3], "v": [2, 4]}),
        (b"1,2\n3,4\n", {"header": None}, {"0": [1, 3], "1": [2, 4]}),
        (b"a   b\n1  2\n", {"sep": r"\s+"}, {"a": [1], "b": [2]}),
        (b"a::b\n1::2\n", {"sep": "::", "engine": "python"}, {"a": [1], "b": [2]}),
        (b"# of 2026\na,b\n1,2\n", {"comment": "#"}, {"a": [1], "b": [2]}),
        (b"a,b\n1,2,\n", None, {"a": [1], "b": [2]}),
        (b",a\n0,5\n1,6\n", None, {"a": [5, 6]}),
        (b",a\n1,5\n0,6\n", None, {"Unnamed: 0": [1, 0], "a": [5, 6]}),
    ],
)
def test_csv_of_many_kinds_is_read(tmp_path, text, read, columns):
    """Marks, encodings, separators, files without a header; a nameless column of row numbers is left out."""
    (tmp_path / "t.csv").write_bytes(text)
    assert values_of(load_table(tmp_path / "t.csv", read)) == columns


def test_row_numbers_that_are_left_out_are_told(tmp_path, caplog):
    """In one line of the log."""
    (tmp_path / "t.csv").write_text(",a\n0,5\n1,6\n")
    with caplog.at_level(logging.INFO):
        load_table(tmp_path / "t.csv")
    assert caplog.messages == [
        f"The first column of {tmp_path / 't.csv'} has no name and only counts the rows: it is left out."
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", b"", "data error: {path} is empty"),
        ("t.csv", b"\n\n", "data error: {path} cannot be read as csv\n  got       No columns to parse from file"),
        ("t.csv", b"a,b\n", "data error: {path} has no rows\n  got       a header alone, of 2 columns"),
        ("t.jsonl", b"\n", "data error: {path} has no rows"),
        ("t.csv", b"a,b,a\n1,2,3\n", "data error: {path} has two columns of one name\n  got       a\n"
         '  fix       rename them in the file, or name all columns: "read": {{"header": 0, "names": [...]}}'),
        ("t.csv", b"a,b\n1,2,3\n", "data error: the rows of {path} have more cells than its header has names\n"
         '  fix       name every column, or let read say how cells are divided, as in {{"sep": ";"}}'),
        ("t.csv", b"a,b\n1,2\n1,2,3\n", "data error: {path} cannot be read as csv\n"
         "  got       Error tokenizing data. C error: Expected 2 fields in line 3, saw 3\n"
         '  fix       let read say how cells are divided and quoted, as in {{"sep": ";"}}; or mend the line'),
        ("t.csv", "a,b\n1,é\n".encode("cp1252"), "data error: {path} is not in utf-8\n"
         "  got       'utf-8' codec can't decode byte 0xe9 in position 6: invalid continuation byte\n"
         '  fix       let read say which it is: {{"encoding": "cp1252"}}'),
        ("t.csv", "a,b\n1,é\n".encode("utf-16"), "data error: {path} is not in utf-8\n"
         "  got       'utf-8' codec can't decode byte 0xff in position 0: invalid start byte\n"
         '  fix       let read say which it is: {{"encoding": "utf-16"}}'),
        ("t.csv.gz", b"a,b\n1,2\n", "data error: {path} cannot be read as csv\n  got       Not a gzipped file (b'a,')"),
        ("t.jsonl", b'{"a": 1}\n{"a": \n', "data error: line 2 of {path} is no JSON\n"
         "  got       Expecting value: line 2 column 1 (char 7)"),
        ("t.jsonl", b'{"a": 1}\n[1]\n', "data error: line 2 of {path} is no object\n  got       [1]\n"
         '  expected  as in {{"age": 31, "city": "Bern"}}'),
        ("t.json", b'[{"a": 1}, 2]', "data error: number 2 of {path} is no object\n  got       2\n"
         '  expected  as in {{"age": 31, "city": "Bern"}}'),
        ("t.jsonl", b'{"a": 1}\n{"a": [1]}\n', "data error: column 'a' of {path} holds more than single values\n"
         "  got       [1] in row 2\n  expected  numbers, texts, truth values, dates and gaps"),
        ("t.xls", b"x", "data error: {path} has no name of a table\n"
         "  expected  one that ends in: .csv, .tsv, .tab, .parquet, .pq, .jsonl, .ndjson, .json; all but Parquet also "
         "packed, in: .gz, .bz2, .xz"),
    ],
)  # fmt: skip
def test_files_that_are_no_table_are_refused(tmp_path, name, text, message):
    """With the line, the column or the option in question."""
    path = tmp_path / name
    path.write_bytes(text)
    with pytest.raises(DataError) as error:
        load_table(path)
    assert str(error.value) == message.format(path=path)


def test_options_that_pandas_does_not_have_are_refused(tmp_path):
    """And those that make something else of the file than a table."""
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"got an unexpected keyword argument 'seperator'"):
        load_table(path, {"seperator": ";"})
    with pytest.raises(DataError, match="a TextFileReader in place of a table"):
        load_table(path, {"chunksize": 1})
    with pytest.raises(DataError, match="unknown encoding: utf-9"):
        load_table(path, {"encoding": "utf-9"})
    (tmp_path / "t.jsonl").write_text('{"a": 1}')
    with pytest.raises(DataError, match="sep is no option for JSON, only encoding"):
        load_table(tmp_path / "t.jsonl", {"sep": ";"})


def test_a_file_that_is_not_there_names_the_nearest(tmp_path):
    """Of the same folder; without the folder, that."""
    (tmp_path / "penguins.csv").write_text("a\n1\n")
    with pytest.raises(DataError) as error:
        load_table(tmp_path / "pengiuns.csv")
    assert (
        str(error.value) == f"data error: there is no file {tmp_path / 'pengiuns.csv'}\n"
        f"  closest   {tmp_path / 'penguins.csv'}"
    )
    with pytest.raises(DataError, match=f"got       no folder {tmp_path / 'no'} either"):
        load_table(tmp_path / "no" / "penguins.csv")
    with pytest.raises(DataError, match="got       a folder"):
        load_table(tmp_path)
