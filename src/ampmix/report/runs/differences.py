"""Differences between two policies as lines of a chart."""

from __future__ import annotations

from typing import Any


def difference_row(name: str, found: Any, decision: str) -> dict[str, Any]:
    """One line of a forest chart, of anything with a difference and an interval."""
    low, high = found.interval or (None, None)
    return {
        "name": name,
        "difference": round(found.difference, 3),
        "low": None if low is None else round(low, 3),
        "high": None if high is None else round(high, 3),
        "decision": decision,
    }
