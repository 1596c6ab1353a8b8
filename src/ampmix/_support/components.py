"""Find components and read their spec strings: adding a policy, backbone or data set is one file.

A component is a frozen dataclass with a class variable `name`, defined in a module of its package
(modules whose names begin with an underscore are skipped). ``find`` turns a package into a plain
dictionary; ``parse`` reads ``amp[eps=0.1,site=sent]`` into an instance and ``spec`` writes it back,
leaving out what is at its default, so that one setting has one spelling.

Components of anybody's are found besides: by the entry points ``ampmix.policies``,
``ampmix.backbones``, ``ampmix.baselines`` and ``ampmix.datasets`` of installed packages, and as
``module:Class``.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
import sys
from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from ampmix.errors import AmpmixError, unknown

LONGEST = 10_000  # characters of a spec string, or of a list of them
_DOTTED = re.compile(r"\w+(?:\.\w+)*:\w+")
_SPEC = re.compile(
    r"\s*(?P<name>(?:\w+(?:\.\w+)*:)?[\w.\-]+)\s*(?:\[(?P<options>.*)\])?\s*", re.DOTALL
)


@cache
def find(package: str) -> dict[str, type]:
    """All of ampmix's own components of `package` by name, by ``rank`` (default 0), then name.

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


@dataclass(frozen=True)
class Kind:
    """A kind of component: the package of ampmix's own, which is also the entry-point group.

    >>> POLICIES.parse("amp[eps=0.1,site=sent]").eps
    0.1
    """

    package: str
    noun: str

    def parse(self, text: str, trusted: bool = False, **given: Any) -> Any:
        """Parse a spec string: see :func:`parse`."""
        return parse(text, self.package, self.noun, trusted, **given)

    def class_of(self, text: str, trusted: bool = False) -> Any:
        """The class that a spec string names; errors as :func:`parse`."""
        return _class_of(text.split("[")[0].strip(), self.package, self.noun, trusted)

    def parse_list(self, text: str, trusted: bool = False) -> list[Any]:
        """Parse a comma-separated list: see :func:`parse_list`."""
        return parse_list(text, self.package, self.noun, trusted)

    def names(self) -> list[str]:
        """Every name that a spec string can begin with, ampmix's own first."""
        return [*find(self.package), *entries(self.package)]

    def known(self, text: str) -> Any:
        """The class that a spec string names, None for none: it may be the path of a file."""
        name = text.split("[")[0].strip()
        if name in find(self.package) or name in entries(self.package):
            return _class_of(name, self.package, self.noun, trusted=False)
        if _DOTTED.fullmatch(name) and not Path(name).exists():
            return _class_of(name, self.package, self.noun, trusted=True)
        return None

    def check(self, component: Any) -> None:
        """Raise AmpmixError unless an instance of somebody's own class keeps the contract."""
        check(type(component), self.package, self.noun)


_ENCODER = "a model of the hub or in a folder is encoder[model={}]"

POLICIES = Kind("ampmix.policies", "policy")
BACKBONES = Kind("ampmix.backbones", "backbone")
BASELINES = Kind("ampmix.baselines", "baseline")
DATASETS = Kind("ampmix.datasets", "data set")


def kind_of_model(text: str) -> Kind:
    """The kind of the model that a spec string names: a baseline, or else a backbone.

    >>> kind_of_model("tfidf-logreg[C=1.0]").noun, kind_of_model("cnn").noun
    ('baseline', 'backbone')
    """
    return BASELINES if text.split("[")[0].strip() in BASELINES.names() else BACKBONES


def parse_model(text: str, trusted: bool = False) -> Any:
    """The baseline or backbone of a spec string; errors as :func:`parse`."""
    return kind_of_model(text).parse(text, trusted)


def parse(text: str, package: str, kind: str, trusted: bool = False, **given: Any) -> Any:
    """The component that a spec string describes.

    A name is one of ampmix's own, of an entry point of an installed package, or of a class that is
    imported already; ``module:Class`` names any class.

    Args:
        text: the spec string.
        package: where ampmix's own are, and the group of the entry points.
        kind: what a message calls it.
        trusted: import the module of ``module:Class``. Only for what the user has written: text
            from a model folder or a record must not choose what is executed.
        given: options that go before those of the text. What the component checks of its options
            it checks of all together.

    Raises AmpmixError for a name, option or value that does not exist, and says which do.

    >>> parse("amp[eps=0.1,site=sent]", "ampmix.policies", "policy")
    AMP(alpha=1.0, eps=0.1, site='sent', min_op=True, direction='gradient', shared_dropout=True,
    clip_lam=True, pairing='any', lam='any', until=1.0, steps=1,
    per='example')
    """
    _check_length(text, kind)
    match = _SPEC.fullmatch(text)
    if match is None:
        way_out = "write it like amp[eps=0.1,site=sent]"
        if kind == BACKBONES.noun and re.fullmatch(r"[\w.\-/\\:~]+", text):
            way_out = _ENCODER.format(text)
        raise AmpmixError(f"cannot read {kind} {text!r}: {way_out}")
    cls = _class_of(match["name"], package, kind, trusted)
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
    return cls(**{**values, **given})


def parse_list(text: str, package: str, kind: str, trusted: bool = False) -> list[Any]:
    """The components of a comma-separated list; commas inside brackets belong to the spec.

    >>> [spec(p) for p in parse_list("none,amp[eps=0.1,site=sent]", "ampmix.policies", "policy")]
    ['none', 'amp[eps=0.1,site=sent]']
    """
    _check_length(text, kind)
    components = [parse(part, package, kind, trusted) for part in split_list(text)]
    if not components:
        raise AmpmixError(f"no {kind} given: there are {', '.join(find(package))}")
    check_once([spec(component) for component in components], kind)
    return components


def split_list(text: str) -> list[str]:
    """The parts of a list that commas separate, but for those inside brackets.

    >>> split_list("cnn, amp[eps=0.1,site=sent],")
    ['cnn', 'amp[eps=0.1,site=sent]']
    """
    parts = (part.strip() for part in re.split(r",(?![^\[]*\])", text))
    return [part for part in parts if part]


def check_once(specs: Sequence[str], kind: str) -> None:
    """Raise AmpmixError if a spec string is there twice."""
    for one in specs:
        if specs.count(one) > 1:
            raise AmpmixError(f"{kind} {one} is given twice: give each once")


def entries(package: str) -> dict[str, metadata.EntryPoint]:
    """The entry points of a group by name, without those that have a name of ampmix's own."""
    return {name: entry for name, entry in _entries(package).items() if name not in find(package)}


def hidden(package: str) -> list[str]:
    """Names of entry points that ampmix's own components have, and keep."""
    return [name for name in _entries(package) if name in find(package)]


@cache
def _entries(package: str) -> dict[str, metadata.EntryPoint]:
    found = metadata.entry_points(group=package)
    return {entry.name: entry for entry in sorted(found, key=lambda e: (e.name, e.value))}


def load_entry(name: str, package: str, kind: str) -> Any:
    """The class of an entry point; AmpmixError if it cannot be had or breaks the contract."""
    entry = _entries(package)[name]
    place = f"{kind} {name} of the installed package {entry.dist.name if entry.dist else '?'}"
    try:
        cls = entry.load()
    except Exception as error:
        raise AmpmixError(
            f"{place} cannot be imported ({_told(error)}): mend or uninstall the package"
        ) from error
    check(cls, package, kind)
    if cls.name != name:
        raise AmpmixError(f"{place} calls itself {cls.name!r}: entry point and name must agree")
    return cls


def _class_of(name: str, package: str, kind: str, trusted: bool) -> Any:
    if name in (own := find(package)):
        return own[name]
    if ":" in name:
        return _imported_from(name, package, kind, trusted)
    if name in entries(package):
        return load_entry(name, package, kind)
    if len(found := [cls for cls in _subclasses(package) if _name_of(cls) == name]) == 1:
        check(found[0], package, kind)
        return found[0]
    error = unknown(kind, name, [*own, *entries(package)])
    if kind == BACKBONES.noun and re.search(r"[-/]", name):
        raise AmpmixError(f"{error}; {_ENCODER.format(name)}")
    raise error


def _imported_from(name: str, package: str, kind: str, trusted: bool) -> Any:
    """The class that ``module:Class`` names; the current folder is looked in last."""
    module_name, _, class_name = name.partition(":")
    module: Any = sys.modules.get(module_name)
    if module is None and not trusted:
        raise AmpmixError(
            f"{kind} {name} is not imported: text from files imports nothing; import "
            f"{module_name} first, if you trust it"
        )
    if module is None:
        here = str(Path.cwd())
        if not {"", here} & set(sys.path):
            sys.path.append(here)  # for good: workers look where this process does
        try:
            module = importlib.import_module(module_name)
        except Exception as error:
            raise AmpmixError(
                f"{kind} {name} cannot be imported ({_told(error)}): write module:Class, with a "
                "module that is installed or in the current folder"
            ) from error
    # vars: getattr would have a lazy module import what it names
    cls: Any = getattr(module, class_name, None) if trusted else vars(module).get(class_name)
    if cls is None:
        classes = [n for n, value in vars(module).items() if isinstance(value, type)]
        raise unknown(f"{kind} in {module_name}", class_name, classes)
    check(cls, package, kind)
    return cls


def _told(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _bases(package: str) -> tuple[type, ...]:
    """The base class that all of ampmix's own components of a kind have, if they have one."""
    first, *others = find(package).values()
    common = (c for c in first.__mro__[1:-1] if c is not ABC)
    return tuple(c for c in common if all(issubclass(cls, c) for cls in others))


def _subclasses(package: str) -> list[type]:
    """The classes of a kind that are imported and not ampmix's own."""
    found, waiting = dict[type, None](), [*_bases(package)]
    while waiting:
        base = waiting.pop()
        subclasses: list[type] = base.__subclasses__()
        for cls in subclasses:
            if cls not in found:
                found[cls] = None
                waiting.append(cls)
    own = set(find(package).values())
    return [cls for cls in found if cls not in own and not inspect.isabstract(cls)]


def _name_of(cls: Any) -> Any:
    return getattr(cls, "name", None)


def is_own(cls: type, package: str) -> bool:
    """Return True if a component is one of ampmix's own."""
    return find(package).get(str(_name_of(cls))) is cls


def check(cls: Any, package: str, kind: str) -> None:
    """Raise AmpmixError unless a class keeps the contract of components.

    It is a frozen dataclass with a class variable ``name`` that no other component has, and all its
    options have defaults: a bool, a number, a string or a tuple of whole numbers.
    """
    if isinstance(cls, type) and is_own(cls, package):
        return
    where = f"{cls.__module__}:{cls.__qualname__}" if isinstance(cls, type) else repr(cls)[:80]
    if reason := _breach(cls, package):
        raise AmpmixError(f"{kind} {where} {reason}")


def _breach(cls: Any, package: str) -> str:
    if not isinstance(cls, type):
        return "is no class: name a class"
    bases = _bases(package)
    if bases and not issubclass(cls, bases[:1]):
        return f"is no subclass of ampmix's {bases[0].__name__}: make it one"
    if not bases and not callable(getattr(cls, "load", None)):
        return "has no method load: give it one, which returns a TextDataset"
    if missing := getattr(cls, "__abstractmethods__", ()):
        return f"does not define {', '.join(sorted(missing))}: define it"
    name = _name_of(cls)
    if not isinstance(name, str) or not re.fullmatch(r"[\w.\-]+", name):
        return 'has no name: give it a class variable, such as name = "mine"'
    if name in find(package):
        return f"has the name {name!r}, as one of ampmix's own: give it a name of its own"
    if not (dataclasses.is_dataclass(cls) and cls.__dataclass_params__.frozen):  # type: ignore[attr-defined]
        return "is no frozen dataclass: put @dataclass(frozen=True) above it"
    if cls.__hash__ is None:
        return "is not hashable: leave __eq__ to the dataclass"
    for field in dataclasses.fields(cls):
        if field.default is dataclasses.MISSING:
            return f"has no default for its option {field.name}: give it one"
        if not isinstance(field.default, bool | int | float | str | tuple):
            return (
                f"has the default {field.default!r} for its option {field.name}: it must be a "
                "bool, a number, a string or a tuple of whole numbers"
            )
    return ""


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
