"""The paper's tables and claims, and what our runs say of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ampmix import statistics
from ampmix.analysis import pairs, paper
from ampmix.analysis.groups import Group
from ampmix.analysis.paper_settings import other_settings
from ampmix.errors import AmpmixError
from ampmix.records.store import RunRecord


class Method(NamedTuple):
    """A policy as the paper's tables know it.

    Attributes:
        name: ``none``, ``nonlinear-mixup`` or ``word-amp`` and its like.
        alpha: of the Beta distribution.
        min_op: false for Table 4's "+MaxOp".
    """

    name: str
    alpha: float = 1.0
    min_op: bool = True


NONE = Method("none")
LETTER = "‡"


class PrintedCell(NamedTuple):
    """A printed mean error with its deviation, in percent, and what it is the error of.

    Attributes:
        table: 2 to 5.
        dataset, backbone: as printed, and as ``reference.toml`` calls it.
        percent: labels kept.
        method: the policy.
        error, std: mean and standard deviation.
        rp: RP as printed below AMP's error.
        cited: true for a number that the paper has from somebody else.
        labels: number of labels that Table 3 prints.
        block: the half of Table 4, ``word`` or ``sent``, for both print the baseline.
    """

    table: int
    dataset: str
    backbone: str
    percent: float
    method: Method
    error: float
    std: float
    rp: float | None = None
    cited: bool = False
    labels: int | None = None
    block: str = ""


class Claim(NamedTuple):
    """A printed difference: `own` against `baseline`, two cells of one table."""

    own: PrintedCell
    baseline: PrintedCell

    @property
    def is_amp(self) -> bool:
        """True for AMP against Mixup, for which the paper gives RP."""
        return self.own.method.name.replace("amp", "mixup") == self.baseline.method.name

    @property
    def difference(self) -> float:
        """The printed difference in points."""
        return round(self.own.error - self.baseline.error, 9)

    @property
    def said(self) -> tuple[object, ...]:
        """Key of what is claimed, the same for a difference that two tables print."""
        return (*self.own[1:5], self.baseline.method, self.difference)


@lru_cache(maxsize=1)
def cells() -> tuple[PrintedCell, ...]:
    """All printed errors of Tables 2 to 5."""
    printed = paper.reference()
    found = []
    for row in printed["table2"]:
        found.append(_cell(2, row, row["backbone"], Method(row["policy"])))
    for row in printed["table3"]:
        found.append(_cell(3, row, row["backbone"], Method(row["policy"]), row["percent"]))
    for row in printed["table4"]:
        site = row["site"]
        operations = {
            "baseline": NONE,
            "+RandOp": Method(f"{site}-mixup"),
            "+MaxOp": Method(f"{site}-amp", min_op=False),
            "AMP": Method(f"{site}-amp"),
        }
        found.append(_cell(4, row, row["backbone"], operations[row["operation"]]))
    for row in printed["table5"]:
        found.append(_cell(5, row, row["backbone"], Method(row["policy"], row["alpha"])))
    return tuple(found)


def _cell(
    table: int, row: Mapping[str, object], backbone: str, method: Method, percent: float = 100.0
) -> PrintedCell:
    numbers = float(str(row["error"])), float(str(row["std"]))
    rp, labels = row.get("rp"), row.get("labels")
    return PrintedCell(
        table,
        str(row["dataset"]),
        backbone,
        percent,
        method,
        *numbers,
        rp=None if rp is None else float(str(rp)),
        cited="cited" in row,
        labels=None if labels is None else int(str(labels)),
        block=str(row.get("site", "")),
    )


@lru_cache(maxsize=1)
def claims() -> tuple[Claim, ...]:
    """All printed differences: AMP against Mixup, Mixup against none, Table 4 step by step."""
    by_place = {(*cell[:5], cell.block): cell for cell in cells()}
    found = []
    for cell in cells():
        for method in _against(cell):
            other = by_place.get((*cell[:4], method, cell.block))
            if other is not None and Claim(cell, other) not in found:
                found.append(Claim(cell, other))
    return tuple(found)


def _against(cell: PrintedCell) -> tuple[Method, ...]:
    """Methods that the paper compares a cell's method with."""
    name, alpha, min_op = cell.method
    if name == "none":
        return ()
    if not name.endswith("-amp"):
        return (NONE,)
    mixup = Method(name.replace("amp", "mixup"), alpha)
    if cell.table == 4 and min_op:
        return (mixup, cell.method._replace(min_op=False))
    return (mixup,)


@dataclass(frozen=True)
class Ours:
    """Our runs of a printed cell: which group's, which policy's, and their errors in percent.

    >>> Ours(None, "amp[clip_lam=false]", ()).mark
    '‡'
    """

    group: Group
    policy: str
    errors: tuple[float, ...]

    @property
    def mark(self) -> str:
        """``‡`` for AMP to the letter of Eq. 15, which keeps lam' not in [0, 1]; else ""."""
        return LETTER if _is_letter(self.policy) else ""


@dataclass(frozen=True)
class Judged:
    """A claim held against the runs of one group.

    Attributes:
        claim: as printed.
        own, baseline: our runs.
        comparison: ours in points; None where no seed finished for both.
        decision: of :func:`ampmix.statistics.judge_claim`.
        verdict: the same in a sentence.
        relative: our RP, of a claim about AMP.
        apart: our settings that are not the paper's, a phrase each; a claim is not counted then.
    """

    claim: Claim
    own: Ours
    baseline: Ours
    comparison: statistics.Comparison | None
    decision: str
    verdict: str
    relative: statistics.RelativeImprovement | None
    apart: tuple[str, ...] = ()


def _is_letter(policy: str) -> bool:
    return "clip_lam=false" in policy


MethodOf = Callable[[str], Method | None]
"""The method of a policy's spec string; None for one that the paper does not have."""


def ours_of(groups: Sequence[Group], method_of: MethodOf) -> dict[PrintedCell, list[Ours]]:
    """Our runs by printed cell, group by group."""
    found: dict[PrintedCell, list[Ours]] = {}
    for group in groups:
        # one that clips goes before one of the letter, which then does not count
        methods = {policy: method_of(policy) for policy in sorted(group.records, key=_is_letter)}
        for cell in cells():
            same = (cell.dataset, cell.backbone) == group.printed_as
            if not same or cell.percent != group.percent:
                continue
            for policy in (name for name, method in methods.items() if method == cell.method):
                done = [r for r in group.records[policy].values() if r.done]
                errors = tuple(100 * float(record.test_wrong.mean()) for record in done)
                found.setdefault(cell, []).append(Ours(group, policy, errors))
    return found


def judge(ours: Mapping[PrintedCell, Sequence[Ours]]) -> list[Judged]:
    """Every claim of which a group has both sides, with that group's verdict."""
    return [
        _judge(claim, own, baseline)
        for claim in claims()
        for own in ours.get(claim.own, ())
        for baseline in ours.get(claim.baseline, ())
        if own.group is baseline.group and _alike(own, baseline)
    ]


def _alike(own: Ours, baseline: Ours) -> bool:
    """Return True unless one of two AMPs clips lam' and the other does not."""
    return own.mark == baseline.mark or not baseline.policy.startswith("amp")


def _judge(claim: Claim, own: Ours, baseline: Ours) -> Judged:
    runs = own.group.records[own.policy], own.group.records[baseline.policy]
    folds = own.group.cross_validated
    both = sum(record.done for seed, record in runs[0].items() if _done(runs[1], seed))
    apart = other_settings(own.group, claim.own.backbone, both)
    try:
        comparison = pairs.paired_comparison(*runs, folds)
        relative = pairs.paired_relative_improvement(*runs, folds) if claim.is_amp else None
    except AmpmixError as error:
        told = f"not decided: {error}"
        return Judged(claim, own, baseline, None, "not decided", told, None, apart)
    if comparison is None:
        reason = "not decided: no seed finished for both"
        return Judged(claim, own, baseline, None, "not decided", reason, None, apart)
    ours, theirs = claim
    printed = statistics.Printed(ours.error, theirs.error, ours.std, theirs.std)
    decision = statistics.judge_claim(comparison, printed)
    verdict = statistics.claim_verdict(comparison, printed)
    return Judged(claim, own, baseline, comparison, decision, verdict, relative, apart)


def _done(runs: Mapping[int, RunRecord], seed: int) -> bool:
    return seed in runs and runs[seed].done


def counted_once(judged: Sequence[Judged]) -> list[Judged]:
    """The verdicts that count: at the paper's settings, a difference in several tables once.

    The first table that prints it counts, and the first of two policies that stand for one method.
    Two groups of ours that speak to one difference are two.
    """
    once: dict[tuple[object, ...], Judged] = {}
    for one in judged:
        if not one.apart:
            once.setdefault((one.own.group.number, *one.claim.said), one)
    return list(once.values())


def mean(errors: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and sample standard deviation, None where there is none."""
    if not errors:
        return None, None
    return float(np.mean(errors)), float(np.std(errors, ddof=1)) if len(errors) > 1 else None
