"""Say one difference between two policies."""

from __future__ import annotations

from typing import Any


def _difference(name: str, found: Any, decision: str) -> dict[str, Any]:
    low, high = found.interval or (None, None)
    return {
        "name": name,
        "difference": round(found.difference, 3),
        "low": None if low is None else round(low, 3),
        "high": None if high is None else round(high, 3),
        "decision": decision,
    }
