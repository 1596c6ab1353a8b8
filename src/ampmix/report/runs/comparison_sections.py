"""Sections on what a comparison wrote: the models, more labels, abstention, errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ampmix._support.wording import counted, duration, interval, quoted_range, signed
from ampmix.analysis.abstention import abstention_sentence
from ampmix.analysis.answer import labels_sentence
from ampmix.analysis.ladder import Times
from ampmix.analysis.sentences import model_sentence
from ampmix.report import charts
from ampmix.report.document import Block, Chart, ReportTable, Section

SHOWN = 10  # texts of a kind in a table
Summary = Mapping[str, Any]


def comparison_sections(
    summary: Summary,
    errors: Summary | None,
    times: Times,
    mixing: Sequence[Section],
    number: int | None = None,
) -> list[Section]:
    """All sections on a comparison, those that there is nothing for left out.

    Args:
        summary: the content of ``summary.json``.
        errors: the content of ``errors.json``, None without one.
        times: by model the seconds of a run and the texts predicted in a second.
        mixing: the sections on its policies.
        number: in titles and in the names of charts, on a page of several comparisons.
    """
    suffix = "" if number is None else f": {summary['dataset']} #{number}"
    mark = "" if number is None else f"-{number}"
    made = [_models(summary, times, suffix, mark), *mixing, _help(summary, suffix, mark)]
    made.append(_errors(errors, suffix))
    return [section for section in made if section is not None]


def _models(summary: Summary, times: Times, suffix: str, mark: str) -> Section | None:
    rows = summary.get("ladder") or []
    measured = [row for row in rows if row["mean"] is not None]
    if not measured:
        return None
    table = tuple(
        (
            row["model"],
            f"{row['mean']:.1f}",
            quoted_range(row["interval"]).strip(),
            "best" if row["model"] == summary.get("best") else signed(row["difference"]),
            interval(row["difference_interval"]),
            *_costs(times.get(row["model"])),
        )
        for row in measured
    )
    columns = ("model", "error %", "95 % interval", "to the best", "95 % interval", *COSTS)
    blocks: list[Block] = []
    if any(row["interval"] for row in measured):
        blocks.append(_errors_chart(measured, str(summary.get("best")), mark))
    blocks.append(ReportTable(columns, table, "Models without mixing, the simplest first."))
    if summary.get("model"):
        blocks.append(model_sentence(summary))
    return Section(f"Which model{suffix}", tuple(blocks))


COSTS = ("training", "texts/s")


def _costs(known: tuple[float | None, float | None] | None) -> tuple[str, str]:
    seconds, speed = known or (None, None)
    return (
        "" if seconds is None else duration(seconds),
        "" if speed is None else f"{speed:,.0f}",
    )


def _errors_chart(rows: Sequence[Mapping[str, Any]], best: str, mark: str) -> Chart:
    lines = []
    for row in rows:
        low, high = row["interval"] or (None, None)
        lines.append({"name": row["model"], "error": row["mean"], "low": low, "high": high})
    told = ", ".join(
        f"{row['model']} {row['mean']:.1f}{quoted_range(row['interval'])}" for row in rows
    )
    return Chart(
        f"models{mark}",
        "Error of each model",
        f"Error in percent of new texts, with 95 % intervals: {told}.",
        charts.errors(lines, [row["model"] for row in rows], best),
    )


def _help(summary: Summary, suffix: str, mark: str) -> Section | None:
    """More labels, and leaving texts to a person."""
    curve, points = summary.get("learning_curve") or [], summary.get("abstention") or []
    told: list[Block] = []
    drawn: list[Block] = []
    if len(curve) > 1:
        told.append(f"More labels? {labels_sentence(summary)}")
        drawn.append(_labels_chart(curve, mark))
    if len(points) > 1:
        told.append(f"A person beside it? {abstention_sentence(points)} {TO_A_PERSON}")
        drawn.append(_abstention_chart(points, mark))
    return Section(f"What would help more{suffix}", (*told, *drawn)) if told else None


TO_A_PERSON = (
    "ampmix predict --min-confidence P leaves the label of the others empty. Measured on texts "
    "that the models had not seen."
)


def _labels_chart(curve: Sequence[Mapping[str, Any]], mark: str) -> Chart:
    model = curve[-1]["model"]
    points = [{"x": point["labels"], "y": round(point["error"], 3)} for point in curve]
    table = tuple(
        (f"{100 * point['share']:.0f} %", f"{point['labels']:,}", f"{point['error']:.1f}")
        for point in curve
    )
    return Chart(
        f"labels{mark}",
        f"Error of {model} by labels",
        "; ".join(f"{row[1]} labels: {row[2]} %" for row in table) + ".",
        charts.trend(points, "labels", "error, percent"),
        ReportTable(("share", "labels", "error %"), table),
    )


def _abstention_chart(points: Sequence[Mapping[str, float]], mark: str) -> Chart:
    table = tuple(
        (f"{one['coverage']:.0f}", f"{one['error']:.1f}", f"{one['confidence']:.3f}")
        for one in points
    )
    return Chart(
        f"abstention{mark}",
        "Error on the texts that the model is surest of",
        "; ".join(f"{row[0]} % of the texts: {row[1]} % wrong" for row in table) + ".",
        charts.trend(
            [{"x": round(p["coverage"], 1), "y": round(p["error"], 3)} for p in points],
            "texts that the model answers, percent",
            "error on them, percent",
        ),
        ReportTable(("texts %", "error %", "probability from"), table),
    )


def _errors(found: Summary | None, suffix: str) -> Section | None:
    if found is None:
        return None
    classes, shown = found["classes"], found["shown"]
    blocks: list[Block] = []
    for key, title in (
        ("mislabelled", "{} of {texts} look mislabelled by {model}, the likeliest first."),
        ("all_wrong", "{} of {texts} are wrong by all models."),
    ):
        caption = title.format(
            f"{len(found[key]):,}", texts=counted(found["texts"], "text"), model=found["model"]
        )
        if found[key]:
            blocks.append(_texts(caption, found[key][:SHOWN], shown))
        else:
            blocks.append(caption)
    pairs = tuple(
        (
            classes[pair["label"]],
            classes[pair["predicted"]],
            f"{len(pair['texts']):,}",
            shown[str(pair["texts"][0])]["text"],
        )
        for pair in found["confused"][:SHOWN]
    )
    if pairs:
        columns = ("label", "taken for", "texts", "such as")
        blocks.append(ReportTable(columns, pairs, "Classes confused most."))
    if found["conflicts"]:
        equal = [index for own in found["conflicts"] for index in own][:SHOWN]
        blocks.append(_texts("Equal texts with unlike labels.", equal, shown))
    return Section(f"Better labels?{suffix}", tuple(blocks))


def _texts(caption: str, indices: Sequence[int], shown: Mapping[str, Any]) -> ReportTable:
    rows = []
    for index in indices:
        one = shown[str(index)]
        probability = "" if one["probability"] is None else f"{one['probability']:.3f}"
        rows.append((one["label"], one["predicted"] or "", probability, one["text"]))
    columns = ("label", "predicted", "probability of the label", "text")
    return ReportTable(columns, tuple(rows), caption)
