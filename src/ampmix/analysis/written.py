"""Files that `ampmix compare` and `ampmix errors` leave in their output folders."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ampmix.analysis.comparison import ComparisonRow
from ampmix.analysis.groups import Group

ERRORS, SUMMARY = "errors.json", "summary.json"


@dataclass(frozen=True)
class WrittenComparison:
    """A comparison as its folder tells of it.

    Attributes:
        summary: the content of ``summary.json``.
        errors: the content of ``errors.json``; None without one.
    """

    summary: Mapping[str, Any]
    errors: Mapping[str, Any] | None

    def holds(self, specification: Mapping[str, Any]) -> bool:
        """Return True for runs on the same data of one of its models."""
        models = {row["model"] for row in self.summary["ladder"]}
        same = specification["data_hash"] == self.summary["data_hash"]
        return same and specification["backbone"] in models

    def rows_of(self, group: Group) -> Mapping[str, Any] | None:
        """The summary, if it is of this group's policies and this version can read it."""
        told, own = group.specification, self.summary
        fields = set(ComparisonRow.__dataclass_fields__)
        same = (
            (told["backbone"], told["fraction"]) == (own["backbone"], own.get("fraction"))
            and told["training"].get("steps") == own.get("steps")
            and all(set(row) == fields for row in own["rows"])
        )
        return own if same else None


def written_in(folders: Sequence[str | Path]) -> tuple[WrittenComparison, ...]:
    """The comparisons of these folders; folders without one, or of an earlier version, have none.

    >>> written_in(["nowhere"])
    ()
    """
    found = []
    for folder in dict.fromkeys(Path(one).resolve() for one in folders):
        summary = _read(folder / SUMMARY, ("answer", "ladder", "rows", "data_hash", "backbone"))
        if summary is not None:
            errors = _read(folder / ERRORS, ("mislabelled", "all_wrong", "shown", "classes"))
            found.append(WrittenComparison(summary, errors))
    return tuple(found)


def _read(path: Path, keys: Sequence[str]) -> dict[str, Any] | None:
    """The content of a JSON file; None if it is not there, or not one of ours."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and all(key in found for key in keys) else None
