"""Records in one file: the same as in many, and damage is told."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

import ampmix
from ampmix.analysis.groups import read_runs
from ampmix.errors import AmpmixError
from ampmix.records.pack import pack, unpack

MANY = Path(__file__).parents[2] / "paper" / "results" / "trec-cnn" / "records"


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    folder = tmp_path / "one"
    folder.mkdir()
    assert pack(MANY.glob("*.json"), folder / "records.jsonl.gz") == 60
    return folder


def test_one_file_reads_as_many_do(packed: Path) -> None:
    ours = {record.id: record for record in read_runs([packed]).records}
    theirs = {record.id: record for record in read_runs([MANY]).records}
    assert ours.keys() == theirs.keys()
    assert all(ours[name].digest == theirs[name].digest for name in ours)
    assert all(ours[name].provenance == theirs[name].provenance for name in ours)
    assert len(read_runs([packed, MANY]).records) == 60


def test_a_table_of_one_file_is_that_of_many(packed: Path) -> None:
    ours, theirs = ampmix.load_records(packed), ampmix.load_records(MANY)
    assert ours.equals(theirs) and len(ours) == 60
    remote = pytest.importorskip("fsspec") and ampmix.load_records(f"file://{packed}")
    assert remote.equals(theirs)


def test_the_same_records_give_the_same_bytes(packed: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.jsonl.gz"
    pack(sorted(MANY.glob("*.json"), reverse=True), again)
    assert again.read_bytes() == (packed / "records.jsonl.gz").read_bytes()


def test_a_changed_line_is_left_aside_and_told(packed: Path) -> None:
    path = packed / "records.jsonl.gz"
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    changed = json.loads(lines[3])
    changed["result"]["test_error"] = 0.0
    lines[3] = json.dumps(changed).encode() + b"\n"
    lines[5] = b"{\n"
    path.write_bytes(gzip.compress(b"".join(lines)))
    found = read_runs([packed])
    assert len(found.records) == 58
    reasons = [reason for _, reason in found.unreadable]
    assert reasons[0].startswith("line 4: ") and "digest" in reasons[0]
    assert reasons[1].startswith("line 6: ") and len(reasons) == 2


def test_a_truncated_file_gives_what_it_has(packed: Path) -> None:
    path = packed / "records.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-2000])
    found = list(unpack(path.read_bytes()))
    assert isinstance(found[-1], ValueError) and "damaged" in str(found[-1])
    assert 0 < len(found) - 1 < 60


def test_no_record_is_not_packed(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(AmpmixError, match="x.json is no record"):
        pack(tmp_path.glob("*.json"), tmp_path / "out.jsonl.gz")


def test_the_published_records_are_whole() -> None:
    found = read_runs([MANY.parents[1] / "cnn-rand-h100"])
    assert len(found.records) == 150 and not found.unreadable
    assert all(record.done for record in found.records)
