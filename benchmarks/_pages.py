"""Pages of results on what is said of models and comparisons: intervals, errors, labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import Any

from _tables import opening, percent, table

RULES = {
    "today": "corrected t, one repeat",
    "its folds of all repeats": "corrected t, all folds",
    "per text": "per text",
    "crossed": "crossed",
    "half the room": "half of the chosen room for training",
    "chosen": "chosen",
}
"""Heads of the table of cover, and the rules in ``repeated.json``."""


def cover(found: Mapping[str, Any]) -> Iterator[str]:
    """Cover, width and power of intervals of repeated cross-validation."""
    yield from opening(
        "Intervals of repeated cross-validation",
        f"`{found['command']}`: real learners on real texts, five folds. Each cell: lowest "
        "cover of 95 % intervals over the pairs of learners, and the mean half-width in points.",
    )
    rows_of = list[tuple[object, ...]]()
    for world in sorted(found["worlds"], key=lambda w: str(w["world"])):
        for repeats in sorted({row["repeats"] for row in world["rows"]}):
            rows = [row for row in world["rows"] if row["repeats"] == repeats]
            cells = []
            for rule in RULES.values():
                of_rule = [row["rules"][rule] for row in rows]
                width = sum(one["half_width"] for one in of_rule) / len(of_rule)
                cells.append(f"{min(100 * one['cover'] for one in of_rule):.1f} ± {width:.1f}")
            rows_of.append((f"{world['world']}, {world['draws']:,}", repeats, *cells))
    yield from table(("world, draws", "repeats", *RULES), rows_of)
    yield from power(found)


def power(found: Mapping[str, Any]) -> Iterator[str]:
    """Shares of studies that show a difference, and that of what could have been shown."""
    yield (
        "Shares of studies that show a true difference of 1, 2 and 4 points, in per cent: today's "
        "rule on one repeat, on as many folds as the new one has, and the new one (SUBJ)."
    )
    yield ""
    rows = list[tuple[object, ...]]()
    for world in found["worlds"]:
        if not world["world"].startswith("SUBJ, ") or not world["world"].endswith(" texts"):
            continue
        texts = world["world"].removeprefix("SUBJ, ").removesuffix(" texts")
        for row in world["rows"] if texts in ("300", "600", "1,000") else ():
            if row["repeats"] not in (3, 10):
                continue
            shares = [
                ", ".join(f"{100 * share:.0f}" for share in row["rules"][rule]["shows"].values())
                for rule in ("corrected t, one repeat", "corrected t, all folds", "chosen")
            ]
            at = f"{100 * row['power_at_could_have_shown']:.0f} at {row['could_have_shown']:.1f}"
            rows.append((texts, row["pair"], row["repeats"], *shares, at))
    heads = ("texts", "pair", "repeats", "today", "as many runs", "new")
    yield from table((*heads, "at its `could have shown`"), rows)


def looks(found: Mapping[str, Any]) -> Iterator[str]:
    """False alarms and repeats of comparisons that go on until they are decided."""
    yield from opening(
        "Looks after each repeat",
        f"`{found['command']}`: two policies, at most {found['rows'][0]['most']} repeats.",
    )
    heads = (
        "studies",
        "any claim of a difference, %",
        "at the end only",
        "looks that spend nothing",
        "decided, %",
        "at the end only",
        "repeats on average",
    )
    names = ("alarm", "alarm_fixed", "alarm_naive", "decided", "decided_fixed")
    rows = (
        (
            f"{row['studies']:,}, {row['kind']}, {row['texts']} texts",
            *percent(row, names),
            f"{row['repeats']:.1f}",
        )
        for row in found["rows"]
    )
    yield from table(heads, rows)


def redrawn(found: Mapping[str, Any]) -> Iterator[str]:
    """Cover of intervals with a test set, for new training sets."""
    yield from opening(
        "Redrawn training sets, with a test set",
        f"`{found['command']}`: real learners on real texts, 600 to learn from, 500 to test on, "
        "each seed on a share of the 600. Each cell: cover of 95 % intervals of the mean "
        "difference over new texts and training sets, and their half-width in points: without "
        "`--redraw`, with.",
    )
    seeds = sorted({row["seeds"] for row in found["rows"]})
    rows = list[tuple[object, ...]]()
    for row in found["rows"]:
        if row["seeds"] != seeds[0]:
            continue
        same = ("world", "share", "pair")
        like = [r for r in found["rows"] if all(r[key] == row[key] for key in same)]
        cells = [
            f"{100 * r[rule]['cover']:.1f} ± {r[rule]['half_width']:.1f}"
            for r in sorted(like, key=lambda r: int(r["seeds"]))
            for rule in ("training set at hand", "redrawn")
        ]
        rows.append((f"{row['world']}, {row['share']:g}, {row['pair']}", *cells))
    heads = (head for s in seeds for head in (f"{s} seeds", "with"))
    yield from table(("texts, share, pair", *heads), rows)


def label_errors(found: Mapping[str, Any]) -> Iterator[str]:
    """Flipped labels that lists of likely mislabelled texts find."""
    yield from opening(
        "Likely mislabelled texts",
        f"`label_errors.py`: {found['flipped']} of {found['texts']:,} labels of TREC flipped at "
        "random, out-of-fold probabilities of three models; in per cent.",
    )
    first = f"flipped among the first {found['flipped']}"
    heads = ("model", "list", "texts", first, "among all listed", "of the flipped are listed")
    rows = (
        (model, title, row["listed"], *percent(row, ("of_first", "of_listed", "found")))
        for model, lists in found["models"].items()
        for title, row in lists.items()
    )
    yield from table(heads, rows)


def refit(found: Mapping[str, Any]) -> Iterator[str]:
    """Cover of the interval on a model card."""
    yield from opening(
        "The interval on the card of a model trained on every label",
        f"`refit.py --encoder`: {found['texts']} texts a draw, the best of the cheap models by "
        "5-fold cross-validation, trained on all of them and measured on up to 4,000 others; means "
        "in per cent.",
    )
    keys = ("covered", "cv", "error", "width")
    heads = (
        "",
        "draws",
        "interval covers",
        "cross-validated",
        "error of the model",
        "width, points",
    )
    rows = (
        (name, len(row["cv"]), *percent({key: fmean(row[key]) for key in keys}, keys))
        for name, row in found["draws"].items()
    )
    yield from table(heads, rows)
