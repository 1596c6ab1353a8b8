"""Downloads against a real server on this machine that misbehaves in known ways."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ampmix._support import download
from ampmix._support.download import fetch
from ampmix.errors import AmpmixError

CONTENT = bytes(range(256)) * 2000  # 512 kB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT; the attributes say how it misbehaves."""

    daemon_threads = True
    content = CONTENT
    ranges = True
    drops = 0  # so many answers break off half-way
    busy = 0  # so many answers are status 503
    status = 0
    shift = 0  # ranges start so many bytes off
    delay = 0.0  # seconds before an answer

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str | None] = []
        self.sent = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file.txt"


class Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = 10

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers["Range"]
        server.requests.append(wanted)
        time.sleep(server.delay)
        if server.busy or server.status:
            server.busy = max(0, server.busy - 1)
            self.send_error(server.status or 503)
            return
        start = 0
        if wanted and server.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) + server.shift
            if start >= len(server.content):
                self.send_error(416)
                return
            self.send_response(206)
            end = len(server.content) - 1
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(server.content)}")
        else:
            self.send_response(200)
        body = server.content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.drops:
            server.drops -= 1
            body = body[: len(body) // 2]
        server.sent += len(body)
        self.wfile.write(body)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("AMPMIX_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("AMPMIX_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "PAUSE", 0.01)
    monkeypatch.setattr(download, "TIMEOUT", 5.0)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join(timeout=10)


def get(server: Server) -> Path:
    return fetch("set/file.txt", SHA256, server.url)


def leave_part(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cache" / "set").mkdir(parents=True)
    (tmp_path / "cache" / "set" / "file.txt.part").write_bytes(content)


def test_downloads_once_and_leaves_no_part(server: Server, tmp_path: Path) -> None:
    path = get(server)
    assert path == tmp_path / "cache" / "set" / "file.txt"
    assert path.read_bytes() == CONTENT
    assert get(server) == path
    assert server.requests == [None]
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_resumes_where_the_connection_broke_off(server: Server) -> None:
    server.drops = 2
    assert get(server).read_bytes() == CONTENT
    half, quarter = len(CONTENT) // 2, len(CONTENT) // 4
    assert server.requests == [None, f"bytes={half}-", f"bytes={half + quarter}-"]
    assert server.sent == len(CONTENT)


def test_a_later_run_resumes_too(server: Server) -> None:
    server.drops = 3
    with pytest.raises(AmpmixError, match="broke off after .*attempt 3"):
        get(server)
    assert get(server).read_bytes() == CONTENT
    assert server.sent == len(CONTENT)


def test_starts_anew_where_ranges_are_not_served(server: Server) -> None:
    server.drops, server.ranges = 1, False
    assert get(server).read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_starts_anew_where_another_range_is_served(server: Server) -> None:
    server.drops, server.shift = 1, -1
    assert get(server).read_bytes() == CONTENT
    assert server.requests[-1] is None


@pytest.mark.parametrize("left", [CONTENT + b"more", b"x" * 1000])
def test_a_useless_part_is_thrown_away(server: Server, tmp_path: Path, left: bytes) -> None:
    leave_part(tmp_path, left)
    assert get(server).read_bytes() == CONTENT
    assert server.requests == [f"bytes={len(left)}-", None]


def test_a_part_that_is_whole_needs_no_second_download(server: Server, tmp_path: Path) -> None:
    leave_part(tmp_path, CONTENT)
    assert get(server).read_bytes() == CONTENT


def test_wrong_bytes_never_take_the_files_place(server: Server, tmp_path: Path) -> None:
    server.content = b"<html>log in first</html>"
    with pytest.raises(AmpmixError, match="its sha256 begins with .* put the file at .*file.txt"):
        get(server)
    assert list((tmp_path / "cache" / "set").iterdir()) == []
    assert len(server.requests) == 1


def test_a_busy_server_is_asked_again_and_a_refusal_is_not(server: Server) -> None:
    server.status = 404
    with pytest.raises(AmpmixError, match="HTTP status 404 .attempt 1.; put the file at"):
        get(server)
    server.status, server.busy = 0, 2
    assert get(server).read_bytes() == CONTENT
    assert len(server.requests) == 4


def test_too_large_a_file_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "LIMIT", 1 << 18)
    with pytest.raises(AmpmixError, match="is larger than"):
        get(server)


def test_without_a_network_the_way_out_is_named(server: Server, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/file.txt"
    start = time.perf_counter()
    with pytest.raises(AmpmixError) as caught:
        fetch("set/file.txt", SHA256, url)
    message = str(caught.value)
    assert f"cannot download {url}" in message and "attempt 3" in message
    assert f"put the file at {tmp_path / 'cache' / 'set' / 'file.txt'}" in message
    assert "AMPMIX_DATA" in message
    assert time.perf_counter() - start < 30


def test_processes_at_once_download_once(server: Server) -> None:
    code = (
        f"from ampmix._support.download import fetch; fetch{('set/file.txt', SHA256, server.url)}"
    )
    server.delay = 1.0  # time for all of them to find no file
    children = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    try:
        assert [child.wait(timeout=60) for child in children] == [0, 0, 0]
    finally:
        for child in children:
            child.kill()
    assert server.requests == [None]
    assert get(server).read_bytes() == CONTENT


def test_files_at_hand_are_checked(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    monkeypatch.setenv("AMPMIX_DATA", str(data))
    with pytest.raises(AmpmixError, match="AMPMIX_DATA is .*: there is no such folder"):
        get(server)
    (data / "set").mkdir(parents=True)
    (data / "set" / "file.txt").write_bytes(CONTENT)
    assert get(server) == data / "set" / "file.txt"
    assert server.requests == []
    (data / "set" / "file.txt").write_bytes(CONTENT + b"\n")
    with pytest.raises(AmpmixError, match="data/set/file.txt was altered"):
        get(server)
    (data / "set" / "file.txt").unlink()
    path = get(server)
    assert path.parent == tmp_path / "cache" / "set" and len(server.requests) == 1
    path.write_bytes(b"")
    with pytest.raises(AmpmixError, match="cache/set/file.txt was altered"):
        get(server)


def test_a_cache_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file stands where the folder should")
    with pytest.raises(AmpmixError, match="cannot write to .*set AMPMIX_CACHE"):
        get(server)


def test_progress_goes_to_a_terminal_only(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    get(server)
    assert capsys.readouterr().err == ""
    os.remove(get(server))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    get(server)
    assert "file.txt: 500 of 500 KiB" in capsys.readouterr().err
