"""Draw Vega-Lite specifications: into files, or as the script that draws them in a page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ampmix._support.extras import needed
from ampmix._support.files import whole
from ampmix.errors import AmpmixError

FORMATS = ("svg", "pdf", "png")
COLUMNS = {"single": 8.5, "double": 17.5}  # cm
POINTS = 72 / 2.54  # of a centimetre; a chart's pixel is a point
DPI = 300  # of a PNG


@dataclass(frozen=True)
class Look:
    """Size and letters of pictures in files.

    Attributes:
        width: of the whole picture, in points, whose letters are of the size that charts say.
        font: of all letters, "" for the drawing library's own.
    """

    width: float = 480
    font: str = ""

    @classmethod
    def of(cls, width: str, font: str = "") -> Look:
        """The look that options ask for; "" for the default.

        Raises:
            AmpmixError: a width that is no name of a column and no number of centimetres.

        >>> round(Look.of("single").width)
        241
        """
        if not width:
            return cls(font=font)
        try:
            centimetres = COLUMNS.get(width) or float(width)
        except ValueError:
            centimetres = 0.0
        if not 4 <= centimetres <= 100:
            told = ", ".join(f"{name} ({cm} cm)" for name, cm in COLUMNS.items())
            raise AmpmixError(f"width is {width!r}: it is {told}, or centimetres from 4 to 100")
        return cls(centimetres * POINTS, font)


def save(spec: Mapping[str, Any], path: Path, look: Look | None = None) -> None:
    """Draw a specification into a file; its suffix is one of ``FORMATS``.

    Raises AmpmixError without vl-convert-python.
    """
    own = look or Look()
    made = json.loads(json.dumps(spec)) | {"width": own.width, "background": "white"}
    if own.font:
        made.setdefault("config", {})["font"] = own.font
    for layer in made.get("layer", ()):
        axis = layer.get("encoding", {}).get("y", {}).get("axis") or {}
        if "labelLimit" in axis:  # names beside a narrow plot would leave no room for it
            axis["labelLimit"] = min(axis["labelLimit"], round(0.4 * own.width))
    draw(made, path, **({"ppi": DPI} if path.suffix.lower() == ".png" else {}))


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


def formats_of(text: str, known: tuple[str, ...] = FORMATS) -> tuple[str, ...]:
    """The formats in ``svg,pdf``; AmpmixError for others than those known.

    >>> formats_of("svg,pdf")
    ('svg', 'pdf')
    """
    named = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    for one in named:
        if one not in known:
            what = "figures" if known is FORMATS else "tables"
            raise AmpmixError(f"{what} are asked for as {one!r}: there are {', '.join(known)}")
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
