"""The notebook in examples/ runs from top to bottom, and shows what it says."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOK = json.loads((EXAMPLES / "your_texts.ipynb").read_text(encoding="utf-8"))


def run(cell: str, names: dict[str, Any]) -> Any:
    """Execute a cell as a notebook does; the value of its last expression."""
    body = ast.parse(cell).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    if last is None:
        return None
    assert isinstance(last, ast.Expr)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names)


@pytest.mark.filterwarnings("ignore:.*hold.? nothing that the model knows")
def test_it_runs_from_top_to_bottom(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    shown = []
    for cell in NOTEBOOK["cells"]:
        if cell["cell_type"] != "code":
            continue
        shown.append(run("".join(cell["source"]), names))
        if "parameters" in cell["metadata"].get("tags", ()):
            names["file"] = str(EXAMPLES / "support-tickets.csv")
            names["out"] = str(tmp_path / "out")
            names["options"] = {"backbone": "tfidf-logreg", "seeds": 3}
    summary = names["summary"]
    assert summary.answer in capsys.readouterr().out
    assert shown[2] is summary and summary.answer in shown[2]._repr_html_().replace("&#x27;", "'")
    assert len(repr(summary)) < 500 and len(repr(summary.model)) <= 500
    assert shown[4].columns[:3] == ["kind", "name", "error"] and len(shown[4]) >= 3
    assert set(shown[5]) <= set(summary.model.classes)
    assert shown[6].shape == (1, 6)
    assert (
        shown[7].n == 2 and "<table>" in shown[7]._repr_html_() and "Evaluation(" in repr(shown[7])
    )
    assert "Expect an error of" in summary.model._repr_html_()
    assert len(shown[8]) == 3


def test_it_has_no_output_of_anybodys_machine() -> None:
    code = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
