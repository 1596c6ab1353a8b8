"""Say the result of each comparison in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ampmix._support.wording import counted, quoted_range
from ampmix.analysis.abstention import abstention_sentence
from ampmix.analysis.classes import class_sentences
from ampmix.records.store import BASELINE
from ampmix.statistics.metrics import metric_of


def sentences(summary: Mapping[str, Any]) -> list[str]:
    """The verdicts and what else there is to say, a sentence each."""
    rows, rungs = summary["rows"], summary.get("ladder") or []
    said = []
    for row in rows:
        if row["decision"] != "baseline" and not (row["policy"] == BASELINE and rungs):
            said.append(f"{row['policy']}: {row['verdict']}.")
        if failures := row["failures"]:
            noun = "seed" if len(failures) == 1 else "seeds"
            runs = counted(len(failures) + len(row["errors"]), "run")
            said.append(
                f"{row['policy']}: {len(failures)} of {runs} failed ({noun} "
                f"{', '.join(failures)}): {next(iter(failures.values()))}."
            )
        if strayed := row.get("collapsed"):
            said.append(_collapsed_sentence(row, strayed))
        if told := row.get("notes"):
            seed, (first, *_) = next(iter(told.items()))
            runs = counted(len(row["errors"]), "run")
            said.append(f"{row['policy']}: in {len(told)} of {runs}, such as seed {seed}: {first}.")
    said.append(_unlabelled_sentence(rows))
    said += class_sentences(summary)
    said.append(_standard(summary))
    if summary.get("selection") == "oracle_test":
        said.append(
            "Checkpoints were chosen by the test error (selection oracle_test, the rule of the "
            "authors' code): all these errors are too low."
        )
    apart = [row["difference_interval"] for row in rungs if row["difference"]]
    if any(bounds and bounds[0] <= 0 for bounds in apart):
        said.append("* Not shown to be worse than the best.")
    if summary["model"]:
        said.append(model_sentence(summary))
        said.append(abstention_sentence(summary.get("abstention") or []))
    return list(filter(None, said))


def _unlabelled_sentence(rows: Sequence[Mapping[str, Any]]) -> str:
    """Name the policies that learnt from texts without labels, and how many of these."""
    using = [row for row in rows if row.get("unlabelled")]
    if not using:
        return ""
    least = min(row["unlabelled"][0] for row in using)
    most = max(row["unlabelled"][1] for row in using)
    number = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    names = ", ".join(row["policy"] for row in using)
    return f"{names} also learnt from {number} texts without labels, the others from none."


def _collapsed_sentence(row: Mapping[str, Any], strayed: Mapping[str, float]) -> str:
    """Name the runs of a policy that err far more than its others."""
    one = len(strayed) == 1
    errors = ", ".join(f"{error:.1f} %" for error in strayed.values())
    return (
        f"{row['policy']}: {len(strayed)} of {counted(len(row['errors']), 'run')} collapsed "
        f"({'seed' if one else 'seeds'} {', '.join(strayed)}: {errors}), which the mean includes; "
        f"the median error is {row['median']:.1f} %."
    )


PAIRED = {
    "crossed": "seed and test text",
    "repeated-cv": "repeat and text",
    "corrected-resampled-t": "fold",
}


def _standard(summary: Mapping[str, Any]) -> str:
    """Say how policies were compared, and by what standard."""
    ways = {PAIRED[row["compared_by"]] for row in summary["rows"] if row.get("compared_by")}
    design = "fold" if summary["design"] == "cross-validation" else "seed and test text"
    metric = metric_of(summary.get("metric", "error"))
    of_metric = "" if metric.name == "error" else f" of {metric.loss}"
    redrawn = " (training sets drawn anew)" if summary.get("redraw") else ""
    before = summary.get("tried_before") or []
    also = ""
    if before:
        also = f" and {counted(len(before), 'other')} in the folder ({', '.join(before)})"
    return (
        f"Difference to {summary['baseline']} in {metric.unit}{of_metric}, paired by "
        f"{' or '.join(sorted(ways)) or design}{redrawn}; negative is a lower {metric.loss}. p is "
        f"Holm-corrected over the policies{also}, and the intervals hold for all of them at once."
    )


def model_sentence(summary: Mapping[str, Any]) -> str:
    """Describe the model that is left, and how it was chosen."""
    model = summary["model"]
    name, policy = model.get("model"), model["policy"]
    if not name:  # a summary of an earlier version
        name = policy
    elif policy not in ("none", BASELINE):
        name += f" with {policy}"
    if model.get("texts") is None:
        own = "" if summary.get("selection") == "oracle_test" else ", not on test texts"
        return (
            f"Model: {name}, seed {model['seed']}: chosen by the lowest mean error on development "
            f"texts{own}."
        )
    rung = next(r for r in summary["ladder"] if r["model"] == summary["best"])
    row = next((r for r in summary["rows"] if r["policy"] == model["policy"]), None)
    expected = row if row and row["decision"] == "lower error" else rung
    how = "cross-validation" if summary["design"] == "cross-validation" else "the test set"
    bounds = quoted_range(rung["interval"]) if expected is rung else ""
    return (
        f"Model: {name}, trained on all {model['texts']:,} texts; expect an error of "
        f"{expected['mean']:.1f} %{bounds} by {how}."
    )
