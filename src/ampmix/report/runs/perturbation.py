"""Effect of eps: how far AMP moved lam, and by how much that changed the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ampmix.analysis.groups import Group
from ampmix.report import charts
from ampmix.report.document import Chart, ReportTable

QUANTILES = (0.5, 0.95)
Counted = Mapping[str, Mapping[str, Any]]


def perturbations(group: Group, palette: Sequence[str]) -> list[Chart]:
    """Two histograms over all seeds of the policies that recorded them; none for others."""
    counted: dict[str, dict[str, Any]] = {}
    for policy, runs in group.records.items():
        found = [r.result.perturbation for r in runs.values() if r.result.perturbation]
        if found and all(_like(one) == _like(found[0]) for one in found):
            counted[policy] = {
                "lam": _sum([(one["lam"], one["lam"]["counts"]) for one in found]),
                "up": _sum([(one["loss"], one["loss"]["up"]) for one in found]),
                "down": _sum([(one["loss"], one["loss"]["down"]) for one in found]),
                "examples": sum(one["examples"] for one in found),
                "still": sum(one["lam"]["zero"] for one in found),
                "same": sum(one["loss"]["zero"] for one in found),
            }
    if not counted:
        return []
    return [_lam_chart(group, counted, palette), _loss_chart(group, counted, palette)]


def _lam_chart(group: Group, counted: Counted, palette: Sequence[str]) -> Chart:
    names, rows, lines = list(counted), [], []
    for policy, own in counted.items():
        rows += _rows(policy, own["lam"], own["examples"])
        cells = [_share(own["still"], own["examples"])]
        cells += [quantile(own["lam"], own["still"], q) for q in QUANTILES]
        lines.append((policy, f"{own['examples']:,}", *cells))
    columns = ("policy", "examples", "not moved %", "median", "95 % are below")
    caption = "How far lam moved, |lam_adv - lam|, over all training steps and seeds."
    told = ", ".join(f"{line[0]} median {line[3]}" for line in lines)
    return Chart(
        f"lam-{group.number}",
        "How far MaxOp moved lam",
        f"Distribution of |lam_adv - lam| over all training examples: {told}.",
        charts.histogram(rows, "|lam_adv - lam|", names, palette),
        ReportTable(columns, tuple(lines), caption),
    )


def _loss_chart(group: Group, counted: Counted, palette: Sequence[str]) -> Chart:
    rows, lines, names = [], [], []
    for policy, own in counted.items():
        for direction, word in (("up", "higher"), ("down", "lower")):
            if sum(own[direction]["counts"]):
                names.append(f"{policy}: {word}")
                rows += _rows(names[-1], own[direction], own["examples"])
        both = own["up"] | {
            "counts": [
                a + b for a, b in zip(own["up"]["counts"], own["down"]["counts"], strict=True)
            ]
        }
        shares = [own["same"], sum(own["up"]["counts"]), sum(own["down"]["counts"])]
        cells = [_share(count, own["examples"]) for count in shares]
        cells += [quantile(both, own["same"], q) for q in QUANTILES]
        lines.append((policy, *cells))
    columns = ("policy", "same %", "higher %", "lower %", "median size", "95 % are below")
    caption = "What that did to the loss, |loss_adv - loss| in nats."
    told = ", ".join(f"{line[0]} median {line[4]}, higher in {line[2]} %" for line in lines)
    return Chart(
        f"gain-{group.number}",
        "What moving lam did to the loss",
        f"Distribution of |loss_adv - loss| over all training examples: {told}. Against losses "
        "near 1, a median of 0.001 changes next to nothing.",
        charts.histogram(rows, "|loss_adv - loss|, nats", names, palette),
        ReportTable(columns, tuple(lines), caption),
    )


def _like(one: Mapping[str, Any]) -> list[Any]:
    return [one[kind][key] for kind in ("lam", "loss") for key in ("from", "to", "per_decade")]


def _sum(found: Sequence[tuple[Mapping[str, Any], Sequence[int]]]) -> dict[str, Any]:
    scale = {key: found[0][0][key] for key in ("from", "to", "per_decade")}
    return scale | {"counts": [sum(column) for column in zip(*(c for _, c in found), strict=True)]}


def _edges(own: Mapping[str, Any]) -> list[float]:
    """Lower edges of the bins: the first holds what is below all, so it is drawn a bin lower."""
    first = own["from"] * own["per_decade"] - 1
    return [10 ** ((first + i) / own["per_decade"]) for i in range(len(own["counts"]))]


def _rows(policy: str, own: Mapping[str, Any], examples: int) -> list[dict[str, Any]]:
    kept = [i for i, count in enumerate(own["counts"]) if count]
    if not kept:
        return []
    shown = range(max(kept[0] - 1, 0), min(kept[-1] + 2, len(own["counts"])))
    edges = _edges(own)
    return [
        {
            "policy": policy,
            "low": float(f"{edges[i]:.4g}"),
            "share": round(100 * own["counts"][i] / max(examples, 1), 3),
        }
        for i in shown
    ]


def _share(count: int, examples: int) -> str:
    return f"{100 * count / max(examples, 1):.1f}"


def quantile(own: Mapping[str, Any], zeros: int, share: float) -> str:
    """The upper edge of the bin with that quantile, zeros counted first: ``≤0.0025`` or ``0``.

    >>> quantile({"from": -1, "to": 0, "per_decade": 1, "counts": [0, 9, 1]}, 0, 0.5)
    '≤1'
    """
    wanted, reached = share * (zeros + sum(own["counts"])), zeros
    if reached >= wanted:
        return "0"
    edges = _edges(own)
    for i, count in enumerate(own["counts"][:-1]):
        reached += count
        if reached >= wanted:
            return f"≤{edges[i + 1]:.2g}"
    return f">{edges[-1]:.2g}"
