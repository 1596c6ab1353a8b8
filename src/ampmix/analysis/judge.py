"""Did it help? Verdicts on anybody's runs: right or wrong, or scores, by seed and text."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ampmix import statistics
from ampmix._support.wording import counted, p_value, signed
from ampmix._support.wording import interval as written
from ampmix.analysis.outcomes import PolicyRuns, Runs, folds_of, labels_of
from ampmix.errors import AmpmixError
from ampmix.statistics.metrics import MARGIN, SCALE, Metric, metric_of

LONGEST_REPR = 400


@dataclass(frozen=True, repr=False)
class Verdicts:
    """Verdicts on policies, each against the baseline.

    Attributes:
        baseline: its name.
        metric: what was compared.
        means: of the metric for each policy, the baseline among them, in the metric's unit.
        judgements: by policy; differences are in the metric's unit, and negative is better.
        failed: seeds of runs that failed, by policy.
        sentences: the verdicts and how they were reached, a sentence each.
    """

    baseline: str
    metric: Metric
    means: Mapping[str, float]
    judgements: Mapping[str, statistics.Judgement]
    failed: Mapping[str, Sequence[Any]]
    sentences: tuple[str, ...]

    def __getitem__(self, policy: str) -> statistics.Judgement:
        return self.judgements[policy]

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    def __repr__(self) -> str:
        told = " ".join(self.sentences)
        shown = told if len(told) <= LONGEST_REPR else f"{told[: LONGEST_REPR - 1]}…"
        return f"Verdicts({shown!r})"

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values, a row for each policy."""
        rows = []
        for name, one in self.judgements.items():
            found = one.comparison
            rows.append(
                {
                    "policy": name,
                    "mean": self.means[name],
                    "difference": found.difference,
                    "interval": None if found.interval is None else list(found.interval),
                    "p": one.p,
                    "decision": one.decision,
                    "verdict": one.verdict,
                    "runs_needed": one.runs_needed,
                    "failed": [str(seed) for seed in self.failed.get(name, ())],
                }
            )
        told = {"baseline": self.baseline, "metric": self.metric.name, "unit": self.metric.unit}
        return told | {"baseline_mean": self.means[self.baseline], "rows": rows}

    def _repr_html_(self) -> str:
        """The sentences and a picture of the intervals, for a notebook."""
        said = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in self.sentences)
        return said + _picture(self.judgements, self.metric.unit)


def judge(
    runs: Mapping[str, Runs],
    *,
    baseline: str | None = None,
    labels: npt.ArrayLike | None = None,
    folds: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
    metric: str = "error",
    margin: float = MARGIN,
    level: float = 0.95,
) -> Verdicts:
    """Judge whether policies help, from runs that anybody made.

    With a common test set runs are crossed, seeds with texts
    (:func:`ampmix.statistics.crossed_difference`); with `folds` they are repeats of
    cross-validation (:func:`ampmix.statistics.repeated_difference`).

    Args:
        runs: of each policy, one for each seed: ``[S, N]``, or a mapping from seed to a run. A run
            is 1 (True) for each text that was misclassified and 0 for the others; with `labels` the
            predicted classes ``[N]``, or scores ``[N, C]``. It may be a mapping from a text's key
            to its outcome. None is a run that failed.
        baseline: what the others are compared with; ``none`` if it is there, else the first.
        labels: true classes, ``[N]``, whole numbers from 0.
        folds: the fold in which each text was held out, ``[R, N]``, or ``[N]`` for every repeat.
        groups: texts that belong together, ``[N]``.
        metric: ``error``, ``macro-f1``, ``log-loss`` or ``calibration``; all but error need
            `labels`.
        margin: a difference below it does not matter, in points (log loss: hundredths of a nat);
            0 for never.
        level: of all verdicts together, a fraction.

    Returns:
        The verdicts; ``print`` shows their sentences.

    Raises:
        AmpmixError: for fewer than two policies, runs that are not paired, unlike texts, or values
            that are not finite.

    >>> import numpy as np
    >>> wrong = np.random.default_rng(0).random((5, 500)) < 0.3
    >>> print(judge({"none": wrong, "mine": wrong & (np.arange(500) % 4 > 0)})["mine"].decision)
    lower error
    """
    chosen = metric_of(metric)
    if len(runs) < 2:
        raise AmpmixError(f"runs of {counted(len(runs), 'policy', 'policies')}: give two or more")
    base = baseline if baseline is not None else "none" if "none" in runs else next(iter(runs))
    if base not in runs:
        raise AmpmixError(f"baseline {base!r} has no runs: there are {', '.join(runs)}")
    if labels is None and metric != "error":
        raise AmpmixError(f"metric {metric} needs labels: give labels=, and scores as runs")
    truth = None if labels is None else labels_of(labels)
    tables = {name: PolicyRuns.of(name, own, truth, chosen) for name, own in runs.items()}
    for table in tables.values():
        table.check_paired(tables[base])
    held_out = None if folds is None else folds_of(folds, tables[base])
    if not margin >= 0:
        raise AmpmixError(f"margin is {margin}: it must be 0 or more")
    pairing = _Pairing(tables, base, held_out, groups, chosen, level)
    judged = pairing.judged(margin, worst=False)
    failed = {name: table.failed for name, table in tables.items() if table.failed}
    if failed:
        worst = pairing.judged(margin, worst=True) if chosen.name == "error" else {}
        for name, one in judged.items():
            lost = {n: failed[n] for n in (name, base) if n in failed}
            judged[name] = _with_failures(one, worst.get(name), lost)
    means = {name: SCALE * table.mean for name, table in tables.items()}
    said = _sentences(base, chosen, judged, failed, tables)
    return Verdicts(base, chosen, means, judged, failed, said)


@dataclass(frozen=True, eq=False)
class _Pairing:
    """All policies beside the baseline."""

    tables: Mapping[str, PolicyRuns]
    base: str
    folds: npt.NDArray[np.int64] | None
    groups: npt.ArrayLike | None
    metric: Metric
    level: float

    def judged(self, margin: float, worst: bool) -> dict[str, statistics.Judgement]:
        """Verdicts over the seeds that both finished, or with failed runs wrong everywhere."""
        found = {
            name: comparison.scaled(SCALE)
            for name in self.tables
            if name != self.base and (comparison := self._compared(name, worst)) is not None
        }
        return statistics.judge_together(found, self.level, margin, self.metric.unit)

    def _compared(self, name: str, worst: bool) -> statistics.Comparison | None:
        own, base = self.tables[name], self.tables[self.base]
        values, other = own.ordered(base), base.values
        seeds = [s for s in base.seeds if worst or (s in values and s in other)]
        if not seeds:
            return None
        wrong = np.ones(base.texts)
        a, b = (np.stack([runs.get(s, wrong) for s in seeds]) for runs in (values, other))
        if self.folds is None:
            return statistics.crossed_difference(a, b, self.level)
        kept = self.folds[[base.seeds.index(s) for s in seeds]]
        return statistics.repeated_difference(a, b, kept, self.groups, self.level)


def _with_failures(
    one: statistics.Judgement,
    worst: statistics.Judgement | None,
    failed: Mapping[str, Sequence[Any]],
) -> statistics.Judgement:
    if not failed or one.decision in ("not decided", "no difference shown"):
        return one
    if worst is not None and worst.decision == one.decision:
        return one
    lost = " and ".join(f"{counted(len(s), 'run')} of {name} failed" for name, s in failed.items())
    told = f"not decided: {lost}, and counted as wrong on every text they change the verdict"
    return replace(one, decision="not decided", verdict=told)


def _sentences(
    base: str,
    metric: Metric,
    judged: Mapping[str, statistics.Judgement],
    failed: Mapping[str, Sequence[Any]],
    tables: Mapping[str, PolicyRuns],
) -> tuple[str, ...]:
    said = []
    for name, one in judged.items():
        told = one.verdict.replace(" error", f" {metric.loss}", 1)
        told = "; ".join(filter(None, (told, one.advice)))
        said.append(f"{name}: {told} ({_figures(one, metric)}).")
    for name in tables:
        if name != base and name not in judged:
            said.append(f"{name}: not decided: no seed finished for both.")
    for name, seeds in failed.items():
        runs = counted(len(tables[name].seeds), "run")
        said.append(f"{name}: {len(seeds)} of {runs} failed (seed {', '.join(map(str, seeds))}).")
    said.append(_standard(base, metric, judged, tables[base]))
    return tuple(said)


def _figures(one: statistics.Judgement, metric: Metric) -> str:
    """Difference, interval and p."""
    found = one.comparison
    p = f", p {p_value(one.p)}" if one.p is not None else ""
    bounds = f" {written(found.interval)}".rstrip()
    return f"{signed(found.difference)}{bounds} {metric.unit}{p}"


def _standard(
    base: str, metric: Metric, judged: Mapping[str, statistics.Judgement], table: PolicyRuns
) -> str:
    methods = {one.comparison.method for one in judged.values()}
    ways = {
        "crossed": f"{counted(len(table.values), 'seed')} crossed with {table.texts:,} texts",
        "repeated-cv": f"{counted(len(table.values), 'repeat')} of cross-validation crossed with "
        f"{table.texts:,} texts",
        "corrected-resampled-t": "the folds of one repeat (corrected resampled t; two or more "
        "repeats would show smaller differences)",
    }
    how = " or ".join(ways[m] for m in sorted(methods)) or "nothing"
    several = ", Holm-corrected over the policies, whose intervals hold all at once"
    return (
        f"Difference in {metric.loss} to {base}, negative is better; over {how}"
        f"{several if len(judged) > 1 else ''}."
    )


WIDTH, LINE = 420, 26
COLOURS = {"lower error": "#009E73", "higher error": "#D55E00", "the same": "#0072B2"}


def _picture(judged: Mapping[str, statistics.Judgement], unit: str) -> str:
    """The intervals as an SVG of its own, the scale from the widest of them."""
    drawn = {n: j for n, j in list(judged.items())[:50] if j.comparison.interval is not None}
    most = max((abs(b) for j in drawn.values() for b in j.comparison.interval or ()), default=0.0)
    if not most:
        return ""

    def x(value: float) -> float:
        return 140 + (WIDTH - 160) * (value / most + 1) / 2

    height = LINE * (len(drawn) + 1)
    parts = [f'<line x1="{x(0):.1f}" x2="{x(0):.1f}" y1="0" y2="{height - LINE}" stroke="#888"/>']
    for i, (name, one) in enumerate(drawn.items()):
        low, high = one.comparison.interval or (0.0, 0.0)
        y, colour = LINE * (i + 0.5), COLOURS.get(one.decision, "#888888")
        middle = x(one.comparison.difference)
        parts.append(
            f'<text x="0" y="{y + 4:.0f}">{html.escape(name[:20])}</text>'
            f'<line x1="{x(low):.1f}" x2="{x(high):.1f}" y1="{y:.0f}" y2="{y:.0f}" '
            f'stroke="{colour}" stroke-width="3"/>'
            f'<circle cx="{middle:.1f}" cy="{y:.0f}" r="4" fill="{colour}"/>'
        )
    foot = f"{-most:.1f} to {most:.1f} {unit}; left of the line is better"
    parts.append(f'<text x="140" y="{height - 8}" fill="#888">{html.escape(foot)}</text>')
    return (
        f'<svg width="{WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="12">{"".join(parts)}</svg>'
    )
