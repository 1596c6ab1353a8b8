"""Write ``RESULTS.md``: all that lies in ``results/*.json``, and what the paper would cost by it.

python benchmarks/page.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from _costs import costs
from _pages import cover, label_errors, looks, redrawn, refit
from _tables import opening, percent, table

HERE = Path(__file__).parent
TITLES = {
    "step": "A step of TextCNN on TREC: policies, a minimal loop, a naive AMP",
    "backbones": "A step by backbone, policy and site",
    "mixstep": "MixStep around MiniLM of transformers, batches of 24 questions",
    "whole_run": "Whole runs",
    "workers": "A whole study with one worker and with two",
    "growth": "How a step of TextCNN with WordAMP grows",
    "policies": "A step by policy",
    "against": "A step beside that of the last commit with four policies",
}


def section(name: str, found: Mapping[str, Any]) -> Iterator[str]:
    """The lines on one file of results."""
    yield from opening(
        f"{TITLES.get(name, name)}",
        f"`{name}.py`, {found['date']}, {found['machine']}, torch {found['versions']['torch']}.",
    )
    if found.get("ratios"):
        heads = ("ratio of medians", "", found.get("interval", "quartiles"), "aim")
        rows = (
            (title, f"{row['ratio']:.2f}", "{:.2f} to {:.2f}".format(*row["quartiles"]), row["aim"])
            for title, row in found["ratios"].items()
        )
        yield from table(heads, rows)
    if "roofline" in found:
        shares = ((title, f"{share:.0%}") for title, share in found["roofline"].items())
        yield from table(("of the core's measured speed, a step of none reaches", ""), shares)
    if "exponents" in found:
        powers = ((axis, f"{value:.2f}") for axis, value in found["exponents"].items())
        yield from table(("cost grows as size to the power of", ""), powers)
    if "median_ms" in found:
        medians = ((title, f"{value:,.1f}") for title, value in found["median_ms"].items())
        yield from table(("", "median ms"), medians)


def served(found: Mapping[str, Any]) -> Iterator[str]:
    """The lines on ``serve.json``."""
    yield from opening(
        "A model served to many at once",
        f"`serve.py`, {found['date']}, {found['machine']}, torch {found['versions']['torch']}.",
    )
    heads = ("model", "requests, clients", "requests a second", "median, 99 % ms", "memory, MiB")
    rows = (
        (
            name,
            f"{own['requests']:,}, {own['clients']}",
            f"{own['requests_per_second']:,.0f}",
            f"{own['median_ms']:.0f}, {own['p99_ms']:.0f}",
            f"{own['memory_mib'][0]:.0f} to {own['memory_mib'][-1]:.0f}",
        )
        for name, own in found["models"].items()
    )
    yield from table(heads, rows)


def replicas(found: Mapping[str, Any]) -> Iterator[str]:
    """Seeds trained as one model: steps, memory, shares of the device's speed."""
    yield from opening(
        f"Seeds side by side: {found['device']}",
        f"`replicas.py`, {found['date']}, torch {found['versions']['torch']}, TREC. Operations are "
        "those of matrix products, bytes those that Adam cannot do without; in brackets the share "
        "of the device's speed as measured in the same run.",
    )
    heads = ("model", "policy", "seeds", "ms a step", "seed-steps a second", "times one alone",
             "GiB", "TFLOP/s", "Adam's GB/s")  # fmt: skip

    def rate(row: Mapping[str, Any], work: str, speed: str, unit: float) -> str:
        if work not in row:
            return ""
        reached = row[work] * row["seed_steps_a_second"]
        share = f" ({reached / found[speed]:.0%})" if speed in found else ""
        return f"{reached / unit:,.3g}{share}"

    rows = (
        (
            row["backbone"],
            f"`{row['policy']}`",
            row["seeds"],
            f"{row['ms_a_step']:.2f}",
            f"{row['seed_steps_a_second']:,.0f}",
            f"{row['gain']:.2f}",
            f"{row['memory_bytes'] / 2**30:.2f}" if row["memory_bytes"] else "",
            rate(row, "flops", "matrix_speed", 1e12),
            rate(row, "adam_bytes", "memory_speed", 1e9),
        )
        for row in found["rows"]
    )
    yield from table(heads, rows)


def encoder_precision(found: Mapping[str, Any]) -> Iterator[str]:
    """Errors and seconds of fine-tuned encoders in both precisions."""
    yield from opening(
        "Fine-tuning MiniLM in bfloat16 and in float32",
        f"`encoder_precision.py`: about {found['texts']} labelled texts, test errors in per cent, "
        "the difference in points with its 95 % interval over seeds and test texts, and how many "
        "times as long a run takes in float32.",
    )
    heads = ("data, layers, policy", "seeds", "float32", "bfloat16", "difference", "times")
    rows = (
        (
            f"{row['data']}, {row['model']}, `{row['policy']}`",
            row["seeds"],
            *percent(row["errors"], ("float32", "bfloat16")),
            "{:+.1f} [{:+.1f}, {:+.1f}]".format(
                *(100 * x for x in (row["difference"], *row["interval"]))
            ),
            f"{row['ratio']:.2f}",
        )
        for row in found["summary"]
    )
    yield from table(heads, rows)


def encoders_beside(found: Mapping[str, Any]) -> Iterator[str]:
    """Other libraries on the same texts."""
    yield from opening(
        "MiniLM by ampmix and by other libraries",
        f"`encoders_beside.py`, {found['date']}: {found['texts']} labelled questions of TREC, one "
        "thread, one after the other, each library in an environment of its own; test errors in "
        "per cent (least and most), median seconds of training.",
    )
    rows = (
        (
            row["name"],
            row["seeds"],
            f"{100 * row['error']:.1f}",
            "{:.1f} to {:.1f}".format(*(100 * x for x in row["range"])),
            f"{row['seconds']:,.0f}",
        )
        for row in found["summary"]
    )
    yield from table(("", "seeds", "error", "range", "seconds"), rows)


ELSEWHERE = {
    "repeated": cover,
    "until_decided": looks,
    "redrawn": redrawn,
    "serve": served,
    "label_errors": label_errors,
    "refit": refit,
    "encoder_precision": encoder_precision,
    "encoders_beside": encoders_beside,
    **{path.stem: replicas for path in sorted((HERE / "results").glob("replicas-*.json"))},
}
"""Pages of results that are no times of candidates in turn."""


def main() -> None:
    """Read, write."""
    lines = [
        "# Results",
        "",
        "Written by `page.py` from `results/`; `make bench` measures anew.",
        "",
    ]
    steps, gpu = dict[str, float](), dict[str, float]()
    names = [*TITLES, *sorted(p.stem for p in (HERE / "results").glob("*.json"))]
    for name in dict.fromkeys(names):
        path = HERE / "results" / f"{name}.json"
        if path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))
            if "median_ms" in found:
                lines += section(name, found)
            if name in ELSEWHERE:
                lines += ELSEWHERE[name](found)
            if name == "backbones":
                steps = found["median_ms"]
            if name.startswith("replicas-h100"):
                gpu |= {row["backbone"]: row["seed_steps_a_second"] for row in found["rows"]}
    lines += costs(steps, gpu)
    (HERE / "RESULTS.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
