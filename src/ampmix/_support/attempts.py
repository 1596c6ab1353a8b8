"""Attempts at what a result can do without: names, versions, cards."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from ampmix.errors import out_of_memory

T = TypeVar("T")
U = TypeVar("U")


def attempt(told: Callable[[], T], fallback: U, what: str) -> T | U:
    """Return what `told` returns; `fallback` with a warning if it raises.

    For what is only told of a result: no failure of it may lose hours of training. Memory that ran
    out is raised, for nothing else goes well then either.

    >>> attempt(lambda: "cnn-rand", "", "a name")
    'cnn-rand'
    """
    try:
        return told()
    except Exception as error:
        if out_of_memory(error):
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        warnings.warn(f"{what} is left out ({reason})", stacklevel=2)
        return fallback


def paper_name(component: Any) -> str:
    """The name of a policy or backbone in the paper's tables, "" for none or if it cannot tell."""
    called = getattr(type(component), "name", type(component).__name__)
    return str(attempt(lambda: component.reference_name, "", f"the paper's name of {called}"))
