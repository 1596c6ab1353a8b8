"""Settings of our runs that are not those of the printed runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ampmix.analysis import paper
from ampmix.analysis.groups import Group


def other_settings(group: Group, backbone: str, runs: int) -> tuple[str, ...]:
    """Settings that are not those of the printed runs, a phrase each; none if all are.

    What the paper does not print (selection, evaluations, precision, device) does not count, and
    more runs than ten are no fault. Settings that an old record lacks were at their defaults.

    Args:
        group: our runs.
        backbone: its name in the paper's tables.
        runs: seeds or folds that both sides of a claim have.
    """
    printed: Mapping[str, Any] = paper.reference()["settings"]
    own: Mapping[str, Any] = group.specification["training"]
    wanted = {**printed["training"], **printed.get(backbone, {})}
    found = [
        f"{name.replace('_', ' ')} {_said(own[name])} (paper: {_said(value)})"
        for name, value in wanted.items()
        if name in own and own[name] != value
    ]
    if runs < printed["runs"]:
        found.append(f"{runs} of {printed['runs']} runs")
    return tuple(found)


def _said(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
