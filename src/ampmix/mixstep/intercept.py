"""Intercept the calls of modules, and detect activation checkpointing around them.

A module's ``__call__`` is intercepted, not its ``forward``, so that hooks and activation
checkpointing stay outside. For the time of a pass the module gets a subclass of its own class:
``isinstance``, names and attributes stay true, and the original class is put back afterwards.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import nn

from ampmix._torch.compiling import BETWEEN, uncompiled
from ampmix._torch.saved_tensors import saved_tensor_hooks

_HANDLER = "_ampmix_handler"


_MARK = "_ampmix_intercepted"


@cache
def _subclass(cls: Any) -> Any:
    """The subclass, one for each class, so that compiled code meets the same one again.

    The class itself is its only base: with another base beside it, instances of a class that lists
    one without attributes (``ABC``, ``Generic``) before ``nn.Module`` cannot change to it.
    """

    @uncompiled
    def intercept(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = super(made, self).__call__  # type: ignore[arg-type]
        return self.__dict__[_HANDLER](self, call, args, kwargs)

    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    names |= {"__call__": intercept, _MARK: True}
    made = type(cls.__name__, (cls,), dict(names))
    for added in set(vars(made)) - set(names) - {"__doc__", "__abstractmethods__", "_abc_impl"}:
        if added in vars(cls) or hasattr(cls, added):
            # __init_subclass__ of transformers' layers wraps forward in another checkpoint
            delattr(made, added)
    return made


Handler = Callable[[nn.Module, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


@contextmanager
@uncompiled
def intercepted(modules: Iterable[nn.Module], handler: Handler) -> Iterator[None]:
    """Within the context, send calls of `modules` to ``handler(module, call, args, kwargs)``."""
    changed: list[tuple[nn.Module, type]] = []
    try:
        for module in modules:
            if isinstance(module, torch.jit.ScriptModule):
                continue  # its class cannot be changed: it runs, each time
            changed.append((module, type(module)))
            module.__dict__[_HANDLER] = handler
            _become(module, _subclass(type(module)))  # type: ignore[arg-type]
        yield
    finally:
        for module, cls in changed:
            _become(module, cls)
            module.__dict__.pop(_HANDLER, None)


@contextmanager
@uncompiled
def as_they_were(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Within the context, give `modules` their own classes back.

    Code that is compiled meanwhile is then guarded by those classes, and fits later calls too.
    """
    changed = [(module, type(module)) for module in modules if hasattr(type(module), _MARK)]
    try:
        for module, cls in changed:
            _become(module, cls.__bases__[0])
        yield
    finally:
        for module, cls in changed:
            _become(module, cls)


@uncompiled
def _become(module: nn.Module, cls: type) -> None:
    object.__setattr__(module, "__class__", cls)  # compiled modules pass on what is set on them


@uncompiled
def runs_again(outside: Any, whole: bool = True) -> bool:
    """Return True if the module being called is inside activation checkpointing.

    Checkpointing calls the module again during backward, when the interception is off. With
    `whole`, a module that is itself the checkpointed function does not count: only its output
    leaves the checkpoint, and that output is at hand.
    """
    if saved_tensor_hooks() == outside:
        return False
    return not (whole and called_by_checkpoint())


@uncompiled
def called_by_checkpoint() -> bool:
    """Return True if the module being called is itself the checkpointed function."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals["__name__"] in _OURS:
        frame = frame.f_back
    return bool(frame.f_globals["__name__"] == "torch.utils.checkpoint")


_OURS = (  # modules whose frames lie between the checkpoint's call and called_by_checkpoint
    __name__,
    "ampmix.mixstep.passes",
    *BETWEEN,
)
