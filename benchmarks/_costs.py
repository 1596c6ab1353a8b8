"""What all runs of the paper's tables cost, from measured steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from _tables import opening, table
from ampmix.studies.file import read

PAPER = Path(__file__).parent.parent / "paper"
TABLES = ("table2", "table3", "table4", "table5")
BERT_TO_MINILM = 85.1 / 10.6
"""Parameters of the layers, in millions: about how much more arithmetic a token takes."""
CORES, MEASURED = 64, {"cnn": "cnn", "bilstm": "bilstm", "encoder": "minilm"}
NAMES = {"cnn": "CNN", "bilstm": "BiLSTM", "minilm": "BERT-base (inferred)"}


def costs(step_ms: Mapping[str, float], gpu: Mapping[str, float]) -> Iterator[str]:
    """Lines on the paper's tables.

    Args:
        step_ms: of a step on one core, by backbone and policy.
        gpu: seed-steps a second of AMP on a GPU, seeds side by side, by backbone.
    """
    yield from opening(
        "What the whole of Tables 2 to 5 costs",
        "The runs of `paper/table2.toml` to `table5.toml`, 8,000 steps each. Computed from the "
        "steps above, on TREC, whose questions are short: other data sets take up to twice as long "
        "(see how a step grows). BERT-base has not been measured; it is taken as MiniLM times "
        f"{BERT_TO_MINILM:.0f}, the ratio of their layers' parameters, in batches of 24. Fixed and "
        "random embeddings count alike, though fixed ones save Adam's walk over the table. The "
        "last column is for one H100 at the measured seed-steps of AMP, seeds side by side, "
        "development readings and start-up left out; encoders were not measured on one.",
    )
    rows, total = list[tuple[str, ...]](), 0.0
    for name in TABLES:
        hours, steps = defaultdict[str, float](float), defaultdict[str, int](int)
        for cell in read(PAPER / f"{name}.toml").cells:
            backbone = MEASURED[cell.backbone.partition("[")[0]]
            count = int(cell.training["steps"]) * cell.seeds
            for policy in cell.policies:
                hours[backbone] += count * step_ms[f"{backbone} {_like(policy)}"] / 3.6e6
                steps[backbone] += count
        for backbone, own in hours.items():
            own *= BERT_TO_MINILM if backbone == "minilm" else 1.0
            total += own
            on_gpu = f"{steps[backbone] / gpu[backbone] / 3600:,.1f}" if backbone in gpu else ""
            rows.append(
                (
                    name.replace("table", "Table "),
                    NAMES[backbone],
                    f"{steps[backbone] // 8000:,}",
                    f"{own:,.0f}",
                    f"{own / CORES:,.1f}",
                    on_gpu,
                )
            )
    rows.append(("all", "", "", f"{total:,.0f}", f"{total / CORES:,.1f}", ""))
    heads = ("", "model", "runs", "core hours", f"hours on {CORES} cores", "hours on an H100")
    yield from table(heads, rows)
    yield (
        "On a cluster, `ampmix study paper/table2.toml --executor ray --address HOST:PORT` shares "
        "runs out whole: time falls with the number of cores until the longest run is left. On "
        "one H100 150 runs of `cnn` took 470 s with three workers (`paper/results/cnn-rand-h100`)."
    )
    yield ""


def _like(policy: str) -> str:
    """The measured policy that costs what this one does.

    >>> _like("amp[site=sent,min_op=false]"), _like("nonlinear"), _like("mixup[site=word]")
    ('amp[site=sent]', 'mixup', 'mixup')
    """
    name = policy.partition("[")[0]
    name = "mixup" if name == "nonlinear" else name
    return f"{name}[site=sent]" if "site=sent" in policy else name
