"""Tables 2 to 5 in the paper's layout, with our means below the printed ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ampmix._support.wording import mean_std
from ampmix.analysis.replication import Judged, Method, Ours, PrintedCell, cells, claims, mean
from ampmix.report.document import ReportTable
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
OURS = "printed above, ours below (runs, group; ‡: lam' not clipped, the letter of Eq. 15)"
SLIPS = (
    "In five cells of Tables 2, 3 and 5 the printed RP is not that of the printed means, which "
    "then stands beside it: four differ in the last digits, as of means before rounding; the 9.5 "
    "of BERT, Sent, SST-2 is a slip."
)
CellsOurs = Mapping[PrintedCell, Sequence[Ours]]


def paper_tables(ours: CellsOurs, judged: Sequence[Judged]) -> list[ReportTable]:
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


def _table2(ours: CellsOurs, judged: Sequence[Judged]) -> ReportTable:
    rows = []
    shown = {cell.backbone for cell in ours if cell.table == 2}
    by_place = {cell[1:]: cell for cell in cells() if cell.table == 2}

    def printed(backbone: str, dataset: str, method: str) -> PrintedCell | None:
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
                entries = tuple(_rp(cell, judged, arrow) for cell in own)
                rows.append((BACKBONES[backbone], "RP (%)", *entries))
    return ReportTable(
        ("Model", "Mixup", *DATASETS),
        tuple(rows),
        f"Table 2: error in percent, {OURS}; RP as printed. † cited there from Guo (2020). {SLIPS}",
    )


def _table3(ours: CellsOurs, judged: Sequence[Judged]) -> ReportTable:
    rows = []
    for percent in sorted({cell.percent for cell in cells() if cell.table == 3}):
        both = [cell for cell in cells() if cell.table == 3 and cell.percent == percent]
        own = {cell.method.name: cell for cell in both}
        mixup, amp = own["sent-mixup"], own["sent-amp"]
        if mixup in ours or amp in ours:
            entries = _entry(mixup, ours), _entry(amp, ours), _rp(amp, judged, plus)
            rows.append((f"{percent:g}", f"{amp.labels}", *entries))
    caption = f"Table 3: TREC with few labels, BERT base; error in percent, {OURS}. {SLIPS}"
    return ReportTable(("%", "labels", "Sent", "Sent(our)", "RP (%)"), tuple(rows), caption)


def _table4(ours: CellsOurs) -> ReportTable:
    operations = {"none": "Baseline", "mixup": "+RandOp", "amp": "AMP"}
    rows = []
    for cell in cells():
        if cell.table == 4 and cell in ours:
            kind = cell.method.name.rpartition("-")[2]
            operation = operations[kind] if cell.method.min_op else "+MaxOp"
            method, model = cell.block.capitalize(), BACKBONES[cell.backbone]
            rows.append((method, model, operation, _entry(cell, ours)))
    caption = f"Table 4: ablation on TREC; error in percent, {OURS}."
    return ReportTable(("Method", "Model", "Operation", "TREC"), tuple(rows), caption)


def _table5(ours: CellsOurs, judged: Sequence[Judged]) -> ReportTable:
    rows = []
    datasets = ("TREC", "SST-2", "MR")
    own = [cell for cell in cells() if cell.table == 5]
    for alpha in sorted({cell.method.alpha for cell in own}):
        if not any(cell.method.alpha == alpha for cell in own if cell in ours):
            continue
        by = {(cell.method.name, cell.dataset): cell for cell in own if cell.method.alpha == alpha}
        for method in ("word-mixup", "word-amp"):
            entries = (_entry(by.get((method, dataset)), ours) for dataset in datasets)
            rows.append((f"{alpha:.1f}", LABELS[method], *entries))
        rps = (_rp(by.get(("word-amp", dataset)), judged, plus) for dataset in datasets)
        rows.append((f"{alpha:.1f}", "RP (%)", *rps))
    caption = f"Table 5: alpha, BERT base; error in percent, {OURS}. {SLIPS}"
    return ReportTable(("alpha", "Methods", *datasets), tuple(rows), caption)


def _entry(cell: PrintedCell | None, ours: CellsOurs) -> str:
    """The printed error, and ours of each group of runs below it."""
    if cell is None:
        return ""
    lines = [f"{cell.error:.1f} ± {cell.std:.2f}{'†' * cell.cited}"]
    for own in ours.get(cell, ()):
        told = f"{len(own.errors)}×, #{own.group.number}"
        lines.append(f"{mean_std(*mean(own.errors), 2)}{own.mark} ({told})")
    return "\n".join(lines)


def _relative(cell: PrintedCell, judged: Sequence[Judged]) -> list[str]:
    """Our RP of each group of runs."""
    found = []
    for one in judged:
        if one.claim.own == cell and one.relative is not None and one.relative.value is not None:
            bounds = one.relative.interval
            told = "" if bounds is None else f" [{bounds[0]:+.0f}, {bounds[1]:+.0f}]"
            found.append(f"{one.relative.value:+.1f}{told}{one.own.mark} (#{one.own.group.number})")
    return found


def _rp(amp: PrintedCell | None, judged: Sequence[Judged], sign: Callable[[float], str]) -> str:
    """RP as printed, that of the printed means where it is another, and ours."""
    if amp is None or amp.rp is None:
        return ""
    printed, of_means = sign(amp.rp), f"{of_printed_means(amp):.1f}"
    if of_means != f"{amp.rp:.1f}":
        printed += f" ({sign(float(of_means))} of the means)"
    return "\n".join([printed, *_relative(amp, judged)])


def of_printed_means(amp: PrintedCell) -> float:
    """RP of the means as they are printed, in percent."""
    (claim,) = (one for one in claims() if one.own == amp and one.is_amp)
    return relative_improvement(claim.baseline.error, amp.error)


def arrow(rp: float) -> str:
    """RP as Table 2 prints it: ``6.7↑``, ``1.5↓``, ``→`` for none."""
    return "→" if rp == 0 else f"{abs(rp):.1f}{'↑' if rp > 0 else '↓'}"


def plus(rp: float) -> str:
    """RP as Tables 3 and 5 print it: ``+17.5``."""
    return f"{rp:+.1f}"
