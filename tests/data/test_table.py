"""Users' files: what is read, what is guessed, and one clear sentence for everything else."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ampmix.data.dataset import TextDataset
from ampmix.data.tables.labelled import read_table
from ampmix.data.tables.readers import read
from ampmix.datasets import load
from ampmix.errors import AmpmixError

PLAIN = "text,label\ngood film,pos\nbad film,neg\nfine book,pos\npoor book,neg\n"


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def rows(dataset: TextDataset) -> list[tuple[str, str]]:
    labels = [dataset.classes[i] for i in dataset.train.labels]
    return list(zip(dataset.train.texts, labels, strict=True))


# Python 3.10's csv module refuses the character NUL, and names its line.
NUL = "\0" if sys.version_info >= (3, 11) else ""
NASTY = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="" if NUL else "\0"), max_size=12
) | st.text(",;\"'\n\t\\ a\x85\u2028\r" + NUL, max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    table=st.lists(st.tuples(NASTY, NASTY), min_size=1, max_size=8),
    end=st.sampled_from(["\n", "\r\n"]),
    suffix=st.sampled_from([".csv", ".tsv"]),
    bom=st.booleans(),
)
def test_what_csv_writes_is_read_back(
    tmp_path: Path, table: list[tuple[str, str]], end: str, suffix: str, bom: bool
) -> None:
    file = io.StringIO(newline="")
    delimiter = "," if suffix == ".csv" else "\t"
    # All is quoted: the csv module writes a carriage return bare, which is a line end to readers.
    writer = csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("text", "label"), *table])
    path = write(tmp_path, "t" + suffix, ("\ufeff" if bom else "") + file.getvalue())
    read_back = read(path, None)
    assert list(zip(read_back.strings("text"), read_back.strings("label"), strict=True)) == table


@pytest.mark.slow
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50
)
@given(table=st.lists(st.tuples(NASTY, NASTY), min_size=1, max_size=8))
@pytest.mark.usefixtures("forked_probes")
def test_what_json_and_polars_write_is_read_back(
    tmp_path: Path, table: list[tuple[str, str]]
) -> None:
    lines = "".join(json.dumps({"text": t, "label": y}) + "\r\n" for t, y in table)
    json_path = write(tmp_path, "t.jsonl", "\ufeff" + lines)
    pl.DataFrame(table, schema=["text", "label"], orient="row").write_parquet(
        tmp_path / "t.parquet"
    )
    for path in (json_path, tmp_path / "t.parquet"):
        got = read(path, None)
        assert list(zip(got.strings("text"), got.strings("label"), strict=True)) == table


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    content=st.binary(max_size=60) | st.text(',;"\n\r\tab{}:[]', max_size=40).map(str.encode),
    suffix=st.sampled_from([".csv", ".tsv", ".jsonl", ".parquet"]),
)
@pytest.mark.usefixtures("forked_probes")
def test_any_bytes_are_read_or_refused_in_a_sentence(
    tmp_path: Path, content: bytes, suffix: str
) -> None:
    path = write(tmp_path, "t" + suffix, content)
    try:
        read_table(path)
    except AmpmixError as error:
        assert "t" + suffix in str(error) or "label" in str(error)


def test_a_plain_table(tmp_path: Path) -> None:
    dataset = load(write(tmp_path, "reviews.csv", PLAIN))
    assert (dataset.name, dataset.title, dataset.tokenizer) == ("reviews", "", "words")
    assert dataset.classes == ("neg", "pos")
    assert rows(dataset)[:2] == [("good film", "pos"), ("bad film", "neg")]
    assert dataset.test is None and dataset.dev is None and dataset.notes == ()
    assert load(str(tmp_path / "reviews.csv")).fingerprint == dataset.fingerprint


def test_every_format_gives_the_same_data(tmp_path: Path) -> None:
    frame = pl.read_csv(PLAIN.encode())
    paths = [write(tmp_path, "a.csv", PLAIN), tmp_path / "a.tsv", tmp_path / "a.parquet"]
    frame.write_csv(paths[1], separator="\t")
    frame.write_parquet(paths[2])
    for name in ("a.jsonl", "a.NDJSON"):
        paths.append(tmp_path / name)
        frame.write_ndjson(paths[-1])
    paths.append(write(tmp_path, "b.csv", PLAIN.replace("\n", "\r\n\r\n").encode("utf-8-sig")))
    assert len({read_table(path).fingerprint for path in paths}) == 1


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("Text,LABEL", ("Text", "LABEL")),
        ("target,message", ("message", "target")),
        ("id,question,intent", ("question", "intent")),
        ("q,label", ("q", "label")),
        ("text,y", ("text", "y")),
    ],
)
def test_columns_are_known_by_name(tmp_path: Path, header: str, columns: tuple[str, str]) -> None:
    names = header.split(",")
    lines = [
        ",".join(str(value) for value in ({columns[0]: t, columns[1]: y}.get(n, i) for n in names))
        for i, (t, y) in enumerate([("a film", "p"), ("a book", "n"), ("c", "p"), ("d", "n")])
    ]
    dataset = read_table(write(tmp_path, "t.csv", "\n".join([header, *lines])))
    assert rows(dataset)[0] == ("a film", "p")


def test_columns_are_told_by_their_contents_or_by_the_user(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", PLAIN.replace("text,label", "b,a"))
    assert rows(read_table(path))[0] == ("good film", "pos")
    path = write(tmp_path, "u.csv", "n,q,a\n1,one,x\n2,two,y\n3,three,x\n4,four,y\n")
    with pytest.raises(AmpmixError, match="'n', 'q', 'a'.*--text COLUMN and --label COLUMN"):
        read_table(path)
    with pytest.raises(AmpmixError, match="'n', 'q', 'a'"):
        read_table(path, label="a")
    assert rows(read_table(path, text="q", label="a"))[1] == ("two", "y")
    assert rows(read_table(path, text="n", label="a"))[1] == ("2", "y")
    both = write(tmp_path, "v.csv", "text,content,label\na,b,x\nc,d,y\ne,f,x\ng,h,y\n")
    with pytest.raises(AmpmixError, match="not clear"):
        read_table(both)
    assert rows(read_table(both, text="content"))[0] == ("b", "x")


def test_unclear_columns_come_with_the_options_that_are_probably_meant(tmp_path: Path) -> None:
    rows = [f"{i};a text of words {i};{'abc'[i % 3]};{i % 7}.5" for i in range(40)]
    path = write(tmp_path, "odd.csv", "\n".join(["Nr.;What it says;Kind;Size", *rows]) + "\n")
    with pytest.raises(AmpmixError) as caught:
        read_table(path)
    assert "--label" in str(caught.value) and "probably" not in str(caught.value)  # Kind or Size?
    path.write_text(path.read_text().replace(".5", ".5 by 3"))
    with pytest.raises(AmpmixError) as caught:
        read_table(path)
    assert "probably" not in str(caught.value)  # What it says or Size?
    rows = [row.rpartition(";")[0] for row in rows]
    path.write_text("\n".join(["Nr.;What it says;Kind", *rows]) + "\n")
    with pytest.raises(AmpmixError, match="probably --text 'What it says' --label Kind"):
        read_table(path)
    assert read_table(path, text="What it says", label="Kind").classes == ("a", "b", "c")


def test_a_semicolon_file_says_how_it_was_read(tmp_path: Path) -> None:
    dataset = read_table(write(tmp_path, "t.csv", PLAIN.replace(",", ";")))
    assert dataset.notes == ("t.csv is read with semicolons",)
    dataset = read_table(write(tmp_path, "t.csv", PLAIN.replace(",", "\t")))
    assert dataset.notes == ("t.csv is read with tabs",)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([10, 9, 9, 10], ("9", "10")),
        ([1, 0, None, 1, 0], ("0", "1")),
        ([1.0, 0.0, math.nan, 1.0, 0.0], ("0", "1")),
        ([0.5, 1.5, 0.5, 1.5], ("0.5", "1.5")),
        ([True, False, True, False], ("false", "true")),
        (["01", "1", "01", "1"], ("01", "1")),
        ([" b", "a", "b ", "a"], ("a", "b")),
        (["-1", "+", "-1", "+"], ("+", "-1")),
        ([-1, 1, -1, 1], ("-1", "1")),
    ],
)
def test_labels_of_any_type(tmp_path: Path, labels: list[Any], classes: tuple[str, ...]) -> None:
    texts = [f"text {i}" for i in range(len(labels))]
    pl.DataFrame({"text": texts, "label": labels}).write_parquet(tmp_path / "t.parquet")
    lines = [{"text": t, "label": y} for t, y in zip(texts, labels, strict=True)]
    write(tmp_path, "t.jsonl", "\n".join(map(json.dumps, lines)))
    for name in ("t.parquet", "t.jsonl"):
        dataset = read_table(tmp_path / name)
        assert dataset.classes == classes
        assert len(dataset.train) == 4


BARE = st.text('ab "c', min_size=1, max_size=6).filter(lambda text: not text.startswith('"'))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(BARE, min_size=1, max_size=5))
def test_bare_quotes_inside_a_text_swallow_no_rows(tmp_path: Path, texts: list[str]) -> None:
    content = "text,label\n" + "".join(f"{text},{i}\n" for i, text in enumerate(texts))
    assert read(write(tmp_path, "t.csv", content), None).strings("text") == texts


def test_a_quote_left_open_is_refused_even_if_a_later_one_could_close_it(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", 'text,label\n"aa,1\n"cc ",1\n b,0\n c",0\n')
    with pytest.raises(AmpmixError, match="line 2"):
        read_table(path)


def test_old_line_ends_and_long_texts(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    content = PLAIN.replace("good film", "x" * 200_000)
    dataset = read_table(write(tmp_path, "t.csv", content.replace("\n", "\r")))
    assert len(dataset.train.texts[0]) == 200_000 and len(dataset.train) == 4
    assert csv.field_size_limit() == limit


def test_mixed_json_types_and_half_surrogates(tmp_path: Path) -> None:
    content = (
        '{"text": "a \\ud800", "label": 1, "x": {}}\n\n{"text": 5, "label": "1", "x": []}\n'
        '{"label": "b", "text": "\\ud83d\\ude00"}\n{"text": "c", "label": "b"}\n{"text": "d"}'
    )
    dataset = read_table(write(tmp_path, "t.jsonl", content))
    assert rows(dataset) == [("a ?", "1"), ("5", "1"), ("\U0001f600", "b"), ("c", "b")]


def test_categorical_parquet_columns_are_text(tmp_path: Path) -> None:
    frame = pl.read_csv(PLAIN.encode()).with_columns(pl.col("label").cast(pl.Categorical))
    frame.write_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").classes == ("neg", "pos")


def test_notes_count_what_is_left_out_or_doubtful(tmp_path: Path) -> None:
    content = PLAIN + ",pos\n  ,neg\n\n,pos\nno label,\ngood film,neg\nshort\n"
    test = write(tmp_path, "test.csv", "text,label\nGood film,pos\nother,neg\n,neg\n")
    dataset = read_table(write(tmp_path, "t.csv", content), test=test)
    assert dataset.notes == (
        "3 rows without text and 2 rows without label left out of t.csv",
        "1 text given more than once, with different labels",
        "1 text stands more than once (2 rows): equal texts stay in one part, or the error would "
        "be too low",
        "1 row without text left out of test.csv",
        "1 of 2 texts for testing also stands in the training part: the test error may be too low",
    )
    assert len(dataset.train) == 5 and len(dataset.test) == 2


def test_given_parts_share_classes_and_columns(tmp_path: Path) -> None:
    train = write(tmp_path, "train.csv", PLAIN.replace("text,label", "q,a"))
    test = write(tmp_path, "test.jsonl", '{"a": "pos", "q": "nice"}')
    dev = write(tmp_path, "dev.tsv", "z\ta\tq\n0\tneg\tawful\n")
    dataset = read_table(train, test=test, dev=dev)
    assert dataset.test.texts == ("nice",) and dataset.test.labels.tolist() == [1]
    assert dataset.dev.texts == ("awful",) and dataset.dev.labels.tolist() == [0]
    write(tmp_path, "test.jsonl", '{"a": "poss", "q": "nice"}')
    with pytest.raises(AmpmixError, match="test.jsonl' has the label 'poss'.*'neg', 'pos'"):
        read_table(train, test=test)
    write(tmp_path, "test.jsonl", '{"label": "pos", "q": "nice"}')
    with pytest.raises(AmpmixError, match="test.jsonl' has no column 'a': It has 'label', 'q'"):
        read_table(train, test=test)
    write(tmp_path, "dev.tsv", "q\ta\n")
    with pytest.raises(AmpmixError, match="dev.tsv' has no row"):
        read_table(train, dev=dev)


def test_encodings(tmp_path: Path) -> None:
    content = PLAIN.replace("bad", "mis\xe9rable \x80")
    path = write(tmp_path, "t.csv", content.encode("latin-1"))
    with pytest.raises(AmpmixError, match="line 3 holds the byte 0xe9.*--encoding cp1252"):
        read_table(path)
    assert rows(read_table(path, encoding="latin-1"))[1][0] == "mis\xe9rable \x80 film"
    assert rows(read_table(path, encoding="cp1252"))[1][0] == "mis\xe9rable \u20ac film"
    for name in ("nope", "hex", "a\0b"):
        with pytest.raises(AmpmixError, match="with encoding"):
            read_table(path, encoding=name)
    path = write(tmp_path, "t.csv", PLAIN.encode("utf-16"))
    assert len(read_table(path).train) == len(read_table(path, encoding="utf-16").train) == 4
    with pytest.raises(AmpmixError, match="--encoding utf-16"):
        read_table(path, encoding="utf-8")


LONG = "".join(f'"text {i}",{i % 2}\n' for i in range(60_000))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "", "is empty"),
        ("t.csv", "\ufeff\n \n", "is empty"),
        ("t.parquet", "", "is empty"),
        ("t.csv", "text,label\n", "has no row: nothing"),
        ("t.csv", "text,label\n,\n,a\n", "no row with both a text in 'text' and a label"),
        ("t.csv", "text,text\na,b\n", "two columns named 'text'"),
        ("t.csv", "text\na\n", "the columns 'text': which"),
        ("t.csv", 'text,label\na,1\n"b,2\nc,3\n', "a quote that goes wrong in line 3"),
        ("t.csv", "text,label\n" + LONG + '"open,1\n' + LONG, "in line 60002"),
        ("t.csv", 'text,label\n"a" b,1\n', "a quote that goes wrong in line 2"),
        ("t.csv", "text,label\na,1\nb, c,2\n", "has 3 fields in line 3 but 2 in its header"),
        ("t.csv", "text,label\na,x\nb,x\n", "one class only .x."),
        ("t.csv", "text,label\n" + "".join(f"a{i},b{i}\n" for i in range(9)), "9 different labels"),
        ("t.jsonl", '{"text": "a", "label": 1}\n\n{"text"\n', "line 3: Expecting ':'"),
        ("t.jsonl", '["a"]\n', "line 1 is no object"),
        ("t.jsonl", "[" * 100_000, "line 1"),
        ("t.jsonl", '{"a": ' + "9" * 5000 + "}", "line 1"),
        ("t.jsonl", "{}\n", "has no columns"),
        ("t.jsonl", '{"text": ["a"], "label": 1}', "holds a list in column 'text'"),
        ("t.parquet", "PAR1 nonsense PAR1", "is not a Parquet file"),
        ("t.xls", "PK", "has the suffix '.xls': files ending in .csv, .tsv"),
        ("t", "text,label\n", "has no suffix"),
    ],
)  # fmt: skip
def test_unreadable_files(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises(AmpmixError, match=message) as caught:
        read_table(path)
    assert "polars" not in str(caught.value) and len(str(caught.value)) < 400


def test_missing_files_folders_and_permissions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "reviews.csv", PLAIN)
    with pytest.raises(AmpmixError, match=r"no file .*revews.csv': did you mean .*reviews.csv'\?"):
        read_table(tmp_path / "revews.csv")
    for missing in (tmp_path / "no" / "t.csv", tmp_path / "reviews.csv" / "t.csv"):
        with pytest.raises(AmpmixError, match="there is no file .*: check the path"):
            read_table(missing)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(AmpmixError, match="folder.csv' is a folder"):
        read_table(tmp_path / "folder.csv")
    with pytest.raises(AmpmixError, match="cannot read"):
        read_table("a\0.csv")

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(AmpmixError, match="cannot read .*reviews.csv': Permission denied"):
        read_table(tmp_path / "reviews.csv")


def test_wrong_columns(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", PLAIN)
    with pytest.raises(AmpmixError, match="no column 'lable': did you mean 'label'"):
        read_table(path, label="lable")
    with pytest.raises(AmpmixError, match="no column 'zzz': It has 'text', 'label'"):
        read_table(path, text="zzz", label="label")
    with pytest.raises(AmpmixError, match="are both 'text'"):
        read_table(path, text="text", label="text")
    with pytest.raises(AmpmixError, match="seems to hold no classes"):
        read_table(path, text="label", label="text")


def test_load_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AmpmixError, match="did you mean trec.*nor is there a file of that name"):
        load("trek")
    with pytest.raises(AmpmixError, match="--text and --test cannot be given with data set trec"):
        load("trec", text="a", test="b.csv")
    with pytest.raises(AmpmixError, match="there is no file 'trec.csv'"):
        load("trec.csv")
    with pytest.raises(AmpmixError, match="option of data set trec 'x'"):
        load("trec[x=1]")
    write(tmp_path, "bare", PLAIN)
    with pytest.raises(AmpmixError, match="'bare' has no suffix"):
        load("bare")
