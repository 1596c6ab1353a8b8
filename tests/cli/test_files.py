"""Files and folders that are whole or not there, and what a killed process leaves of them."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ampmix._support import files
from ampmix._support.files import PREFIX, discard, drafting, put, sweep, whole, write_text

linux = pytest.mark.skipif(sys.platform != "linux", reason="exchanges in one step")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def model(folder: Path, content: str) -> Path:
    folder.mkdir()
    for name in ("config.json", "weights"):
        (folder / name).write_text(content)
    return folder


@pytest.mark.parametrize("error", [OSError(28, "full"), KeyboardInterrupt(), ValueError()])
def test_what_is_raised_while_writing_leaves_the_old_file(
    tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(type(error)), whole(path) as draft:
        draft.write_text("ne")
        raise error
    assert (names(tmp_path), path.read_text()) == (["a.txt"], "old")
    write_text(path, "new")
    assert (names(tmp_path), path.read_text()) == (["a.txt"], "new")


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_disk_that_does_not_take_it_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def dying(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync") if where == "fsync" else (Path, "replace")), dying)
        with pytest.raises(OSError, match="Input/output"):
            write_text(path, "new")
    assert (names(tmp_path), path.read_text()) == (["a.txt"], "old")


WRITE = """
import sys, time
from pathlib import Path
from ampmix._support.files import drafting
with drafting(Path(sys.argv[1])) as draft:
    (draft / "half").write_text("half")
    print(draft.name, flush=True)
    time.sleep(60)
"""


def test_a_draft_goes_when_its_process_is_dead_and_not_before(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITE, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        draft = writer.stdout.readline().strip()
        os.utime(tmp_path / draft, (0, 0))  # whatever clocks say
        write_text(tmp_path / "a.txt", "mine")
        sweep(tmp_path)
        assert names(tmp_path) == sorted([draft, "a.txt"])
        assert (tmp_path / draft / "half").exists()
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    write_text(tmp_path / "b.txt", "mine")
    assert names(tmp_path) == ["a.txt", "b.txt"]


def test_a_draft_of_this_process_is_not_swept_by_it(tmp_path: Path) -> None:
    with drafting(tmp_path) as one, drafting(tmp_path) as other:
        assert one.is_dir() and other.is_dir() and one != other
    assert names(tmp_path) == []


def test_sweeping_removes_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".hidden").mkdir()
    (tmp_path / f"{PREFIX}dead").mkdir()
    (tmp_path / f"{PREFIX}dead" / "half").write_text("x")
    write_text(tmp_path / "a.txt", "mine")
    sweep(tmp_path)
    sweep(tmp_path / "not there")
    assert names(tmp_path) == [".hidden", "a.txt"]


@pytest.mark.parametrize("able", [pytest.param(True, marks=linux), False])
def test_a_folder_takes_the_place_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, able: bool
) -> None:
    if not able:
        monkeypatch.setattr(files, "_exchanged", lambda *_: False)
    for content in ("one", "two"):
        with drafting(tmp_path) as draft:
            put(model(draft / "ready", content), tmp_path / "model")
        assert (tmp_path / "model" / "weights").read_text() == content
        assert names(tmp_path) == ["model"]


@linux
def test_at_no_moment_there_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever Python calls while one is put in another's place, the place is taken."""
    with drafting(tmp_path) as draft:
        put(model(draft / "ready", "one"), tmp_path / "model")
    seen: list[bool] = []
    with drafting(tmp_path) as draft:
        ready = model(draft / "ready", "two")
        sys.setprofile(lambda *_: seen.append((tmp_path / "model").is_dir()) if watch() else None)
        try:
            put(ready, tmp_path / "model")
        finally:
            sys.setprofile(None)
    assert len(seen) > 20 and all(seen)


def watch() -> bool:
    return True


def test_a_process_killed_between_two_steps_loses_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where two folders cannot be exchanged: the earlier one is put back by the next who writes."""
    model(tmp_path / "model", "one")
    dead = tmp_path / f"{PREFIX}dead"
    dead.mkdir()
    monkeypatch.setattr(files, "_exchanged", lambda *_: False)

    def killed(self: Path, target: Path) -> None:
        if self.name == "ready":
            raise SystemExit  # what is in the finally clauses would not be done either
        os.rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        patch.setattr(Path, "exists", _but_not("earlier"))
        with pytest.raises(SystemExit):
            put(model(dead / "ready", "two"), tmp_path / "model")
    assert names(tmp_path) == [dead.name]
    write_text(tmp_path / "a.txt", "mine")
    assert names(tmp_path) == ["a.txt", "model"]
    assert (tmp_path / "model" / "weights").read_text() == "one"


def _but_not(name: str) -> Callable[[Path], bool]:
    return lambda path: path.parent.name != name and os.path.exists(path)


def test_a_folder_that_cannot_be_moved_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model(tmp_path / "model", "one")
    monkeypatch.setattr(files, "_exchanged", lambda *_: False)
    rename = Path.rename

    def dying(self: Path, target: Path) -> Path:
        if self.name == "ready":
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", dying)
    with pytest.raises(OSError, match="Input/output"), drafting(tmp_path) as draft:
        put(model(draft / "ready", "two"), tmp_path / "model")
    assert names(tmp_path) == ["model"]
    assert (tmp_path / "model" / "weights").read_text() == "one"


def test_a_place_that_another_process_takes_meanwhile_is_taken_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, raced = Path.rename, []

    def racing(self: Path, target: Path) -> Path:
        if not raced:
            raced.append(model(tmp_path / "model", "theirs"))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", racing)
    with drafting(tmp_path) as draft:
        put(model(draft / "ready", "ours"), tmp_path / "model")
    assert (tmp_path / "model" / "weights").read_text() == "ours"
    assert names(tmp_path) == ["model"]


def test_a_folder_is_discarded_at_once_or_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model(tmp_path / "model", "one")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(PermissionError(13, "no")))
        discard(tmp_path / "model")
    assert names(tmp_path / "model") == ["config.json", "weights"]
    discard(tmp_path / "model")
    discard(tmp_path / "model")
    assert names(tmp_path) == []


def test_without_locks_nothing_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody could tell a dead process's draft from a living one's."""
    (tmp_path / f"{PREFIX}x").mkdir()
    monkeypatch.setattr(files, "_lock", lambda draft: None)
    write_text(tmp_path / "a.txt", "mine")
    assert names(tmp_path) == [f"{PREFIX}x", "a.txt"]
