"""The conda recipe says what pyproject.toml says."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from ampmix import __version__

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[2]
RECIPE: Any = yaml.safe_load((ROOT / "conda/recipe.yaml").read_text(encoding="utf-8"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
CALLED = {"torch": "pytorch"}
"""Packages that conda calls otherwise."""


def of_pip(requirements: list[str]) -> dict[str, str]:
    """Bounds by package, in conda's names; conditions on Python are left out."""
    found = {}
    for line in requirements:
        match = re.fullmatch(r"([\w.-]+)([^;]*)(;.*)?", line)
        assert match is not None, line
        found[CALLED.get(match[1], match[1])] = match[2].strip()
    return found


def of_conda(requirements: list[str]) -> dict[str, str]:
    """Bounds by package, with the recipe's own variables in their places."""
    context = RECIPE["context"]
    filled = [re.sub(r"\$\{\{ (\w+) \}\}", lambda m: context[m[1]], one) for one in requirements]
    return {name: bound for name, _, bound in (one.partition(" ") for one in filled)}


def test_it_runs_with_what_the_project_depends_on() -> None:
    wanted = {"python": PROJECT["requires-python"], **of_pip(PROJECT["dependencies"])}
    assert of_conda(RECIPE["requirements"]["run"]) == wanted


def test_it_is_built_by_the_same_backend() -> None:
    host = of_conda(RECIPE["requirements"]["host"])
    assert of_pip(PYPROJECT["build-system"]["requires"]).items() <= host.items()
    assert host["python"] == f"{PROJECT['requires-python'].removeprefix('>=')}.*"
    assert RECIPE["build"]["noarch"] == "python"


def test_it_has_the_same_commands_name_and_version() -> None:
    given = dict(one.split(" = ") for one in RECIPE["build"]["python"]["entry_points"])
    assert given == PROJECT["scripts"]
    assert RECIPE["package"]["name"] == PROJECT["name"]
    assert RECIPE["context"]["version"] == __version__
    about = RECIPE["about"]
    assert (about["summary"], about["license"]) == (PROJECT["description"], PROJECT["license"])
    assert (ROOT / about["license_file"]).is_file()


def test_a_bound_that_differs_is_found() -> None:
    assert of_pip(["torch>=2.4", "tomli>=2.0; python_version < '3.11'"]) == {
        "pytorch": ">=2.4",
        "tomli": ">=2.0",
    }
    assert of_conda(["pytorch >=2.3", "python >=${{ python_min }}"]) == {
        "pytorch": ">=2.3",
        "python": ">=3.10",
    }
