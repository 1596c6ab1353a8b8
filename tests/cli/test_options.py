"""The options of training are the fields of TrainConfig, and the help tells their defaults."""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import Field, fields
from typing import Any

import pytest

from ampmix import TextCNN, TrainConfig
from ampmix.backbones.encoder import Encoder
from ampmix.cli import options
from ampmix.cli.main import build_parser
from ampmix.training.config import OWN_STEPS

COMMANDS = {"compare": ["compare", "a.csv"], "train": ["train", "a.csv", "--out", "model"]}
SETTINGS = pytest.mark.parametrize("setting", fields(TrainConfig), ids=lambda field: field.name)


def other(setting: Field[Any]) -> Any:
    """A value that is not the default."""
    if setting.metadata["choices"]:
        return setting.metadata["choices"][-1]
    return {int: 7, float: 0.25, str: "cuda:1"}[type(setting.default)]


def action(command: str, setting: Field[Any]) -> argparse.Action:
    parser = build_parser().parse_args(COMMANDS[command]).parser
    option = f"--{setting.name.replace('_', '-')}"
    return next(one for one in parser._actions if option in one.option_strings)


@pytest.mark.parametrize("command", COMMANDS)
@SETTINGS
def test_an_option_given_is_the_setting(command: str, setting: Field[Any]) -> None:
    given = [action(command, setting).option_strings[0], str(other(setting))]
    parse = build_parser().parse_args
    before = options.config_of(parse(COMMANDS[command]), TextCNN())
    after = options.config_of(parse([*COMMANDS[command], *given]), TextCNN())
    assert getattr(before, setting.name) != getattr(after, setting.name) == other(setting)
    assert type(getattr(after, setting.name)) is type(setting.default)


@pytest.mark.parametrize("command", COMMANDS)
@SETTINGS
def test_the_help_tells_choices_and_defaults(command: str, setting: Field[Any]) -> None:
    told = action(command, setting).help or ""
    about, brackets = told.rstrip(")").split(" (")
    assert about.startswith(setting.metadata["help"])
    assert all(choice in about for choice in setting.metadata["choices"])
    default, *rest = brackets.split("; ")
    if setting.name == "device":  # which the machine decides: tests/training/test_settings.py
        assert default == "auto: a GPU if there is one"
    else:
        plain = type(setting.default)(default.split(",")[0])
        assert plain == getattr(TrainConfig(), setting.name)
    encoder = getattr(TrainConfig.of(Encoder()), setting.name)
    own = [f"encoders {options.told(encoder)}"] if encoder != setting.default else []
    files = [f"own files {OWN_STEPS}"] if setting.name == "steps" else []
    assert rest == files + own + ["encoders bfloat16 where that is faster"] * (
        setting.name == "precision"
    )


def test_the_help_tells_what_a_file_gets() -> None:
    made = options.config_of(build_parser().parse_args(COMMANDS["compare"]), TextCNN())
    assert made == TrainConfig(steps=OWN_STEPS, eval_every=OWN_STEPS // 20)


@pytest.mark.parametrize("command", ["compare", "train", "study", "predict"])
def test_the_help_is_there_before_torch(command: str) -> None:
    code = f"""
import sys
from ampmix.cli.main import build_parser
try:
    build_parser().parse_args([{command!r}, "--help"])
except SystemExit:
    print("torch" in sys.modules, "numpy" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False False", done.stderr
