"""The answer of a comparison in a few sentences: which model, whether to mix, what helps more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ampmix._support.wording import quoted_range
from ampmix.records.store import BASELINE

WORTH = 1.0  # points that halving the labels must cost to be worth a sentence


def answer(summary: Mapping[str, Any]) -> list[str]:
    """Two or three sentences for somebody who decides, the most important first.

    Args:
        summary: the content of ``summary.json``.
    """
    said = [_best_sentence(summary), _mixing_sentence(summary), labels_sentence(summary)]
    return [sentence for sentence in said if sentence]


def _best_sentence(summary: Mapping[str, Any]) -> str:
    rows: Sequence[Mapping[str, Any]] = summary.get("ladder") or []
    measured = [row for row in rows if row["mean"] is not None]
    best = next((row for row in measured if row["model"] == summary.get("best")), None)
    if best is None:
        return ""
    bounds = quoted_range(best["interval"])
    name, error = _title(best), f"{best['mean']:.1f} % of new texts{bounds}"
    # chosen on development texts where there is a test set: another may err less on that
    chosen = " on development texts, and on " if summary.get("design") == "test set" else ": "
    said = f"{name[0].upper()}{name[1:]} errs least{chosen}{error}"
    others = [row for row in measured if row is not best]
    if not others:
        return f"{said}."
    following = min(others, key=lambda row: row["mean"])
    close = following["difference_interval"] if following["difference"] else None
    if round(following["mean"], 1) == round(best["mean"], 1):
        return f"{said}; {_title(following)} errs on as many."
    said += f"; next is {_title(following)} with {following['mean']:.1f} %"
    return f"{said}{', not shown to be worse.' if close and close[0] <= 0 else '.'}"


def _title(row: Mapping[str, Any]) -> str:
    """A model of the ladder in words."""
    return str(row["title"] or row["model"])


def _mixing_sentence(summary: Mapping[str, Any]) -> str:
    judged = [
        row
        for row in summary["rows"]
        if row["decision"] != "baseline" and row["policy"] != BASELINE
    ]  # fmt: skip
    if not judged:
        return ""
    model = summary["title"]
    lower = [row for row in judged if row["decision"] == "lower error"]
    if lower:
        best = min(lower, key=lambda row: row["difference"])
        bounds = quoted_range(best["interval"], signed=True)
        return (
            f"{best['policy']} lowers the error of {model} by {-best['difference']:.1f} "
            f"points{bounds}."
        )
    higher = [row for row in judged if row["decision"] == "higher error"]
    if len(higher) == len(judged):
        return f"Mixing raises the error of {model}: train it without."
    same = [row for row in judged if row["decision"] == "the same"]
    if len(same) == len(judged):
        margin = summary.get("margin", 1.0)
        points = "1 point" if margin == 1 else f"{margin:g} points"
        return f"Mixing changes the error of {model} by less than {points}: train it without."
    if any(row["decision"] == "not decided" for row in judged):
        return f"Whether mixing helps {model} is not decided: more seeds would tell."
    open_rows = [row for row in judged if row["decision"] == "no difference shown"]
    detectable = [row["detectable"] for row in open_rows if row["detectable"] is not None]
    said = f"Mixing was not shown to lower the error of {model}"
    if detectable:
        said += f"; a difference of {max(detectable):.1f} points or more would have shown"
    return f"{said}."


def labels_sentence(summary: Mapping[str, Any]) -> str:
    """Say what half of the labels cost; "" if that was not measured."""
    curve = summary.get("learning_curve") or []
    if len(curve) < 2:
        return ""
    half, whole = curve[-2], curve[-1]
    cost = half["error"] - whole["error"]
    texts = f"{half['labels']:,} labels instead of {whole['labels']:,}"
    if cost < WORTH:
        return f"More labels would help little: {texts} cost {max(cost, 0):.1f} points."
    gains = [-(row["difference"] or 0) for row in summary["rows"] if row["decision"] != "baseline"]
    more = ": more labels help more than mixing here" if cost > max(gains, default=0) else ""
    return f"{texts[0].upper()}{texts[1:]} cost {cost:.1f} points{more}."
