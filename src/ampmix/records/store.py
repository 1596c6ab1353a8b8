"""Run records: one immutable JSON file a run, named by the hash of what determines the run."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ampmix._support.json_files import content_sha256, write_json
from ampmix.errors import AmpmixError
from ampmix.records.result import Result, tested_groups, tested_indices

FORMAT = 1
BASELINE = "tfidf-logreg"  # the policy name of TF-IDF and logistic regression


@dataclass(frozen=True, init=False)
class RunRecord:
    """Record of one run: specification, result and provenance.

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

    def as_json(self) -> dict[str, Any]:
        """As its file has it, with the digest by which :func:`read_record` knows it."""
        return {
            "format": FORMAT,
            "digest": self.digest,
            "specification": self.specification,
            "result": self.result.as_json(),
            "provenance": self.provenance,
        }

    @property
    def done(self) -> bool:
        """True if the run ended with a result."""
        return self.result.status == "done"

    @property
    def is_baseline(self) -> bool:
        """True if the run is of the TF-IDF baseline, which is no policy."""
        return bool(self.specification["policy"] == BASELINE)

    @property
    def test_indices(self) -> npt.NDArray[np.int64] | None:
        """Which texts of the data set a fold tested; None if the record does not say."""
        return tested_indices(self.provenance, self.result.n_test)

    @property
    def test_groups(self) -> npt.NDArray[np.int64] | None:
        """Group of each text that a fold tested, None where each stands alone."""
        return tested_groups(self.provenance, self.result.n_test)

    @property
    def model(self) -> str:
        """The spec string of the model that ran: a backbone, or the TF-IDF baseline."""
        named = "policy" if self.is_baseline else "backbone"
        return str(self.specification.get(named, self.specification["policy"]))

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
        """Path of the record of that id, written or not."""
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
        write_json(path, record.as_json())
