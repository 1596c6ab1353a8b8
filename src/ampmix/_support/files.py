"""Write files and folders atomically: they appear whole or not at all.

A file is written in a draft, a hidden folder beside the file's place, and is renamed once it is
synced to disk. A process that is killed leaves its draft behind. The writer locks its draft, and
the kernel drops that lock when the writer ends: a draft that can be locked is abandoned, and the
next process that writes there removes it. No clock is involved.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

PREFIX = ".ampmix-"
ATTEMPTS = 5  # to take a place that another process takes at the same time
_EARLIER = "earlier"
_AT_FDCWD, _EXCHANGE = -100, 2  # of renameat2(2)
_UNABLE = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a draft path to write to; the file moves to `path` if nothing is raised.

    Raises:
        OSError: if it cannot be written; what was at `path` is then still there.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with whole(folder / "a.txt") as draft:
    ...     _ = draft.write_text("all of it")
    >>> [path.name for path in folder.iterdir()]
    ['a.txt']
    """
    with drafting(path.parent) as draft:
        yield draft / path.name
        place_files(draft, [path.name], path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all (:func:`whole`)."""
    with whole(path) as draft:
        draft.write_text(text, encoding="utf-8")


def place_files(draft: Path, names: Iterable[str], folder: Path) -> None:
    """Move files out of a draft to their places in a folder, once the disk has all of them.

    Each is there whole, the old one or the new one; an interruption may leave some of either.

    Raises:
        OSError: if one cannot be written or moved; those after it are then what they were.
    """
    listed = tuple(names)
    for name in listed:
        to_disk(draft / name)
    for name in listed:
        (draft / name).replace(folder / name)
    _folder_to_disk(folder)


@contextlib.contextmanager
def drafting(beside: Path) -> Iterator[Path]:
    """Yield a hidden draft folder; what is left in it at the end is removed.

    Drafts there whose process has died go first (:func:`sweep`).

    Raises:
        OSError: if it cannot be made.
    """
    sweep(beside)
    while True:
        draft = Path(tempfile.mkdtemp(dir=beside, prefix=PREFIX))
        try:
            held = _lock(draft)
        except (BlockingIOError, FileNotFoundError):
            continue  # another's sweep came between
        if held is None or draft.exists():
            break
        os.close(held)
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        if held is not None:
            os.close(held)


def sweep(folder: Path) -> None:
    """Remove drafts that dead processes have left in a folder.

    An earlier folder that such a process had taken out of its place, but replaced by nothing yet,
    is put back. Where the system has no locks, or what is there cannot be removed, it stays.
    """
    with contextlib.suppress(OSError):
        for draft in [path for path in folder.iterdir() if path.name.startswith(PREFIX)]:
            with contextlib.suppress(OSError):  # also BlockingIOError: its writer lives
                if (held := _lock(draft)) is not None:
                    try:
                        _clear(draft, folder)
                    finally:
                        os.close(held)


def _clear(draft: Path, beside: Path) -> None:
    for earlier in (draft / _EARLIER).glob("*"):
        if not (beside / earlier.name).exists():
            earlier.rename(beside / earlier.name)
    shutil.rmtree(draft, ignore_errors=True)


def put(ready: Path, place: Path) -> None:
    """Move the folder `ready` out of a draft to its place; a folder there takes the way back.

    On Linux the two are exchanged in one step. Elsewhere a process killed between the two steps
    leaves nothing in that place, until the next one that writes there puts the earlier folder back.

    Raises:
        OSError: if it cannot be moved; what was there is then there.
    """
    for path in ready.rglob("*"):
        if path.is_file():
            to_disk(path)
    for left in reversed(range(ATTEMPTS)):
        try:
            if not (place.is_dir() and _exchanged(ready, place)):
                _in_two_steps(ready, place)
            break
        except OSError as error:
            raced = error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT)
            if not (raced and left):
                raise
    _folder_to_disk(place.parent)


def _in_two_steps(ready: Path, place: Path) -> None:
    spare = ready.parent / _EARLIER / place.name
    if place.exists():
        spare.parent.mkdir(exist_ok=True)
        place.rename(spare)
    try:
        ready.rename(place)
    except BaseException:
        if spare.exists():
            spare.rename(place)
        raise


def discard(folder: Path) -> None:
    """Remove a folder, at once for whoever looks; what cannot be removed stays."""
    if folder.exists():
        with contextlib.suppress(OSError), drafting(folder.parent) as draft:
            folder.rename(draft / folder.name)


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file's content.

    Raises:
        OSError: if it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def as_of_the_system(*kinds: type[Exception]) -> Iterator[None]:
    """Raise OSError for system errors that libraries in Rust wrap in exceptions of their own.

    >>> with as_of_the_system(ValueError):
    ...     raise ValueError("cannot write: No space left on device (os error 28)")
    Traceback (most recent call last):
    OSError: [Errno 28] No space left on device
    """
    try:
        yield
    except kinds as error:
        found = re.search(r"os error (\d+)", str(error))
        if found is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1]))) from error


def to_disk(path: Path) -> None:
    """Sync a file to disk.

    Raises:
        OSError: if it cannot take it.
    """
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _folder_to_disk(folder: Path) -> None:
    """Sync the names in a folder to disk, where the system supports it."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _lock(draft: Path) -> int | None:
    """Lock a draft: a descriptor to close; None where there are no locks.

    Raises:
        BlockingIOError: another process has it.
        FileNotFoundError: it is gone.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    descriptor = None
    try:
        descriptor = os.open(draft, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if descriptor is not None:
            os.close(descriptor)
        if isinstance(error, BlockingIOError | FileNotFoundError):
            raise
        return None
    return descriptor


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where the system cannot.

    Raises:
        OSError: if it can, but not these.
    """
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNABLE:
        return False
    raise OSError(number, os.strerror(number), str(other))
