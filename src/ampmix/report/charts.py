"""Charts as Vega-Lite specifications, from one grammar for the page and for pictures in files.

Colours are those of Okabe and Ito (2008), which colour-blind readers can tell apart; dashes and
shapes say the same again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from ampmix._support.extras import needed
from ampmix._support.files import whole
from ampmix.errors import AmpmixError, printable

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#888888")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [12, 4], [4, 4], [1, 3])
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right")
DECIDED = {
    "lower error": "#009E73",
    "higher error": "#D55E00",
    "reproduced": "#009E73",
    "contradicted": "#D55E00",
    "no difference shown": "#0072B2",
    "not decided": "#888888",
    "printed": "#E69F00",
}
FORMATS = ("svg", "pdf", "png")
COUNTED, NAMED = 30, 100  # classes in a confusion matrix whose counts and names are written
NOT_IN_XML = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
Spec = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]


def _altair() -> Any:
    return needed("altair", "report")


def _spec(chart: Any, height: int | None = None) -> Spec:
    sized = chart.properties(width="container", **({"height": height} if height else {}))
    made: Spec = sized.to_dict()
    made["autosize"] = {"type": "fit-x", "contains": "padding"}
    return made


def _scales(alt: Any, names: Sequence[str]) -> tuple[Any, Any, Any]:
    """Colour, dash and shape by name, the same in all charts of a group."""
    some = list(names)

    def cycle(values: Sequence[Any]) -> list[Any]:
        return [values[i % len(values)] for i in range(len(some))]

    return tuple(
        alt.Scale(domain=some, range=cycle(values)) for values in (COLOURS, DASHES, SHAPES)
    )


def _legend(alt: Any) -> Any:
    """Names below the plot, each with its line."""
    return alt.Legend(
        orient="bottom",
        columns=1,
        labelLimit=300,
        symbolSize=300,
        symbolType="stroke",
        symbolOpacity=1,
        symbolStrokeWidth=2,
    )


def forest(rows: Rows, x: str, names: Sequence[str]) -> Spec:
    """Differences as points with intervals, a line each, beside a line at zero.

    Args:
        rows: with ``name``, ``difference``, ``low``, ``high`` (None for no interval), ``decision``.
        x: title of the axis.
        names: the lines from top to bottom.
    """
    alt = _altair()
    base = alt.Chart(alt.Data(values=[dict(row) for row in rows]))
    line = alt.Y(
        "name:N", sort=list(names), title=None, axis=alt.Axis(labelLimit=230, labelExpr=TWO_LINES)
    )
    decisions = [name for name in DECIDED if any(row["decision"] == name for row in rows)]
    colour = alt.Color(
        "decision:N",
        title=None,
        scale=alt.Scale(domain=decisions, range=[DECIDED[name] for name in decisions]),
        legend=alt.Legend(orient="bottom", columns=2),
    )
    shape = alt.Shape("decision:N", title=None, scale=_scales(alt, decisions)[2])
    told = [alt.Tooltip("name:N"), *(alt.Tooltip(f"{n}:Q", format="+.2f") for n in NUMBERS)]
    zero = alt.Chart(alt.Data(values=[{"x": 0}])).mark_rule(strokeDash=[4, 4]).encode(x="x:Q")
    bars = base.mark_rule(size=2).encode(
        x=alt.X("low:Q", title=x), x2="high:Q", y=line, color=colour
    )
    points = base.mark_point(filled=True, size=80, opacity=1).encode(
        x=alt.X("difference:Q", title=x), y=line, color=colour, shape=shape, tooltip=told
    )
    return _spec(
        zero + bars + points,
        height=max(60, (40 if any(": " in name for name in names) else 26) * len(names)),
    )


NUMBERS = ("difference", "low", "high")
TWO_LINES = "split(datum.label, ': ')"


def curves(rows: Rows, y: str, names: Sequence[str]) -> Spec:
    """Lines over training steps with a band from the lowest to the highest seed.

    Args:
        rows: with ``policy``, ``step``, ``mean``, ``low``, ``high``.
        y: title of the axis.
        names: the policies, in the order of their colours.
    """
    alt = _altair()
    colours, dashes, _ = _scales(alt, names)
    chosen = alt.selection_point(fields=["policy"], bind="legend")
    legend = _legend(alt)
    base = alt.Chart(alt.Data(values=[dict(row) for row in rows])).encode(
        x=alt.X("step:Q", title="step"),
        color=alt.Color("policy:N", scale=colours, title=None, legend=legend),
    )
    shown = alt.when(chosen)
    band = base.mark_area(line=False).encode(
        y=alt.Y("low:Q", title=y, scale=alt.Scale(zero=False)),
        y2="high:Q",
        opacity=shown.then(alt.value(0.15)).otherwise(alt.value(0.02)),
    )
    line = base.mark_line(point=alt.OverlayMarkDef(size=18)).encode(
        y=alt.Y("mean:Q", title=y, scale=alt.Scale(zero=False)),
        strokeDash=alt.StrokeDash("policy:N", scale=dashes, title=None, legend=legend),
        opacity=shown.then(alt.value(1.0)).otherwise(alt.value(0.12)),
        tooltip=["policy:N", "step:Q", alt.Tooltip("mean:Q", format=".3f")],
    )
    return _spec(band + line.add_params(chosen), height=260)


def histogram(rows: Rows, x: str, names: Sequence[str]) -> Spec:
    """Shares over log-spaced bins as steps, a line for each of `names`.

    Args:
        rows: with ``policy``, ``low`` (a bin's lower edge) and ``share`` (percent).
        x: title of the axis.
        names: the policies, in the order of their colours.
    """
    alt = _altair()
    colours, dashes, _ = _scales(alt, names)
    legend = _legend(alt)
    chart = (
        alt.Chart(alt.Data(values=[dict(row) for row in rows]))
        .mark_line(interpolate="step-after")
        .encode(
            x=alt.X("low:Q", title=x, scale=alt.Scale(type="log"), axis=alt.Axis(format=".0e")),
            y=alt.Y("share:Q", title="examples, percent"),
            color=alt.Color("policy:N", scale=colours, title=None, legend=legend),
            strokeDash=alt.StrokeDash("policy:N", scale=dashes, title=None, legend=legend),
            tooltip=["policy:N", "low:Q", alt.Tooltip("share:Q", format=".2f")],
        )
    )
    return _spec(chart, height=220)


def along_lam(rows: Rows, names: Sequence[str]) -> Spec:
    """The loss against lam, a line a model; the page replaces the data named ``path``.

    Args:
        rows: with ``policy`` (the model), ``step`` (lam) and ``mean`` (the loss).
        names: the models, in the order of their colours.
    """
    alt = _altair()
    colours, dashes, _ = _scales(alt, names)
    legend = _legend(alt)
    chart = (
        alt.Chart(alt.Data(values=[dict(row) for row in rows], name="path"))
        .mark_line(point=alt.OverlayMarkDef(size=18))
        .encode(
            x=alt.X("step:Q", title="lam", scale=alt.Scale(domain=[0, 1])),
            y=alt.Y("mean:Q", title="loss, nats", scale=alt.Scale(zero=False)),
            color=alt.Color("policy:N", scale=colours, title=None, legend=legend),
            strokeDash=alt.StrokeDash("policy:N", scale=dashes, title=None, legend=legend),
            tooltip=["policy:N", "step:Q", alt.Tooltip("mean:Q", format=".4f")],
        )
    )
    return _spec(chart, height=280)


def confusion(counts: Sequence[Sequence[int]], names: Sequence[str], title: str) -> Spec:
    """Counts in a square of a row for each true class and a column for each predicted one.

    Colours are shares of a row. Classes are told apart by their positions, so that two names which
    look alike do not share a row. Counts are written for up to 30 classes, names for up to 100.
    """
    alt, n = _altair(), len(names)
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
    made: Spec = drawn.to_dict()
    return made


def _short(name: str) -> str:
    """A name that fits beside an axis."""
    text = printable(" ".join(NOT_IN_XML.sub(" ", name).split()))
    return text if len(text) <= 18 else text[:17] + "…"


def save(spec: Mapping[str, Any], path: Path) -> None:
    """Draw a specification into a file; its suffix is one of ``FORMATS``.

    Raises AmpmixError without vl-convert-python.
    """
    draw(dict(spec) | {"width": 480, "background": "white"}, path)


def draw(spec: Spec, path: Path, **options: Any) -> None:
    """Draw a specification that has its size already; `options` are vl-convert's.

    Raises AmpmixError without vl-convert-python.
    """
    convert = needed("vl_convert", "report")
    version = _altair().SCHEMA_VERSION.lstrip("v").rpartition(".")[0]
    into = getattr(convert, f"vegalite_to_{path.suffix[1:].lower()}")
    drawn = into(spec, vl_version=version, **options)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as draft:
        draft.write_bytes(drawn.encode("utf-8") if isinstance(drawn, str) else drawn)


def formats_of(text: str) -> tuple[str, ...]:
    """The formats in ``svg,pdf``; AmpmixError for others.

    >>> formats_of("svg,pdf")
    ('svg', 'pdf')
    """
    named = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    for one in named:
        if one not in FORMATS:
            raise AmpmixError(f"figures are asked for as {one!r}: there are {', '.join(FORMATS)}")
    return named


@lru_cache(maxsize=1)
def library() -> str:
    """Vega, Vega-Lite and vega-embed as one script that needs no network.

    Raises AmpmixError without vl-convert-python.
    """
    version = _altair().SCHEMA_VERSION.lstrip("v").rpartition(".")[0]
    script: str = needed("vl_convert", "report").javascript_bundle(vl_version=version)
    return script
