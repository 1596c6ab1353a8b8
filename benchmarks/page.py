"""Write ``RESULTS.md``: all that lies in ``results/*.json``, and what Table 2 would cost by it.

python benchmarks/page.py
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

HERE = Path(__file__).parent
TITLES = {
    "step": "A step of TextCNN on TREC: policies, a minimal loop, a naive AMP",
    "backbones": "A step by backbone, policy and site",
    "mixstep": "MixStep around MiniLM of transformers, batches of 24 questions",
    "whole_run": "Whole runs",
    "workers": "A whole study with one worker and with two",
    "growth": "How a step of TextCNN with WordAMP grows",
    "replicas": "Seeds as an axis",
    "policies": "A step by policy",
    "against": "A step beside that of the last commit with four policies",
}
POLICIES = ("none", "mixup", "amp", "mixup[site=sent]", "amp[site=sent]")
TABLE2 = {"cnn": 2, "bilstm": 2, "minilm": 1}
"""How many of Table 2's backbones are each; MiniLM is measured in place of BERT."""
BERT_TO_MINILM = 85.1 / 10.6
"""Parameters of the layers, in millions: about how much more arithmetic a token takes."""
STEPS, SEEDS, DATA_SETS = 8000, 10, 5


def table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """The lines of a table, and an empty one."""
    heads = list(heads)
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"
    yield ""


def percent(row: Mapping[str, float], names: Iterable[str]) -> list[str]:
    """Some shares of a row, in per cent."""
    return [f"{100 * row[name]:.1f}" for name in names]


def section(name: str, found: Mapping[str, Any]) -> Iterator[str]:
    """The lines on one file of results."""
    yield f"## {TITLES.get(name, name)}"
    yield ""
    yield f"`{name}.py`, {found['date']}, {found['machine']}, torch {found['versions']['torch']}."
    yield ""
    if found.get("ratios"):
        heads = ("ratio of medians", "", found.get("interval", "quartiles"), "aim")
        rows = (
            (title, f"{row['ratio']:.2f}", "{:.2f} to {:.2f}".format(*row["quartiles"]), row["aim"])
            for title, row in found["ratios"].items()
        )
        yield from table(heads, rows)
    if "roofline" in found:
        shares = ((title, f"{share:.0%}") for title, share in found["roofline"].items())
        yield from table(("of the core's measured speed, a step of none reaches", ""), shares)
    if "exponents" in found:
        powers = ((axis, f"{value:.2f}") for axis, value in found["exponents"].items())
        yield from table(("cost grows as size to the power of", ""), powers)
    if "median_ms" in found:
        medians = ((title, f"{value:,.1f}") for title, value in found["median_ms"].items())
        yield from table(("", "median ms"), medians)


def table2(step_ms: Mapping[str, float]) -> Iterator[str]:
    """What Table 2 costs: measured steps times their number."""
    yield "## What the whole of Table 2 costs"
    yield ""
    yield (
        f"{sum(TABLE2.values())} backbones, {DATA_SETS} data sets, {len(POLICIES)} policies, "
        f"{SEEDS} seeds: 1,250 runs of {STEPS:,} steps. Computed from the steps above, on TREC, "
        "whose questions are short: other data sets take up to twice as long (see how a step "
        "grows). BERT-base has not been measured; it is taken as MiniLM times "
        f"{BERT_TO_MINILM:.0f}, the ratio of their layers' parameters, and in batches of 24."
    )
    yield ""
    yield "| backbone | core hours | on a cluster of 64 cores, hours |"
    yield "|---|---|---|"
    total = 0.0
    for backbone, number in TABLE2.items():
        policies = sum(step_ms[f"{backbone} {policy}"] for policy in POLICIES)
        hours = number * policies / 3.6e6 * STEPS * SEEDS * DATA_SETS
        name = f"{backbone} (random and fixed embeddings)"
        if backbone == "minilm":
            hours, name = hours * BERT_TO_MINILM, "BERT-base (inferred)"
        total += hours
        yield f"| {name} | {hours:,.0f} | {hours / 64:,.1f} |"
    yield f"| all | {total:,.0f} | {total / 64:,.1f} |"
    yield ""
    yield (
        "On a cluster, `ampmix study paper/table2.toml --executor ray --address HOST:PORT` shares "
        "runs out whole: time falls with the number of cores until the longest run is left. On "
        "one H100 150 runs of `cnn` took 470 s with three workers (`paper/results/cnn-rand-h100`); "
        "`replicas.py --device cuda` measures seeds trained at once there."
    )
    yield ""


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
    yield "## Intervals of repeated cross-validation"
    yield ""
    yield (
        f"`{found['command']}`: real learners on real texts, five folds. Each cell: lowest "
        "cover of 95 % intervals over the pairs of learners, and the mean half-width in points."
    )
    yield ""
    yield f"| world, draws | repeats | {' | '.join(RULES)} |"
    yield f"|---|---|{'---|' * len(RULES)}"
    for world in sorted(found["worlds"], key=lambda w: str(w["world"])):
        for repeats in sorted({row["repeats"] for row in world["rows"]}):
            rows = [row for row in world["rows"] if row["repeats"] == repeats]
            cells = []
            for rule in RULES.values():
                of_rule = [row["rules"][rule] for row in rows]
                width = sum(one["half_width"] for one in of_rule) / len(of_rule)
                cells.append(f"{min(100 * one['cover'] for one in of_rule):.1f} ± {width:.1f}")
            yield f"| {world['world']}, {world['draws']:,} | {repeats} | {' | '.join(cells)} |"
    yield ""
    yield from power(found)


def power(found: Mapping[str, Any]) -> Iterator[str]:
    """Shares of studies that show a difference, and that of what could have been shown."""
    yield (
        "Shares of studies that show a true difference of 1, 2 and 4 points, in per cent: today's "
        "rule on one repeat, on as many folds as the new one has, and the new one (SUBJ)."
    )
    yield ""
    yield "| texts | pair | repeats | today | as many runs | new | at its `could have shown` |"
    yield "|---|---|---|---|---|---|---|"
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
            yield f"| {texts} | {row['pair']} | {row['repeats']} | {' | '.join(shares)} | {at} |"
    yield ""


def looks(found: Mapping[str, Any]) -> Iterator[str]:
    """False alarms and repeats of comparisons that go on until they are decided."""
    yield "## Looks after each repeat"
    yield ""
    yield f"`{found['command']}`: two policies, at most {found['rows'][0]['most']} repeats."
    yield ""
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
    yield "## Redrawn training sets, with a test set"
    yield ""
    yield (
        f"`{found['command']}`: real learners on real texts, 600 to learn from, 500 to test on, "
        "each seed on a share of the 600. Each cell: cover of 95 % intervals of the mean "
        "difference over new texts and training sets, and their half-width in points: without "
        "`--redraw`, with."
    )
    yield ""
    seeds = sorted({row["seeds"] for row in found["rows"]})
    yield f"| texts, share, pair | {' | '.join(f'{s} seeds | with' for s in seeds)} |"
    yield f"|---|{'---|---|' * len(seeds)}"
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
        yield f"| {row['world']}, {row['share']:g}, {row['pair']} | {' | '.join(cells)} |"
    yield ""


def served(found: Mapping[str, Any]) -> Iterator[str]:
    """The lines on ``serve.json``."""
    yield "## A model served to many at once"
    yield ""
    yield f"`serve.py`, {found['date']}, {found['machine']}, torch {found['versions']['torch']}."
    yield ""
    heads = ("model", "requests, clients", "requests a second", "median, 99 % ms", "memory, MiB")
    rows = (
        (
            name,
            f"{own['requests']:,}, {own['clients']}",
            f"{own['requests_per_second']:,.0f}",
            f"{own['median_ms']:.0f}, {own['p99_ms']:.0f}",
            f"{own['memory_mib'][0]:.0f} to {own['memory_mib'][-1]:.0f}",
        )
        for name, own in found["models"].items()
    )
    yield from table(heads, rows)


def label_errors(found: Mapping[str, Any]) -> Iterator[str]:
    """Flipped labels that lists of likely mislabelled texts find."""
    yield "## Likely mislabelled texts"
    yield ""
    yield (
        f"`label_errors.py`: {found['flipped']} of {found['texts']:,} labels of TREC flipped at "
        "random, out-of-fold probabilities of three models; in per cent."
    )
    yield ""
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
    yield "## The interval on the card of a model trained on every label"
    yield ""
    yield (
        f"`refit.py --encoder`: {found['texts']} texts a draw, the best of the cheap models by "
        "5-fold cross-validation, trained on all of them and measured on up to 4,000 others; means "
        "in per cent."
    )
    yield ""
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


ELSEWHERE = {
    "repeated": cover,
    "until_decided": looks,
    "redrawn": redrawn,
    "serve": served,
    "label_errors": label_errors,
    "refit": refit,
}
"""Pages of results that are no times of candidates in turn."""


def main() -> None:
    """Read, write."""
    lines = [
        "# Results",
        "",
        "Written by `page.py` from `results/`; `make bench` measures anew.",
        "",
    ]
    names = [*TITLES, *sorted(p.stem for p in (HERE / "results").glob("*.json"))]
    for name in dict.fromkeys(names):
        path = HERE / "results" / f"{name}.json"
        if path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))
            if "median_ms" in found:
                lines += section(name, found)
            if name in ELSEWHERE:
                lines += ELSEWHERE[name](found)
            if name == "backbones":
                steps = found["median_ms"]
    lines += table2(steps)
    (HERE / "RESULTS.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
