"""Find components and read their spec strings: adding a policy, backbone or data set is one file.

A component is a frozen dataclass with a class variable `name`, defined in a module of its package
(modules whose names begin with an underscore are skipped). ``find`` turns a package into a plain
dictionary; ``parse`` reads ``amp[eps=0.1,site=sent]`` into an instance and ``spec`` writes it back,
leaving out what is at its default, so that one setting has one spelling.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import re
from functools import cache
from typing import Any

from ampmix.errors import AmpmixError, unknown

LONGEST = 10_000  # characters of a spec string, or of a list of them
_SPEC = re.compile(r"\s*(?P<name>[\w.\-]+)\s*(?:\[(?P<options>.*)\])?\s*", re.DOTALL)


@cache
def find(package: str) -> dict[str, type]:
    """All components of `package` by name, in the order of their ``rank`` (default 0), then name.

    Raises ImportError if a module of the package cannot be imported, and TypeError if two
    components share a name: nothing is skipped in silence.
    """
    found: dict[str, type] = {}
    for module_info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if module_info.name.startswith("_"):
            continue
        module = importlib.import_module(f"{package}.{module_info.name}")
        for cls in vars(module).values():
            if not (isinstance(cls, type) and cls.__module__ == module.__name__):
                continue
            name = getattr(cls, "name", None)
            if dataclasses.is_dataclass(cls) and isinstance(name, str):
                if found.get(name, cls) is not cls:
                    raise TypeError(f"two components of {package} are named {name!r}")
                found[name] = cls
    return dict(sorted(found.items(), key=lambda item: (getattr(item[1], "rank", 0), item[0])))


def parse(text: str, package: str, kind: str) -> Any:
    """The component that a spec string describes.

    Raises AmpmixError for a name, option or value that does not exist, and says which do.

    >>> parse("amp[eps=0.1,site=sent]", "ampmix.policies", "policy")
    AMP(alpha=1.0, eps=0.1, site='sent', min_op=True, direction='gradient', shared_dropout=True)
    """
    _check_length(text, kind)
    match = _SPEC.fullmatch(text)
    if match is None:
        raise AmpmixError(f"cannot read {kind} {text!r}: write it like amp[eps=0.1,site=sent]")
    components = find(package)
    if match["name"] not in components:
        raise unknown(kind, match["name"], components)
    cls = components[match["name"]]
    fields = {field.name: field for field in dataclasses.fields(cls)}
    values: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in (match["options"] or "").split(","))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise AmpmixError(f"cannot read {part!r} in {kind} {text!r}: options read key=value")
        if key not in fields:
            raise unknown(f"option of {kind} {match['name']}", key, fields)
        if key in values:
            raise AmpmixError(f"{kind} {text!r} gives {key} twice")
        values[key] = _convert(value, fields[key].default, f"{key} of {kind} {match['name']}")
    return cls(**values)


def parse_list(text: str, package: str, kind: str) -> list[Any]:
    """The components of a comma-separated list; commas inside brackets belong to the spec.

    >>> [spec(p) for p in parse_list("none,amp[eps=0.1,site=sent]", "ampmix.policies", "policy")]
    ['none', 'amp[eps=0.1,site=sent]']
    """
    _check_length(text, kind)
    parts = [part.strip() for part in re.split(r",(?![^\[]*\])", text)]
    components = [parse(part, package, kind) for part in parts if part]
    if not components:
        raise AmpmixError(f"no {kind} given: there are {', '.join(find(package))}")
    specs = [spec(component) for component in components]
    for one in specs:
        if specs.count(one) > 1:
            raise AmpmixError(f"{kind} {one} is given twice: give each once")
    return components


def _check_length(text: str, kind: str) -> None:
    if len(text) > LONGEST:
        raise AmpmixError(
            f"{kind} {text[:40]!r}… has {len(text):,} characters: at most {LONGEST:,} are read"
        )


def spec(component: Any) -> str:
    """The shortest spec string of a component: its name and what differs from the defaults."""
    values = [(field, getattr(component, field.name)) for field in dataclasses.fields(component)]
    options = [
        f"{field.name}={text_of(float(value) if isinstance(field.default, float) else value)}"
        for field, value in values
        if value != field.default
    ]
    return f"{component.name}[{','.join(options)}]" if options else str(component.name)


def text_of(value: Any) -> str:
    """A value as it is written in a spec string."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "+".join(map(text_of, value))
    return repr(value) if isinstance(value, float) else str(value)


def _convert(text: str, default: Any, what: str) -> Any:
    """`text` as the type of `default`; tuples are written ``3+4+5``."""
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(default, tuple):
            return tuple(int(item) for item in text.split("+"))
        return type(default)(text)
    except (ValueError, KeyError):
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}
        kind = wanted.get(type(default), "whole numbers joined by +")
        raise AmpmixError(f"{what} is {text!r}: it must be {kind}") from None
