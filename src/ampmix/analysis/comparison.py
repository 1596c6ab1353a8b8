"""From run records to rows: errors, differences with intervals, verdicts, the paper's number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ampmix import statistics
from ampmix.analysis import paper as published
from ampmix.analysis.classes import recalls
from ampmix.records.store import BASELINE, RunRecord

Records = Mapping[int, RunRecord]


@dataclass(frozen=True)
class ComparisonRow:
    """One policy's row of a comparison. Errors and differences are in percent of the test texts.

    Attributes:
        policy: spec string, or the baseline's name.
        errors: test error by seed (fold), in the order of ``seeds``.
        seeds: the seeds that finished.
        mean, std: of the errors; std is that of a sample, None with one seed.
        difference: mean difference to the baseline over the seeds that both finished.
        interval: its 95 % confidence interval, for new seeds and new texts.
        p: two-sided p-value of no difference, Holm-corrected over the policies.
        detectable: smallest difference that this design shows with 80 % power.
        decision: ``lower error``, ``higher error``, ``no difference shown``, ``not decided``, or
            ``baseline``.
        verdict: the same in a sentence.
        dev_error: mean development error, by which the model was chosen; None for the baseline.
        failures: what stopped the runs that failed, by seed.
        paper: error and standard deviation printed in the paper for this cell, if it has it.
        recall: recall of each class in percent, over all seeds; None for records without labels.
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

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self) | {"failures": {str(k): v for k, v in self.failures.items()}}


def rows(
    records: Mapping[str, Records],
    baseline: str,
    paper: Mapping[str, Mapping[str, float]],
    cross_validated: bool,
) -> list[ComparisonRow]:
    """One row for each policy in `records`, in their order.

    The comparison is paired: seed by seed and, with a common test set, example by example
    (:func:`ampmix.statistics.crossed_difference`); in cross-validation fold by fold
    (:func:`ampmix.statistics.corrected_resampled_t`). Holm's correction runs over the policies; the
    baseline is another method, not one of the policies tried, and is left out of it.

    Args:
        records: policy to seed to record.
        baseline: the policy that the others are compared with.
        paper: the paper's error and std by policy.
        cross_validated: whether every seed has a test fold of its own.

    Raises:
        AmpmixError: a policy's run and the baseline's of the same seed are of different splits.
    """
    compared = {
        policy: paired_comparison(own, records[baseline], cross_validated)
        for policy, own in records.items()
        if policy != baseline
    }
    family = [policy for policy in compared if not _is_baseline(records[policy])]
    raw = [comparison.p if (comparison := compared[policy]) else None for policy in family]
    adjusted = {
        policy: None if np.isnan(p) else p
        for policy, p in zip(family, statistics.holm(raw).tolist(), strict=True)
    }
    made = []
    for policy, own in records.items():
        comparison = compared.get(policy)
        p = adjusted.get(policy, comparison.p if comparison else None)
        made.append(_row(policy, own, comparison, p, policy == baseline, paper.get(policy)))
    return made


def paired_comparison(
    own: Records, baseline: Records, cross_validated: bool
) -> statistics.Comparison | None:
    """The paired comparison over the seeds that both finished, in percent; None without any.

    Raises:
        AmpmixError: two runs of a seed are of different splits.
    """
    ours, theirs = _both(own, baseline)
    if not ours:
        return None
    if not cross_validated:
        wrong = np.stack([record.test_wrong for record in ours])
        wrong_baseline = np.stack([record.test_wrong for record in theirs])
        if wrong.shape[1] < 2:  # one test text says nothing about new texts
            difference = 100 * float(wrong.mean() - wrong_baseline.mean())
            return statistics.Comparison(difference, None, None, None, None, len(ours), "crossed")
        return statistics.crossed_difference(wrong, wrong_baseline).scaled(100)
    pairs = zip(ours, theirs, strict=True)
    differences = [a.test_wrong.mean() - b.test_wrong.mean() for a, b in pairs]
    n_train = [r.result.n_learned for r in ours]
    n_test = [r.result.n_test or 0 for r in ours]
    wrong, wrong_baseline = (
        np.concatenate([one.test_wrong for one in runs]) for runs in (ours, theirs)
    )
    apart = int((wrong & ~wrong_baseline).sum()), int((wrong_baseline & ~wrong).sum())
    compared = statistics.corrected_resampled_t(differences, n_train, n_test, discordant=apart)
    return compared.scaled(100)


def paired_relative_improvement(
    amp: Records, mixup: Records, cross_validated: bool
) -> statistics.RelativeImprovement | None:
    """RP over the seeds that both finished, in percent; None without any.

    Raises:
        AmpmixError: two runs of a seed are of different splits.
    """
    ours, theirs = _both(amp, mixup)
    if not ours or (ours[0].result.n_test or 0) < 2:
        return None
    if not cross_validated:
        wrong = np.stack([record.test_wrong for record in ours])
        return statistics.crossed_relative_improvement(
            np.stack([record.test_wrong for record in theirs]), wrong
        )
    return statistics.resampled_relative_improvement(
        [record.test_wrong.mean() for record in theirs],
        [record.test_wrong.mean() for record in ours],
        [record.result.n_learned for record in ours],
        [record.result.n_test or 0 for record in ours],
    )


def _is_baseline(runs: Records) -> bool:
    return any(record.is_baseline for record in runs.values())


def _both(own: Records, baseline: Records) -> tuple[list[RunRecord], list[RunRecord]]:
    """The runs of the seeds that both finished, checked to be pairs."""
    seeds = [s for s in own if own[s].done and s in baseline and baseline[s].done]
    ours, theirs = [own[s] for s in seeds], [baseline[s] for s in seeds]
    if seeds:
        statistics.check_paired(_runs(ours), _runs(theirs))
    return ours, theirs


def _runs(records: Sequence[RunRecord]) -> statistics.Runs:
    """Return the runs of a policy as the statistics read them, to be paired with another's."""
    return statistics.Runs(
        name=str(records[0].specification["policy"]),
        seeds=[record.specification["seed"] for record in records],
        test_sets=[record.result.split_hash or "" for record in records],
        sizes=[record.result.n_test or 0 for record in records],
    )


def _row(
    policy: str,
    own: Records,
    comparison: statistics.Comparison | None,
    p: float | None,
    is_baseline: bool,
    paper: Mapping[str, float] | None,
) -> ComparisonRow:
    done = {seed: record for seed, record in sorted(own.items()) if record.done}
    errors = [100 * float(record.test_wrong.mean()) for record in done.values()]
    errors_of = (record.result.dev_error for record in done.values())
    dev = [error for error in errors_of if error is not None]
    failures = {s: str(r.result.error) for s, r in sorted(own.items()) if not r.done}
    decision: str
    if comparison is not None:
        decision = statistics.decide(comparison, p)
        verdict = statistics.verdict(comparison, p)
        if decision == "no difference shown" and (comparison.detectable or 0) > 100:
            verdict = f"{decision}; {comparison.n_seeds} are too few to show any"
    elif is_baseline:
        decision = verdict = "baseline"
    else:
        decision, verdict = "not decided", "not decided: no seed finished for both"
    return ComparisonRow(
        policy=policy,
        errors=tuple(errors),
        seeds=tuple(done),
        mean=float(np.mean(errors)) if errors else None,
        std=float(np.std(errors, ddof=1)) if len(errors) > 1 else None,
        difference=comparison.difference if comparison else None,
        interval=_within_100(comparison.interval) if comparison else None,
        p=p,
        detectable=comparison.detectable if comparison else None,
        decision=decision,
        verdict=verdict,
        dev_error=100 * float(np.mean(dev)) if dev else None,
        failures=failures,
        paper=paper,
        recall=recalls(done.values()),
    )


def _within_100(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    """An interval of differences in percent, as far as it is possible."""
    return None if interval is None else (max(interval[0], -100.0), min(interval[1], 100.0))


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
