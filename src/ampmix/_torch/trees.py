"""Tensors in nested dicts, lists, tuples and dataclasses: read, and replaced in copies.

PyTorch's own walk takes a dataclass, and a mapping that is no dict, for one leaf.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from ampmix._torch.compiling import never_compiled

Path = tuple[str, ...]
"""Keys, positions and names of attributes that lead to a leaf."""


@never_compiled
def mapped(function: Callable[[Any], Any], things: Any) -> Any:
    """The containers, with a function of each leaf in its place; what is unchanged is the same."""
    return mapped_by_path(lambda _, leaf: function(leaf), things)


@never_compiled
def mapped_by_path(function: Callable[[Path, Any], Any], things: Any, path: Path = ()) -> Any:
    """Like :func:`mapped`, the function being given the path of each leaf, too.

    >>> mapped_by_path(lambda path, leaf: ".".join(path), {"a": [1, 2], "b": 3})
    {'a': ['a.0', 'a.1'], 'b': 'b'}
    """
    parts = _parts(things)
    if parts is None:
        return function(path, things)
    new = {name: mapped_by_path(function, part, (*path, str(name))) for name, part in parts.items()}
    if all(new[name] is parts[name] for name in parts):
        return things
    return _rebuilt(things, new)


@never_compiled
def leaves(things: Any) -> list[Any]:
    """The leaves of nested containers, in a list."""
    parts = _parts(things)
    if parts is None:
        return [things]
    return [leaf for part in parts.values() for leaf in leaves(part)]


@never_compiled
def rebuilt(new: Sequence[Any], things: Any) -> Any:
    """The containers of `things`, with other leaves in them."""
    left: Iterator[Any] = iter(new)
    return mapped(lambda _: next(left), things)


@never_compiled
def _parts(thing: Any) -> dict[Any, Any] | None:
    """The parts of a container, by key, position or attribute; None for a leaf."""
    if isinstance(thing, Mapping):
        return dict(thing.items())
    if isinstance(thing, tuple) and hasattr(thing, "_fields"):
        return dict(zip(thing._fields, thing, strict=False))
    if isinstance(thing, list | tuple):
        return dict(enumerate(thing))
    if is_dataclass(thing) and not isinstance(thing, type):
        names = [f.name for f in fields(thing) if hasattr(thing, f.name)]
        return {name: getattr(thing, name) for name in names}
    return None


@never_compiled
def _rebuilt(thing: Any, parts: dict[Any, Any]) -> Any:
    kind: Any = type(thing)
    if kind is dict:
        return parts
    if isinstance(thing, Mapping):
        if not hasattr(kind, "__setitem__"):
            return parts
        new = copy.copy(thing)
        for name, part in parts.items():
            if new[name] is not part:
                new[name] = part  # type: ignore[index]
        return new
    if hasattr(kind, "_fields"):
        return kind(*parts.values())
    if isinstance(thing, list | tuple):
        return kind(parts.values())
    new = copy.copy(thing)
    for name, part in parts.items():
        object.__setattr__(new, name, part)  # frozen ones refuse assignment
    return new
