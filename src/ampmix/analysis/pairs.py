"""Runs of two policies, paired: their difference, and RP."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ampmix import statistics
from ampmix.errors import AmpmixError
from ampmix.records.store import RunRecord
from ampmix.statistics.metrics import METRICS, SCALE, Metric, values_of

Records = Mapping[int, RunRecord]


def paired_comparison(
    own: Records, baseline: Records, cross_validated: bool, metric: Metric = METRICS["error"]
) -> statistics.Comparison | None:
    """The paired comparison over the seeds that both finished; None without any.

    It is in the metric's unit, of the error in percent.

    With a test set it is over seeds and texts; where training sets were redrawn
    (:attr:`ampmix.Plan.redraw`), over new training sets too.

    In cross-validation it is over the repeats of which both finished all folds; with fewer than two
    of these, or where records do not say which texts were tested, over the folds.

    Raises:
        AmpmixError: two runs of a seed are of different splits, or the metric needs probabilities
            that the records do not hold.
    """
    ours, theirs = _both(own, baseline)
    if not ours:
        return None
    if cross_validated:
        found = _over_repeats(ours, theirs, metric)
        return (found or _over_folds(ours, theirs, metric)).scaled(SCALE)
    overlap = overlap_of([*ours, *theirs])
    if metric.name != "error":
        values, base = (_values(metric, [[r] for r in runs]) for runs in (ours, theirs))
        return statistics.crossed_difference(values, base, overlap=overlap).scaled(SCALE)
    wrong = np.stack([record.test_wrong for record in ours])
    wrong_baseline = np.stack([record.test_wrong for record in theirs])
    if wrong.shape[1] < 2:  # one test text says nothing about new texts
        difference = 100 * float(wrong.mean() - wrong_baseline.mean())
        return statistics.Comparison(difference, None, None, None, None, len(ours), "crossed")
    return statistics.crossed_difference(wrong, wrong_baseline, overlap=overlap).scaled(100)


def overlap_of(records: Iterable[RunRecord]) -> float:
    """Share of its training texts that a run shares with another, where these were redrawn.

    It is 0 where they were not: the claim is then for the training set at hand.
    """
    shares = [r.specification["fraction"] for r in records if r.specification.get("redraw")]
    return float(max(shares, default=0.0))


def _values(metric: Metric, runs: Sequence[Sequence[RunRecord]]) -> npt.NDArray[np.float64]:
    """The metric's value for each text, of records that are put together to a run, ``[R, N]``."""
    try:
        labels = np.concatenate([r.result.labels() for r in runs[0]])
        scores = [np.concatenate([r.result.probabilities() for r in own]) for own in runs]
    except ValueError as error:
        raise AmpmixError(
            f"{metric.loss} needs probabilities, and of the record {runs[0][0].id} {error}: run "
            "the comparison again in another folder"
        ) from error
    return values_of(metric, labels, np.stack(scores).astype(np.float64))


def _over_folds(
    ours: list[RunRecord], theirs: list[RunRecord], metric: Metric
) -> statistics.Comparison:
    """The corrected resampled t; its ratio is n_test to all other texts, however few are learned.

    Fewer labels make training sets of the folds more different, not more alike.
    """
    n_test = np.array([r.result.n_test or 0 for r in ours])
    everything = n_test.sum() / max(len(_repeats(ours)), 1)
    n_train = np.maximum([r.result.n_learned for r in ours], everything - n_test)
    wrong, wrong_baseline = (
        np.concatenate([one.test_wrong for one in runs]) for runs in (ours, theirs)
    )
    apart = None
    if metric.name == "error":
        values = wrong.astype(np.float64) - wrong_baseline
        apart = int((wrong & ~wrong_baseline).sum()), int((wrong_baseline & ~wrong).sum())
    else:
        values = _values(metric, [ours])[0] - _values(metric, [theirs])[0]
    differences = [part.mean() for part in np.split(values, n_test.cumsum()[:-1])]
    return statistics.corrected_resampled_t(differences, n_train, n_test, discordant=apart)


def _over_repeats(
    ours: list[RunRecord], theirs: list[RunRecord], metric: Metric
) -> statistics.Comparison | None:
    """The comparison of repeated cross-validation, None where the records do not allow it."""
    table = OutOfFold.of(ours)
    other = None if table is None else OutOfFold.of(theirs)
    if table is None or other is None:
        return None
    values, base = (one.values(metric) for one in (table, other))
    return statistics.repeated_difference(values, base, table.folds, table.groups)


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Outcomes of texts when they were held out, by repeat.

    Attributes:
        wrong: true where a text was misclassified, ``[R, N]``.
        folds: fold of each text, ``[R, N]``.
        groups: group of each text, ``[N]``; None where each stands alone.
        probabilities: of each class, ``[R, N, C]``; None where the records have none.
        labels: true classes, ``[N]``; None likewise.
    """

    wrong: npt.NDArray[np.bool_]
    folds: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64] | None
    probabilities: npt.NDArray[np.float32] | None
    labels: npt.NDArray[np.int64] | None

    @classmethod
    def of(cls, records: Sequence[RunRecord]) -> OutOfFold | None:
        """Read runs of one policy; None for fewer than two whole repeats, or unknown texts."""
        whole = [
            runs
            for runs in _repeats(records).values()
            if len(runs) == runs[0].specification.get("folds")
        ]
        if len(whole) < 2 or any(r.test_indices is None for runs in whole for r in runs):
            return None
        orders = [np.concatenate([_indices(r) for r in runs]) for runs in whole]
        texts = np.sort(orders[0])
        if any(not np.array_equal(np.sort(order), texts) for order in orders):
            return None
        back = [np.argsort(order, kind="stable") for order in orders]

        def table(parts: Callable[[RunRecord], Any]) -> Any:
            joined = (np.concatenate([parts(r) for r in runs]) for runs in whole)
            return np.stack([one[order] for one, order in zip(joined, back, strict=True)])

        scored = all(r.result.test_probabilities for runs in whole for r in runs)
        grouped = all(r.test_groups is not None for runs in whole for r in runs)
        return cls(
            table(lambda r: r.test_wrong),
            table(lambda r: np.full(r.result.n_test or 0, _fold(r))),
            table(lambda r: r.test_groups)[0] if grouped else None,
            table(lambda r: r.result.probabilities()) if scored else None,
            table(lambda r: r.result.labels())[0] if scored else None,
        )

    def values(self, metric: Metric) -> npt.NDArray[Any]:
        """The metric's value for each text and repeat, ``[R, N]``."""
        if metric.name == "error":
            return self.wrong
        if self.labels is None or self.probabilities is None:
            raise AmpmixError(
                f"{metric.loss} needs probabilities, and the records hold none: run the comparison "
                "again in another folder"
            )
        return values_of(metric, self.labels, self.probabilities.astype(np.float64))


def _repeats(records: Sequence[RunRecord]) -> dict[int, list[RunRecord]]:
    """Runs of cross-validation by repeat; all are of one where their folds are not known."""
    found: dict[int, list[RunRecord]] = {}
    for record in records:
        folds = record.specification.get("folds") or len(records)
        found.setdefault(int(record.specification["seed"]) // folds, []).append(record)
    return found


def _indices(record: RunRecord) -> npt.NDArray[np.int64]:
    found = record.test_indices
    assert found is not None
    return found


def _fold(record: RunRecord) -> int:
    return int(record.specification["seed"]) % int(record.specification["folds"])


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
            np.stack([record.test_wrong for record in theirs]),
            wrong,
            overlap=overlap_of([*ours, *theirs]),
        )
    return statistics.resampled_relative_improvement(
        [record.test_wrong.mean() for record in theirs],
        [record.test_wrong.mean() for record in ours],
        [record.result.n_learned for record in ours],
        [record.result.n_test or 0 for record in ours],
    )


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
