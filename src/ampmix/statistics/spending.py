"""Looks on the way: spend the error of all looks together, no more (Lan and DeMets 1983)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from ampmix.statistics._arrays import Array, check_level
from ampmix.statistics.comparison import Comparison
from ampmix.statistics.family import Judgement, judge_together

Name = TypeVar("Name", bound=Hashable)

NODES = 200
"""Of Gauss and Legendre's quadrature over what has not crossed a bound."""

CLAIMS = ("lower error", "higher error", "the same")
"""Decisions after which nothing is open."""


def spent(fraction: float, alpha: float) -> float:
    """Error spent when a fraction of the information is in: ``alpha ln(1 + (e - 1) t)``.

    The spending function of Lan and DeMets (1983, Biometrika 70) that is like Pocock's bounds: it
    leaves early looks a fair part.

    >>> spent(1.0, 0.05), spent(0.0, 0.05)
    (0.05, 0.0)
    """
    return alpha * math.log1p((math.e - 1) * min(max(fraction, 0.0), 1.0))


def look_levels(
    fractions: Sequence[float], level: float = 0.95, spend: Callable[[float, float], float] = spent
) -> list[float]:
    """Levels of the looks, so that any false alarm in all of them has the rate ``1 - level``.

    Between looks the statistic is a Brownian motion at the times `fractions`; the bound of each
    look is where the error that `spend` allows for it is used up (Armitage, McPherson and Rowe
    1969, Journal of the Royal Statistical Society A 132: recursive integration).

    Args:
        fractions: part of the information at each look, rising, above 0 and at most 1.
        level: of all looks together, a fraction.
        spend: error spent at a fraction, of ``1 - level``.

    Raises:
        ValueError: fractions that do not rise, or lie outside 0 to 1.

    >>> [round(1 - one, 4) for one in look_levels([0.5, 1.0])]
    [0.031, 0.0277]
    """
    check_level(level)
    times = [0.0, *fractions]
    if not fractions or not all(a < b <= 1 for a, b in itertools.pairwise(times)):
        raise ValueError(f"fractions must rise from above 0 to at most 1, not {list(fractions)}")
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    inside: tuple[Array, Array] = np.zeros(1), np.ones(1)  # where it is, with which weight
    found, used = [], 0.0
    for before, now in itertools.pairwise(times):
        allowed, step = max(spend(now, 1 - level) - used, 1e-12), math.sqrt(now - before)
        at, mass = inside

        def crossing(z: float, at: Array = at, mass: Array = mass, step: float = step,
                     now: float = now) -> float:  # fmt: skip
            bound = z * math.sqrt(now)
            out = ndtr((at - bound) / step) + ndtr((-bound - at) / step)
            return float(mass @ out)

        z = float(brentq(lambda z, a=allowed, c=crossing: c(z) - a, 0.0, 40.0, xtol=1e-10))
        found.append(1 - 2 * float(ndtr(-z)))
        used += crossing(z)
        bound = z * math.sqrt(now)
        new = bound * nodes
        density = np.exp(-(((new[:, None] - at) / step) ** 2) / 2) / (step * math.sqrt(2 * math.pi))
        inside = new, bound * weights * (density @ mass)
    return found


@dataclass(frozen=True)
class Looks:
    """Verdicts reached by looking again after each repeat or seed.

    Attributes:
        judgements: by name, as they were when they were decided, else of the last look.
        decided_at: seeds or repeats at that look, by name; those that are open are not there.
        levels: of each look.
    """

    judgements: Mapping[Hashable, Judgement]
    decided_at: Mapping[Hashable, int]
    levels: tuple[float, ...]

    @property
    def all_decided(self) -> bool:
        """True if nothing is open."""
        return len(self.decided_at) == len(self.judgements)


def judge_in_turn(
    looks: Sequence[Mapping[Name, Comparison]],
    most: int,
    level: float = 0.95,
    margin: float = 0.0,
    unit: str = "points",
) -> Looks:
    """Judge comparisons at each of several looks, and keep the first claim on each.

    The information of a look is that of its expected variance over the one after `most` seeds or
    repeats, by the data of the look: what texts contribute is there from the first look on, and the
    error with it. Of several comparisons the one with least information counts.

    Args:
        looks: at each look the comparisons by name, over more and more seeds or repeats.
        most: seeds or repeats after which there is no further look.
        level: of all looks and comparisons together, a fraction.
        margin: as of `judge_together`.
        unit: name of the unit, in the plural.

    Raises:
        ValueError: no look.
    """
    if not looks:
        raise ValueError("there is no look to judge at")
    fractions: list[float] = []
    judged: dict[Hashable, Judgement] = {}
    decided: dict[Hashable, int] = {}
    levels: list[float] = []
    for comparisons in looks:
        least = min((_information(one, most) for one in comparisons.values()), default=1.0)
        before = fractions[-1] if fractions else 0.0
        fractions.append(min(max(least, before + 1e-6), 1.0))
        if before >= 1 - 1e-6:
            fractions.pop()
            own = levels[-1]
        else:
            own = look_levels(fractions, level)[-1]
        levels.append(own)
        for name, one in judge_together(comparisons, own, margin, unit).items():
            if name not in decided:
                judged[name] = one
                if one.decision in CLAIMS:
                    decided[name] = one.comparison.n_seeds
    return Looks(judged, decided, tuple(levels))


def _information(one: Comparison, most: int) -> float:
    """Part of the information that is in, by the expected reach now and after `most`."""
    if one.reach_after is None or one.n_seeds >= most:
        return one.n_seeds / most if one.reach_after is None else 1.0
    tail = float(ndtr(ndtri(0.025)))
    now, then = one.reach_after(one.n_seeds, tail), one.reach_after(most, tail)
    return (then / now) ** 2 if now > 0 else 1.0
