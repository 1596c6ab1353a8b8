"""What the guides show works when pasted, block after block."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDES = ROOT / "docs" / "guides"
ELSEWHERE = {"scikit-learn.md": "test_sklearn.py runs it, with fewer steps"}
UNWRITTEN: set[str] = set()

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


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "path",
    [p for p in sorted(GUIDES.glob("*.md")) if p.name not in ELSEWHERE],
    ids=lambda p: p.stem,
)
def test_what_a_guide_shows_runs(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    module = types.ModuleType("guide")
    monkeypatch.setitem(sys.modules, "guide", module)
    for code in blocks(path.read_text(encoding="utf-8")):
        exec(compile(code, str(path), "exec"), vars(module))


@pytest.mark.parametrize("path", sorted(GUIDES.glob("*.md")), ids=lambda path: path.stem)
def test_links_lead_somewhere(path: Path) -> None:
    for target, fragment in re.findall(r"\]\(([^)#:]*)(#[^)]*)?\)", path.read_text("utf-8")):
        linked = path.parent / target if target else path
        assert linked.exists() or linked.name in UNWRITTEN, target
        if fragment:
            headings = re.findall(r"^#+ (.*)$", linked.read_text("utf-8"), flags=re.MULTILINE)
            anchors = [re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings]
            assert fragment[1:] in anchors, fragment
