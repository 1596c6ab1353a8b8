"""Run records: one immutable JSON file a run, named by the hash of what determines the run."""

from __future__ import annotations

import datetime
import hashlib
import itertools
import json
import platform
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ampmix.errors import AmpmixError
from ampmix.files import whole
from ampmix.result import Result

FORMAT = 1
YARDSTICK = "tfidf-logreg"  # the policy name of TF-IDF and logistic regression
PACKAGES = ("ampmix", "torch", "numpy", "scikit-learn")


@dataclass(frozen=True, init=False)
class RunRecord:
    """One run: what determined it, what came out, and where it was made.

    Attributes:
        specification: everything that determines the run: data hash, split, backbone, policy,
            settings, seed.
        result: what came out; a mapping given is read as the record's JSON.
        provenance: versions, git state, time and duration. The same command twice gives the same
            specification and result to the bit; provenance differs by its nature.
    """

    specification: Mapping[str, Any]
    result: Result
    provenance: Mapping[str, Any]

    def __init__(
        self,
        specification: Mapping[str, Any],
        result: Result | Mapping[str, Any],
        provenance: Mapping[str, Any],
    ) -> None:
        object.__setattr__(self, "specification", specification)
        object.__setattr__(self, "result", Result.of_json(result))
        object.__setattr__(self, "provenance", provenance)

    @property
    def id(self) -> str:
        """The run's name: the first 16 hex digits of the specification's SHA-256."""
        return run_id(self.specification)

    @property
    def digest(self) -> str:
        """SHA-256 of specification and result: equal for runs that are equal to the bit."""
        return content_sha256(
            {"specification": self.specification, "result": self.result.as_json()}
        )

    @property
    def done(self) -> bool:
        """Whether the run ended with a result."""
        return self.result.status == "done"

    @property
    def is_baseline(self) -> bool:
        """Whether the run is of the baseline without a network, which is no policy."""
        return bool(self.specification["policy"] == YARDSTICK)

    @property
    def test_wrong(self) -> npt.NDArray[np.bool_]:
        """True where a test example was misclassified, ``[n_test]``."""
        digits = np.frombuffer((self.result.test_wrong or "").encode("ascii"), np.uint8)
        return np.asarray(digits == ord("1"))


def run_id(specification: Mapping[str, Any]) -> str:
    """The name of the run that a specification determines."""
    return content_sha256(specification)[:16]


def read_record(content: bytes, identity: str) -> RunRecord:
    """The record in the content of a file that is named by its id.

    Raises:
        ValueError: if it is truncated, altered, or of another format.
    """
    try:
        found = json.loads(content.decode("utf-8"))
        parts = found["specification"], found["result"], found["provenance"]
        if found["format"] != FORMAT:
            raise ValueError(f"format {str(found['format'])[:40]}, this ampmix reads {FORMAT}")
        for part in parts:
            if not isinstance(part, dict):
                raise ValueError("one of its parts is no table")
        record = RunRecord(*parts)
        if record.result["status"] not in ("done", "failed"):
            raise ValueError(f"its status is {str(record.result['status'])[:40]!r}")
        if found["digest"] != record.digest or record.id != identity:
            raise ValueError("its content does not match its digest")
        json.dumps(found, ensure_ascii=False).encode("utf-8")  # half a letter cannot be told on
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    return record


class RecordStore:
    """A folder of run records, one file each, written atomically and never changed.

    Files that are truncated, altered or of another format are not read and never deleted; they are
    listed in ``unreadable``, with the reason.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._unreadable: dict[Path, str] = {}

    @property
    def unreadable(self) -> list[tuple[Path, str]]:
        """Files that could not be read so far, with the reason."""
        return list(self._unreadable.items())

    def path(self, identity: str) -> Path:
        """Where the record of that id is or will be."""
        return self.folder / f"{identity}.json"

    def get(self, specification: Mapping[str, Any]) -> RunRecord | None:
        """The record of a run, or None if there is none or its file is damaged.

        Raises:
            AmpmixError: if the system does not let its file be read: the run is not done again for
                that.
        """
        path = self.path(run_id(specification))
        if not path.exists():
            return None
        try:
            return read_record(path.read_bytes(), path.stem)
        except FileNotFoundError:  # another process has set it aside
            return None
        except (IsADirectoryError, ValueError) as error:
            self._unreadable[path] = str(error)
            return None
        except OSError as error:
            raise AmpmixError(
                f"cannot read the record {path} ({error.strerror or error}): let it be read, or "
                "take it away to have its run done again"
            ) from error

    def add(self, record: RunRecord) -> None:
        """Write a record: whole or not at all. An unreadable file in its place is set aside."""
        path = self.path(record.id)
        if path.exists() and self.get(record.specification) is None:
            kept = (path.with_suffix(f".unreadable{i or ''}") for i in itertools.count())
            path.rename(next(name for name in kept if not name.exists()))
        content = {
            "format": FORMAT,
            "digest": record.digest,
            "specification": record.specification,
            "result": record.result.as_json(),
            "provenance": record.provenance,
        }
        write_json(path, content)


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that a reader finds the old file or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as draft, draft.open("w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False, indent=1, allow_nan=False)
        file.write("\n")


def check_writable(folder: Path) -> None:
    """Make the folder and write a file into it, so that a mistake shows before any work is done.

    Raises:
        AmpmixError: if that cannot be done.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise AmpmixError(
            f"cannot write to the output folder {folder} ({reason}): give another with --out"
        ) from error


def provenance(seconds: float) -> dict[str, Any]:
    """Versions, git state of the current folder, the time now (UTC) and the run's duration."""
    return {
        "versions": {"python": platform.python_version(), **versions()},
        "platform": f"{platform.system()} {platform.machine()}",
        "git": git_state(),
        "finished": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
    }


@lru_cache(maxsize=1)
def git_state() -> dict[str, Any] | None:
    """Commit of the current folder's repository, and whether tracked files differ; None outside."""
    try:
        commit = _git("rev-parse", "HEAD")
        return {
            "commit": commit,
            "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "--no-optional-locks", *arguments],
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


def content_sha256(content: Any) -> str:
    """SHA-256 (hex) of JSON values, however they are laid out in a file and in whatever order."""
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()
