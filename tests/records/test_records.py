"""Run records: named by what determines a run, whole or not there, never lost."""

from __future__ import annotations

import dataclasses
import errno
import getpass
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ampmix._support.json_files import check_writable, write_json
from ampmix.errors import AmpmixError
from ampmix.records import provenance
from ampmix.records.store import RecordStore, RunRecord, run_id

SPECIFICATION = {
    "dataset": "Anfragen äöü 映画",
    "policy": "amp[eps=0.1,site=sent]",
    "seed": 3,
    "fraction": 0.1,
    "folds": None,
    "training": {"steps": 5, "lr": 2e-4},
}
RESULT = {
    "status": "done",
    "test_wrong": "0110",
    "test_error": 0.5,
    "dev_loss": 0.1 + 0.2,
    "curve": [{"step": 1, "train_loss": 1 / 3}],
}


def record(**result: Any) -> RunRecord:
    return RunRecord(SPECIFICATION, RESULT | result, {"seconds": 1.5})


def test_the_name_is_the_hash_of_the_canonical_specification() -> None:
    text = json.dumps(SPECIFICATION, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert run_id(SPECIFICATION) == hashlib.sha256(text.encode()).hexdigest()[:16]
    assert record().id == run_id(SPECIFICATION)


def test_key_order_does_not_enter_the_name() -> None:
    turned = dict(reversed(SPECIFICATION.items()))
    turned["training"] = {"lr": 2e-4, "steps": 5}
    assert list(turned) != list(SPECIFICATION)
    assert run_id(turned) == run_id(SPECIFICATION)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 4},
        {"policy": "amp[eps=0.1]"},
        {"fraction": 1.0},
        {"folds": 5},
        {"training": {"steps": 6, "lr": 2e-4}},
        {"more": None},
    ],
    ids=str,
)
def test_every_part_of_the_specification_enters_the_name(change: dict[str, Any]) -> None:
    assert run_id(SPECIFICATION | change) != run_id(SPECIFICATION)


def test_result_and_provenance_do_not_enter_the_name() -> None:
    other = RunRecord(SPECIFICATION, RESULT | {"test_wrong": "1111"}, {"seconds": 99})
    assert other.id == record().id


def test_the_digest_covers_specification_and_result_but_not_provenance() -> None:
    one = record()
    assert dataclasses.replace(one, provenance={"seconds": 7, "git": "x"}).digest == one.digest
    assert record(test_wrong="0111").digest != one.digest
    assert record(dev_loss=0.3).digest != one.digest  # not 0.1 + 0.2: the last bit counts
    elsewhere = dataclasses.replace(one, specification=SPECIFICATION | {"seed": 4})
    assert elsewhere.digest != one.digest


def test_what_is_added_is_got(tmp_path: Path) -> None:
    store, one = RecordStore(tmp_path / "deep" / "records"), record()
    assert store.get(SPECIFICATION) is None
    store.add(one)
    got = store.get(dict(reversed(SPECIFICATION.items())))
    assert got is not None
    assert got == one
    assert got.done
    assert got.test_wrong.tolist() == [False, True, True, False]
    assert store.path(one.id) == tmp_path / "deep" / "records" / f"{one.id}.json"
    assert [path.name for path in store.folder.iterdir()] == [f"{one.id}.json"]
    assert store.unreadable == []


def test_a_failed_run_is_not_done() -> None:
    assert not record(status="failed").done


def _altered(key: str, value: Any) -> Callable[[bytes], bytes]:
    def alter(raw: bytes) -> bytes:
        content = json.loads(raw)
        content[key] = value
        return json.dumps(content).encode()

    return alter


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda raw: b"",
    "truncated": lambda raw: raw[: len(raw) // 2],
    "one bit of a result": lambda raw: raw.replace(b'"0110"', b'"0111"'),
    "another seed": lambda raw: raw.replace(b'"seed": 3', b'"seed": 4'),
    "another format": _altered("format", 999),
    "no digest": lambda raw: raw.replace(b'"digest"', b'"dijest"'),
    "no provenance": lambda raw: raw.replace(b'"provenance"', b'"prov"'),
    "not UTF-8": lambda raw: raw.replace("ä".encode(), b"\xe4"),
    "not JSON": lambda raw: b"<html>404</html>",
    "a list": lambda raw: b"[1, 2]",
    "a number": lambda raw: b"7",
    "null": lambda raw: b"null",
    "a specification that is a text": _altered("specification", "x"),
    "nested too deep": lambda raw: b"[" * 100_000,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_file_is_not_read_and_not_deleted(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    store, one = RecordStore(tmp_path), record()
    store.add(one)
    path = store.path(one.id)
    damaged = damage(path.read_bytes())
    assert damaged != path.read_bytes()
    path.write_bytes(damaged)

    store = RecordStore(tmp_path)
    assert store.get(SPECIFICATION) is None
    assert [where for where, _ in store.unreadable] == [path]
    assert store.unreadable[0][1]
    assert path.read_bytes() == damaged

    store.add(one)
    assert store.get(SPECIFICATION) == one
    aside = [other for other in tmp_path.iterdir() if other != path]
    assert [other.read_bytes() for other in aside] == [damaged]


def test_a_disk_that_fails_does_not_have_a_run_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RecordStore(tmp_path)
    store.add(record())

    def fail(self: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch, pytest.raises(AmpmixError, match="Input/output error"):
        patch.setattr(Path, "read_bytes", fail)
        store.get(SPECIFICATION)
    assert store.get(SPECIFICATION) == record()
    assert store.unreadable == []


def test_a_damaged_file_is_listed_once(tmp_path: Path) -> None:
    """compare() asks for a record, trains the run and adds it: one file, one note."""
    store = RecordStore(tmp_path)
    store.add(record())
    store.path(record().id).write_bytes(b"{")
    assert store.get(SPECIFICATION) is None
    store.add(record())
    assert len(store.unreadable) == 1


def test_a_second_damaged_file_does_not_replace_the_first(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    for content in (b"first", b"second"):
        store.add(record())
        store.path(record().id).write_bytes(content)
    store.add(record())
    kept = {path.read_bytes() for path in tmp_path.iterdir()}
    assert {b"first", b"second"} <= kept


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["json.dump", "os.fsync", "os.replace"])
def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, error: BaseException
) -> None:
    path = tmp_path / "summary.json"
    write_json(path, {"old": True})

    def fail(*arguments: Any, **options: Any) -> None:
        if where == "json.dump":
            arguments[1].write('{"half')
        raise error

    module, name = where.split(".")
    monkeypatch.setattr({"json": json, "os": os}[module], name, fail)
    with pytest.raises(type(error)):
        write_json(path, {"old": False})
    monkeypatch.undo()
    assert json.loads(path.read_text()) == {"old": True}
    assert list(tmp_path.iterdir()) == [path]


def test_a_number_that_json_cannot_hold_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    write_json(path, {"old": True})
    with pytest.raises(ValueError):
        write_json(path, {"p": float("nan")})
    assert json.loads(path.read_text()) == {"old": True}
    assert list(tmp_path.iterdir()) == [path]


def test_provenance_says_with_what_and_when(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = provenance.provenance(1.23456)
    assert set(made["versions"]) == {"python", "ampmix", "torch", "numpy", "scikit-learn"}
    assert made["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert made["seconds"] == 1.235
    assert made["finished"].endswith("+00:00")


def test_provenance_tells_nothing_of_the_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_SECRET_OF_MINE", "hunter2hunter2")
    monkeypatch.setenv("LOGNAME", "marie-curie")
    monkeypatch.chdir(tmp_path)
    text = json.dumps(provenance.provenance(1.0))
    assert getpass.getuser() == "marie-curie"
    for private in ("hunter2hunter2", "A_SECRET", "marie-curie", str(tmp_path), str(Path.home())):
        assert private not in text
    assert os.uname().nodename not in text


def test_the_git_state_is_that_of_the_package_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("a")
    monkeypatch.setattr(provenance, "SOURCE", package)
    assert provenance.git_state.__wrapped__() is None

    def git(*arguments: str) -> str:
        who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        command = ["git", "-C", str(tmp_path), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    assert provenance.git_state.__wrapped__() is None  # no commit yet
    (tmp_path / "a").write_text("a")
    git("add", "a")
    git("commit", "--quiet", "--message", "a")
    assert provenance.git_state.__wrapped__() is None  # somebody's repository around an environment
    git("add", "package")
    git("commit", "--quiet", "--message", "package")
    commit = git("rev-parse", "HEAD")
    assert provenance.git_state.__wrapped__() == {"commit": commit, "dirty": False}
    (tmp_path / "a").write_text("b")
    assert provenance.git_state.__wrapped__() == {"commit": commit, "dirty": True}
    monkeypatch.chdir("/")
    assert provenance.git_state.__wrapped__() == {"commit": commit, "dirty": True}


def test_asking_for_the_git_state_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is killed meanwhile would leave a lock in somebody's repository."""
    monkeypatch.chdir(tmp_path)
    own = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for arguments in (["init", "-q"], ["add", "."], [*own, "commit", "-qm", "x"]):
        (tmp_path / "tracked.txt").write_text("x")
        (tmp_path / "__init__.py").write_text("x")
        subprocess.run(["git", *arguments], check=True)
    monkeypatch.setattr(provenance, "SOURCE", tmp_path)
    index = (tmp_path / ".git" / "index").read_bytes()
    os.utime(tmp_path / "tracked.txt", (1, 1))  # which status would note in the index
    assert provenance.git_state.__wrapped__()["dirty"] is False
    assert (tmp_path / ".git" / "index").read_bytes() == index


def test_without_git_there_is_no_git_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert provenance.git_state.__wrapped__() is None


def test_checking_a_folder_makes_it_and_leaves_nothing_in_it(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []


def test_a_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(AmpmixError, match=r"cannot write to the output folder .*--out"):
            check_writable(folder)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_takes_no_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    for name in ("TemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    with pytest.raises(AmpmixError, match="Permission denied"):
        check_writable(tmp_path)
