"""The report's section on the paper's claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ampmix._support.redact import without_folders
from ampmix._support.wording import counted, interval, signed
from ampmix.analysis.replication import Judged, counted_once
from ampmix.report import charts
from ampmix.report.document import Block, Chart, ReportTable, Section
from ampmix.report.runs.differences import difference_row
from ampmix.report.runs.paper_tables import BACKBONES, LABELS


def claims_section(judged: Sequence[Judged], tables: Sequence[ReportTable]) -> Section:
    """The paper's claims beside ours, then its tables with our numbers."""
    speaking = [one for one in judged if not one.apart]
    apart = [one for one in judged if one.apart]
    blocks: list[Block] = [_lead(judged)]
    if speaking:
        blocks += [_chart(speaking), _claims_table(speaking)]
    if apart:
        blocks.append(_apart_table(apart))
    return Section("The paper's tables and claims", (*blocks, *tables))


def _lead(judged: Sequence[Judged]) -> str:
    """Say how many printed differences our runs speak to, and what they say."""
    if not judged:
        return (
            "These runs speak to none of the printed differences: no group has both sides of one."
        )
    once = counted_once(judged)
    apart = sum(bool(one.apart) for one in judged)
    left = (
        f"{counted(apart, 'more is', 'more are')} judged by runs that are not at the paper's "
        "settings: shown apart, and not counted."
    )
    if not once:
        return f"None of these runs is at the paper's settings. Of the printed differences {left}"
    speak = (
        f"Of the printed differences these runs speak to {len(once)}: {_tally(once)}. One that "
        "several tables print counts once. Each is judged by itself at 95 %, so of many some will "
        "be wrong. Printed means are of ten runs of 8,000 steps."
    )
    return f"{speak} {left}" if apart else speak


def _tally(judged: Sequence[Judged]) -> str:
    decisions = Counter(one.decision for one in judged)
    return ", ".join(f"{decisions[d]} {d}" for d in ("reproduced", "contradicted", "not decided"))


def _chart(judged: Sequence[Judged]) -> Chart:
    once = counted_once(judged)
    names = [f"#{one.own.group.number} {_where(one)}" for one in once]
    rows = [
        difference_row(name, one.comparison, one.decision)
        for name, one in zip(names, once, strict=True)
        if one.comparison is not None
    ]
    rows += [
        {"name": name, "difference": one.claim.difference, "decision": "printed"}
        for name, one in zip(names, once, strict=True)
    ]
    alt = (
        "Printed differences beside ours with their 95 % intervals; left of zero is a lower "
        f"error. {_tally(once)}."
    )
    spec = charts.forest(rows, "difference in test error, points", names)
    return Chart("claims", "The paper's claims and ours", alt, spec)


COLUMNS = ("claim", "our runs", "printed", "ours", "95 % interval")


def _claims_table(judged: Sequence[Judged]) -> ReportTable:
    once = counted_once(judged)
    rows = tuple(
        (*_cells(one), one.verdict + ("" if one in once else " (counted in an earlier row)"))
        for one in judged
    )
    caption = "Printed differences in points, and what our runs say."
    return ReportTable((*COLUMNS, "verdict"), rows, caption)


def _apart_table(judged: Sequence[Judged]) -> ReportTable:
    rows = tuple(
        (*_cells(one), without_folders("; ".join(one.apart)), one.verdict) for one in judged
    )
    caption = "Not at the paper's settings, and not counted: printed differences in points."
    return ReportTable((*COLUMNS, "other settings", "verdict"), rows, caption)


def _cells(one: Judged) -> tuple[str, ...]:
    c = one.comparison
    steps = one.own.group.specification["training"].get("steps", "")
    return (
        f"Table {one.claim.own.table}: {_where(one)}",
        f"#{one.own.group.number}, {c.n_seeds if c else 0}× {steps} steps{one.own.mark}",
        f"{one.claim.difference:+.1f}",
        signed(c.difference if c else None),
        interval(c.interval if c else None),
    )


def _where(one: Judged) -> str:
    own, other = one.claim
    alpha = f", alpha {own.method.alpha:g}" if own.table == 5 else ""
    kept = f", {own.percent:g} % of labels" if own.percent != 100 else ""
    names = [
        LABELS[cell.method.name] + ("" if cell.method.min_op else " without MinOp")
        for cell in (own, other)
    ]
    return f"{own.dataset}, {BACKBONES[own.backbone]}{kept}{alpha}: {names[0]} - {names[1]}"
