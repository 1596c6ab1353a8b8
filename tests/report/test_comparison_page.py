"""The page on a comparison: the answer first, what it rests on, and nothing said twice."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from ampmix.analysis.written import written_in
from ampmix.cli.main import main

pytestmark = pytest.mark.slow

TICKETS = str(Path(__file__).parents[2] / "examples" / "support-tickets.csv")
SMALL, MAIN = "cnn[embedding_dim=4,feature_maps=2]", "cnn[embedding_dim=8,feature_maps=3]"
EVIL = "<script>document.title='broken'</script> | *b*"


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page") / "out"
    steps = ["--steps", "4", "--seeds", "2", "--backbone", MAIN, "--policies", "none,mixup,amp"]
    assert main(["compare", TICKETS, *steps, "--ladder", SMALL, "--out", str(out)]) == 0
    return out


@pytest.fixture
def folder(compared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(compared, tmp_path / "runs"))


def page_of(*folders: Path) -> tuple[str, str]:
    assert main(["report", *map(str, folders)]) == 0
    return (folders[0] / "report.md").read_text(), (folders[0] / "report.html").read_text()


def titles(markdown: str) -> list[str]:
    return [re.sub(r"\\(.)", r"\1", one) for one in re.findall("^## (.*)$", markdown, re.MULTILINE)]


def test_the_answer_comes_first_then_what_it_rests_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    markdown, html = page_of(folder)
    assert capsys.readouterr().out.startswith(summary["answer"])
    plain = re.sub(r"\\(.)", r"\1", markdown)
    assert plain.split("\n\n")[1] == f"**{summary['answer']}**"
    assert html.index('<p class="answer">') < html.index("<h2")
    assert titles(markdown) == [
        "Which model", "Does mixing help?", "What would help more", "How they were trained",
        "What was run, and on what",
    ]  # fmt: skip
    for row in summary["ladder"]:
        assert f"| {row['model']} | {row['mean']:.1f} |" in plain
    for point in summary["learning_curve"]:
        assert f"| {point['labels']:,} | {point['error']:.1f} |" in plain
    for point in summary["abstention"]:
        assert f"| {point['coverage']:.0f} | {point['error']:.1f} |" in plain
    assert "tfidf-logreg: " not in plain  # a model, not one of the policies


def test_a_policy_has_one_colour_in_all_charts(folder: Path) -> None:
    _, html = page_of(folder)
    colours: dict[str, set[str]] = {}
    for found in re.findall(
        r'<script type="application/json" id="[^"]*-spec">(.*?)</script>', html
    ):
        for scale in scales(json.loads(found)):
            for name, colour in zip(scale["domain"], scale["range"], strict=True):
                colours.setdefault(name.partition(": ")[0], set()).add(colour)
    assert {"none", "mixup", "amp"} <= set(colours)
    assert all(len(own) == 1 for own in colours.values())
    assert len(set.union(*colours.values())) == len(colours)


def scales(spec: Any) -> list[Any]:
    """The scales of colour by policy anywhere in a specification."""
    if isinstance(spec, list):
        return [one for part in spec for one in scales(part)]
    if not isinstance(spec, dict):
        return []
    own = spec.get("color")
    by_policy = isinstance(own, dict) and own.get("field") in ("policy", "name")
    here = [own["scale"]] if isinstance(own, dict) and by_policy and "scale" in own else []
    return here + [one for part in spec.values() for one in scales(part)]


def test_what_errors_found_is_a_section(folder: Path) -> None:
    classes = ["a", EVIL]
    shown = {
        "3": {"text": EVIL, "label": "a", "predicted": EVIL, "probability": 0.25},
        "5": {"text": "untested", "label": "a", "predicted": None, "probability": None},
    }
    pair = {"label": 0, "predicted": 1, "texts": [3]}
    found = {"model": MAIN, "texts": 9, "mislabelled": [3], "all_wrong": [], "confused": [pair],
             "conflicts": [[3, 5]], "classes": classes}  # fmt: skip
    (folder / "errors.json").write_text(json.dumps(found | {"shown": shown}))
    markdown, html = page_of(folder)
    assert "Better labels?" in titles(markdown)
    plain = re.sub(r"\\(.)", r"\1", markdown)
    assert f"1 of 9 texts look mislabelled by {MAIN}" in plain
    assert "0 of 9 texts are wrong by all models" in plain
    assert f"| a | {EVIL} | 1 | {EVIL} |" in plain
    assert "<script>document" not in html and "untested" in html


def test_errors_leaves_what_the_page_shows(folder: Path) -> None:
    pytest.importorskip("cleanlab")
    assert main(["errors", str(folder), TICKETS]) == 0
    told = json.loads((folder / "errors.json").read_text())
    named = [*told["mislabelled"][:10], *told["all_wrong"][:10]]
    assert {str(i) for i in named} <= set(told["shown"])
    markdown, _ = page_of(folder)
    text = told["shown"][str(named[0])]["text"]
    assert text in re.sub(r"\\(.)", r"\1", markdown)


def test_several_comparisons_get_an_overview(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    args = ["--steps", "3", "--seeds", "2", "--backbone", SMALL, "--policies", "none,mixup"]
    assert main(["compare", TICKETS, *args, "--out", str(other)]) == 0
    markdown, _ = page_of(folder, other)
    assert titles(markdown)[0] == "Overview"
    assert "Which model: support-tickets #1" in titles(markdown)
    assert "What the runs show" in markdown


@pytest.mark.parametrize("content", ["", "[]", "{", '{"answer": "of an earlier version"}'])
def test_a_summary_that_is_none_is_left_aside(folder: Path, content: str) -> None:
    (folder / "summary.json").write_text(content)
    assert written_in([folder]) == ()
    markdown, _ = page_of(folder)
    assert "What the runs show" in markdown


def test_every_decision_has_a_colour() -> None:
    from typing import get_args

    from ampmix.report.charts import DECIDED
    from ampmix.statistics import ClaimDecision, Decision

    assert {*get_args(Decision), *get_args(ClaimDecision)} <= {*DECIDED, "baseline"}


def test_the_page_has_the_verdicts_of_the_comparison(folder: Path) -> None:
    """Its metric and margin, and the policies that were tried before, are in the summary alone."""
    path = folder / "summary.json"
    summary = json.loads(path.read_text())
    summary["rows"][-1] |= {"difference": -12.3, "interval": [-20.0, -4.0]}
    path.write_text(json.dumps(summary))
    assert "| -12.3 | [-20.0, -4.0] |" in re.sub(r"\\(.)", r"\1", page_of(folder)[0])
    of_an_earlier_version = [{k: v for k, v in r.items() if k != "recall"} for r in summary["rows"]]
    for changed in ({"fraction": 0.5}, {"rows": of_an_earlier_version}):
        path.write_text(json.dumps(summary | changed))
        assert "-12.3" not in page_of(folder)[0]
