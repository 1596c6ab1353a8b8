"""Exclude functions from torch.compile, and see whether it is at work."""

from __future__ import annotations

from collections.abc import Callable
from inspect import isfunction
from typing import Any, TypeVar

import torch
from torch._compile import _disable_dynamo

Thing = TypeVar("Thing", bound=Callable[..., Any])

BETWEEN = ("torch._compile", "torch._dynamo.external_utils", "torch._dynamo.eval_frame")
"""The modules whose frames lie between an excluded function and its caller."""
never_compiled = _disable_dynamo
"""Exclude a function, and all that it calls, from ``torch.compile``."""


def uncompiled(thing: Thing) -> Thing:
    """Exclude a function, or all methods of a class, from ``torch.compile``.

    The functions that it calls, such as a model, are still compiled. ampmix stops a model in its
    middle and starts it again, which would break the graph and be compiled anew for every batch.
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


def traced() -> bool:
    """Return True while a compiler, an exporter or a tracer writes down what is computed.

    >>> traced()
    False
    """
    return torch.compiler.is_compiling() or torch._C._is_tracing()
