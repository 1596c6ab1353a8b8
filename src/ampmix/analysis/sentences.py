"""Say the result of each comparison in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ampmix._support.wording import counted
from ampmix.records.store import BASELINE


def sentences(summary: Mapping[str, Any]) -> list[str]:
    """The verdicts and what else there is to say, a sentence each."""
    rows = summary["rows"]
    said = []
    for row in rows:
        if row["decision"] != "baseline":
            said.append(f"{row['policy']}: {row['verdict']}.")
        if failures := row["failures"]:
            noun = "seed" if len(failures) == 1 else "seeds"
            runs = counted(len(failures) + len(row["errors"]), "run")
            said.append(
                f"{row['policy']}: {len(failures)} of {runs} failed ({noun} "
                f"{', '.join(failures)}): {next(iter(failures.values()))}."
            )
    paired = "fold" if summary["design"] == "cross-validation" else "seed and test text"
    said.append(
        f"Difference to {summary['baseline']} in points, paired by {paired}; negative is a lower "
        f"error. p is Holm-corrected over the policies (not that of {BASELINE})."
    )
    means = {row["policy"]: row["mean"] for row in rows if row["mean"] is not None}
    own = means.pop(BASELINE, None)
    if means and own is not None and own < min(means.values()):
        said.append(f"No network has a lower mean error than {BASELINE}: consider using that.")
    if summary["model"]:
        said.append(
            f"Model: {summary['model']['policy']}, seed {summary['model']['seed']} (lowest mean "
            "development error; the test set had no say)."
        )
    return said
