"""Draw the answer of the demo, from its records, into docs/pictures/demo.svg.

python website/picture.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ampmix._support.components import parse_model
from ampmix.analysis.groups import groups_of, read_runs
from ampmix.analysis.written import written_in
from ampmix.report.drawing import draw
from ampmix.report.runs.document import runs_document
from ampmix.studies.paper_names import method_of, named

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "paper/results/demo"
PICTURE = ROOT / "docs/pictures/demo.svg"
WIDTH = 520  # of the plots, beside which stand the names


def specification() -> dict[str, Any]:
    """The charts of the demo's report on models and on policies, one above the other."""
    found = read_runs([str(DEMO)])
    groups = [named(group) for group in groups_of(found.records)]
    written = written_in([DEMO])
    charts = {c.name: c for c in runs_document(found, groups, method_of, written).charts}
    models, model = charts["models"], parse_model(written[0].summary["backbone"]).title
    policies = next(chart for name, chart in charts.items() if name.startswith("differences"))
    parts = [
        _titled(models.spec, "Which model? Error in percent of new texts, with 95 % intervals"),
        _titled(policies.spec, f"Does mixing help {model}? Change of the error; left is better"),
    ]
    return {
        "$schema": models.spec["$schema"],
        "vconcat": parts,
        "background": "white",
        "padding": 12,
        "config": {
            "font": "sans-serif",
            "axis": {"labelFontSize": 13, "titleFontSize": 13},
            "legend": {"labelFontSize": 13},
        },
    }


def _titled(spec: Any, title: str) -> dict[str, Any]:
    kept = {k: v for k, v in spec.items() if k not in ("autosize", "$schema", "config")}
    text = {"text": title, "anchor": "start", "frame": "group", "fontSize": 15, "offset": 8}
    return {**kept, "width": WIDTH, "title": text}


if __name__ == "__main__":
    draw(specification(), PICTURE)
    print(f"Written: {PICTURE.relative_to(ROOT)}.")
