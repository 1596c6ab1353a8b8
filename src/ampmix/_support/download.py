"""Find a public file that a data set needs: in AMPMIX_DATA, in the cache, or by downloading it."""

from __future__ import annotations

import http.client
import logging
import lzma
import os
import struct
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock

from ampmix._support.cache import cache_folder
from ampmix._support.files import sha256_of, to_disk
from ampmix.errors import AmpmixError

ATTEMPTS = 3
TIMEOUT = 20.0  # seconds without a byte
PAUSE = 1.0  # seconds before the second attempt; doubled after each
LIMIT = 64 * 2**20  # bytes; the largest file of the paper's data sets has about 4 MB
_CHUNK = 2**16
_log = logging.getLogger(__name__)


def fetch(
    relative_path: str,
    sha256: str,
    url: str,
    member: str | None = None,
    *,
    limit: int | None = None,
) -> Path:
    """The path of a file with the given SHA-256 (hex): found, or downloaded from `url` once.

    With `member`, `url` is a zip file and the file wanted is that member of it. The zip file stays
    beside it in the cache, for its other members; no name in it is ever taken for a path.

    Looked for below the folder AMPMIX_DATA, then below the cache (AMPMIX_CACHE, or the user's cache
    folder). A download resumes where an earlier one broke off, is checked before it takes its
    place, and holds a lock, so that processes started together download once.

    Raises AmpmixError if a file found was altered, or if there is none and no way to get it.
    """
    if data := os.environ.get("AMPMIX_DATA"):
        if not Path(data).is_dir():
            raise AmpmixError(f"AMPMIX_DATA is {data!r}: there is no such folder; mend or unset it")
        if (path := Path(data, relative_path)).is_file():
            return _checked(path, sha256)
    cache = cache_folder()
    path = cache / relative_path
    if path.is_file():
        return _checked(path, sha256)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / ".lock"):  # dropped by the system if the process dies
            if not path.is_file():  # another process may have brought it while this one waited
                part = path.with_name(path.name + ".part")
                way_out = f"put the file at {path} or set AMPMIX_DATA"
                if member is None:
                    _download(url, part, partial(_wrong, sha256=sha256), way_out, limit or LIMIT)
                else:
                    _download_member(url, member, part, sha256, way_out)
                to_disk(part)
                part.replace(path)
    except (OSError, NotImplementedError) as error:  # the latter where there are no locks
        raise AmpmixError(f"cannot write to {cache} ({error}): set AMPMIX_CACHE") from error
    return _checked(path, sha256)


def _checked(path: Path, sha256: str) -> Path:
    try:
        found = sha256_of(path)
    except OSError as error:
        raise AmpmixError(f"cannot read {path}: {error.strerror}") from error
    if found != sha256:
        raise AmpmixError(
            f"{path} was altered (its sha256 begins with {found[:12]}, not {sha256[:12]}): "
            "delete it to have it downloaded again, or put the original there"
        )
    _log.info("%s is as it should be", path)
    return path


def _wrong(path: Path, sha256: str) -> str:
    """Problem of a downloaded file, "" if there is none."""
    found = sha256_of(path)
    return "" if found == sha256 else f"its sha256 begins with {found[:12]}, not {sha256[:12]}"


def _download_member(url: str, member: str, part: Path, sha256: str, way_out: str) -> None:
    """Bring `member` of the zip file at `url` into `part`; the zip file stays beside it."""
    archive = part.with_name(urllib.parse.urlsplit(url).path.rpartition("/")[2])
    wrong = partial(_wrong_member, member=member, target=part, sha256=sha256)
    if archive.is_file() and not wrong(archive):
        return
    draft = archive.with_name(archive.name + ".part")
    _download(url, draft, wrong, way_out, LIMIT)
    to_disk(draft)
    draft.replace(archive)


def _wrong_member(archive: Path, member: str, target: Path, sha256: str) -> str:
    """Write `member` of a zip file to `target`; what is wrong with it, "" if nothing is."""
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(member) as source:
            content = source.read(LIMIT + 1)
    except KeyError:
        return f"it has no member {member}"
    # what a damaged zip file can raise; encryption is a RuntimeError, a bad place an OSError
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, RuntimeError,
            ValueError, OSError) as error:  # fmt: skip
        return f"it is no zip file that can be read ({error})"
    if len(content) > LIMIT:
        return f"its member {member} is larger than {LIMIT >> 20} MiB"
    target.write_bytes(content)
    problem = _wrong(target, sha256)
    return problem and f"of its member {member}, {problem.removeprefix('its ')}"


def _download(url: str, part: Path, wrong: Callable[[Path], str], way_out: str, limit: int) -> None:
    """Bring `url` into `part`, in several attempts if need be, until nothing is wrong with it."""
    problem = ""
    for attempt in range(ATTEMPTS):
        time.sleep(PAUSE * 2 ** (attempt - 1) if attempt else 0)
        try:
            resumed = _transfer(url, part, limit)
        except urllib.error.HTTPError as error:
            problem = f"HTTP status {error.code}"
            if error.code < 500 and error.code not in (408, 416, 429):
                break  # asking again will not help
        except urllib.error.URLError as error:
            problem = str(error.reason)
        except (ConnectionError, TimeoutError, http.client.HTTPException) as error:
            problem = str(error) or type(error).__name__
        else:
            problem = wrong(part)
            if not problem:
                return
            part.unlink()
            if not resumed:
                break
    raise AmpmixError(f"cannot download {url}: {problem} (attempt {attempt + 1}); {way_out}")


def _transfer(url: str, part: Path, limit: int) -> bool:
    """Download once; return True if this continued an earlier attempt."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "ampmix"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.build_opener(_OnlyTls).open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # more is here than the server has: what is here cannot be right
            part.unlink(missing_ok=True)
        raise
    with response:
        # A server may ignore the range and send all of it, or send another range.
        resumed = have > 0 and response.status == 206
        if resumed and not (response.headers["Content-Range"] or "").startswith(f"bytes {have}-"):
            part.unlink()
            raise ConnectionError("the server resumed at another place")
        have = have if resumed else 0
        length = response.headers["Content-Length"]
        total = have + int(length) if length and length.isascii() and length.isdigit() else None
        if total is not None and total > limit:
            raise AmpmixError(f"{url} is larger than {limit >> 20} MiB: not downloaded")
        with part.open("ab" if resumed else "wb") as file:
            for chunk in _chunks(response):
                have += len(chunk)
                if have > limit:
                    part.unlink()
                    raise AmpmixError(f"{url} is larger than {limit >> 20} MiB: not downloaded")
                file.write(chunk)
                _progress(f"\r{part.stem}: {have >> 10}{f' of {total >> 10}' if total else ''} KiB")
        _progress("\n")
    if total is not None and have < total:
        raise ConnectionError(f"the connection broke off after {have} of {total} bytes")
    return resumed


class _OnlyTls(urllib.request.HTTPRedirectHandler):
    """A server that was reached over TLS may not send us to one that is not."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        """Refuse what leaves https."""
        if req.type == "https" and urllib.parse.urlsplit(newurl).scheme != "https":
            raise urllib.error.URLError(f"it sends us to {newurl[:80]}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _chunks(response: Any) -> Iterator[bytes]:
    """Yield what the server sends; raise ConnectionError for its failures, not for the disk's."""
    try:
        while chunk := response.read(_CHUNK):
            yield chunk
    except OSError as error:
        raise ConnectionError(str(error) or type(error).__name__) from error


def _progress(text: str) -> None:
    if sys.stderr.isatty() and _log.isEnabledFor(logging.WARNING):  # it is not with --quiet
        sys.stderr.write(text)
        sys.stderr.flush()
