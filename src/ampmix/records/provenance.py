"""Provenance of a record: versions, commit, machine and time."""

from __future__ import annotations

import datetime
import platform
import subprocess
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parents[1]
PACKAGES = ("ampmix", "torch", "numpy", "scikit-learn")


def provenance(seconds: float) -> dict[str, Any]:
    """Versions, git state of ampmix's own source, the time now (UTC) and the run's duration."""
    return {
        "versions": {"python": platform.python_version(), **versions()},
        "platform": f"{platform.system()} {platform.machine()}",
        "git": git_state(),
        "finished": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
    }


@lru_cache(maxsize=1)
def git_state() -> dict[str, Any] | None:
    """Commit that ampmix runs from, and whether tracked files differ; None if it is installed.

    It is that of the repository which tracks ampmix's own files: an environment may lie in a folder
    of somebody else's.
    """
    try:
        _git("ls-files", "--error-unmatch", "--", "__init__.py")
        commit = _git("rev-parse", "HEAD")
        return {
            "commit": commit,
            "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "--no-optional-locks", "-C", str(SOURCE), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    return done.stdout.strip()


def versions() -> dict[str, str]:
    """Versions of the packages that a result depends on."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "unknown"
    return found
