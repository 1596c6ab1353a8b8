"""Trace components that are not ampmix's own: their source, their package, their mistakes."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import inspect
import sys
import textwrap
import traceback
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from ampmix._support.components import Kind, is_own
from ampmix.errors import AmpmixError, out_of_memory


def source_of(component: Any, kind: Kind) -> str:
    """SHA-256 of the source of a component's class, "" for ampmix's own.

    With the class count its bases and whatever functions, classes and plain values of its package
    its source names, and theirs. A script may change elsewhere, and its runs stay what they are.

    Raises AmpmixError if there is no source to read, as in an interactive session.
    """
    cls = type(component)
    if is_own(cls, kind.package):
        return ""
    texts: dict[str, str] = {}
    waiting: list[Any] = [cls]
    try:
        while waiting:
            one = waiting.pop()
            if (place := f"{_root(one)}.{one.__qualname__}") in texts:
                continue
            texts[place] = _text(one)
            bases = one.__mro__[1:] if isinstance(one, type) else ()
            waiting += [base for base in bases if _root(base) == _root(cls)]
            namespace = vars(sys.modules[one.__module__])
            for name in sorted(_names(texts[place])):
                value = namespace.get(name)
                if _plain(value):
                    texts[f"{_root(one)}.{name}"] = repr(value)
                elif hasattr(value, "__qualname__") and _root(value) == _root(cls):
                    waiting.append(value)
    except (OSError, TypeError, SyntaxError, KeyError) as error:
        raise AmpmixError(
            f"the source of {kind.noun} {component.name} cannot be read, and a run is known by it: "
            "define its class in a file"
        ) from error
    # not by the name of the module: a script's is another one in a worker
    lasting = sorted(texts.values())
    return hashlib.sha256("\0".join(lasting).encode("utf-8", "surrogatepass")).hexdigest()


def _text(one: Any) -> str:
    """The source of a class or function; of a class in a notebook that of its methods."""
    try:
        return textwrap.dedent(inspect.getsource(one))
    except (OSError, TypeError):
        if not isinstance(one, type) or not (methods := _methods(one)):
            raise
        plain = {name: value for name, value in vars(one).items() if _plain(value)}
        plain = {name: value for name, value in plain.items() if not name.startswith("__")}
        return "\n".join([repr(sorted(plain.items())), *map(_text, methods)])


def _methods(cls: type) -> list[Any]:
    """The functions in the body of a class; not those that a dataclass is given."""
    found = [value for value in vars(cls).values() if inspect.isfunction(value)]
    return [one for one in found if one.__code__.co_filename != "<string>"]


def _plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_plain, value))
    return isinstance(value, bool | int | float | str)


def _root(value: Any) -> str:
    return str(getattr(value, "__module__", "")).partition(".")[0]


def _names(source: str) -> set[str]:
    """The names that are read in a piece of source."""
    return {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}


def package_of(component: Any, kind: Kind) -> tuple[str, str] | None:
    """Name and version of the installed package of a component that is not ampmix's own."""
    cls = type(component)
    if is_own(cls, kind.package):
        return None
    for entry in metadata.entry_points(group=kind.package):
        if entry.dist is not None and entry.module.partition(".")[0] == _root(cls):
            return entry.dist.name, entry.dist.version
    for name in metadata.packages_distributions().get(_root(cls), ()):
        return name, metadata.version(name)
    return None


@contextlib.contextmanager
def blaming(component: Any, kind: Kind) -> Iterator[None]:
    """Turn what somebody's own component raises into a sentence that names it and the line."""
    try:
        yield
    except AmpmixError:
        raise
    except Exception as error:
        if is_own(type(component), kind.package) or out_of_memory(error):
            raise
        frames = traceback.extract_tb(error.__traceback__)
        files = {method.__code__.co_filename for method in _methods(type(component))}
        lines = [frame for frame in frames if frame.filename in files]
        if not lines:
            raise
        told = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        raise AmpmixError(
            f"{kind.noun} {component.name} failed in line {lines[-1].lineno} of "
            f"{Path(lines[-1].filename).name} ({told})"
        ) from error
