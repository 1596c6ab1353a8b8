"""Locks on runs, so that several processes share a study; a lock ends with its process."""

from __future__ import annotations

import contextlib
import os
import platform
import warnings
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from ampmix.errors import AmpmixError


class RunLocks:
    """Locks of this process on the runs of a store that others may work on too.

    A claim is a lock of the operating system on a file. It ends with its process, also one that is
    killed or whose machine stops: nothing has to expire, and no clock is asked. The file says who
    holds it, for people.

    Args:
        folder: where the lock files lie; made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, BaseFileLock] = {}

    def take(self, identity: str) -> bool:
        """Claim a run; False if another process has it.

        Raises:
            AmpmixError: where files cannot be locked.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._folder / f"{identity}.lock")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it turned soft is asked below
                lock.acquire(timeout=0)
        except Timeout:
            return False
        except NotImplementedError:
            raise AmpmixError(self._unlockable()) from None
        if isinstance(lock, SoftFileLock):  # would outlive a killed process
            lock.release()
            raise AmpmixError(self._unlockable())
        self._held[identity] = lock
        holder = f"{os.getpid()} on {platform.node()}\n"
        (self._folder / f"{identity}.lock").write_text(holder, encoding="utf-8")
        return True

    def give_back(self, identity: str) -> None:
        """End a claim. The file goes while it is locked: others then find no name."""
        lock = self._held.pop(identity)
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()

    def sweep(self) -> None:
        """Remove what is left of claims that nobody holds: of killed processes, as a rule."""
        with contextlib.suppress(OSError, AmpmixError):
            for path in list(self._folder.glob("*.lock")):
                if path.stem not in self._held and self.take(path.stem):
                    self.give_back(path.stem)

    def give_all_back(self) -> None:
        """End all claims."""
        for identity in list(self._held):
            self.give_back(identity)

    def _unlockable(self) -> str:
        return (
            f"files in {self._folder} cannot be locked, so processes cannot share it: give --out a "
            "folder on another file system, one for each machine, and copy the records together"
        )
