"""What torch.compile is to leave alone."""

from __future__ import annotations

from collections.abc import Callable
from inspect import isfunction
from typing import Any, TypeVar

from torch._compile import _disable_dynamo

Thing = TypeVar("Thing", bound=Callable[..., Any])


def uncompiled(thing: Thing) -> Thing:
    """A function, or a class with its methods, whose own lines ``torch.compile`` leaves to Python.

    What they call is compiled as if called from anywhere: a model, say, by code that stops in its
    middle and starts it again, which would break any graph and be compiled for every batch anew.
    Unlike ``torch.compiler.disable``, this does not load the compiler where nothing is compiled.

    >>> @uncompiled
    ... def double(x):
    ...     return 2 * x
    >>> double(4)
    8
    """
    if isfunction(thing):
        left: Any = _disable_dynamo(thing, recursive=False)
        return left  # type: ignore[no-any-return]
    for name, method in list(vars(thing).items()):
        if isfunction(method):
            setattr(thing, name, _disable_dynamo(method, recursive=False))
    return thing
