"""The picture of a confusion matrix, as a Vega-Lite specification."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from ampmix._support.extras import needed
from ampmix._support.wording import shortened
from ampmix.errors import printable

COUNTED, NAMED = 30, 100  # classes whose counts and names are written
NOT_IN_XML = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def confusion_chart(
    counts: Sequence[Sequence[int]], names: Sequence[str], title: str
) -> dict[str, Any]:
    """Counts in a square of a row for each true class and a column for each predicted one.

    Colours are shares of a row. Classes are told apart by their positions, so that two names which
    look alike do not share a row. Counts are written for up to 30 classes, names for up to 100.
    """
    alt, n = needed("altair", "report"), len(names)
    values = [
        {"true": i, "predicted": j, "count": f"{count:,}", "share": count / max(sum(row), 1)}
        for i, row in enumerate(counts)
        for j, count in enumerate(row)
        if count or n <= COUNTED
    ]
    step, size = (36, 11) if n <= 12 else (28, 9) if n <= COUNTED else (11, 9)
    named = alt.Axis(
        labels=n <= NAMED,
        ticks=False,
        labelExpr=f"{json.dumps(list(map(_short, names)))}[datum.value]",
        labelFontSize=size,
        labelLimit=0,
        labelOverlap=False,
    )
    order = alt.Scale(domain=list(range(n)))
    base = alt.Chart(alt.InlineData(values=values)).encode(
        x=alt.X("predicted:O", scale=order, axis=named, title="predicted"),
        y=alt.Y("true:O", scale=order, axis=named, title="true"),
    )
    shade = alt.Scale(domain=[0, 1], range=["white", "#08519c"], interpolate="rgb")
    legend = alt.Legend(title=["share of the", "true class"])
    shares = base.mark_rect().encode(color=alt.Color("share:Q", scale=shade, legend=legend))
    ink = alt.condition(alt.datum.share > 0.7, alt.value("white"), alt.value("black"))
    written = base.mark_text(fontSize=size).encode(text="count:N", color=ink)
    drawn = alt.layer(shares, *[written] * (n <= COUNTED))
    drawn = drawn.configure_axisX(labelAngle=-45 if n <= COUNTED else -90)
    side = step * min(n, NAMED)
    drawn = drawn.properties(title=title, width=side, height=side, background="white")
    made: dict[str, Any] = drawn.to_dict()
    return made


def _short(name: str) -> str:
    """A name that fits beside an axis."""
    return shortened(printable(" ".join(NOT_IN_XML.sub(" ", name).split())), 18)
