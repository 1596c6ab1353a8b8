"""The names that `import ampmix` gives."""

from __future__ import annotations

import importlib
import pkgutil

import ampmix


def test_no_module_hides_a_public_name() -> None:
    """Importing ampmix.x sets the package's attribute x: a function of that name would be gone."""
    modules = {module.name for module in pkgutil.iter_modules(ampmix.__path__)}
    assert modules & {*ampmix.__all__, *ampmix._LAZY} == set()


def test_every_lazy_name_is_there() -> None:
    for name, (module, attribute) in ampmix._LAZY.items():
        assert getattr(ampmix, name) is getattr(importlib.import_module(module), attribute)
        assert name in dir(ampmix)
