"""Made-up studies from known truths, many at a time: `[studies, S seeds, N examples]`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

Array = npt.NDArray[np.float64]
Pair = tuple[Array, Array]
Draw = Callable[[np.random.Generator, int, int, int], Pair]

AT_ONCE = 2_000_000
"""Differences drawn at a time, to bound memory."""


@dataclass(frozen=True)
class World:
    """Errors of a policy and its baseline, and the true mean of each."""

    name: str
    draw: Draw
    error: float
    error_baseline: float

    @property
    def truth(self) -> float:
        """Policy minus baseline."""
        return self.error - self.error_baseline

    def studies(self, count: int, seeds: int, examples: int) -> Iterator[Pair]:
        """`count` studies in stacks, always the same for the same arguments."""
        rng = np.random.default_rng([seeds, examples, *self.name.encode()])
        at_once = max(1, AT_ONCE // (seeds * examples))
        for start in range(0, count, at_once):
            yield self.draw(rng, min(at_once, count - start), seeds, examples)


def normal(
    rng: np.random.Generator, count: int, seeds: int, examples: int, shares: tuple[float, ...]
) -> Pair:
    """Components of which seeds, examples and residual have `shares` of the mean's variance."""
    of_seeds, of_examples, of_residual = (math.sqrt(share) for share in shares)
    drawn = (
        of_seeds * math.sqrt(seeds) * rng.standard_normal((count, seeds, 1))
        + of_examples * math.sqrt(examples) * rng.standard_normal((count, 1, examples))
        + of_residual * math.sqrt(seeds * examples) * rng.standard_normal((count, seeds, examples))
    )
    return drawn, np.zeros_like(drawn)


def binary(
    rng: np.random.Generator,
    count: int,
    seeds: int,
    examples: int,
    errors: tuple[float, float],
    preference: float,
    run: float,
    difficulty: float = 2.0,
) -> Pair:
    """0/1 errors: wrong where a latent normal is positive, so that the error rates are exact.

    The three standard deviations are in units of the prediction's own noise: `preference` of an
    example for one policy, `run` of each training run, `difficulty` of an example for both.
    """
    spread = math.sqrt(1 + preference**2 + run**2 + difficulty**2)
    common = difficulty * rng.standard_normal((count, 1, examples))

    def wrong(error: float) -> Array:
        latent = (
            spread * float(ndtri(error))
            + common
            + preference * rng.standard_normal((count, 1, examples))
            + run * rng.standard_normal((count, seeds, 1))
            + rng.standard_normal((count, seeds, examples))
        )
        return (latent > 0).astype(np.float64)

    return wrong(errors[0]), wrong(errors[1])


def normal_worlds() -> list[World]:
    """By the shares of seeds, examples and residual."""
    shares = {
        "seeds only": (1.0, 0.0, 0.0),
        "examples only": (0.0, 1.0, 0.0),
        "residual only": (0.0, 0.0, 1.0),
        "seeds + examples": (0.5, 0.5, 0.0),
        "seeds + residual": (0.5, 0.0, 0.5),
        "some seeds + residual": (0.2, 0.0, 0.8),
        "examples + residual": (0.0, 0.5, 0.5),
        "thirds": (1 / 3, 1 / 3, 1 / 3),
        "mostly seeds": (0.8, 0.15, 0.05),
    }
    return [World(name, partial(normal, shares=s), 0.0, 0.0) for name, s in shares.items()]


def binary_worlds() -> list[World]:
    """By errors of policy and baseline, preference and effect of the run."""
    settings = {
        "0/1 same policy": ((0.2, 0.2), 0.0, 0.0),
        "0/1 same, 5 % wrong": ((0.05, 0.05), 0.0, 0.0),
        "0/1 same, noisy": ((0.2, 0.2), 0.0, 0.2),
        "0/1 better": ((0.15, 0.2), 1.0, 0.1),
        "0/1 better, noisy": ((0.15, 0.2), 1.0, 0.3),
        "0/1 better, easy": ((0.06, 0.08), 0.5, 0.1),
    }
    return [
        World(name, partial(binary, errors=e, preference=preference, run=run), *e)
        for name, (e, preference, run) in settings.items()
    ]


def folds(rng: np.random.Generator, count: int, k: int, examples: int, noise: int) -> Array:
    """Differences ``[count, k]`` of real cross-validations: a classifier that sees noise or not.

    Two classes of Gaussians in 2 dimensions; the baseline assigns to the nearer class mean, the
    policy does so with `noise` further dimensions that say nothing. Training sets overlap as they
    do in cross-validation, and the error of a fold depends on its training set.
    """
    at_once = AT_ONCE // (examples * (2 + noise))
    parts = [min(at_once, count - start) for start in range(0, count, at_once)]
    return np.concatenate([_folds(rng, part, k, examples, noise) for part in parts])


def _folds(rng: np.random.Generator, count: int, k: int, examples: int, noise: int) -> Array:
    label = np.resize([-1.0, 1.0], examples)
    x = rng.standard_normal((count, examples, 2 + noise))
    x[..., :2] += 0.5 * label[:, None]
    fold = np.arange(examples) // 2 % k  # both classes equally often in each
    differences = np.empty((count, k))
    for i in range(k):
        test = fold == i
        upper, lower = (x[:, ~test & (label == s)].mean(axis=1) for s in (1.0, -1.0))
        normal_vector, middle = upper - lower, (upper + lower) / 2
        products = (x[:, test] - middle[:, None]) * normal_vector[:, None]
        with_noise, without = (
            (products[..., :d].sum(axis=2) * label[test] <= 0).mean(axis=1) for d in (2 + noise, 2)
        )
        differences[:, i] = with_noise - without
    return differences
