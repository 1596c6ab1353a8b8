"""Numbers printed in the paper, which reports stand beside their own."""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from ampmix.errors import AmpmixError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@lru_cache(maxsize=1)
def reference() -> dict[str, Any]:
    """``paper/reference.toml``, from the installed package or from a source checkout.

    Tables by name (``table1``, ``table2``, ...), each a list of rows; errors in percent.

    Raises:
        AmpmixError: if the file is missing or damaged.

    >>> reference()["table1"][0]["vocabulary"]
    9592
    """
    package = Path(__file__).parents[1]
    for folder in (package, package.parents[1]):
        path = folder / "paper" / "reference.toml"
        if path.exists():
            return read(path)
    raise AmpmixError("paper/reference.toml is missing from this ampmix: install it again")


def read(path: Path) -> dict[str, Any]:
    """Read printed numbers from a file in the format of :func:`reference`."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error)[:200]
        raise AmpmixError(f"{path.name} is damaged ({reason}): install ampmix again") from error
