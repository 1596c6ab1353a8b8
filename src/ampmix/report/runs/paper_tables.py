"""Tables 2 to 5 in the paper's layout, with our means below the printed ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ampmix._support.wording import mean_std
from ampmix.analysis.replication import Cell, Judged, Method, Ours, cells, mean
from ampmix.report.document import Table
from ampmix.statistics import relative_improvement

DATASETS = ("TREC", "SST-1", "SST-2", "SUBJ", "MR")
BACKBONES = {
    "rnn-rand": "RNN rand",
    "rnn-glove": "RNN GloVe",
    "cnn-rand": "CNN rand",
    "cnn-glove": "CNN GloVe",
    "bert-base": "BERT base",
}
LABELS = {
    "none": "w/o",
    "nonlinear-mixup": "Non-linear",
    "sent-mixup": "Sent",
    "sent-amp": "Sent(our)",
    "word-mixup": "Word",
    "word-amp": "Word(our)",
}
CellsOurs = Mapping[Cell, Sequence[Ours]]


def paper_tables(ours: CellsOurs, judged: Sequence[Judged]) -> list[Table]:
    """The tables that our runs have a part in; rows of which nothing is ours are left out."""
    made = []
    if 2 in {cell.table for cell in ours}:
        made.append(_table2(ours, judged))
    if 3 in {cell.table for cell in ours}:
        made.append(_table3(ours, judged))
    if 4 in {cell.table for cell in ours}:
        made.append(_table4(ours))
    if 5 in {cell.table for cell in ours}:
        made.append(_table5(ours, judged))
    return made


def _table2(ours: CellsOurs, judged: Sequence[Judged]) -> Table:
    rows = []
    shown = {cell.backbone for cell in ours if cell.table == 2}
    by_place = {cell[1:]: cell for cell in cells() if cell.table == 2}

    def printed(backbone: str, dataset: str, method: str) -> Cell | None:
        found = [c for c in by_place.values() if c[1:3] == (dataset, backbone)]
        return next((cell for cell in found if cell.method == Method(method)), None)

    for backbone in BACKBONES:
        if backbone not in shown:
            continue
        for method, label in LABELS.items():
            own = [printed(backbone, dataset, method) for dataset in DATASETS]
            if any(own):
                rows.append((BACKBONES[backbone], label, *(_entry(cell, ours) for cell in own)))
            if method.endswith("-amp"):
                rp = [(cell, _relative(cell, judged)) for cell in own]
                baselines = [printed(backbone, d, method.replace("amp", "mixup")) for d in DATASETS]
                entries = tuple(
                    _rp(cell, base, value)
                    for (cell, value), base in zip(rp, baselines, strict=True)
                )
                rows.append((BACKBONES[backbone], "RP (%)", *entries))
    return Table(
        ("Model", "Mixup", *DATASETS),
        tuple(rows),
        "Table 2: error in percent, printed above, ours below; RP of the printed means.",
    )


def _table3(ours: CellsOurs, judged: Sequence[Judged]) -> Table:
    rows = []
    for percent in sorted({cell.percent for cell in cells() if cell.table == 3}):
        both = [cell for cell in cells() if cell.table == 3 and cell.percent == percent]
        own = {cell.method.name: cell for cell in both}
        mixup, amp = own["sent-mixup"], own["sent-amp"]
        if mixup in ours or amp in ours:
            entries = _entry(mixup, ours), _entry(amp, ours)
            rp = _rp(amp, mixup, _relative(amp, judged))
            rows.append((f"{percent:g} %", *entries, rp))
    caption = (
        "Table 3: TREC with few labels, BERT base; error in percent, printed above, ours below."
    )
    return Table(("labels", "Sent", "Sent(our)", "RP (%)"), tuple(rows), caption)


def _table4(ours: CellsOurs) -> Table:
    operations = {"none": "Baseline", "mixup": "+RandOp", "amp": "AMP"}
    rows = []
    for cell in cells():
        if cell.table == 4 and cell in ours:
            site, _, kind = cell.method.name.rpartition("-")
            operation = operations[kind] if cell.method.min_op else "+MaxOp"
            row = (BACKBONES[cell.backbone], site.capitalize(), operation, _entry(cell, ours))
            if row not in rows:  # the baseline stands once for each site
                rows.append(row)
    caption = "Table 4: ablation on TREC; error in percent, printed above, ours below."
    return Table(("Model", "Method", "Operation", "TREC"), tuple(rows), caption)


def _table5(ours: CellsOurs, judged: Sequence[Judged]) -> Table:
    rows = []
    datasets = ("TREC", "SST-2", "MR")
    own = [cell for cell in cells() if cell.table == 5]
    for alpha in sorted({cell.method.alpha for cell in own}):
        if not any(cell.method.alpha == alpha for cell in own if cell in ours):
            continue
        by = {(cell.method.name, cell.dataset): cell for cell in own if cell.method.alpha == alpha}
        for method in ("word-mixup", "word-amp"):
            entries = (_entry(by.get((method, dataset)), ours) for dataset in datasets)
            rows.append((f"{alpha:g}", LABELS[method], *entries))
        rps = []
        for dataset in datasets:
            amp, mixup = by.get(("word-amp", dataset)), by.get(("word-mixup", dataset))
            rps.append(_rp(amp, mixup, _relative(amp, judged)))
        rows.append((f"{alpha:g}", "RP (%)", *rps))
    caption = "Table 5: alpha, BERT base; error in percent, printed above, ours below."
    return Table(("alpha", "Methods", *datasets), tuple(rows), caption)


def _entry(cell: Cell | None, ours: CellsOurs) -> str:
    """The printed error, and ours of each group of runs below it."""
    if cell is None:
        return ""
    lines = [f"{cell.error:.1f} ± {cell.std:.2f}"]
    for own in ours.get(cell, ()):
        lines.append(f"{mean_std(*mean(own.errors))} ({len(own.errors)}×, #{own.group.number})")
    return "\n".join(lines)


def _relative(cell: Cell | None, judged: Sequence[Judged]) -> list[str]:
    """Our RP of each group of runs."""
    found = []
    for one in judged:
        if one.claim.own == cell and one.relative is not None and one.relative.value is not None:
            bounds = one.relative.interval
            told = "" if bounds is None else f" [{bounds[0]:+.0f}, {bounds[1]:+.0f}]"
            found.append(f"{one.relative.value:+.1f}{told} (#{one.own.group.number})")
    return found


def _rp(amp: Cell | None, mixup: Cell | None, own: list[str]) -> str:
    if amp is None or mixup is None:
        return ""
    return "\n".join([f"{relative_improvement(mixup.error, amp.error):+.1f}", *own])
