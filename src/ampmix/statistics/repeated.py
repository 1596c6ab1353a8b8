"""Repeated cross-validation: every text has one out-of-fold outcome in each repeat."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from ampmix.errors import AmpmixError
from ampmix.statistics._arrays import Array, check_level
from ampmix.statistics.comparison import (
    POWER,
    Comparison,
    FewTexts,
    p_where,
    widened,
    without_variance,
)
from ampmix.statistics.pairing import is_binary, paired_errors
from ampmix.statistics.resampled import corrected_resampled_t

Integers = npt.NDArray[np.int64]


def repeated_difference(
    wrong: npt.ArrayLike,
    wrong_baseline: npt.ArrayLike,
    folds: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    level: float = 0.95,
) -> Comparison:
    """Compare two policies over repeats of cross-validation: new samples, seeds and texts.

    ``D[r, i] = mu + text_i + run_(r, fold of i) + residual_ri``: each text is tested once a repeat,
    by the run of its fold. With the estimated variances (Henderson's method III) the interval
    reaches::

        reach**2 = t_N**2 * (V + K/(K-1) * S) + (t_B**2 * MS_run - t_E**2 * MS_residual) / (n_0 B)

    V is the variance of the mean by the N texts, ``var_i(mean_r D[r, i]) / N``; S is the part of it
    that further repeats would show again, ``V - MS_residual / (R N)``. The mean square of the B
    runs, adjusted for texts, has the expectation ``V_residual + n_0 V_run``. The t are quantiles of
    Student's t with N - 1, B - 1 and the residual's degrees of freedom. Squares of reaches add up
    as in :func:`ampmix.statistics.crossed.reach`; S and the last term are never below zero.

    All repeats share one sample of texts, and V knows only what its texts do as they are tested,
    not as they are learned from. ``K/(K-1) * S`` makes room for that: n_test / n_train of the
    corrected resampled t (Nadeau and Bengio 2003, Machine Learning 52), at the level of texts, and
    only for what texts do again and again: noise of seeds is no property of the sample.

    Args:
        wrong: 1 where the policy erred when the text was held out, ``[R repeats, N texts]``;
            booleans or finite numbers.
        wrong_baseline: the same for the baseline, same repeats, folds and texts.
        folds: fold of each text in each repeat, ``[R, N]``, whole numbers from 0.
        groups: which texts belong together, ``[N]``: near-duplicates, texts of one author. The
            unit of a claim is then a group.
        level: coverage of the interval, a fraction.

    Raises:
        AmpmixError: the two are not paired, `folds` or `groups` do not fit, or a repeat has one
            fold only.
        ValueError: a value is not finite, or `level` is not a fraction.

    >>> a, b = [[1, 0, 0, 1], [1, 0, 0, 0]], [[1, 1, 0, 1], [1, 0, 1, 0]]
    >>> repeated_difference(a, b, [[0, 0, 1, 1], [0, 1, 0, 1]]).difference
    -0.25

    One repeat cannot tell texts from seeds: there the interval is that of
    :func:`corrected_resampled_t` over its folds. Where all answers agree, or a handful of texts
    differ, it is exact, as in :func:`ampmix.statistics.crossed_difference`. Coverage is measured
    with real learners on real texts in ``benchmarks/repeated.py``.
    """
    check_level(level)
    own, baseline = paired_errors(wrong, wrong_baseline)
    layout = RepeatedFolds.of(folds, groups, own.shape)
    at = partial(_at, own, baseline, layout)
    return replace(at(level), at_level=at)


def _at(own: Array, baseline: Array, layout: RepeatedFolds, level: float) -> Comparison:
    differences = np.subtract(own, baseline)
    few = layout.few(differences) if is_binary(own) and is_binary(baseline) else None
    if len(differences) == 1:
        return _of_one(differences[0], layout, few, level)
    alike = None if few is None else few.texts
    if (same := without_variance(differences, "repeated-cv", alike, level)) is not None:
        return same
    parts = layout.parts(differences)
    difference, half = float(differences.mean()), parts.reach((1 + level) / 2)
    found = Comparison(
        difference=difference,
        standard_error=parts.standard_error,
        interval=(difference - half, difference + half),
        p=p_where(parts.reach, abs(difference)),
        detectable=half + parts.reach(1 - POWER),
        n_seeds=len(differences),
        method="repeated-cv",
        reach_after=lambda repeats, tail: parts.after(repeats).reach(tail),
    )
    return widened(found, few, level)


def _of_one(
    differences: Array, layout: RepeatedFolds, few: FewTexts | None, level: float
) -> Comparison:
    """Return the corrected resampled t over the folds of a single repeat."""
    runs, sizes = layout.runs[0], layout.sizes
    means = np.bincount(runs, weights=differences) / sizes
    apart = None if few is None else (few.worse, few.better)
    return corrected_resampled_t(means, len(runs) - sizes, sizes, level, apart)


@dataclass(frozen=True, eq=False)
class RepeatedFolds:
    """Layout of R repeats of cross-validation: texts crossed with runs, a run a fold of a repeat.

    Each text is in one run of each repeat, so texts and runs make an incomplete block design, and
    runs are judged by what they do to texts that other runs have tested too (Searle, Casella and
    McCulloch 1992, Variance Components, ch. 5).

    Attributes:
        folds: fold of each text in each repeat, ``[R, N]``.
        groups: group of each text, ``[N]``, from 0 without gaps; None where each stands alone.
    """

    folds: Integers
    groups: Integers | None = None

    @classmethod
    def of(
        cls, folds: npt.ArrayLike, groups: npt.ArrayLike | None, shape: tuple[int, ...]
    ) -> RepeatedFolds:
        """Check the folds and groups of outcomes of a shape ``[R, N]``."""
        given = np.asarray(folds)
        if given.shape != shape or not np.issubdtype(given.dtype, np.integer) or given.min() < 0:
            raise AmpmixError(
                f"folds must be whole numbers from 0, {shape[0]} repeats of {shape[1]} texts, not "
                f"of shape {given.shape} and type {given.dtype}: give the fold of each text"
            )
        lone = np.flatnonzero(given.min(axis=1) == given.max(axis=1))
        if len(lone):
            raise AmpmixError(
                f"repeat {lone[0]} has one fold only: cross-validation has 2 or more in each repeat"
            )
        if groups is None:
            return cls(given)
        numbers = np.unique(np.asarray(groups), return_inverse=True)[1]
        if numbers.shape != shape[1:] or numbers.max() == 0:
            raise AmpmixError(
                f"groups must name 2 or more groups, one for each of {shape[1]} texts, not "
                f"{numbers.max() + 1} in shape {numbers.shape}"
            )
        return cls(given, numbers)

    @cached_property
    def runs(self) -> Integers:
        """Run of each text in each repeat, ``[R, N]``, from 0."""
        span = int(self.folds.max()) + 1
        numbers = self.folds + span * np.arange(len(self.folds))[:, None]
        found: Integers = np.unique(numbers, return_inverse=True)[1].reshape(self.folds.shape)
        return found

    @cached_property
    def sizes(self) -> Integers:
        """Texts of each run."""
        return np.bincount(self.runs.ravel())

    @cached_property
    def _adjusted(self) -> tuple[Array, int, float]:
        """Inverse, rank and trace of the runs' matrix after adjusting for texts."""
        repeats, texts = self.folds.shape
        tested = np.zeros((texts, len(self.sizes)))
        tested[np.arange(texts), self.runs] = 1
        matrix = np.diag(self.sizes.astype(np.float64)) - tested.T @ tested / repeats
        values, vectors = np.linalg.eigh(matrix)
        kept = values > 1e-9 * max(float(values.max()), 1.0)
        inverse = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T
        return inverse, int(kept.sum()), float(np.trace(matrix))

    @property
    def units(self) -> int:
        """Independent texts: a group counts once."""
        return self.folds.shape[1] if self.groups is None else int(self.groups.max()) + 1

    def of_units(self, of_texts: Array) -> Array:
        """Sums of the texts' values over their groups."""
        if self.groups is None:
            return of_texts
        return np.bincount(self.groups, weights=of_texts).astype(np.float64)

    def few(self, differences: Array) -> FewTexts:
        """Count the units that speak for either side over all repeats."""
        sums = self.of_units(differences.sum(axis=0))
        return FewTexts(int((sums > 0).sum()), int((sums < 0).sum()), self.units)

    def parts(self, differences: Array) -> Parts:
        """Variances that make up that of the mean of `differences` ``[R >= 2, N]``."""
        (repeats, texts), of_texts = differences.shape, differences.mean(axis=0)
        apart = differences - of_texts
        inverse, rank, trace = self._adjusted
        totals = np.bincount(self.runs.ravel(), weights=apart.ravel())
        of_runs = float(totals @ inverse @ totals)
        df_residual = max(texts * (repeats - 1) - rank, 1)
        residual = max((float((apart**2).sum()) - of_runs) / df_residual, 0.0)
        centred = self.of_units(of_texts - of_texts.mean())
        units = len(centred)
        return Parts(
            texts=float((centred**2).sum()) * units / (units - 1) / texts**2,
            noise=residual / (repeats * texts),
            run=(of_runs / rank - residual) * rank / trace,
            blur=residual * rank / trace,
            units=units,
            size=texts,
            repeats=repeats,
            folds=len(self.sizes) / repeats,
            share=float((self.sizes.astype(np.float64) ** 2).sum()) / (repeats * texts) ** 2,
        )


@dataclass(frozen=True)
class Parts:
    """Variances of the mean difference in repeated cross-validation, in squared units.

    Attributes:
        texts: by the texts as they were tested, noise of seeds included.
        noise: part of `texts` that is noise of single outcomes; more repeats average it out.
        run: of one run's effect on all texts; below 0 where runs differ by less than noise does.
        blur: that by which noise blurs what a run does to its texts.
        units: independent texts.
        size: texts, N.
        repeats: R.
        folds: K.
        share: weight of `run` in the variance of the mean, 1/B for B runs of one size.
    """

    texts: float
    noise: float
    run: float
    blur: float
    units: int
    size: int
    repeats: int
    folds: float
    share: float

    @property
    def again(self) -> float:
        """S, the part of `texts` that further repeats would show again."""
        return max(self.texts - self.noise, 0.0)

    @property
    def sampled(self) -> float:
        """Variance by the sample of texts: as they are tested, and as they are learned from."""
        tested = max(self.texts, self.noise / 2)  # of a handful of errors it may be 0 by chance
        return tested + self.folds / (self.folds - 1) * self.again

    @property
    def standard_error(self) -> float:
        """Of the mean difference."""
        return math.sqrt(self.sampled + max(self.run, 0.0) * self.share)

    @property
    def rank(self) -> int:
        """Degrees of freedom of the runs."""
        return max(round(self.repeats * self.folds) - 1, 1)

    def reach(self, tail: float) -> float:
        """Half-width of the interval that leaves `tail`, or ``1 - tail``, on either side."""
        left = max(self.size * (self.repeats - 1) - self.rank, 1)
        t_texts, t_runs, t_residual = (
            float(stdtrit(df, tail)) ** 2 for df in (self.units - 1, self.rank, left)
        )
        of_runs = t_runs * (self.run + self.blur) - t_residual * self.blur
        return math.sqrt(t_texts * self.sampled + max(of_runs, 0.0) * self.share)

    def after(self, repeats: int) -> Parts:
        """Return the parts to expect of a study of so many repeats of these texts."""
        fewer = self.repeats / repeats
        noise, run = self.noise * fewer, max(self.run, 0.0)
        expected = replace(self, texts=self.again + noise, noise=noise, run=run, repeats=repeats)
        blur = self.noise * self.repeats * expected.rank / max(repeats - 1, 1)
        return replace(expected, blur=blur, share=self.share * fewer)
