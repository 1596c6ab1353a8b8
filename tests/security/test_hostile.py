"""What fuzzing and reading found: each input here once crashed, hung or grew without bound."""

from __future__ import annotations

import base64
import gzip
import io
import json
import lzma
import re
import struct
import sys
import time
import types
import unicodedata
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ampmix import load_records
from ampmix._support import components, download
from ampmix._support.json_files import content_sha256
from ampmix.analysis import paper
from ampmix.analysis.groups import read_runs
from ampmix.cli.main import main
from ampmix.data.tables.csv_rows import MOST_COLUMNS
from ampmix.data.tables.labelled import read_table
from ampmix.data.tables.parquet_probe import survived
from ampmix.data.tables.parquet_stream import BYTES, ParquetStream
from ampmix.data.tables.stream import open_stream
from ampmix.errors import AmpmixError, printable
from ampmix.records.store import FORMAT, run_id
from ampmix.studies import file as study_file
from ampmix.text.tokenizers import TOKENIZERS, words
from ampmix.text.vector_formats import WIDEST, entries

PLENTY = 5.0  # seconds of computing that no input of a few kilobytes may take; some took minutes


# tables


@pytest.mark.parametrize("column", ["text", "label"])
def test_an_empty_column_name_is_a_column_that_is_not_there(tmp_path: Path, column: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\nx,y\nz,y\n")
    with pytest.raises(AmpmixError, match="has no column ''"):
        read_table(path, **{column: ""})


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("text\nab\n".encode("utf-16")[:-1], "utf-16"),  # half a character
        (b"text\n+2AA-\n", "utf-7"),  # half a surrogate pair
        (b"text\na\n", "undefined"),
        (b"text\na\n", "no\0such"),
        (b"text\na\n", "hex"),
    ],
    ids=["odd", "surrogate", "undefined", "nul", "bytes"],
)
def test_a_stream_in_a_wrong_encoding_is_refused(content: bytes, encoding: str) -> None:
    with pytest.raises(AmpmixError):
        list(open_stream(io.BytesIO(content), Path("a.csv"), None, encoding).rows)


def test_a_header_of_a_million_columns_is_refused_at_once(tmp_path: Path) -> None:
    began = time.process_time()
    header = ",".join(map(str, range(10**6)))
    (tmp_path / "a.csv").write_text(f"{header}\nx\n")
    with pytest.raises(AmpmixError, match=f"at most {MOST_COLUMNS:,}"):
        read_table(tmp_path / "a.csv")
    with pytest.raises(AmpmixError, match=f"at most {MOST_COLUMNS:,}"):
        open_stream(io.BytesIO(f"{header}\nx\n".encode()), Path("a.csv"))
    assert time.process_time() - began < PLENTY


class _Endless(io.RawIOBase):
    """The same line, or a line without an end, for ever; counts what was taken of it."""

    def __init__(self, start: bytes, rest: bytes) -> None:
        self.start, self.rest, self.taken = start, rest, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        made = self.start + self.rest * (len(buffer) // len(self.rest) + 1)
        buffer[:] = made[: len(buffer)]
        self.start = made[len(buffer) :]
        self.taken += len(buffer)
        return len(buffer)


@pytest.mark.parametrize(
    ("start", "rest"),
    [(b"text\n", b"a"), (b"text,b\n", b'"a\n",'), (b"", b"a"), (b'{"text": "', b"a")],
    ids=["line", "record", "header", "json"],
)
def test_a_stream_without_an_end_is_refused_in_bounded_memory(
    start: bytes, rest: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ampmix.data.tables.stream.LONGEST_FIELD", 2**16)
    source = _Endless(start, rest)
    with pytest.raises(AmpmixError, match="of more than"):
        list(open_stream(io.BufferedReader(source), Path("a")).rows)
    assert source.taken < 2**20


def _damaged_parquet() -> list[bytes]:
    file = io.BytesIO()
    pl.DataFrame({"text": ["a", "b", "c"] * 9, "label": ["x", "y", "x"] * 9}).write_parquet(
        file, compression="uncompressed"
    )
    whole = file.getvalue()
    return [whole[:i] + b"\xff" + whole[i + 1 :] for i in range(0, len(whole), 7)]


def test_no_damaged_byte_of_a_parquet_file_is_a_panic(
    tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ampmix.data.tables.parquet.survived", lambda *_: True)  # for speed
    path, read = tmp_path / "a.parquet", 0
    for damaged in _damaged_parquet():
        path.write_bytes(damaged)
        for once in (lambda: read_table(path), lambda: list(ParquetStream(path, "text").rows)):
            try:
                once()
                read += 1
            except AmpmixError:
                continue
    capfd.readouterr()  # polars tells of its panics
    assert read  # some bytes change a letter


ALLOCATES = (  # what fuzzing made of a file of polars: a page with 2**61 bytes of validity
    r"{Wp48S^xk9=GL@E0stWa8~^|S5YJf5;07%N7hM1-"
    r"5Jrehl4^5U(H>u}9bg<8&h0(_J!)dP{aK?;o>XMg!7H6Rv|wz35+wl3MdfhtFLm~2BbJcEQ(qZKH>V5j9^bHOHv?%6Q7"
    r"-;B$O8bMiBt>j_F%0`ilsNP>%`1y9G1n1h>V67kva@3=xP|olngT+o7XNQU*&z?&yMb6;ys3vX9wJl;x}}fni+4+jJHI"
    r"jU+#XRv44L4#7m!Kz3@x-4`w}7*{QR}XXT%{&~f1HMO0b1F2aon?I1W)&m6|uoE<R`;pobb<2}N4kq`-"
    r"9S>VMU7z_(Qt&xE$m_pn$c1@UiNwF`7Q(bC2Ss<Ft%998?q@OzuLkiW0C7^u4jZ9B@X2da2K`)1Y)+9bHBQa$&GQ|k=7"
    r"hMVbbK5U!ZeprSy!XU>sOTOi{f5yJ%uG{cTr%qGJtUyy4R`HywLAwI$dI?YCBuYD;6IBD7q|QwMBcbTiK^o_2#4eQIS)"
    r"CA*l<G5clw@=KO*_uV;5`kN@Jo{329P!CGU7FjYea|l1BaZPA+@uMegjxV}dX-YKjMsOn4Xoc-Ht6yCfg#x%VWm3>=>m"
    r"=~#=r#081)ddzU+1XbFJ&cc($L9h_-"
    r"h<oLT*VA?%l7pAJz7VZ76wimgcuF87WAP}n+MDp8U?!Kb{ejyb+XqcYIzpR~+H+qo6tkzBObj5XwD3W`25bQb<WJkvDh"
    r"tiZFcSxUn>%igg7^!=-"
    r"q6qK9&c5A7e!wX<>NvoSJ|kMBj{Fd>C}y4i3T{Rk<miftax?}lF>EJ$UdtRk2&AhK1(Mr^w^UX`ST9pBgJ*&Z1r1d4Tg"
    r"fhJL!9hBM2!mNcn$ZkiNFfyt3bJ#e5@h$~kH<*juMC1F{z@*a2*pe#16*?uoDbTv7j^V6fjRd)q-"
    r"~lO~;>i=l)FRDhcbld-2w900V_VP(uW>03^Uol#py>;6NxVG!E#pM=M$)Opx{<AFg3PQ2};RwW8a%-"
    r"_>+6nJCJi$<|$NLb;ps$U)FJq<x59JfR16vr(*hL<s6d>|`(z4IZSV%-"
    r"at2H^kzJw~8q*@4|r00FZGt_%PG^w;HdvBYQl0ssI200dcD"
)


def test_a_parquet_that_kills_who_reads_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(lzma.decompress(base64.b85decode(ALLOCATES)))
    for once in (lambda: read_table(path), lambda: list(ParquetStream(path, "text").rows)):
        with pytest.raises(AmpmixError, match="is damaged"):
            once()


def test_the_process_that_tries_a_parquet_takes_no_module_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({"text": ["a"], "label": ["x"]}).write_parquet(path)
    (tmp_path / "polars.py").write_text("open('taken', 'w').close()")
    monkeypatch.chdir(tmp_path)
    assert survived(path) and survived(path, most=9)
    assert not (tmp_path / "taken").exists()


def test_a_parquet_of_one_text_over_and_over_is_refused_or_read_in_parts(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    long = "a" * 2**16
    pl.DataFrame({"text": [long] * 6000, "label": ["x", "y"] * 3000}).write_parquet(path)
    assert path.stat().st_size < 2**20
    with pytest.raises(AmpmixError, match="unpacks to more than"):
        read_table(path)
    stream = ParquetStream(path)
    for _ in stream._frames():
        stream._read.clear()
    largest = max(frame["text"].str.len_bytes().sum() for frame in stream._frames())
    assert largest <= 4 * BYTES


def test_dates_that_python_does_not_have_are_refused(tmp_path: Path, capfd: Any) -> None:
    path = tmp_path / "a.parquet"
    days = pl.Series("text", [2**31 - 1, -(2**31)], dtype=pl.Int32).cast(pl.Date)
    pl.DataFrame([days, pl.Series("label", ["x", "y"])]).write_parquet(path)
    for once in (lambda: read_table(path), lambda: list(ParquetStream(path).rows)):
        with pytest.raises(AmpmixError, match="that Python cannot hold"):
            once()
    capfd.readouterr()  # polars tells of its panics


# vectors


def _zip(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def _encrypted() -> bytes:
    made = bytearray(_zip(a=b"the 0.1\n"))
    for at in (6, made.index(b"PK\x01\x02") + 8):
        made[at] |= 1
    return bytes(made)


def _of_method(method: int) -> bytes:
    made = bytearray(_zip(a=b"the 0.1\n"))
    for at in (8, made.index(b"PK\x01\x02") + 10):
        made[at] = method
    return bytes(made)


ZIPS = {
    "no file in it": _zip(**{"folder/": b""}),
    "encrypted": _encrypted(),
    "unknown method": _of_method(97),
    "lzma that is none": _of_method(14),
    "bzip2 that is none": _of_method(12),
    "a place outside": _zip(a=b"x").replace(
        b"PK\x05\x06" + bytes(12), b"PK\x05\x06" + b"\xff" * 12
    ),
}
VECTORS = {
    **ZIPS,
    "a count of 5000 digits": b"9" * 5000 + b" 3\nthe 0.1 0.2 0.3\n",
    "a width of a terabyte": b"2 250000000000\n" + b"the " + bytes(100),
    "wider than any": b"the" + b" 0.5" * (WIDEST + 1) + b"\n",
    "NUL": b"the 0.1\n\0\0 0.2\n",
}


@pytest.mark.parametrize("case", VECTORS)
def test_hostile_vectors_are_refused(case: str, tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_bytes(VECTORS[case])
    with pytest.raises(AmpmixError):
        list(entries(tmp_path / "v.txt", {b"the"}))


@pytest.mark.parametrize("packed", ["gzip", "zip"])
def test_vectors_that_unpack_a_thousandfold_are_not_unpacked(packed: str, tmp_path: Path) -> None:
    content = b"word 0.5 0.5\n" * 2**21  # 27 MB, in a tenth of one
    raw = gzip.compress(content, 6) if packed == "gzip" else _zip(a=content)
    (tmp_path / "v").write_bytes(raw)
    assert len(raw) < 2**20
    with pytest.raises(AmpmixError, match="unpacks to more than 50 times"):
        for _ in entries(tmp_path / "v", {b"the"}):
            pass


# archives of data sets


@pytest.mark.parametrize("case", ZIPS)
def test_a_hostile_archive_writes_the_target_alone(case: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.zip").write_bytes(ZIPS[case])
    told = download._wrong_member(tmp_path / "in" / "a.zip", "a", tmp_path / "in" / "t", "0" * 64)
    assert told
    assert {path.name for path in tmp_path.rglob("*")} <= {"in", "a.zip", "t"}


@pytest.mark.parametrize("name", ["../evil", "/tmp/ampmix-evil", "a/../../evil"])
def test_names_in_an_archive_are_never_paths(name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.zip").write_bytes(_zip(**{name: b"evil", "a": b"fine"}))
    download._wrong_member(tmp_path / "in" / "a.zip", "a", tmp_path / "in" / "t", "0" * 64)
    assert {path.name for path in tmp_path.rglob("*")} == {"in", "a.zip", "t"}
    assert not Path("/tmp/ampmix-evil").exists()


# the network


def test_every_address_in_the_package_is_one_of_tls() -> None:
    source = Path(download.__file__).parents[1]
    found = [
        address
        for path in source.rglob("*.py")
        for address in re.findall(r"(?<=[\"'])(\w+)://\w", path.read_text(encoding="utf-8"))
    ]
    assert set(found) <= {"https", "s3"}  # the latter in an example
    assert found


@pytest.mark.parametrize("to", ["http://a.b/c", "ftp://a.b/c", "file:///etc/passwd"])
def test_a_server_reached_over_tls_sends_us_nowhere_else(to: str) -> None:
    follow = download._OnlyTls()
    secure, plain = (urllib.request.Request(f"{kind}://a.b/c") for kind in ("https", "http"))
    with pytest.raises(urllib.error.URLError, match="not https"):
        follow.redirect_request(secure, None, 302, "Found", {}, to)
    onward = follow.redirect_request(secure, None, 302, "Found", {}, "https://d.e/f")
    assert onward.full_url == "https://d.e/f"
    assert follow.redirect_request(plain, None, 302, "Found", {}, "http://d.e/f") is not None


class _Answer(io.BytesIO):
    """What a server sends, with whatever headers."""

    status = 200
    headers: dict[str, str | None]


@pytest.mark.parametrize("length", ["many", "-5", "1e9", "²", str(10**12)])
def test_a_server_that_lies_of_a_length(
    length: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = _Answer(b"content")
    answer.headers = {"Content-Length": length}

    class Opener:
        def open(self, request: Any, timeout: float) -> _Answer:
            return answer

    monkeypatch.setattr("urllib.request.build_opener", lambda *_: Opener())
    part = tmp_path / "a.part"
    if length.startswith("10000"):
        with pytest.raises(AmpmixError, match="is larger than"):
            download._transfer("https://a.b/c", part, 2**20)
        assert not part.exists()
    else:
        download._transfer("https://a.b/c", part, 2**20)
        assert part.read_bytes() == b"content"


def test_a_data_sets_own_code_is_off_where_the_library_would_run_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ampmix.datasets import hf

    asked: list[dict[str, Any]] = []
    fake = types.ModuleType("datasets")
    fake.load_dataset = lambda *_, **options: asked.append(options) or {}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", fake)
    for version in ("2.19.0", "5.2.0"):
        fake.__version__ = version  # type: ignore[attr-defined]
        hf._parts("somebody/data", "")
    assert asked == [{"trust_remote_code": False}, {}]


# spec strings and study files


@pytest.mark.parametrize("text", ["," * 10**6, "amp[" + "=" * 10**6 + "]", "x" * 10**6])
def test_endless_spec_strings_are_refused_at_once(text: str) -> None:
    began = time.process_time()
    for read in (components.parse, components.parse_list):
        with pytest.raises(AmpmixError, match="at most 10,000"):
            read(text, "ampmix.policies", "policy")
    assert time.process_time() - began < PLENTY


START = 'datasets = "films.csv"\npolicies = ["none"]\n'
STUDIES = {
    "nested": "a = " + "[" * 5000,
    "dotted": ".".join(["a"] * 60_000) + " = 1",
    "choices": START + 'backbones = "cnn[' + ",".join(f"k{i}=1|2" for i in range(60)) + ']"',
    "equals": START + f'backbones = "{"=" * 100_000}"',
    "product": START + f"[training]\nlr = {list(range(1, 300))}\nsteps = {list(range(1, 300))}",
    "long axis": START + f"fractions = {[1 / i for i in range(1, 11_000)]}",
    "grids": START + "[[grid]]\nseeds = 1\n" * 6000 + "[training]\nsteps = [1, 2, 3]",
    "too large": START + "#" * 2**18,
    "a number beyond floats": START + "fractions = 1" + "0" * 400,
    "a name beyond file names": 'policies = "none"\ndatasets = "' + "a" * 5000 + '"\nseeds = 0',
    "digits": START + "seeds = " + "9" * 5000,
}


@pytest.mark.parametrize("case", STUDIES)
def test_hostile_studies_are_refused_at_once(case: str, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(STUDIES[case])
    began = time.process_time()
    with pytest.raises(AmpmixError):
        study_file.read(tmp_path / "s.toml")
    assert time.process_time() - began < PLENTY


def test_equal_cells_count_once_and_the_first_stays_first(tmp_path: Path) -> None:
    text = 'datasets = "a.csv"\npolicies = "none"\n[[grid]]\nseeds = 2\n[[grid]]\nseeds = 3\n'
    (tmp_path / "s.toml").write_text(text + "[[grid]]\nseeds = 2\n")
    assert [cell.seeds for cell in study_file.read(tmp_path / "s.toml").cells] == [2, 3]


def test_a_damaged_reference_says_so(tmp_path: Path) -> None:
    for content in (b"table1 = [", b"\xff", b"a = " + b"[" * 9000):
        (tmp_path / "reference.toml").write_bytes(content)
        with pytest.raises(AmpmixError, match="install ampmix again"):
            paper.read(tmp_path / "reference.toml")


# records

GOOD: dict[str, Any] = {
    "specification": {
        "dataset": "films",
        "data_hash": "a",
        "fraction": 1.0,
        "folds": None,
        "policy": "none",
        "seed": 0,
        "backbone": "cnn",
        "training": {"steps": 1},
    },
    "result": {
        "status": "done",
        "split_hash": "b",
        "n_train": 2,
        "n_dev": 1,
        "n_test": 2,
        "test_wrong": "01",
        "test_error": 0.5,
        "dev_error": 0.5,
        "curve": [{"step": 1, "dev_error": 0.5, "dev_loss": 0.7}],
    },
    "provenance": {"seconds": 1.0},
}


def write_record(folder: Path, **parts: Any) -> None:
    """A record file with the digest that it should have."""
    content = {**GOOD, **parts}
    sealed = {"specification": content["specification"], "result": content["result"]}
    content |= {"format": FORMAT, "digest": content_sha256(sealed)}
    name = run_id(content["specification"])
    (folder / f"{name}.json").write_text(json.dumps(content))


SPECIFICATIONS: dict[str, Any] = {
    "no seed": {"seed": None},
    "text for a seed": {"seed": "0"},
    "a fraction beyond": {"fraction": 7},
    "a list for a data set": {"dataset": ["films"]},
    "nested settings": {"training": {"steps": [1]}},
    "settings of no backbone": {"backbone": None},
    "folds": {"folds": "two"},
}


def packed(rows: list[list[float]]) -> str:
    return base64.b64encode(np.array(rows, "<f2").tobytes()).decode()


PREDICTED: dict[str, Any] = {
    "test_classes": ["a", "b"],
    "test_labels": "AAABAA==",
    "test_probabilities": packed([[0.5, 0.5]] * 2),
}
RESULTS: dict[str, Any] = {
    "other digits": {"test_wrong": "0x"},
    "another length": {"test_wrong": "0"},
    "a list of digits": {"test_wrong": [0, 1]},
    "a curve of numbers": {"curve": [1]},
    "no texts": {"n_train": 0, "n_dev": 0},
    "counts below zero": {"n_test": -2},
    "a failure without words": {"status": "failed"},
    "no numbers": {"perturbation": {"examples": 1, "lam": {}, "loss": {}}},
    "infinity": {"dev_error": float("inf")},
    "probabilities alone": {"test_probabilities": packed([[0.5, 0.5]] * 2)},
    "no base64": PREDICTED | {"test_probabilities": "\u00e9!"},
    "another shape": PREDICTED | {"test_probabilities": packed([[0.5, 0.5]])},
    "not numbers": PREDICTED | {"test_probabilities": packed([[float("nan"), 1.0]] * 2)},
    "above one": PREDICTED | {"test_probabilities": packed([[2.0, -1.0]] * 2)},
    "sums above one": PREDICTED | {"test_probabilities": packed([[0.9, 0.9]] * 2)},
    "a label of no class": PREDICTED | {"test_labels": "AAAHAA=="},
    "labels missing": PREDICTED | {"test_labels": None},
    "a class that is no name": PREDICTED | {"test_classes": ["a", 1]},
}
PROVENANCES: dict[str, Any] = {
    "seconds": {"seconds": "long"},
    "git": {"git": ["x"]},
    "versions": {"versions": ["torch"]},
    "names": {"printed_as": ["cnn-rand"]},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "case"),
    [
        *(("specification", case) for case in SPECIFICATIONS),
        *(("result", case) for case in RESULTS),
        *(("provenance", case) for case in PROVENANCES),
    ],
)
def test_a_record_of_another_shape_is_left_aside_by_name(
    part: str, case: str, tmp_path: Path
) -> None:
    changes = {"specification": SPECIFICATIONS, "result": RESULTS, "provenance": PROVENANCES}
    write_record(tmp_path)
    other = GOOD["specification"] | {"seed": 1}
    changed = {"specification": other, part: GOOD[part] | changes[part][case]}
    if part == "specification":
        changed = {part: other | changes[part][case]}
    write_record(tmp_path, **changed)
    assert len(list(tmp_path.iterdir())) == 2
    found = read_runs([tmp_path])
    assert len(found.records) == 1
    assert len(found.unreadable) == 1
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "out")]) == 0


@pytest.mark.parametrize("part", ["specification", "result", "provenance"])
def test_parts_that_are_no_tables_and_texts_that_are_none_are_left_aside(
    part: str, tmp_path: Path
) -> None:
    write_record(tmp_path)
    for seed, wrong in enumerate(([], "x", 3, {"dataset": "\ud800", "status": "done"}), start=1):
        other = {"specification": GOOD["specification"] | {"seed": seed}}
        write_record(tmp_path, **{**other, part: wrong})
    assert len(list(tmp_path.iterdir())) == 5
    with pytest.warns(UserWarning, match="left aside"):
        assert load_records(tmp_path).height == 1


def test_columns_without_a_common_type_are_text(tmp_path: Path) -> None:
    for seed, value in enumerate([1, "one", [1, "a"], {"a": 1}, 10**30, None]):
        write_record(tmp_path, specification=GOOD["specification"] | {"seed": seed, "odd": value})
    frame = load_records(tmp_path)
    assert frame.height == 6
    assert set(frame["seed"]) == set(range(6))
    by_seed = dict(zip(frame["seed"], frame["odd"], strict=True))
    assert (by_seed[1], by_seed[2], by_seed[4]) == ("one", '[1, "a"]', str(10**30))


# texts and terminals


def test_any_number_of_marks_on_a_letter_becomes_tokens_in_time() -> None:
    text = "a" + "\u0300\u0316" * 200_000  # composing sorts them: four minutes, quadratically
    began = time.process_time()
    for tokenize in TOKENIZERS.values():
        tokenize(text)
    assert time.process_time() - began < PLENTY
    assert len(words(text)) == 1


@pytest.mark.parametrize(
    "text", ["é" * 50, "e\u0301" * 50, "\u1e69", "क\u094dष", "a" + "\u0323\u0307" * 15]
)
def test_marks_of_real_words_are_all_kept(text: str) -> None:
    assert "".join(words(text)) == unicodedata.normalize("NFC", text)


def test_what_a_message_quotes_commands_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text("text,label\na,b\n")
    assert main(["compare", str(tmp_path / "a.csv"), "--policies", "\x1b]0;evil\x07"]) == 2
    told = capsys.readouterr().err
    assert "\x1b" not in told
    assert "evil" in told
    assert printable("a\x9bb\tc\n映") == "a\\x9bb\tc\n映"


def test_a_safetensors_header_is_read_without_its_tensors(tmp_path: Path) -> None:
    from ampmix.backbones.weights import header_of

    header = json.dumps({"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(24))
    assert header_of(path) == {"a": (2, 3)}
