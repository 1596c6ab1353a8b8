"""Models from the simplest on, each with its error, cost and distance to the best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ampmix import statistics
from ampmix.analysis.pairs import Records, overlap_of, paired_comparison
from ampmix.records.store import RunRecord

TIMES = ("seconds", "per_second")
Times = Mapping[str, tuple[float | None, float | None]]
"""Seconds of a run and texts predicted in a second, by model."""


@dataclass(frozen=True)
class Rung:
    """One model's row. Errors and differences are in percent of the test texts.

    Attributes:
        model: spec string of a baseline or backbone, or ``always CLASS``.
        title: the model in words, "" for its spec string.
        errors: test error by seed (fold).
        mean, std: of them; None where no run finished or only one did.
        interval: of 95 %, of the error of a model trained anew on new texts.
        difference: to the model of the lowest mean, paired; None for that model.
        difference_interval: its interval.
        dev_error: mean development error, where it was measured.
        seconds: mean time of a run.
        per_second: median number of texts predicted in a second.
    """

    model: str
    title: str = ""
    errors: tuple[float, ...] = ()
    mean: float | None = None
    std: float | None = None
    interval: tuple[float, float] | None = None
    difference: float | None = None
    difference_interval: tuple[float, float] | None = None
    dev_error: float | None = None
    seconds: float | None = None
    per_second: float | None = None

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values, without times: those of the same runs differ from day to day."""
        told = asdict(self)
        return {name: value for name, value in told.items() if name not in TIMES}


def ladder(
    models: Mapping[str, Records],
    cross_validated: bool,
    majority: Mapping[str, Any] | None = None,
    titles: Mapping[str, str] | None = None,
) -> tuple[Rung, ...]:
    """One row for each model, in their order, after that of always answering one class.

    Args:
        models: spec string to seed to record.
        cross_validated: whether every seed has a test fold of its own.
        majority: as of :func:`ampmix.analysis.classes.majority`.
        titles: models in words.
    """
    done = {name: {s: r for s, r in own.items() if r.done} for name, own in models.items()}
    means = {name: _mean_error(own) for name, own in done.items() if own}
    best = min(means, key=lambda name: means[name], default=None)
    rows = [
        replace(
            _rung(name, own, done[best] if best not in (None, name) else None, cross_validated),
            title=(titles or {}).get(name, ""),
        )
        for name, own in done.items()
    ]
    if majority is None:
        return tuple(rows)
    always = Rung(f"always {majority['class']}", mean=majority["mean"], std=majority["std"])
    return (always, *rows)


def chosen(rows: Sequence[Rung], cross_validated: bool) -> Rung | None:
    """The row whose model to keep, the first of equals; None if there is none.

    In cross-validation it has the lowest mean error, over texts that none of its models had seen.
    With a test set it has the lowest mean development error: the test set has no say.
    """

    def error(row: Rung) -> float | None:
        return row.mean if cross_validated else row.dev_error

    able = [row for row in rows if row.errors and error(row) is not None]
    return min(able, key=lambda row: error(row) or 0.0, default=None)


def _mean_error(own: Records) -> float:
    return float(np.mean([record.test_wrong.mean() for record in own.values()]))


def _rung(name: str, own: Records, best: Records | None, cross_validated: bool) -> Rung:
    if not own:
        return Rung(name)
    wrong = [record.test_wrong for record in own.values()]
    errors = [100 * float(one.mean()) for one in wrong]
    dev = [r.result.dev_error for r in own.values() if r.result.dev_error is not None]
    seconds, speed = costs(own.values())
    compared = None if best is None else paired_comparison(own, best, cross_validated)
    overlap = overlap_of(own.values())
    return Rung(
        name,
        errors=tuple(errors),
        mean=float(np.mean(errors)),
        std=float(np.std(errors, ddof=1)) if len(errors) > 1 else None,
        interval=_percent(error_interval(wrong, cross_validated, repeats_of(own), overlap)),
        difference=compared.difference if compared else None,
        difference_interval=compared.interval if compared else None,
        dev_error=100 * float(np.mean(dev)) if dev else None,
        seconds=seconds,
        per_second=speed,
    )


def costs(runs: Iterable[RunRecord]) -> tuple[float | None, float | None]:
    """Mean seconds of a run and median number of texts predicted in a second, as far as known."""
    told = [record.provenance for record in runs if record.done]
    seconds = [float(one.get("seconds", 0)) for one in told]
    speeds = [float(s) for one in told if (s := one.get("predicted_per_second")) is not None]
    return (
        float(np.mean(seconds)) if seconds else None,
        float(np.median(speeds)) if speeds else None,
    )


def repeats_of(own: Records) -> int:
    """Return the number of repeats of cross-validation that runs are of, 1 for a test set."""
    repeats = set()
    for seed, record in own.items():
        folds = record.specification.get("folds")
        repeats.add(seed // int(folds) if folds else 0)
    return max(len(repeats), 1)


def error_interval(
    wrong: Sequence[Any], cross_validated: bool, repeats: int = 1, overlap: float = 0.0
) -> tuple[float, float] | None:
    """Interval of the error of a model trained anew, a fraction; None where it cannot be told.

    Args:
        wrong: true where a text was misclassified, an array for each seed or fold.
        cross_validated: whether every seed has a test fold of its own.
        repeats: of cross-validation.
        overlap: of redrawn training sets (:func:`ampmix.analysis.pairs.overlap_of`).
    """
    if not cross_validated:
        return statistics.held_out_error(np.stack(wrong), overlap=overlap)
    if len(wrong) < 2 * repeats:
        return None
    return statistics.cross_validated_error(wrong, repeats=repeats)


def _percent(bounds: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if bounds is None else (100 * bounds[0], 100 * bounds[1])
