"""Charts as Vega-Lite specifications, from one grammar for the page and for pictures in files.

Colours are those of Okabe and Ito (2008), which colour-blind readers can tell apart; dashes and
shapes say the same again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ampmix._support.extras import needed

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#888888")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [12, 4], [4, 4], [1, 3])
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right")
DECIDED = {
    "lower error": "#009E73",
    "higher error": "#D55E00",
    "reproduced": "#009E73",
    "contradicted": "#D55E00",
    "no difference shown": "#0072B2",
    "the same": "#56B4E9",
    "not decided": "#888888",
    "printed": "#E69F00",
}
Spec = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]


def _altair() -> Any:
    return needed("altair", "report")


def _spec(chart: Any, height: int | None = None) -> Spec:
    sized = chart.properties(width="container", **({"height": height} if height else {}))
    made: Spec = sized.to_dict()
    made["autosize"] = {"type": "fit-x", "contains": "padding"}
    return made


def _scales(
    alt: Any, names: Sequence[str], palette: Sequence[str] | None = None
) -> tuple[Any, Any, Any]:
    """Colour, dash and shape by name: the place of a name in `palette` gives its colour.

    ``amp: higher`` has the colour of ``amp`` and a dash of its own.
    """
    some, all_names = list(names), list(palette or names)

    def place(name: str) -> int:
        own = name if name in all_names else name.rpartition(": ")[0]
        return all_names.index(own) if own in all_names else some.index(name)

    def cycle(values: Sequence[Any], places: Sequence[int]) -> list[Any]:
        return [values[i % len(values)] for i in places]

    coloured, counted = [place(name) for name in some], range(len(some))
    dashed = coloured if len(set(coloured)) == len(some) else counted
    return (
        alt.Scale(domain=some, range=cycle(COLOURS, coloured)),
        alt.Scale(domain=some, range=cycle(DASHES, dashed)),
        alt.Scale(domain=some, range=cycle(SHAPES, counted)),
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


def forest(rows: Rows, x: str, names: Sequence[str], palette: Sequence[str] | None = None) -> Spec:
    """Differences as points with intervals, a line each, beside a line at zero.

    Args:
        rows: with ``name``, ``difference``, ``low``, ``high`` (None for no interval), ``decision``.
        x: title of the axis.
        names: the lines from top to bottom.
        palette: names in the order of their colours; by default colours tell decisions.
    """
    alt = _altair()
    base = alt.Chart(alt.Data(values=[dict(row) for row in rows]))
    line = alt.Y(
        "name:N", sort=list(names), title=None, axis=alt.Axis(labelLimit=230, labelExpr=TWO_LINES)
    )
    decisions = [name for name in DECIDED if any(row["decision"] == name for row in rows)]
    by_name = palette is not None
    legend = alt.Legend(orient="bottom", columns=2)
    told = alt.Scale(domain=decisions, range=[DECIDED[name] for name in decisions])
    colour = alt.Color(
        "name:N" if by_name else "decision:N",
        title=None,
        scale=_scales(alt, names, palette)[0] if by_name else told,
        legend=None if by_name else legend,
    )
    marked = legend if by_name else alt.Undefined
    shape = alt.Shape("decision:N", title=None, scale=_scales(alt, decisions)[2], legend=marked)
    tips = [alt.Tooltip("name:N"), *(alt.Tooltip(f"{n}:Q", format="+.2f") for n in NUMBERS)]
    zero = alt.Chart(alt.Data(values=[{"x": 0}])).mark_rule(strokeDash=[4, 4]).encode(x="x:Q")
    bars = base.mark_rule(size=2).encode(
        x=alt.X("low:Q", title=x), x2="high:Q", y=line, color=colour
    )
    points = base.mark_point(filled=True, size=80, opacity=1).encode(
        x=alt.X("difference:Q", title=x), y=line, color=colour, shape=shape, tooltip=tips
    )
    return _spec(
        zero + bars + points,
        height=max(60, (40 if any(": " in name for name in names) else 26) * len(names)),
    )


NUMBERS = ("difference", "low", "high")
TWO_LINES = "split(datum.label, ': ')"


def errors(rows: Rows, names: Sequence[str], best: str) -> Spec:
    """Errors as points with intervals, a line each, from zero; `best` stands out.

    Args:
        rows: with ``name``, ``error`` and ``low``, ``high`` (None for no interval), in percent.
        names: the lines from top to bottom.
        best: one of them.
    """
    alt = _altair()
    base = alt.Chart(alt.Data(values=[dict(row) for row in rows])).encode(
        y=alt.Y("name:N", sort=list(names), title=None, axis=alt.Axis(labelLimit=230)),
        color=alt.when(alt.datum.name == best).then(alt.value(BEST)).otherwise(alt.value(OTHER)),
    )
    x = alt.X("error:Q", title="error, percent", scale=alt.Scale(zero=True))
    bars = base.mark_rule(size=2).encode(x=alt.X("low:Q", title="error, percent"), x2="high:Q")
    told = [alt.Tooltip("name:N"), *(alt.Tooltip(f"{n}:Q", format=".1f") for n in BOUNDED)]
    points = base.mark_point(filled=True, size=80, opacity=1).encode(x=x, tooltip=told)
    return _spec(bars + points, height=max(60, 26 * len(names)))


BOUNDED = ("error", "low", "high")
BEST, OTHER = "#009E73", "#888888"


def trend(rows: Rows, x: str, y: str) -> Spec:
    """One line through points.

    Args:
        rows: with ``x`` and ``y``.
        x: title of its axis.
        y: title of the other.
    """
    alt = _altair()
    chart = (
        alt.Chart(alt.Data(values=[dict(row) for row in rows]))
        .mark_line(point=alt.OverlayMarkDef(size=40), color=COLOURS[0])
        .encode(
            x=alt.X("x:Q", title=x, scale=alt.Scale(zero=False, nice=True)),
            y=alt.Y("y:Q", title=y, scale=alt.Scale(zero=True)),
            tooltip=[alt.Tooltip("x:Q", title=x), alt.Tooltip("y:Q", title=y, format=".1f")],
        )
    )
    return _spec(chart, height=220)


def curves(rows: Rows, y: str, names: Sequence[str], palette: Sequence[str] | None = None) -> Spec:
    """Lines over training steps with a band from the lowest to the highest seed.

    Args:
        rows: with ``policy``, ``step``, ``mean``, ``low``, ``high``.
        y: title of the axis.
        names: the policies.
        palette: names in the order of their colours.
    """
    alt = _altair()
    colours, dashes, _ = _scales(alt, names, palette)
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


def histogram(
    rows: Rows, x: str, names: Sequence[str], palette: Sequence[str] | None = None
) -> Spec:
    """Shares over log-spaced bins as steps, a line for each of `names`.

    Args:
        rows: with ``policy``, ``low`` (a bin's lower edge) and ``share`` (percent).
        x: title of the axis.
        names: the policies.
        palette: names in the order of their colours.
    """
    alt = _altair()
    colours, dashes, _ = _scales(alt, names, palette)
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
