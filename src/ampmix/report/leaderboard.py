"""The leaderboard: effects of policies as one page, or as a part of somebody's page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ampmix._support.wording import counted, duration, signed
from ampmix.analysis.effects import Effect
from ampmix.report.page import POLICY, asset, template, tone

WIDEST = 6.0  # points to either side that the small pictures show


def leaderboard_page(effects: Sequence[Effect], notes: Sequence[str] = ()) -> str:
    """A page that needs no network and no other file.

    Raises AmpmixError without the extra ``report``.
    """
    made: str = template("leaderboard-page.html").render(
        board=leaderboard(effects),
        policy=POLICY,
        style=asset("page.css"),
        notes=notes,
        told=told(effects),
    )
    return made


def leaderboard(effects: Sequence[Effect]) -> str:
    """The table with its style and script, as HTML that another page may hold.

    Without JavaScript it is the table alone; with it, it is filtered and sorted.
    """
    made: str = template("leaderboard.html").render(
        rows=[_row(effect) for effect in effects],
        style=asset("leaderboard.css"),
        script=asset("leaderboard.js"),
    )
    return made


def told(effects: Sequence[Effect]) -> str:
    """A sentence on how many effects there are, and how many of them are shown to be one."""
    less, more = (
        sum(one.decision == decision for one in effects)
        for decision in ("lower error", "higher error")
    )
    policies = counted(len({one.policy for one in effects}), "policy", "policies")
    places = counted(len({one.dataset for one in effects}), "data set")
    return (
        f"{counted(len(effects), 'effect')} of {policies} on {places}: {less} shown to be a lower "
        f"error than without mixing, {more} a higher one."
    )


def _row(effect: Effect) -> dict[str, Any]:
    """Texts of the cells, and what they are sorted by."""
    share = "" if effect.share == 100 else f" ({effect.share:g} %)"
    bounds = (effect.low, effect.high)
    known = effect.low is not None and effect.high is not None
    return {
        "effect": effect,
        "labels": f"{effect.labels:,}{share}",
        "difference": signed(effect.difference),
        "interval": f"{effect.low:+.1f} to {effect.high:+.1f}" if known else "",
        "bar": [_place(x) for x in (*bounds, effect.difference) if x is not None],
        "tone": tone(effect.decision),
        "cost": "" if effect.seconds is None else duration(effect.seconds),
        "times": "" if effect.times is None else f"{effect.times:.2f} ×",
        "p": "" if effect.p is None else f"{effect.p:.3f}" if effect.p >= 0.001 else "<0.001",
    }


def _place(points: float) -> float:
    """Percent of the width of a small picture, whose middle is zero."""
    return round(50 + 50 * max(-WIDEST, min(WIDEST, points)) / WIDEST, 1)
