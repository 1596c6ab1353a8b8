"""Pair runs that may be compared: same seeds, same test sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ampmix.errors import AmpmixError
from ampmix.statistics._arrays import Array, finite


@dataclass(frozen=True)
class Runs:
    """Identity of the runs of one policy, seed by seed.

    Attributes:
        name: what to call them in an error.
        seeds: one a run, each once.
        test_sets: what identifies each run's test set, or its whole split (a hash).
        sizes: test examples of each run.
    """

    name: str
    seeds: Sequence[int]
    test_sets: Sequence[str]
    sizes: Sequence[int]


def check_paired(own: Runs, baseline: Runs) -> None:
    """Refuse runs that are not paired: an unpaired difference has another, larger variance.

    Runs pair seed by seed: the same seeds in the same order, each on the same test set.

    Args:
        own: the runs of a policy.
        baseline: those of its baseline.

    Raises:
        AmpmixError: seeds, test sets or their lengths differ; it names the first that do.

    >>> check_paired(Runs("amp", [0, 1], "xx", [9, 9]), Runs("none", [0, 2], "xx", [9, 9]))
    Traceback (most recent call last):
    ...
    ampmix.errors.AmpmixError: amp has seeds 0, 1 and none has 0, 2: compare the same seeds in the \
same order
    """
    if list(own.seeds) != list(baseline.seeds):
        raise AmpmixError(
            f"{own.name} has seeds {_list(own.seeds)} and {baseline.name} has "
            f"{_list(baseline.seeds)}: compare the same seeds in the same order"
        )
    if len(set(own.seeds)) < len(own.seeds):
        raise AmpmixError(f"{own.name} has a seed twice ({_list(own.seeds)}): count each run once")
    for i, seed in enumerate(own.seeds):
        where = f"with seed {seed} {own.name} was tested on"
        if own.sizes[i] != baseline.sizes[i]:
            raise AmpmixError(
                f"{where} {own.sizes[i]} examples and {baseline.name} on {baseline.sizes[i]}: "
                "compare runs with the same test set"
            )
        if own.test_sets[i] != baseline.test_sets[i]:
            raise AmpmixError(
                f"{where} {own.test_sets[i][:12]} and {baseline.name} on "
                f"{baseline.test_sets[i][:12]}: compare runs of the same split"
            )


def paired_errors(wrong: npt.ArrayLike, wrong_baseline: npt.ArrayLike) -> tuple[Array, Array]:
    """Both arrays as floats ``[S seeds, N examples]`` over the same seeds and examples.

    Raises:
        AmpmixError: they are not of the same seeds or examples, as far as shapes can tell.
        ValueError: not two-dimensional, empty, not finite, or of one example only.
    """
    own = finite("wrong", wrong, 2)
    baseline = finite("wrong_baseline", wrong_baseline, 2)
    for axis, what in enumerate(("seeds", "test examples")):
        if own.shape[axis] != baseline.shape[axis]:
            raise AmpmixError(
                f"the runs are not paired: {own.shape[axis]} {what} against "
                f"{baseline.shape[axis]}; compare the same {what} in the same order"
            )
    if own.shape[1] < 2:
        raise ValueError("two or more test examples are needed, not 1")
    return own, baseline


def paired_differences(wrong: npt.ArrayLike, wrong_baseline: npt.ArrayLike) -> Array:
    """Policy minus baseline ``[S, N]``; errors as `paired_errors`."""
    own, baseline = paired_errors(wrong, wrong_baseline)
    return np.subtract(own, baseline)


def is_binary(errors: Array) -> bool:
    """True if errors are 0 or 1, so that a difference has a largest size."""
    return bool(np.isin(errors, (0.0, 1.0)).all())


def _list(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds)) or "none"
