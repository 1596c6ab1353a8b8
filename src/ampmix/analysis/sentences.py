"""Say the result of each comparison in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ampmix._support.wording import counted
from ampmix.analysis.classes import class_sentences
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
    said += class_sentences(summary)
    paired = "fold" if summary["design"] == "cross-validation" else "seed and test text"
    said.append(
        f"Difference to {summary['baseline']} in points, paired by {paired}; negative is a lower "
        f"error. p is Holm-corrected over the policies (not that of {BASELINE})."
    )
    if summary.get("selection") == "oracle_test":
        said.append(
            "Checkpoints were chosen by the test error (selection oracle_test, the rule of the "
            "authors' code): all these errors are too low."
        )
    means = {row["policy"]: row["mean"] for row in rows if row["mean"] is not None}
    own = means.pop(BASELINE, None)
    if means and own is not None and own < min(means.values()):
        said.append(f"No network has a lower mean error than {BASELINE}: consider using that.")
    if summary["model"]:
        own = "" if summary.get("selection") == "oracle_test" else ", not on test texts"
        said.append(
            f"Model: {summary['model']['policy']}, seed {summary['model']['seed']}: chosen by the "
            f"lowest mean error on development texts{own}."
        )
    return said
