"""A report as one HTML page that needs nothing else: no network, no other file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

from ampmix._support.extras import needed
from ampmix.errors import AmpmixError, printable
from ampmix.report import drawing
from ampmix.report.document import Document, ReportTable

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


def page(document: Document, pairs: Mapping[str, Any] | None = None, script: str = "") -> str:
    """The page.

    Args:
        document: what it says.
        pairs: what :func:`ampmix.report.loss_path.chooser` gives, for a part where one is chosen.
        script: what goes with that.

    Raises:
        AmpmixError: without the extra ``report``, or if the page would be over 3 MB.
    """
    drawn = document.charts or pairs
    made: str = template("page.html").render(
        document=document,
        pairs=pairs,
        policy=POLICY,
        kind=kind,
        style=asset("page.css"),
        library=drawing.library().replace("</script", "<\\/script") if drawn else "",
        script=asset("page.js") + script,
    )
    if (size := len(made.encode("utf-8"))) > LARGEST:
        raise AmpmixError(
            f"the page would have {size / 1e6:.1f} MB: report fewer runs at once, so that it "
            f"stays under {LARGEST / 1e6:.0f} MB"
        )
    return made


def kind(table: ReportTable, column: int, value: str) -> str | None:
    """The classes of a cell by what it says, ``said`` in a column of sentences; None for none."""
    told = tone(value.rpartition("\n")[2])  # a verdict may stand below its number
    said = column > 0 and any(_is_said(row[column]) for row in table.rows)
    return " ".join([told] * bool(told) + ["said"] * said) or None


def tone(verdict: str) -> str:
    """The class of a verdict by which it is coloured, "" for none."""
    return next((tone for start, tone in TONES.items() if verdict.startswith(start)), "")


def _is_said(cell: str) -> bool:
    return len(cell) > 24 and "\n" not in cell


def _shown(value: Any) -> Any:
    """Spell control characters in all texts of a value; what is markup already stays."""
    if isinstance(value, Mapping):
        return {_shown(key): _shown(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(one) for one in value]
    return printable(value) if type(value) is str else value


@lru_cache
def template(name: str) -> Any:
    """A template of ``assets/``, which escapes what it is given unless it says ``safe``.

    Raises AmpmixError without the extra ``report``.
    """
    environment = needed("jinja2", "report").Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_shown
    )
    environment.filters["shown"] = _shown
    environment.policies["json.dumps_kwargs"] = {
        "ensure_ascii": False,
        "separators": (",", ":"),
        "allow_nan": False,
    }
    return environment.from_string(asset(name))


@lru_cache
def asset(name: str) -> str:
    """A file of ``assets/``."""
    folder = resources.files("ampmix.report") / "assets"
    found = (folder / name).read_text(encoding="utf-8")
    return re.sub(r"^\s+", "", found, flags=re.MULTILINE) if name.endswith("css") else found
