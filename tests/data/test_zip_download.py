"""A file out of a zip file on a real server on this machine, whole, damaged or hostile."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ampmix._support import download
from ampmix._support.download import fetch
from ampmix.errors import AmpmixError

MEMBERS = {"trees/train.txt": b"(1 a)\n" * 5000, "trees/dev.txt": b"(2 b)\n" * 50}


def packed(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    content = packed(MEMBERS)
    answers = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/sets/trees.zip?download=1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.server.answers += 1
        start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        body = self.server.content[start:]
        if start and not body:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        end = len(self.server.content) - 1
        self.send_header("Content-Range", f"bytes {start}-{end}/{end + 1}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("AMPMIX_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("AMPMIX_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "PAUSE", 0.01)
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join(timeout=10)


def get(server: Server, part: str, content: bytes | None = None) -> Path:
    member = f"trees/{part}.txt"
    sha256 = hashlib.sha256(MEMBERS[member] if content is None else content).hexdigest()
    return fetch(f"set/{part}.txt", sha256, server.url, member=member)


def names(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache" / "set").iterdir())


def test_one_download_serves_all_members(server: Server, tmp_path: Path) -> None:
    for part in ("train", "dev", "train"):
        path = get(server, part)
        assert path == tmp_path / "cache" / "set" / f"{part}.txt"
        assert path.read_bytes() == MEMBERS[f"trees/{part}.txt"]
    assert server.answers == 1
    assert names(tmp_path) == ["dev.txt", "train.txt", "trees.zip"]


def test_files_at_hand_need_no_zip_file(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "set").mkdir(parents=True)
    own = tmp_path / "data" / "set" / "dev.txt"
    own.write_bytes(MEMBERS["trees/dev.txt"])
    monkeypatch.setenv("AMPMIX_DATA", str(tmp_path / "data"))
    assert get(server, "dev") == own
    assert server.answers == 0


def test_names_in_the_zip_file_lead_nowhere(server: Server, tmp_path: Path) -> None:
    hostile = {"../../escaped.txt": b"x", "/tmp/escaped.txt": b"x", **MEMBERS}
    server.content = packed(hostile)
    get(server, "dev")
    assert [p.name for p in tmp_path.rglob("*escaped*")] == []
    evil = hashlib.sha256(b"x").hexdigest()
    path = fetch("set/evil.txt", evil, server.url, member="../../escaped.txt")
    assert path == tmp_path / "cache" / "set" / "evil.txt", "where it goes is ours to say"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html>log in first</html>", "it is no zip file that can be read"),
        (packed(MEMBERS)[:-30], "it is no zip file that can be read"),
        (packed(MEMBERS).replace(b"PK\x03\x04", b"PK\x03\x05"), "no zip file that can be read"),
        (packed({"other.txt": b"x"}), "it has no member trees/dev.txt"),
        (packed({"trees/dev.txt": b"x"}), "of its member trees/dev.txt, sha256 begins with"),
        (packed({"trees/dev.txt": bytes(1 << 20)}), "dev.txt is larger than 0 MiB"),
    ],
    ids=["html", "cut", "damaged", "other", "altered", "bomb"],
)
def test_what_is_not_the_zip_file_wanted_leaves_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, said: str
) -> None:
    server.content = content
    monkeypatch.setattr(download, "LIMIT", 1 << 19)
    with pytest.raises(AmpmixError, match=f"cannot download .*{said}.* put the file at .*dev.txt"):
        get(server, "dev")
    assert "dev.txt" not in names(tmp_path) and "trees.zip" not in names(tmp_path)
    server.content = packed(MEMBERS)
    assert get(server, "dev").read_bytes() == MEMBERS["trees/dev.txt"]


def test_a_kept_zip_file_that_was_damaged_is_downloaded_again(
    server: Server, tmp_path: Path
) -> None:
    get(server, "dev")
    (tmp_path / "cache" / "set" / "trees.zip").write_bytes(b"PK damaged")
    assert get(server, "train").read_bytes() == MEMBERS["trees/train.txt"]
    assert server.answers == 2


def test_a_download_goes_on_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cache" / "set").mkdir(parents=True)
    left = tmp_path / "cache" / "set" / "trees.zip.part"
    left.write_bytes(server.content[:100])
    get(server, "dev")
    assert server.answers == 1
    assert names(tmp_path) == ["dev.txt", "trees.zip"]
