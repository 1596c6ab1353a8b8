"""How near to its level can ANY interval over few seeds be? A linear programme over all rules.

The number of test examples is large here, so that what they contribute is known: in units of it,
the mean has variance ``seeds + 0``, where the seeds' expected mean square is 1 at least (pure
residual noise) and otherwise unknown. A rule is a half-width for each observed mean square of the
seeds, chi-squared with S - 1 degrees of freedom, and may toss coins between several. It never
claims to be surer than the test examples alone allow: no half-width is below the normal quantile.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.optimize import linprog
from scipy.special import chdtr, ndtr, ndtri, stdtrit

OBSERVED, HALF_WIDTHS, TRUTHS = 45, 40, 30
"""Sizes of the grids."""


def smallest_error(seeds: int, level: float = 0.95) -> float:
    """Smallest bound on ``|coverage - level|`` that any rule keeps for every true variance."""
    df, z = seeds - 1, float(ndtri((1 + level) / 2))
    truths = 1 + np.r_[0, np.geomspace(0.02, 3000, TRUTHS)]
    edges = np.r_[0, np.geomspace(1e-4, 3e4, OBSERVED), np.inf]
    chance = np.diff(chdtr(df, edges * df / truths[:, None]), axis=1)  # [truths, observed]
    widest = np.maximum(z, stdtrit(df, (1 + level) / 2) * np.sqrt(edges[1:-1] + 1)) * 1.3
    halves = np.geomspace(z, np.r_[widest, widest[-1]], HALF_WIDTHS, axis=1)
    held = 2 * ndtr(halves / np.sqrt(truths)[:, None, None]) - 1  # [truths, observed, halves]
    coverage = (chance[:, :, None] * held).reshape(truths.size, -1)
    # Unknowns: chance of each half-width at each observation, then the bound, which is minimised.
    bound = np.ones((truths.size, 1))
    sums = sparse.kron(sparse.eye(len(halves)), np.ones((1, HALF_WIDTHS)))
    solved = linprog(
        np.r_[np.zeros(coverage.shape[1]), 1],
        A_ub=np.block([[coverage, -bound], [-coverage, -bound]]),
        b_ub=np.repeat([level, -level], truths.size),
        A_eq=sparse.hstack([sums, sparse.csr_matrix((len(halves), 1))]),
        b_eq=np.ones(len(halves)),
        method="highs",
    )
    return float(solved.fun)
