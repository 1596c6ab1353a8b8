"""The report's learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ampmix.analysis.groups import Group
from ampmix.records.store import BASELINE
from ampmix.report import charts
from ampmix.report.document import Chart, ReportTable

READINGS = 60  # of a curve, at most: more cannot be told apart, and weigh


def curve_charts(group: Group, palette: Sequence[str]) -> list[Chart]:
    """Learning curves of a group's policies, in the colours of their places in `palette`."""
    made = []
    names = [policy for policy in group.records if policy != BASELINE]
    for key, title, factor in (
        ("dev_error", "development error, percent", 100.0),
        ("dev_loss", "development loss, nats", 1.0),
    ):
        rows, lowest = [], []
        for policy in names:
            own = _curve(group.records[policy], key, factor)
            rows += [{"policy": policy, **point} for point in own]
            if own:
                best = min(own, key=lambda point: point["mean"])
                numbers = f"{best['mean']:.4g}", f"{best['step']:,}", f"{own[-1]['mean']:.4g}"
                lowest.append((policy, *numbers))
        if rows:
            alt = f"{title.capitalize()} by training step: lowest mean over seeds " + ", ".join(
                f"{policy} {value} at step {step}" for policy, value, step, _ in lowest
            )
            columns = ("policy", "lowest mean", "at step", "last")
            caption = f"{title.capitalize()}, mean over seeds."
            made.append(
                Chart(
                    f"{key.replace('_', '-')}-{group.number}",
                    f"Learning curves: {title}",
                    alt + ". Bands go from the lowest seed to the highest.",
                    charts.curves(rows, title, names, palette),
                    ReportTable(columns, tuple(lowest), caption),
                )
            )
    return made


def _curve(runs: Mapping[int, Any], key: str, factor: float) -> list[dict[str, float]]:
    """Mean, lowest and highest over the seeds at each step that all of them read."""
    curves = [record.result.curve for record in runs.values() if record.result.curve]
    if not curves:
        return []
    values: dict[int, list[float]] = {}
    for curve in curves:
        for reading in curve:
            values.setdefault(reading["step"], []).append(factor * reading[key])
    steps = [step for step in sorted(values) if len(values[step]) == len(curves)]
    if len(steps) > READINGS:
        chosen = np.unique(np.linspace(0, len(steps) - 1, READINGS).round().astype(int))
        steps = [steps[i] for i in chosen]
    return [
        {
            "step": step,
            "mean": round(float(np.mean(values[step])), 4),
            "low": round(min(values[step]), 4),
            "high": round(max(values[step]), 4),
        }
        for step in steps
    ]
