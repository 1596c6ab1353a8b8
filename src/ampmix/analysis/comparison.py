"""From run records to rows: errors, differences with intervals, verdicts, the paper's number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from ampmix import statistics
from ampmix._support.wording import counted
from ampmix.analysis import paper as published
from ampmix.analysis.classes import recalls
from ampmix.analysis.failures import collapsed, counted_as_wrong, undone
from ampmix.analysis.pairs import Records, paired_comparison
from ampmix.errors import AmpmixError
from ampmix.records.store import BASELINE, RunRecord
from ampmix.statistics.metrics import MARGIN, Metric, metric_of


@dataclass(frozen=True)
class ComparisonRow:
    """One policy's row of a comparison. Errors and differences are in percent of the test texts.

    Attributes:
        policy: spec string, or the baseline's name.
        errors: test error by seed (fold), in the order of ``seeds``.
        seeds: the seeds that finished.
        mean, std: of the errors; std is that of a sample, None with one seed.
        difference: mean difference to the baseline over the seeds that both finished.
        interval: its confidence interval, for new seeds and new texts, of the verdict's own test:
            with those of the other policies it holds in 95 %.
        p: two-sided p-value of no difference, Holm-corrected over the policies.
        detectable: smallest difference that this design shows with 80 % power, at that test.
        decision: ``lower error``, ``higher error``, ``the same``, ``no difference shown``,
            ``not decided``, or ``baseline``.
        verdict: the same in a sentence.
        dev_error: mean development error, by which the model was chosen; None for the baseline.
        failures: what stopped the runs that failed, by seed.
        paper: error and standard deviation printed in the paper for this cell, if it has it.
        recall: recall of each class in percent, over all seeds; None for records without labels.
        collapsed: errors of runs that err far more than the policy's others, by seed
            (:func:`ampmix.analysis.failures.collapsed`).
        median: of the errors.
        compared_by: how, as of :class:`ampmix.statistics.Comparison`; "" if not compared.
        standard_error: of the difference.
        runs_needed: seeds or repeats in all that would decide, None if decided or unknown.
        unlabelled: fewest and most texts without labels that a run trained on, None without any.
        notes: sentences on what went on in runs, by seed.
    """

    policy: str
    errors: tuple[float, ...]
    seeds: tuple[int, ...]
    mean: float | None
    std: float | None
    difference: float | None
    interval: tuple[float, float] | None
    p: float | None
    detectable: float | None
    decision: str
    verdict: str
    dev_error: float | None
    failures: Mapping[int, str]
    paper: Mapping[str, float] | None
    recall: Mapping[str, float] | None = None
    collapsed: Mapping[int, float] = field(default_factory=dict)
    median: float | None = None
    compared_by: str = ""
    standard_error: float | None = None
    runs_needed: int | None = None
    unlabelled: tuple[int, int] | None = None
    notes: Mapping[int, Sequence[str]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        by_seed = {"failures": self.failures, "collapsed": self.collapsed, "notes": self.notes}
        return asdict(self) | {
            name: {str(seed): told for seed, told in own.items()} for name, own in by_seed.items()
        }


def check_margin(margin: float) -> None:
    """Raise AmpmixError for a margin that is no number of points."""
    if not 0 <= margin < 100:
        raise AmpmixError(
            f"margin is {margin:g}: a number of points from 0 to 100 is meant (0: never the same)"
        )


def rows(
    records: Mapping[str, Records],
    baseline: str,
    paper: Mapping[str, Mapping[str, float]],
    cross_validated: bool,
    margin: float = MARGIN,
    beside: Mapping[str, Records] | None = None,
    metric: str = "error",
    looks: Sequence[int] = (),
    most: int = 0,
) -> list[ComparisonRow]:
    """One row for each policy in `records`, in their order.

    The comparison is paired (:func:`ampmix.analysis.pairs.paired_comparison`), and the policies are
    judged together (:func:`ampmix.statistics.judge_together`); the baseline is another method, not
    one of the policies tried, and is judged alone. Where runs failed, a claim stands only if it
    also does with these counted as wrong on every text.

    Args:
        records: policy to seed to record.
        baseline: the policy that the others are compared with.
        paper: the paper's error and std by policy.
        cross_validated: whether every seed has a test fold of its own.
        margin: a difference below it does not matter, in points (log loss: hundredths of a nat);
            0 for never.
        beside: policies that have been tried too, and count among the comparisons.
        metric: what is compared (:data:`ampmix.statistics.metrics.METRICS`).
        looks: numbers of seeds, or of repeats, after which the verdicts were or are looked at;
            none for once, at the end (:func:`ampmix.statistics.judge_in_turn`).
        most: seeds or repeats after which there is no further look; 0 for the last of `looks`.

    Raises:
        AmpmixError: a policy's run and the baseline's of the same seed are of different splits, or
            `margin` is no number of points.
    """
    chosen = metric_of(metric)
    check_margin(margin)
    everything = {**(beside or {}), **records}
    way = _Way(baseline, cross_validated, margin, chosen, tuple(looks), most)
    judged = _judged(everything, everything, way)
    worst: Mapping[str, statistics.Judgement] = judged
    if any(not r.done for own in everything.values() for r in own.values()):
        counted_in = {
            name: counted_as_wrong(own, _finished(everything, name))
            for name, own in everything.items()
        }
        worst = _judged(counted_in, everything, way) if metric == "error" else {}
    return [
        _row(policy, own, _Judged(judged.get(policy), worst.get(policy), chosen), baseline,
             records[baseline], paper.get(policy))
        for policy, own in records.items()
    ]  # fmt: skip


def _finished(records: Mapping[str, Records], policy: str) -> dict[int, RunRecord]:
    """A finished run of another policy for each seed that has one."""
    return {
        s: r for name, own in records.items() if name != policy for s, r in own.items() if r.done
    }


class _Way(NamedTuple):
    """Settings by which policies are compared and judged."""

    baseline: str
    cross_validated: bool
    margin: float
    metric: Metric
    looks: tuple[int, ...]
    most: int


def _judged(
    records: Mapping[str, Records], known: Mapping[str, Records], way: _Way
) -> dict[str, statistics.Judgement]:
    """Verdicts on all policies that have a run to pair with the baseline's."""
    looks = [_compared(records, way, look) for look in way.looks] or [_compared(records, way)]
    alone = {name for name in looks[-1] if _is_baseline(known[name])}
    found: dict[str, statistics.Judgement] = {}
    for names in (set(looks[-1]) - alone, *({name} for name in alone)):
        own = [{n: one for n, one in look.items() if n in names} for look in looks]
        found |= _in_turn([look for look in own if look], way)
    return found


def _in_turn(
    looks: list[dict[str, statistics.Comparison]], way: _Way
) -> dict[str, statistics.Judgement]:
    if not looks:
        return {}
    unit = way.metric.unit
    most = way.most or (way.looks[-1] if way.looks else 0)
    if len(looks) == 1 and (not way.looks or most <= way.looks[-1]):
        return statistics.judge_together(looks[0], margin=way.margin, unit=unit)
    turns = statistics.judge_in_turn(looks, most, margin=way.margin, unit=unit)
    last = max(one.n_seeds for one in looks[-1].values())
    judged = {str(name): one for name, one in turns.judgements.items()}
    for name, after in turns.decided_at.items():
        if after < last:
            one = judged[str(name)]
            told = f"{one.verdict} (decided after {after})"
            judged[str(name)] = replace(one, verdict=told)
    return judged


def _compared(
    records: Mapping[str, Records], way: _Way, look: int | None = None
) -> dict[str, statistics.Comparison]:
    """Comparisons over all runs, or over the first `look` seeds or repeats."""

    def first(own: Records) -> Records:
        if look is None:
            return own
        return {
            seed: record
            for seed, record in own.items()
            if seed < look * (record.specification.get("folds") or 1)
        }

    base = first(records[way.baseline])
    return {
        policy: comparison
        for policy, own in records.items()
        if policy != way.baseline
        and (comparison := paired_comparison(first(own), base, way.cross_validated, way.metric))
        is not None
    }


class _Judged(NamedTuple):
    """Verdict by the runs that finished, and with failed ones counted as wrong on every text."""

    finished: statistics.Judgement | None
    worst: statistics.Judgement | None
    metric: Metric


def _is_baseline(runs: Records) -> bool:
    return any(record.is_baseline for record in runs.values())


def _row(
    policy: str,
    own: Records,
    judged: _Judged,
    baseline: str,
    base: Records,
    paper: Mapping[str, float] | None,
) -> ComparisonRow:
    done = {seed: record for seed, record in sorted(own.items()) if record.done}
    errors = [100 * float(record.test_wrong.mean()) for record in done.values()]
    errors_of = (record.result.dev_error for record in done.values())
    dev = [error for error in errors_of if error is not None]
    failures = {s: str(r.result.error) for s, r in sorted(own.items()) if not r.done}
    found = judged.finished
    decision, verdict = _said(judged, {policy: own, baseline: base})
    if policy == baseline:
        decision = verdict = "baseline"
    comparison = found.comparison if found else None
    counts = [record.result.n_unlabelled or 0 for record in done.values()]
    return ComparisonRow(
        policy=policy,
        errors=tuple(errors),
        seeds=tuple(done),
        mean=float(np.mean(errors)) if errors else None,
        std=float(np.std(errors, ddof=1)) if len(errors) > 1 else None,
        difference=comparison.difference if comparison else None,
        interval=_possible(comparison.interval, judged.metric) if comparison else None,
        p=None if found is None else found.p,
        detectable=comparison.detectable if comparison else None,
        decision=decision,
        verdict=verdict,
        dev_error=100 * float(np.mean(dev)) if dev else None,
        failures=failures,
        paper=paper,
        recall=recalls(done.values()),
        collapsed=collapsed(own),
        median=float(np.median(errors)) if errors else None,
        compared_by="" if comparison is None else comparison.method,
        standard_error=None if comparison is None else comparison.standard_error,
        runs_needed=None if found is None else found.runs_needed,
        unlabelled=(min(counts), max(counts)) if any(counts) else None,
        notes={seed: list(r.result.notes) for seed, r in done.items() if r.result.notes},
    )


def _said(judged: _Judged, records: Mapping[str, Records]) -> tuple[str, str]:
    """Decision and verdict of a policy."""
    found = judged.finished
    if found is None:
        return "not decided", "not decided: no seed finished for both"
    lost = [
        f"{sum(not r.done for r in runs.values())} of {counted(len(runs), 'run')} of {name} failed"
        for name, runs in records.items()
        if any(not record.done for record in runs.values())
    ]
    if lost and (told := undone(found, judged.worst, " and ".join(lost))):
        return "not decided", told
    decision, detectable = found.decision, found.comparison.detectable
    if decision == "no difference shown" and (detectable or 0) > 100:
        return decision, f"{decision}; {found.comparison.n_seeds} are too few to show any"
    said = found.verdict.replace(" error", f" {judged.metric.loss}", 1)
    return decision, "; ".join(filter(None, (said, found.advice)))


def _possible(interval: tuple[float, float] | None, metric: Metric) -> tuple[float, float] | None:
    """An interval of differences as far as it is possible: shares differ by 100 % at most."""
    if interval is None or metric.unit != "points":
        return interval
    return max(interval[0], -100.0), min(interval[1], 100.0)


def paper_cells(
    title: str, backbone: str, policies: Mapping[str, str]
) -> dict[str, dict[str, float]]:
    """The paper's error and std (percent) for each policy that Table 2 has.

    Args:
        title: the data set's name in the paper's tables, "" if it is not one of them.
        backbone: the backbone's name in ``reference.toml``, "" likewise.
        policies: spec string to the policy's name there, "" likewise.
    """
    cells = {
        (row["dataset"], row["backbone"], row["policy"]): {"error": row["error"], "std": row["std"]}
        for row in published.reference()["table2"]
    }
    found = {spec: cells.get((title, backbone, name)) for spec, name in policies.items()}
    return {spec: cell for spec, cell in found.items() if cell is not None}


def best_policy(made: Sequence[ComparisonRow]) -> ComparisonRow | None:
    """The policy with the lowest mean development error, the first of equals; no test set here."""
    candidates = [row for row in made if row.dev_error is not None and row.policy != BASELINE]
    return min(candidates, key=lambda row: row.dev_error or 0.0, default=None)
