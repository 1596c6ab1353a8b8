"""The report's section on the paper's claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ampmix._support.wording import interval, signed
from ampmix.analysis.replication import Judged
from ampmix.report import charts
from ampmix.report.document import Block, Chart, Section, Table
from ampmix.report.runs.differences import _difference
from ampmix.report.runs.paper_tables import BACKBONES, LABELS


def _claims_section(judged: Sequence[Judged], tables: Sequence[Table]) -> Section:
    printed = (
        "Printed means are of ten runs of 8,000 steps; which settings ours had is said with their "
        "group (#)."
    )
    decisions = Counter(one.decision for one in judged)
    told = ", ".join(f"{decisions[d]} {d}" for d in ("reproduced", "contradicted", "not decided"))
    speak = (
        f"Of the printed differences these runs speak to {len(judged)}: {told}. Each is judged by "
        "itself at 95 %, so of many some will be wrong."
        if judged
        else "These runs speak to none of the printed differences: no group has both sides of one."
    )
    blocks: list[Block] = [f"{speak} {printed}"]
    if judged:
        table = _claims_table(judged)
        names = [f"#{one.own.group.number} {_where(one)}" for one in judged]
        rows = [
            _difference(name, one.comparison, one.decision)
            for name, one in zip(names, judged, strict=True)
            if one.comparison is not None
        ]
        rows += [
            {"name": name, "difference": _printed(one), "decision": "printed"}
            for name, one in zip(names, judged, strict=True)
        ]
        alt = (
            "Printed differences beside ours with their 95 % intervals; left of zero is a lower "
            f"error. {told.capitalize()}."
        )
        spec = charts.forest(rows, "difference in test error, points", names)
        blocks.append(Chart("claims", "The paper's claims and ours", alt, spec))
        blocks.append(table)
    blocks += tables
    return Section("The paper's tables and claims", tuple(blocks))


def _claims_table(judged: Sequence[Judged]) -> Table:
    rows = []
    for one in judged:
        c = one.comparison
        steps = one.own.group.specification["training"].get("steps", "")
        rows.append(
            (
                f"Table {one.claim.own.table}: {_where(one)}",
                f"#{one.own.group.number}, {c.n_seeds if c else 0}× {steps} steps",
                f"{_printed(one):+.1f}",
                signed(c.difference if c else None),
                interval(c.interval if c else None),
                one.verdict,
            )
        )
    columns = ("claim", "our runs", "printed", "ours", "95 % interval", "verdict")
    return Table(columns, tuple(rows), "Printed differences in points, and what our runs say.")


def _where(one: Judged) -> str:
    own, other = one.claim
    alpha = f", alpha {own.method.alpha:g}" if own.table == 5 else ""
    kept = f", {own.percent:g} % of labels" if own.percent != 100 else ""
    names = [
        LABELS[cell.method.name] + ("" if cell.method.min_op else " without MinOp")
        for cell in (own, other)
    ]
    return f"{own.dataset}, {BACKBONES[own.backbone]}{kept}{alpha}: {names[0]} - {names[1]}"


def _printed(one: Judged) -> float:
    return round(one.claim.own.error - one.claim.baseline.error, 9)
