"""Packages that only some need: imported when they are used, missed with the name of the extra."""

from __future__ import annotations

import importlib
from typing import Any

from ampmix.errors import AmpmixError


def needed(module: str, extra: str) -> Any:
    """Import `module`; AmpmixError that names the extra if it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise AmpmixError(
            f"the package {error.name} is not installed: pip install 'ampmix[{extra}]'"
        ) from error
