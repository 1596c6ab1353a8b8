"""Modules that are intercepted where they are called, and whether they will be called again.

Not in their ``forward``: so hooks and activation checkpointing are outside. For the time of a pass
they get a subclass of their own class, so that ``isinstance``, names and attributes stay true, and
nothing is left of it afterwards.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import nn

from ampmix.compiling import uncompiled

_HANDLER = "_ampmix_handler"


class _Intercepted:
    """Put before a module's class: its calls go to the handler in its dictionary."""

    @uncompiled
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        call = super().__call__  # type: ignore[misc]
        return self.__dict__[_HANDLER](self, call, args, kwargs)


@cache
def _subclass(cls: Any) -> Any:
    """The subclass, one for each class, so that compiled code meets the same one again."""
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    made = type(cls.__name__, (_Intercepted, cls), dict(names))
    for added in set(vars(made)) - set(names) - {"__doc__", "__abstractmethods__", "_abc_impl"}:
        if added in vars(cls) or hasattr(cls, added):
            # __init_subclass__ of transformers' layers wraps forward in another checkpoint
            delattr(made, added)
    return made


Handler = Callable[[nn.Module, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


@contextmanager
@uncompiled
def intercepted(modules: Iterable[nn.Module], handler: Handler) -> Iterator[None]:
    """Calls of `modules` go to ``handler(module, call, args, kwargs)`` in the meantime."""
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
    """Intercept no calls of `modules` in the meantime.

    What is compiled then is for their own classes, and fits whether they are intercepted or not.
    """
    changed = [(module, type(module)) for module in modules if isinstance(module, _Intercepted)]
    try:
        for module, cls in changed:
            _become(module, cls.__bases__[1])
        yield
    finally:
        for module, cls in changed:
            _become(module, cls)


@uncompiled
def _become(module: nn.Module, cls: type) -> None:
    object.__setattr__(module, "__class__", cls)  # compiled modules pass on what is set on them


@uncompiled
def saved_tensor_hooks() -> Any:
    """Those in force: an activation checkpoint sets its own; None if there are none."""
    find = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)
    return None if find is None else find(True)


@uncompiled
def runs_again(outside: Any, whole: bool = True) -> bool:
    """Whether what runs here will run again in the backward pass, where nothing is intercepted.

    So does what an activation checkpoint holds. But if that is this very module, nothing but its
    output leaves the checkpoint: then it is not, when `whole`, counted among those.
    """
    if saved_tensor_hooks() == outside:
        return False
    return not (whole and called_by_checkpoint())


@uncompiled
def called_by_checkpoint() -> bool:
    """Whether the module that is being called is itself what a checkpoint was given."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals["__name__"] in _OURS:
        frame = frame.f_back
    return bool(frame.f_globals["__name__"] == "torch.utils.checkpoint")


_OURS = (  # modules whose functions stand between a checkpoint's call and the question
    __name__,
    "ampmix.cut.passes",
    "torch._compile",
    "torch._dynamo.external_utils",
    "torch._dynamo.eval_frame",
)
