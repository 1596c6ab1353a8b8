"""Notes on runs that ended without a record, and how they tell nothing of whose machine it was."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ampmix._support.json_files import write_json
from ampmix._support.redact import without_paths


class Failures:
    """A folder with a file for each run that ended without a record, until it has one.

    Args:
        folder: where; made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def note(
        self, identity: str, specification: Mapping[str, Any], error: str, trace: str = ""
    ) -> None:
        """Keep what a run ended with: a sentence, and where it was raised.

        Raises:
            OSError: if it cannot be written.
        """
        told = {"error": without_paths(error), "trace": without_paths(trace)}
        write_json(self.folder / f"{identity}.json", {"specification": specification, **told})

    def clear(self, identity: str) -> None:
        """The run has a record now."""
        (self.folder / f"{identity}.json").unlink(missing_ok=True)
