"""Options that docs/departures.md names exist: each is the way to the paper's letter."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from ampmix._support import components
from ampmix._support.components import BACKBONES, DATASETS, POLICIES
from ampmix.cli.main import build_parser
from ampmix.training.config import TrainConfig

PAGE = (Path(__file__).parents[2] / "docs/departures.md").read_text(encoding="utf-8")
CODE = re.findall(r"`([^`]+)`", PAGE)
SPECS = sorted({code for code in CODE if re.fullmatch(r"\w+\[.*=.*\]", code)})


def test_there_are_options_in_each_part() -> None:
    parts = PAGE.split("\n## ")[1:]
    assert len(parts) == 5
    assert all("for the letter" in part for part in parts)
    assert len(SPECS) >= 10


@pytest.mark.parametrize("spec", SPECS)
def test_a_spec_can_be_read(spec: str) -> None:
    name, options = spec.rstrip("]").split("[")
    kinds = [kind for kind in (POLICIES, BACKBONES, DATASETS) if name in kind.names()]
    assert len(kinds) == 1, name
    (cls,) = (components.find(kind.package)[name] for kind in kinds)
    assert dataclasses.is_dataclass(cls)
    fields = {field.name for field in dataclasses.fields(cls)}
    wanted = {option.split("=")[0] for option in options.split(",")}
    assert wanted <= fields
    vectors = {"vectors": "v"} if "oov=drop" in spec else {}
    kinds[0].parse(spec.replace("=N]", "=9]"), **vectors)


def test_every_option_of_a_command_exists() -> None:
    (action,) = (a for a in build_parser()._actions if a.dest == "command")
    parsers = dict(action.choices or {})
    known = {option for name in ("compare", "train", "path") for option in parsers[name].options}
    named = {option for code in CODE for option in re.findall(r"--[a-z][a-z-]+", code)}
    assert {"--pairs", "--steps", "--selection"} <= named <= known


def test_settings_have_values_that_they_can_have() -> None:
    fields = {field.name: field for field in dataclasses.fields(TrainConfig)}
    found = 0
    for code in CODE:
        given = dict(re.findall(r"--([a-z-]+) (\S+)", code))
        given |= dict(re.findall(r'^(\w+) = "(\w+)"$', code))
        values = {name.replace("-", "_"): value for name, value in given.items()}
        settings = {k: v for k, v in values.items() if k in fields}
        made = {name: type(fields[name].default)(value) for name, value in settings.items()}
        TrainConfig(**made)
        found += len(made)
    assert found >= 10


def test_names_of_the_library_exist() -> None:
    import ampmix.policies.amp

    assert "amp_reference" in CODE and callable(ampmix.policies.amp.amp_reference)
