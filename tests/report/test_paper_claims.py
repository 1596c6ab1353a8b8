"""The paper's tables in its own layout, and its claims, each counted once and at its settings."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from ampmix.analysis.groups import Group, groups_of
from ampmix.analysis.paper import reference
from ampmix.analysis.replication import Judged, cells, claims, counted_once, judge, ours_of
from ampmix.records.store import RunRecord
from ampmix.report.document import ReportTable
from ampmix.report.runs.claims_section import claims_section
from ampmix.report.runs.paper_tables import of_printed_means, paper_tables
from ampmix.studies.paper_names import method_of

CNN = {"steps": 8000, "batch_size": 50, "lr": 2e-4, "optimizer": "adam", "weight_decay": 1e-8}
BERT = CNN | {"batch_size": 24, "lr": 1e-5}
TABLE4 = [
    "none",
    *(f"mixup{site}" for site in ("", "[site=sent]")),
    *(f"amp[{site}min_op=false]" for site in ("", "site=sent,")),
    *(f"amp{site}" for site in ("", "[site=sent]")),
]


def run(policy: str, seed: int, backbone: str, training: dict[str, Any], **own: Any) -> RunRecord:
    """A run on TREC that errs on some of 200 texts."""
    draw = random.Random(f"{policy} {seed}")
    wrong = "".join("1" if draw.random() < 0.1 else "0" for _ in range(200))
    specification = {
        "dataset": "trec",
        "data_hash": "d",
        "fraction": own.get("fraction", 1.0),
        "folds": None,
        "policy": policy,
        "seed": seed,
        "backbone": backbone,
        "training": training,
    }
    result = {
        "status": "done",
        "split_hash": f"{seed}",
        "n_train": 900,
        "n_dev": 100,
        "n_test": 200,
        "test_wrong": wrong,
    }
    return RunRecord(specification, result, {"printed_as": ["TREC", backbone]})


def study(
    policies: list[str] = TABLE4,
    backbones: tuple[str, ...] = ("cnn-glove", "bert-base"),
    seeds: int = 10,
    fraction: float = 1.0,
    **training: Any,
) -> list[RunRecord]:
    return [
        run(p, seed, b, (BERT if b == "bert-base" else CNN) | training, fraction=fraction)
        for b in backbones
        for p in policies
        for seed in range(seeds)
    ]


def judged(records: list[RunRecord]) -> list[Judged]:
    return judge(ours_of(groups_of(records), method_of))


def table(number: int, records: list[RunRecord]) -> ReportTable:
    ours = ours_of(groups_of(records), method_of)
    (found,) = (t for t in paper_tables(ours, judge(ours)) if f"Table {number}:" in t.caption[:8])
    return found


def test_table_4_speaks_to_26_printed_differences_once_each() -> None:
    found = judged(study())
    assert len(found) == len({one.claim for one in found}) == 26
    entries = [row[-1].split("\n") for row in table(4, study()).rows]
    assert len(entries) == 16 and {len(lines) for lines in entries} == {2}


def test_a_difference_in_several_tables_counts_once() -> None:
    """Tables 2, 3, 4 and 5 print 26 differences of these runs; 17 of them are others."""
    once = counted_once(judged(study()))
    keys = [(one.claim.own[1:5], one.claim.baseline.method, one.claim.difference) for one in once]
    assert len(keys) == len(set(keys)) == 17
    word = [
        one for one in once if one.claim.own[2:5] == ("bert-base", 100.0, ("word-amp", 1, True))
    ]
    told = {(one.claim.own.table, one.claim.difference) for one in word if one.claim.is_amp}
    assert told == {(2, -0.2), (5, -0.1)}  # the paper prints 1.9 and 2.0 for the same runs
    lead = claims_section(judged(study()), []).blocks[0]
    assert "speak to 17: " in str(lead)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": 2}, "steps 2 (paper: 8000)"),
        ({"lr": 1e-3}, "lr 0.001 (paper: 0.0002)"),
        ({"batch_size": 8}, "batch size 8 (paper: 50)"),
        ({"seeds": 3}, "3 of 10 runs"),
        ({"class_weights": "balanced"}, "class weights balanced (paper: none)"),
    ],
)
def test_other_settings_are_shown_apart_and_not_counted(changes: Any, said: str) -> None:
    records = study(["mixup", "amp"], ("cnn-glove",), **changes)
    found = judged(records)
    assert [one.apart for one in found] == [(said,)] * len(found) and found
    assert counted_once(found) == []
    lead, told = claims_section(found, []).blocks
    assert "None of these runs is at the paper's settings" in str(lead)
    assert isinstance(told, ReportTable) and {row[-2] for row in told.rows} == {said}
    if "seeds" in changes:
        return  # the same runs as those of more seeds
    both = judged(study(["mixup", "amp"], ("cnn-glove",)) + records)
    assert len(counted_once(both)) == 1
    left = f"{len(found)} more {'is' if len(found) == 1 else 'are'} judged by runs that are not"
    assert left in str(claims_section(both, []).blocks[0])


def test_more_runs_and_what_is_not_printed_are_no_other_settings() -> None:
    found = judged(study(seeds=12, selection="last", eval_every=7, precision="bfloat16"))
    assert not any(one.apart for one in found)


def test_rp_is_shown_as_printed() -> None:
    amp = [cell for cell in cells() if cell.rp is not None]
    assert len(amp) == 50 + 9 + 12
    others = {
        (cell.table, cell.backbone, cell.dataset, cell.rp)
        for cell in amp
        if f"{of_printed_means(cell):.1f}" != f"{cell.rp:.1f}"
    }
    assert others == {
        (2, "cnn-rand", "SST-1", 0.5),
        (2, "cnn-rand", "SST-1", 1.0),
        (2, "bert-base", "SST-2", 9.5),
        (3, "bert-base", "TREC", 6.7),
        (5, "bert-base", "SST-2", 8.9),
    }
    rows = {row[:2]: row[2:] for row in table(2, study()).rows}
    bert = [row for row in table(2, study()).rows if row[:2] == ("BERT base", "RP (%)")]
    assert [row[4].split("\n")[0] for row in bert] == ["9.5↑ (6.3↑ of the means)", "1.5↑"]
    assert bert[0][2].split("\n")[0] == "4.5↑" and "(#" in bert[0][2].split("\n")[1]
    assert rows["CNN GloVe", "Non-linear"][0] == "5.3 ± 0.29†"
    assert sum(cell.cited for cell in cells()) == 5


def test_table_3_has_its_label_counts() -> None:
    found = table(3, study(["mixup[site=sent]", "amp[site=sent]"], ("bert-base",), fraction=0.03))
    assert found.columns == ("%", "labels", "Sent", "Sent(our)", "RP (%)")
    ((percent, labels, sent, own, rp),) = found.rows
    assert (percent, labels) == ("3", "160")
    assert sent.split("\n")[0] == "51.0 ± 7.34" and own.split("\n")[0] == "42.1 ± 7.34"
    assert rp.split("\n")[0] == "+17.5"
    assert re.fullmatch(r"\d+\.\d ± \d+\.\d\d \(10×, #1\)", sent.split("\n")[1])


def test_table_4_is_in_the_papers_order() -> None:
    found = table(4, study())
    assert found.columns == ("Method", "Model", "Operation", "TREC")
    operations = ("Baseline", "+RandOp", "+MaxOp", "AMP")
    assert [row[:3] for row in found.rows] == [
        (method, model, operation)
        for method in ("Word", "Sent")
        for model in ("CNN GloVe", "BERT base")
        for operation in operations
    ]


def test_settings_are_those_of_section_4_2() -> None:
    printed = reference()["settings"]
    assert printed["runs"] == 10
    assert CNN.items() <= printed["training"].items()
    assert BERT.items() <= (printed["training"] | printed["bert-base"]).items()
    assert len(claims()) == 5 * 21 + 9 + 16 + 12
    assert isinstance(groups_of(study())[0], Group)


LETTER = [f"amp[clip_lam=false{more}]" for more in ("", ",site=sent", ",min_op=false")]


def test_amp_to_the_letter_stands_for_the_papers_with_a_mark() -> None:
    """Alone it is the paper's; beside the one that clips it is shown, and counted once."""
    alone = judged(study(["mixup", "none", LETTER[0]], ("cnn-glove",)))
    words = [one for one in alone if one.claim.own.table == 2 and one.claim.is_amp]
    assert [one.own.mark for one in words] == ["‡"]
    clipping = judged(study(["mixup", "none", "amp"], ("cnn-glove",)))
    assert len(counted_once(alone)) == len(counted_once(clipping))

    records = study([*TABLE4, *LETTER])
    both = judged(records)
    assert len(counted_once(both)) == 17  # as without
    assert {(one.own.mark, one.baseline.mark) for one in both} == {("", ""), ("‡", ""), ("‡", "‡")}
    assert not any(one.own.mark for one in counted_once(both))
    shown = table(4, records)
    entry = next(row[3] for row in shown.rows if row[:3] == ("Word", "CNN GloVe", "AMP"))
    assert [line.count("‡") for line in entry.split("\n")] == [0, 0, 1]
    assert "‡: lam' not clipped" in shown.caption
