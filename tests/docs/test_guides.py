"""What the guides show works when pasted, block after block."""

from __future__ import annotations

import re
import sys
import types
from inspect import signature
from pathlib import Path

import pytest

from ampmix.policies.fgm import FGM
from ampmix.studies.file import read
from ampmix.studies.study import build
from contracts import test_policies as contracts

ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "docs" / "guides"
STARTS = [ROOT / "docs" / f"{name}.md" for name in ("csv", "trainer", "paper")]
PAGES = [*sorted(GUIDES.glob("*.md")), *STARTS, ROOT / "docs" / "extending.md"]
OUTSIDE = ("README", "CONTRIBUTING", "SECURITY", "benchmarks/README", "paper/results/README")
LINKED = [*sorted((ROOT / "docs").rglob("*.md")), *(ROOT / f"{name}.md" for name in OUTSIDE)]
ELSEWHERE = {
    "README.md": "lists the others",
    "scikit-learn.md": "test_sklearn.py runs it, with fewer steps",
    "studies.md": "its study is built below; reading the records needs them",
}

NOT_RUN = re.compile(r"<!-- not run: *(\S[^>]*?) *-->\s*$")
"""Before a block: the reason why it is only shown."""


def blocks(text: str) -> list[str]:
    """The Python blocks of a page that are to be run."""
    parts = re.split(r"```python\n(.*?)```", text, flags=re.DOTALL)
    shown = zip(parts[::2], parts[1::2], strict=False)
    return [code for before, code in shown if not NOT_RUN.search(before)]


def test_blocks_are_left_out_for_a_reason_only() -> None:
    page = "a\n```python\n1\n```\n<!-- not run: needs 8 GPUs -->\n```python\n2\n```\n"
    assert blocks(page) == ["1\n"]
    assert blocks(page.replace("needs 8 GPUs", "")) == ["1\n", "2\n"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "path",
    [p for p in PAGES if p.name not in ELSEWHERE],
    ids=lambda p: p.stem,
)
def test_what_a_guide_shows_runs(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    module = types.ModuleType("guide")
    monkeypatch.setitem(sys.modules, "guide", module)
    shown = blocks(path.read_text(encoding="utf-8"))
    assert shown, f"{path.name} shows nothing to run: name it in ELSEWHERE, with the reason"
    for code in shown:
        exec(compile(code, str(path), "exec"), vars(module))


def test_the_policy_that_is_shown_keeps_the_contracts_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those of policies that change each text by itself, as it does."""
    module = types.ModuleType("shown")
    monkeypatch.setitem(sys.modules, "shown", module)
    shown = blocks((ROOT / "docs" / "extending.md").read_text("utf-8"))
    first, noise = shown[0], next(code for code in shown if "class Noise" in code)
    for code in (first, noise):
        exec(compile(code, "extending.md", "exec"), vars(module))
    kept = 0
    for name, contract in vars(contracts).items():
        marks = [mark.args for mark in getattr(contract, "pytestmark", ()) if mark.args]
        alike = any(args[0] == "policy" and FGM() in args[1] for args in marks)
        if name.startswith("test_") and alike and [*signature(contract).parameters] == ["policy"]:
            contract(module.Noise())
            kept += 1
    assert kept > 8


def test_the_study_that_a_guide_shows_can_run(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (shown,) = re.findall(r"```toml\n(.*?)```", (GUIDES / "studies.md").read_text("utf-8"), re.S)
    (tmp_path / "tickets.toml").write_text(shown, "utf-8")
    study = build(read(tmp_path / "tickets.toml"))
    assert (study.name, len(study.plans)) == ("tickets", 4)  # 2 backbones x 2 fractions
    assert {len(plan.policies) for plan in study.plans} == {5}
    assert not study.refused


@pytest.mark.parametrize("path", LINKED, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target, fragment in re.findall(r"\]\(([^)#:]*)(#[^)]*)?\)", path.read_text("utf-8")):
        linked = path.parent / target if target else path
        assert linked.exists(), target
        if fragment:
            headings = re.findall(r"^#+ (.*)$", linked.read_text("utf-8"), flags=re.MULTILINE)
            anchors = [re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings]
            assert fragment[1:] in anchors, fragment
