"""A report as one HTML page that needs nothing else: no network, no other file."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from html import escape
from importlib import resources
from typing import Any

from ampmix.errors import AmpmixError
from ampmix.report import charts
from ampmix.report.document import Block, Chart, Document, Section, Table

LARGEST = 3_000_000  # bytes
TONES = {
    "reproduced": "good",
    "contradicted": "bad",
    "not decided": "open",
    "lower error": "good",
    "higher error": "bad",
}
POLICY = (  # nothing is fetched, whatever a text holds; Vega compiles its expressions
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data:"
)


def page(document: Document, extra: str = "", script: str = "") -> str:
    """The page.

    Args:
        document: what it says.
        extra: HTML after the lead, whose texts are escaped already.
        script: what goes with it.

    Raises:
        AmpmixError: without the extra ``report``, or if the page would be over 3 MB.
    """
    body = [f"<h1>{text(document.title)}</h1>", *(f"<p>{text(p)}</p>" for p in document.lead)]
    if len(document.sections) > 1:
        links = "".join(
            f'<li><a href="#s{i}">{text(s.title)}</a></li>' for i, s in enumerate(document.sections)
        )
        body.append(f'<nav aria-label="Contents"><ul>{links}</ul></nav>')
    body.append(extra)
    body += [_section(i, section) for i, section in enumerate(document.sections)]
    made = _asset("page.html").format(
        policy=escape(POLICY),
        title=text(document.title),
        style=_asset("page.css"),
        body="\n".join(body),
        library=charts.library().replace("</script", "<\\/script") if needs_charts(body) else "",
        script=_asset("page.js") + script,
    )
    if (size := len(made.encode("utf-8"))) > LARGEST:
        raise AmpmixError(
            f"the page would have {size / 1e6:.1f} MB: report fewer runs at once, so that it "
            f"stays under {LARGEST / 1e6:.0f} MB"
        )
    return made


def needs_charts(body: list[str]) -> bool:
    """Return True if the document has a chart."""
    return any('class="chart"' in part for part in body)


def data(identity: str, content: Any) -> str:
    """JSON in a script element, which no text in it can leave."""
    written = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for mark in "<>&\u2028\u2029":
        written = written.replace(mark, f"\\u{ord(mark):04x}")
    return f'<script type="application/json" id="{identity}">{written}</script>'


def text(value: str) -> str:
    """A text as HTML that shows it; a specification may break after a comma."""
    return escape(value).replace(",", ",<wbr>") if "=" in value else escape(value)


def chart(block: Chart) -> str:
    """A chart with its description and its numbers."""
    numbers = (
        ""
        if block.table is None
        else f"<details><summary>Numbers of this chart</summary>{_table(block.table)}</details>"
    )
    return (
        f'<figure><h3>{text(block.title)}</h3><div class="chart" id="{block.name}" role="img" '
        f'aria-label="{escape(block.alt)}"></div><figcaption>{text(block.alt)}</figcaption>'
        f"{numbers}{data(f'{block.name}-spec', block.spec)}</figure>"
    )


def _section(number: int, section: Section) -> str:
    inside = "\n".join(map(_block, section.blocks))
    title = f'<h2 id="s{number}">{text(section.title)}</h2>'
    return f'<section aria-labelledby="s{number}">{title}{inside}</section>'


def _block(block: Block) -> str:
    if isinstance(block, Chart):
        return chart(block)
    return _table(block) if isinstance(block, Table) else f"<p>{text(block)}</p>"


def _table(table: Table) -> str:
    heads = "".join(f'<th scope="col">{text(column)}</th>' for column in table.columns)
    rows = "".join(
        f'<tr><th scope="row">{_lines(row[0])}</th>{"".join(map(_cell, row[1:]))}</tr>'
        for row in table.rows
    )
    caption = f"<caption>{text(table.caption)}</caption>" if table.caption else ""
    label = escape(table.caption or "Table")
    return (  # in a box of its own, so that a wide table scrolls and the page does not
        f'<div class="wide" tabindex="0" role="region" aria-label="{label}"><table>{caption}'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _cell(value: str) -> str:
    tone = next((tone for start, tone in TONES.items() if value.startswith(start)), "")
    kinds = [tone] * bool(tone) + ["said"] * (len(value) > 24 and "\n" not in value)
    kind = f' class="{" ".join(kinds)}"' if kinds else ""
    return f"<td{kind}>{_lines(value)}</td>"


def _lines(value: str) -> str:
    return "<br>".join(map(text, value.split("\n")))


@lru_cache
def _asset(name: str) -> str:
    folder = resources.files("ampmix.report") / "assets"
    found = (folder / name).read_text(encoding="utf-8")
    return re.sub(r"^\s+", "", found, flags=re.MULTILINE) if name.endswith("css") else found
