"""Pages made from code, examples and records, as Markdown by their places on the site."""

from __future__ import annotations

import argparse
import ast
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ampmix.analysis.effects import Effect, effects_in
from ampmix.cli.main import build_parser
from ampmix.report.leaderboard import leaderboard, told

ROOT = Path(__file__).parents[1]
OUTPUT = Path(__file__).parent / "output"
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
PLACES = {
    **{f"examples/{path.name}": f"gallery/{path.stem}.md" for path in [*EXAMPLES, *NOTEBOOKS]},
    "docs/decisions": "decisions/README.md",
}
"""Files that have a page made of them, and a folder that has one."""


def all_pages() -> dict[str, str]:
    """Markdown of each page that is made, by its place on the site."""
    return {
        **{f"gallery/{path.stem}.md": example_page(path) for path in EXAMPLES},
        **{f"gallery/{path.stem}.md": notebook_page(path) for path in NOTEBOOKS},
        "gallery/README.md": gallery(),
        "decisions/README.md": decisions(),
        "commands.md": commands(),
    }


def pages_in(folder: str) -> list[str]:
    """Places of the pages in a folder, its first page first."""
    stems = {
        "gallery/": [path.stem for path in [*NOTEBOOKS, *EXAMPLES]],
        "decisions/": [path.stem for path in sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))],
    }
    return [f"{folder}README.md", *(f"{folder}{stem}.md" for stem in stems[folder])]


def example_page(path: Path) -> str:
    """An example: what it is, its code, what it prints."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    code = "\n".join(source.splitlines()[tree.body[0].end_lineno :]).strip()
    printed = (OUTPUT / f"{path.stem}.txt").read_text(encoding="utf-8").strip()
    return (
        f"# {_name(path)}\n\n{ast.get_docstring(tree)}\n\n```python\n{code}\n```\n\n"
        f"It prints:\n\n``` {{.text .output}}\n{printed}\n```\n\n"
        f"The file is [examples/{path.name}](../repository/examples/{path.name}).\n"
    )


def notebook_page(path: Path) -> str:
    """A notebook: its cells, without output, which is of one's own texts."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts = []
    for cell in cells:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    file = f"The notebook is [examples/{path.name}](../repository/examples/{path.name})."
    return "\n\n".join([*parts, file]) + "\n"


def gallery() -> str:
    """The examples, a line each."""
    lines = [
        f"- [{_name(path)}]({path.stem}.md): {_first(path)}" for path in [*NOTEBOOKS, *EXAMPLES]
    ]
    told = "Scripts of at most 40 lines. The tests run each; what it printed stands below it."
    return "\n".join(["# Gallery", "", told, "", *lines, ""])


def _name(path: Path) -> str:
    return path.stem.replace("_", " ").capitalize()


def _first(path: Path) -> str:
    if path.suffix == ".ipynb":
        return "A notebook: your texts, from a table to a model."
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).splitlines()[0]


def decisions() -> str:
    """The decisions, a line each."""
    lines = []
    for path in sorted((ROOT / "docs/decisions").glob("[0-9]*.md")):
        number, _, title = path.read_text(encoding="utf-8").splitlines()[0][2:].partition(". ")
        lines.append(f"{number}. [{title}]({path.name})")
    return "\n".join(["# Decisions", "", "Why things are as they are.", "", *lines, ""])


def filled(uri: str, markdown: str) -> str:
    """The text of a page of docs/ with what is put into it here."""
    if uri not in FILLED:
        return markdown
    effects, _ = effects_in(ROOT / "paper/results")
    made = FILLED[uri](effects)
    found, count = PLACE.subn(lambda _: made, markdown)
    if count != 1:
        raise ValueError(f"docs/{uri} does not say once where something goes")
    return found


PLACE = re.compile(r"<!-- here `make docs` puts .*-->")


def board(effects: Sequence[Effect]) -> str:
    """Every effect, to be filtered and sorted."""
    return f"{told(effects)}\n\n{leaderboard(effects)}"


def evidence(effects: Sequence[Effect]) -> str:
    """Number of effects of each policy by verdict."""
    verdicts = ("lower error", "the same", "no difference shown", "higher error")
    counts = Counter((one.policy.partition("[")[0], one.decision) for one in effects)
    lines = [f"| policy | {' | '.join(verdicts)} |", "|---" * 5 + "|"]
    for policy in sorted({policy for policy, _ in counts}):
        lines.append(f"| `{policy}` | {' | '.join(str(counts[policy, v]) for v in verdicts)} |")
    return "\n".join(lines)


FILLED = {"leaderboard.md": board, "policies.md": evidence}


def commands() -> str:
    """Every command with its options, as ``--help`` shows them."""
    (action,) = (a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    parts = ["# Commands", "", "`ampmix COMMAND --help` shows the same in a terminal.", ""]
    for name, parser in action.choices.items():
        told = parser.format_help()
        usage, _, rest = told.partition("\n\n")
        usage = re.sub(r"\s+", " ", usage.removeprefix("usage: "))
        parts += [f"## {name}", "", "```text", usage, "", rest.rstrip(), "```", ""]
    return "\n".join(parts)
