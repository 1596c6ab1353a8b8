"""The five studies of the paper, whole, with tiny stand-ins: tables are laid out as printed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ampmix.analysis.groups import groups_of, read_runs
from ampmix.analysis.replication import cells, counted_once, judge, ours_of
from ampmix.cli.main import main
from ampmix.report.document import ReportTable
from ampmix.report.runs.paper_tables import paper_tables
from ampmix.studies import file as study_file
from ampmix.studies.paper_names import method_of, named
from ampmix.studies.run import run_study
from ampmix.studies.study import build
from paper_stand_ins import stand_in

pytestmark = pytest.mark.slow

PAPER = Path(__file__).parents[2] / "paper"
STUDIES = ("table2", "table3", "table4", "table5", "figure2")
QUICK = {"steps": 1, "seeds": 1, "eval_every": 1, "batch_size": 8}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the records of the five studies, each done to the end."""
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("paper")
    with pytest.MonkeyPatch.context() as patch:
        stand_in(folder, patch)
        for name in STUDIES:
            study = build(study_file.read(PAPER / f"{name}.toml", QUICK))
            outcome = run_study(study, folder / "out" / name)
            assert not outcome.errors and not outcome.diverged, name
    return folder / "out"


def read(out: Path) -> Any:
    """Our cells and the verdicts of a study's records."""
    groups = [named(group) for group in groups_of(read_runs([out]).records)]
    ours = ours_of(groups, method_of)
    return ours, judge(ours)


def printed(out: Path, number: int) -> ReportTable:
    ours, judged = read(out)
    (table,) = (t for t in paper_tables(ours, judged) if t.caption.startswith(f"Table {number}:"))
    return table


@pytest.mark.parametrize("number", [2, 3, 4, 5])
def test_every_printed_cell_has_our_number_once(done: Path, number: int) -> None:
    ours, _ = read(done / f"table{number}")
    own = [cell for cell in cells() if cell.table == number]
    assert own and {len(ours[cell]) for cell in own} == {1}


def shape(table: ReportTable, first: int) -> list[tuple[str, ...]]:
    return [row[:first] for row in table.rows]


ENTRY = re.compile(r"\d+\.\d ± \d+\.\d\d†?\n\d+\.\d( ± \d+\.\d\d)? \(\d×, #\d+\)")


def check_entries(table: ReportTable, first: int) -> None:
    """Each cell has the printed mean with two decimals of its deviation, and ours below."""
    for row in table.rows:
        for cell in row[first:]:
            assert "RP (%)" in row or table.columns[-1] == "RP (%)" or ENTRY.fullmatch(cell), cell


def test_table_2(done: Path) -> None:
    found = printed(done / "table2", 2)
    assert found.columns == ("Model", "Mixup", "TREC", "SST-1", "SST-2", "SUBJ", "MR")
    block = ["w/o", "Sent", "Sent(our)", "RP (%)", "Word", "Word(our)", "RP (%)"]
    expected = []
    for model in ("RNN rand", "RNN GloVe", "CNN rand", "CNN GloVe", "BERT base"):
        own = [*block[:1], "Non-linear", *block[1:]] if model == "CNN GloVe" else block
        expected += [(model, label) for label in own]
    assert shape(found, 2) == expected
    check_entries(found, 2)


def test_table_3(done: Path) -> None:
    found = printed(done / "table3", 3)
    assert found.columns == ("%", "labels", "Sent", "Sent(our)", "RP (%)")
    percents = ("3", "4", "5", "10", "15", "20", "40", "80", "100")
    labels = ("160", "215", "270", "543", "815", "1089", "2179", "4359", "5452")
    assert shape(found, 2) == list(zip(percents, labels, strict=True))
    assert all(ENTRY.fullmatch(cell) for row in found.rows for cell in row[2:4])
    signs = [row[4].split("\n")[0].split(" ")[0] for row in found.rows]
    assert signs == ["+17.5", "+14.1", "+9.8", "+9.8", "+2.4", "+2.8", "+6.7", "+4.5", "+4.5"]


def test_table_4(done: Path) -> None:
    found = printed(done / "table4", 4)
    assert found.columns == ("Method", "Model", "Operation", "TREC")
    assert shape(found, 3) == [
        (method, model, operation)
        for method in ("Word", "Sent")
        for model in ("CNN GloVe", "BERT base")
        for operation in ("Baseline", "+RandOp", "+MaxOp", "AMP")
    ]
    check_entries(found, 3)
    _, judged = read(done / "table4")
    assert len(judged) == len({one.claim for one in judged}) == 26
    assert counted_once(judged) == []  # a step is not 8,000


def test_table_5(done: Path) -> None:
    found = printed(done / "table5", 5)
    assert found.columns == ("alpha", "Methods", "TREC", "SST-2", "MR")
    labels = ("Word", "Word(our)", "RP (%)")
    assert shape(found, 2) == [(a, m) for a in ("0.2", "0.5", "1.0", "1.5") for m in labels]
    check_entries(found, 2)


def test_figure_2(done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch)
    models = sorted(map(str, (done / "figure2" / "models").iterdir()))
    assert len(models) == 2
    assert main(["path", *models, "--data", "trec", "--points", "3", "--out", "path"]) == 0
    content = json.loads(Path("path/path.json").read_text())
    assert set(content["mean"]) == {"mixup[site=sent], seed 0", "amp[site=sent], seed 0"}
    assert content["site"] == "sent" and content["notes"] == []
    assert len(content["pairs"]) == 24  # all test texts
    for mean in content["mean"].values():
        assert mean[0] == pytest.approx(mean[-1], abs=1e-6)


def test_all_of_it_is_one_report(done: Path, tmp_path: Path) -> None:
    folders = [str(done / name) for name in STUDIES]
    assert main(["report", *folders, "--out", str(tmp_path)]) == 0
    told = (tmp_path / "report.md").read_text()
    assert "None of these runs is at the paper's settings" in told
    assert all(f"Table {number}:" in told for number in (2, 3, 4, 5))
