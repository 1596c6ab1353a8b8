"""Outcomes of anybody's runs, by seed and text, checked and in one order."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ampmix._support.wording import counted
from ampmix.errors import AmpmixError
from ampmix.statistics.metrics import Metric, values_of

Runs = Mapping[Any, Any] | Sequence[Any] | npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class PolicyRuns:
    """Runs of a policy: seeds, those that failed, and values of the others, ``[S, N]``."""

    name: str
    seeds: tuple[Any, ...]
    failed: tuple[Any, ...]
    values: Mapping[Any, npt.NDArray[np.float64]]
    keys: tuple[Hashable, ...] | None

    @classmethod
    def of(
        cls, name: str, runs: Runs, labels: npt.NDArray[np.int64] | None, metric: Metric
    ) -> PolicyRuns:
        """Read and check the runs of a policy; AmpmixError for what cannot be judged."""
        by_seed = dict(runs) if isinstance(runs, Mapping) else dict(enumerate(runs))
        if not by_seed:
            raise AmpmixError(f"{name} has no runs: give one for each seed")
        values: dict[Any, npt.NDArray[np.float64]] = {}
        keys: tuple[Hashable, ...] | None = None
        for seed, run in by_seed.items():
            if run is None:
                continue
            if isinstance(run, Mapping):
                keys = keys or tuple(run)
                if set(run) != set(keys):
                    raise AmpmixError(
                        f"with seed {seed} {name} was tested on other texts than with "
                        f"{next(iter(values), seed)}: compare runs on the same texts"
                    )
                run = [run[key] for key in keys]
            values[seed] = _values_of_run(f"{name}, seed {seed}", run, labels, metric)
        failed = tuple(seed for seed, run in by_seed.items() if run is None)
        if not values:
            runs_failed = counted(len(failed), "run")
            raise AmpmixError(f"all {runs_failed} of {name} failed: there is nothing to judge")
        return cls(name, tuple(by_seed), failed, values, keys)

    @property
    def mean(self) -> float:
        """Mean over the runs that finished."""
        return float(np.mean([run.mean() for run in self.values.values()]))

    @property
    def texts(self) -> int:
        """Number of texts."""
        return len(next(iter(self.values.values())))

    def check_paired(self, other: PolicyRuns) -> None:
        """Refuse runs of other seeds or texts."""
        if set(self.seeds) != set(other.seeds):
            own, theirs = (", ".join(map(str, t.seeds)) for t in (self, other))
            raise AmpmixError(
                f"{self.name} has seeds {own} and {other.name} has {theirs}: compare the same "
                "seeds (a run that failed is None)"
            )
        for run in self.values.values():
            if len(run) != other.texts:
                raise AmpmixError(
                    f"{self.name} was tested on {counted(len(run), 'text')} and {other.name} on "
                    f"{other.texts:,}: compare runs on the same texts"
                )
        if self.keys is not None and other.keys is not None and set(self.keys) != set(other.keys):
            strange = next(iter(set(self.keys) ^ set(other.keys)))
            raise AmpmixError(
                f"{self.name} and {other.name} were tested on other texts, such as {strange!r}: "
                "compare runs on the same texts"
            )

    def ordered(self, other: PolicyRuns) -> Mapping[Any, npt.NDArray[np.float64]]:
        """The values in the other's order of texts."""
        if self.keys is None or other.keys is None or self.keys == other.keys:
            return self.values
        place = {key: i for i, key in enumerate(self.keys)}
        order = [place[key] for key in other.keys]
        return {seed: run[order] for seed, run in self.values.items()}


def labels_of(labels: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """True classes as whole numbers from 0, or an AmpmixError."""
    given = np.asarray(labels)
    if given.ndim != 1 or not np.issubdtype(given.dtype, np.integer) or given.min() < 0:
        raise AmpmixError(
            f"labels have shape {given.shape} and type {given.dtype}: give a whole number from 0 "
            "for each text"
        )
    return given.astype(np.int64)


def _values_of_run(
    what: str, run: Any, labels: npt.NDArray[np.int64] | None, metric: Metric
) -> npt.NDArray[np.float64]:
    try:
        given = np.asarray(run, dtype=np.float64)
    except (TypeError, ValueError):
        told = f"{what}: the outcomes are no numbers; give 1 for each wrong text, 0 for the others"
        raise AmpmixError(told) from None
    if not np.isfinite(given).all():
        bad = int((~np.isfinite(given)).sum())
        raise AmpmixError(
            f"{what}: {counted(bad, 'value is', 'values are')} NaN or infinite; give None for a "
            "run that failed"
        )
    if labels is None:
        if given.ndim != 1 or not np.isin(given, (0.0, 1.0)).all():
            raise AmpmixError(
                f"{what}: outcomes of shape {given.shape} are not 0 or 1 for each text; for "
                "predicted classes or scores give labels= too"
            )
        return given
    if given.shape[:1] != labels.shape or given.ndim > 2:
        raise AmpmixError(
            f"{what}: outcomes of shape {given.shape} with {counted(len(labels), 'label')}: give a "
            "class, or a row of scores, for each text"
        )
    if given.ndim == 1:
        if metric.needs_scores:
            raise AmpmixError(f"{what}: {metric.loss} needs a row of probabilities for each text")
        classes = int(max(given.max(), labels.max())) + 1
        given = np.eye(classes)[given.astype(np.int64)]
    if labels.max() >= given.shape[1]:
        raise AmpmixError(
            f"{what}: scores of {given.shape[1]} classes and a label {labels.max()}: give a score "
            "for each class"
        )
    found: npt.NDArray[np.float64] = values_of(metric, labels, given[None])[0]
    return found


def folds_of(folds: npt.ArrayLike, table: PolicyRuns) -> npt.NDArray[np.int64]:
    """The fold of each text in each repeat, ``[R, N]``, or an AmpmixError."""
    given = np.asarray(folds)
    if given.ndim == 1:
        given = np.tile(given, (len(table.seeds), 1))
    if given.shape != (len(table.seeds), table.texts):
        raise AmpmixError(
            f"folds have shape {given.shape}: give the fold of each of {table.texts} texts, for "
            f"each of {counted(len(table.seeds), 'repeat')}"
        )
    return given
