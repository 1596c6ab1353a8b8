"""Draw the cells of a confirmation: the change of the error to none, with 95 % intervals.

python paper/few-labels/picture.py RUNS PICTURE.svg
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt
from verdict import Cell, cells_of

from ampmix.analysis.groups import groups_of, read_runs
from ampmix.report.charts import COLOURS
from ampmix.report.drawing import draw

WIDTH, ROW = 150, 15  # of a panel, and the height of a policy in it


def chart(cells: Sequence[Cell]) -> dict[str, Any]:
    """A column of panels a data set, a panel a number of labels, a line a policy."""
    policies = list(dict.fromkeys(cell.policy for cell in cells))
    columns = []
    for name in dict.fromkeys(cell.dataset for cell in cells):
        own = [cell for cell in cells if cell.dataset == name]
        sizes = sorted({cell.percent for cell in own})
        panels = [
            panel([cell for cell in own if cell.percent == size], policies).properties(
                title=title(name, k)
            )
            for k, size in enumerate(sizes)
        ]
        columns.append(alt.vconcat(*panels).resolve_scale(x="shared"))
    made: dict[str, Any] = (
        alt.hconcat(*columns).configure(font="sans-serif", background="white").to_dict()
    )
    return made


def panel(cells: Sequence[Cell], policies: Sequence[str]) -> Any:
    """The policies of one data set and number of labels."""
    rows = [
        {
            "policy": cell.policy,
            "difference": cell.differences[0],
            "low": cell.interval[0],
            "high": cell.interval[1],
        }
        for cell in cells
        if cell.interval is not None
    ]
    colours = alt.Scale(domain=policies, range=list(COLOURS[: len(policies)]))
    legend = alt.Legend(orient="top", labelLimit=400)
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y("policy:N", title=None, sort=policies, axis=None),
        color=alt.Color("policy:N", title=None, scale=colours, legend=legend),
    )
    across = alt.X("low:Q", title="difference to none, points")
    line = base.mark_rule(strokeWidth=2).encode(x=across, x2="high:Q")
    point = base.mark_point(filled=True, size=45, opacity=1).encode(x="difference:Q")
    zero = alt.Chart(alt.Data(values=[{"x": 0}])).mark_rule(strokeDash=[4, 4]).encode(x="x:Q")
    return alt.layer(zero, line, point).properties(width=WIDTH, height=ROW * len(policies))


def title(name: str, k: int) -> str:
    """What stands above a panel."""
    sizes = (10, 25, 50) if name == "support-tickets" else (10, 50, 200)
    return f"{name}, {sizes[k]} a class"


if __name__ == "__main__":
    found = groups_of(read_runs([sys.argv[1]]).records)
    draw(chart([cell for group in found for cell in cells_of(group)]), Path(sys.argv[2]))
