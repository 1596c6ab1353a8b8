"""What README shows works when pasted."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch

import ampmix
from ampmix.cli.main import build_parser

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


STARTS = [ROOT / "README.md", *(ROOT / f"docs/{n}.md" for n in ("csv", "trainer", "paper"))]


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_it_is_one_screen_for_each_kind_of_user() -> None:
    parts = re.split(r"^## ", README, flags=re.MULTILINE)
    assert [part.partition("\n")[0][:8] for part in parts[1:4]] == ["You have"] * 3
    assert max(len(part.splitlines()) for part in parts) <= 32
    assert len(re.findall(r"^!\[", README, flags=re.MULTILINE)) == 1


def test_the_loop_runs_and_changes_the_model() -> None:
    (code,) = blocks("python")
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    loss = names["loss"]
    assert isinstance(loss, torch.Tensor)
    assert loss.isfinite()
    model = names["model"]
    assert isinstance(model, torch.nn.Module)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    loop = code.split("for _")[1].splitlines()
    assert len([line for line in loop if line.strip()]) <= 10


@pytest.mark.parametrize("path", [STARTS[0], STARTS[1], STARTS[3]], ids=lambda path: path.stem)
def test_every_command_shown_is_understood(path: Path) -> None:
    text = "\n".join(blocks("console", path.read_text(encoding="utf-8")))
    shown = re.findall(r"^(?:\$ )?(ampmix .*)$", text, flags=re.MULTILINE)
    assert len(shown) >= 2
    for line in shown:
        command = re.split(r" [|>] ", line)[0]  # what a shell does with its output aside
        parsed, extra = build_parser().parse_known_args(shlex.split(command, comments=True)[1:])
        assert not extra, command
        assert callable(parsed.run), command


def test_every_option_named_exists() -> None:
    commands = ["compare", "x"], ["study", "x"], ["predict", "x", "y"], ["serve", "x"]
    parsers = (build_parser().parse_known_args(command)[0].parser for command in commands)
    known = {name for p in parsers for action in p._actions for name in action.option_strings}
    text = "".join(path.read_text(encoding="utf-8") for path in STARTS)
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    named = set(re.findall(r"`(--[a-z-]+)", prose))
    assert {"--text", "--test", "--out"} <= named
    assert named <= known


@pytest.mark.parametrize("name", ampmix.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert getattr(ampmix, name).__doc__
    assert name in dir(ampmix)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        ampmix.nothing  # noqa: B018
