"""Draw Vega-Lite specifications: into files, or as the script that draws them in a page."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ampmix._support.extras import needed
from ampmix._support.files import whole
from ampmix.errors import AmpmixError

FORMATS = ("svg", "pdf", "png")


def save(spec: Mapping[str, Any], path: Path) -> None:
    """Draw a specification into a file; its suffix is one of ``FORMATS``.

    Raises AmpmixError without vl-convert-python.
    """
    draw(dict(spec) | {"width": 480, "background": "white"}, path)


def draw(spec: dict[str, Any], path: Path, **options: Any) -> None:
    """Draw a specification that has its size already; `options` are vl-convert's.

    Raises AmpmixError without vl-convert-python.
    """
    convert = needed("vl_convert", "report")
    into = getattr(convert, f"vegalite_to_{path.suffix[1:].lower()}")
    drawn = into(spec, vl_version=_schema(), **options)
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
    script: str = needed("vl_convert", "report").javascript_bundle(vl_version=_schema())
    return script


def _schema() -> str:
    """The version of Vega-Lite that specifications are written for."""
    version: str = needed("altair", "report").SCHEMA_VERSION
    return version.lstrip("v").rpartition(".")[0]
