"""`ampmix report`: what it says of records whose truth is known, and that it says all of it."""

from __future__ import annotations

import csv
import errno
import itertools
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from ampmix._support.redact import without_folders
from ampmix.analysis.groups import groups_of, read_runs
from ampmix.analysis.paper import reference
from ampmix.analysis.replication import cells, claims, judge, ours_of
from ampmix.cli.main import main
from ampmix.records.store import RecordStore, RunRecord
from ampmix.report import page, tables
from ampmix.report.markdown import escaped
from ampmix.studies.paper_names import method_of

TEXTS = 400
EVIL = "<script>document.title='broken'</script><b>&amp;|"


def record(policy: str, seed: int, error: float, **changes: Any) -> RunRecord:
    """A run on TREC that errs on about `error` of the texts, on the same ones for all policies."""
    draw = random.Random(seed)
    wrong = "".join("1" if draw.random() < error else "0" for _ in range(TEXTS))
    specification: dict[str, Any] = {
        "dataset": "trec",
        "data_hash": "d",
        "fraction": 1.0,
        "folds": None,
        "policy": policy,
        "seed": seed,
        "backbone": "cnn",
        "training": {"steps": 8000, "lr": 0.0002},
    }
    curve = [
        {"step": step, "train_loss": 1.0, "dev_error": error + 1 / step, "dev_loss": 1.0}
        for step in (100, 200)
    ]
    result = {
        "status": "done",
        "split_hash": f"split {seed}",
        "n_train": 900,
        "n_dev": 100,
        "n_test": TEXTS,
        "test_wrong": wrong,
        "test_error": wrong.count("1") / TEXTS,
        "dev_error": error,
        "curve": curve,
    }
    provenance = {
        "versions": {"torch": "2.0"},
        "platform": "Linux",
        "git": {"commit": "abc", "dirty": True},
        "finished": "2026-01-02T00:00:00+00:00",
        "seconds": 60.0,
        "printed_as": ["TREC", "cnn-rand"],
    }
    return RunRecord(
        specification | changes.get("specification", {}),
        result | changes.get("result", {}),
        provenance | changes.get("provenance", {}),
    )


def failed(policy: str, seed: int, error: str) -> RunRecord:
    made = record(policy, seed, 0.5)
    return RunRecord(
        made.specification,
        {"status": "failed", "error": error, "split_hash": f"split {seed}"},
        made.provenance,
    )


def write(folder: Path, *records: RunRecord) -> Path:
    store = RecordStore(folder / "records")
    for one in records:
        store.add(one)
    return folder


def report(*folders: Path, out: Path) -> tuple[str, str]:
    assert main(["report", *map(str, folders), "--out", str(out)]) == 0
    return (out / "report.md").read_text(), (out / "report.html").read_text()


def test_printed_cells_are_those_of_the_reference() -> None:
    printed = reference()
    assert len(cells()) == sum(len(printed[f"table{i}"]) for i in (2, 3, 4, 5))
    for cell in cells():
        rows = [r for r in printed[f"table{cell.table}"] if (r["error"], r["std"]) == cell[5:7]]
        assert cell.dataset in {row["dataset"] for row in rows}


def test_claims_are_counted_by_hand() -> None:
    # Table 2: 5 data sets x (5 models x 4 differences + CNN GloVe's non-linear Mixup)
    counts = {t: sum(c.own.table == t for c in claims()) for t in (2, 3, 4, 5)}
    # Table 3: 9 sizes; Table 4: 4 blocks x (RandOp, MaxOp, AMP to MaxOp, AMP to Mixup); Table 5:
    # 4 alphas x 3 data sets
    assert counts == {2: 5 * 21, 3: 9, 4: 16, 5: 12}
    for own, other in claims():
        assert own[1:4] == other[1:4]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("none", ("none", 1.0, True)),
        ("mixup", ("word-mixup", 1.0, True)),
        ("amp[site=sent]", ("sent-amp", 1.0, True)),
        ("amp[alpha=0.2]", ("word-amp", 0.2, True)),
        ("amp[min_op=false]", ("word-amp", 1.0, False)),
        ("amp[clip_lam=false]", ("word-amp", 1.0, True)),
        ("amp[clip_lam=false,min_op=false,site=sent]", ("sent-amp", 1.0, False)),
        ("amp[clip_lam=false,eps=0.1]", None),
        ("amp[eps=0.1]", None),
        ("nonlinear", ("nonlinear-mixup", 1.0, True)),
        ("tfidf-logreg", None),
    ],
)
def test_policies_get_the_papers_names(policy: str, expected: Any) -> None:
    assert method_of(policy) == expected


def verdicts(**errors: float) -> dict[str, str]:
    names = {"none": "none", "mixup": "mixup[site=sent]", "amp": "amp[site=sent]"}
    runs = [record(names[n], seed, e) for n, e in errors.items() for seed in range(10)]
    judged = judge(ours_of(groups_of(runs), method_of))
    return {one.claim.own.method.name: one.decision for one in judged if one.claim.own.table == 2}


def test_known_truths_get_their_verdicts() -> None:
    # printed for CNN rand on TREC: none 8.8, Sent 8.3, Sent(our) 8.1
    assert verdicts(none=0.30, mixup=0.22) == {"sent-mixup": "reproduced"}
    assert verdicts(none=0.22, mixup=0.30) == {"sent-mixup": "contradicted"}
    # the policies err on the same texts, so that no other difference than printed is ruled out
    assert verdicts(none=0.22, mixup=0.223) != {"sent-mixup": "reproduced"}


def test_one_seed_decides_nothing() -> None:
    runs = [record("none", 0, 0.3), record("mixup", 0, 0.1)]
    (one,) = judge(ours_of(groups_of(runs), method_of))
    assert one.decision == "not decided"
    assert "1 run" in one.verdict


def test_runs_of_different_settings_are_never_pooled(tmp_path: Path) -> None:
    other = {"specification": {"training": {"steps": 10, "lr": 0.0002}}}
    runs = [record(p, s, 0.2) for p in ("none", "mixup") for s in range(3)]
    runs += [record(p, s, 0.4, **other) for p in ("none", "mixup") for s in range(2)]
    yard = [record("tfidf-logreg", s, 0.1) for s in range(3)]
    yard = [
        RunRecord(
            {k: v for k, v in r.specification.items() if k not in ("backbone", "training")},
            r.result,
            r.provenance,
        )
        for r in yard
    ]
    groups = groups_of([*runs, *yard])
    assert sorted(len(g.records["none"]) for g in groups) == [2, 3]
    for group in groups:
        assert list(group.records) == ["tfidf-logreg", "none", "mixup"]
        assert set(group.records["tfidf-logreg"]) == set(group.records["none"])
    markdown, _ = report(write(tmp_path / "a", *runs, *yard), out=tmp_path / "out")
    entries = re.findall(r"([\d.]+) ± [\d.]+ \((\d)×, \\#(\d)\)", markdown)
    assert {(n, g) for _, n, g in entries} == {("2", "1"), ("3", "2")}


def test_all_is_told(tmp_path: Path) -> None:
    runs = [record(p, s, 0.2) for p in ("none", "mixup", "amp") for s in range(2)]
    runs.append(failed("amp[eps=0.5]", 0, "the loss in /home/me/x.py is nan at step 7"))
    folder = write(tmp_path / "first", *runs)
    (folder / "records" / "0123456789abcdef.json").write_text('{"format": 1, "spec')
    altered = folder / "records" / f"{runs[0].id}.json"
    altered.write_text(altered.read_text().replace('"n_dev": 100', '"n_dev": 101'))
    copy = write(tmp_path / "second", *runs[:3])
    markdown, html = report(folder, copy, out=tmp_path / "out")
    assert "7 runs in 1 group; 1 failed, 2 files left aside." in markdown
    for told in (
        "first/records/0123456789abcdef.json",
        f"first/records/{runs[0].id}.json",
        "its content does not match its digest",
        "the loss in x.py is nan at step 7",
        "2026-01-02",
    ):
        assert escaped(told) in markdown
        assert told in html
    for text in (markdown, html):
        assert str(tmp_path) not in text and "/home" not in text
    assert altered.exists()


def test_a_disk_that_fails_leaves_the_earlier_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """A report of the runs that happened to be read would take the place of one of all runs."""
    runs = [record(p, s, 0.2) for p in ("none", "mixup") for s in range(3)]
    folder = write(tmp_path / "a", *runs)
    before, read = report(folder, out=tmp_path / "out"), Path.read_bytes

    def read_bytes(self: Path) -> bytes:
        if self.stem == runs[-1].id:
            raise OSError(errno.EIO, "Input/output error")
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    assert main(["report", str(folder), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert f"cannot read a/records/{runs[-1].id}.json (Input/output error)" in said
    after = [(tmp_path / "out" / f"report.{kind}").read_text("utf-8") for kind in ("md", "html")]
    assert after == list(before)


def test_a_folder_named_as_a_record_is_left_aside(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", record("none", 0, 0.2))
    (folder / "records" / "0123456789abcdef.json").mkdir()
    found = read_runs([folder])
    assert len(found.records) == 1
    assert [name for name, _ in found.unreadable] == ["a/records/0123456789abcdef.json"]


def test_another_result_for_a_run_is_named_not_mixed_in(tmp_path: Path) -> None:
    first = write(tmp_path / "a", record("none", 0, 0.2))
    second = write(tmp_path / "b", record("none", 0, 0.3))
    found = read_runs([first, second])
    assert len(found.records) == 1
    assert found.records[0].result == record("none", 0, 0.2).result
    ((name, reason),) = found.unreadable
    assert name.startswith("b/records/") and "a/records/" in reason


def test_pairs_of_different_splits_are_refused_in_words(tmp_path: Path) -> None:
    other = {"result": {"split_hash": "another"}}
    folder = write(tmp_path / "a", record("none", 0, 0.2), record("mixup", 0, 0.2, **other))
    markdown, _ = report(folder, out=tmp_path / "out")
    assert "Not compared:" in markdown and "compare runs of the same split" in markdown


def test_texts_are_shown_as_texts(tmp_path: Path) -> None:
    named = {"specification": {"dataset": EVIL}, "provenance": {"printed_as": ["", ""]}}
    runs = [record(p, s, 0.2, **named) for p in ("none", "mixup") for s in range(2)]
    markdown, html = report(write(tmp_path / "a", *runs), out=tmp_path / "out")
    assert "<script>document" not in html
    assert "\\<script\\>document" in markdown


@pytest.mark.parametrize("given", ["nothing", "empty"])
def test_folders_without_records(given: str, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["report", str(tmp_path / given)]) == 2
    assert "give the output folder of ampmix compare" in capsys.readouterr().err


@pytest.mark.slow
def test_many_groups_stays_under_three_megabytes(tmp_path: Path) -> None:
    curve = [
        {"step": s, "train_loss": 1.0, "dev_error": 1 / s, "dev_loss": 1 / s}
        for s in range(100, 8100, 100)
    ]
    runs = [
        record(p, 0, 0.2, specification={"data_hash": f"{i}"}, result={"curve": curve})
        for i, p in itertools.product(range(25), ("none", "mixup", "amp", "amp[site=sent]"))
    ]
    _, html = report(write(tmp_path / "a", *runs), out=tmp_path / "out")
    assert len(html.encode()) < 3_000_000
    assert html.count("window.vegaEmbed=") == 1


def test_figures_in_files(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", *(record(p, s, 0.2) for p in ("none", "amp") for s in (0, 1)))
    assert main(["report", str(folder), "--figures", "svg,pdf,png"]) == 0
    drawn = sorted(path.name for path in (folder / "figures").iterdir())
    assert "differences-1.svg" in drawn and len(drawn) % 3 == 0
    shown = re.findall(
        r"^!\[.*\]\((figures/.*)\)$", (folder / "report.md").read_text(), re.MULTILINE
    )
    assert len(shown) == len(drawn) // 3
    assert all(name.endswith(".svg") and (folder / name).is_file() for name in shown)
    starts = {"svg": b"<svg", "pdf": b"%PDF", "png": b"\x89PNG"}
    for path in (folder / "figures").iterdir():
        assert path.read_bytes().startswith(starts[path.suffix[1:]])


def test_figures_have_the_width_and_font_of_a_paper(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", *(record(p, s, 0.2) for p in ("none", "amp") for s in (0, 1)))
    asked = ["--figures", "svg,pdf,png", "--width", "single", "--font", "DejaVu Serif"]
    assert main(["report", str(folder), *asked]) == 0
    drawn = folder / "figures" / "differences-1"
    svg = drawn.with_suffix(".svg").read_text()
    assert float(re.search(r'width="([\d.]+)"', svg)[1]) == pytest.approx(8.5 / 2.54 * 72, abs=1)
    assert "DejaVu Serif" in svg
    png = drawn.with_suffix(".png").read_bytes()
    assert int.from_bytes(png[16:20], "big") == pytest.approx(8.5 / 2.54 * 300, abs=5)
    pdf = drawn.with_suffix(".pdf").read_bytes()
    assert b"/FontFile" in pdf and b"/Type3" not in pdf
    box = [float(one) for one in re.search(rb"/MediaBox ?\[([^\]]*)\]", pdf)[1].split()]
    assert box[2] == pytest.approx(8.5 / 2.54 * 72, abs=1)
    for width in ("narrow", "2", "nan"):
        assert main(["report", str(folder), "--width", width]) == 2


def test_tables_in_files_of_their_own(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", *(record(p, s, 0.2) for p in ("none", "amp") for s in (0, 1)))
    assert main(["report", str(folder), "--tables", "tex,csv"]) == 0
    names = {path.stem for path in (folder / "tables").iterdir()}
    assert {path.suffix for path in (folder / "tables").iterdir()} == {".tex", ".csv"}
    found = next(name for name in sorted(names) if name.startswith("1-trec"))
    with (folder / "tables" / f"{found}.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0][:3] == ["policy", "runs", "test error %"]
    assert [row[0] for row in rows[1:]] == ["none", "amp"]
    tex = (folder / "tables" / f"{found}.tex").read_text(encoding="utf-8")
    assert tex.count(r"\\") == len(rows) and r"\toprule" in tex and r"test error \%" in tex
    assert r"$\pm$" in tex and "±" not in tex
    assert main(["report", str(folder), "--tables", "docx"]) == 2


def test_latex_shows_texts_as_they_are() -> None:
    assert tables.escaped(r"\x_{1} ~ 100 % <b> -0.5 a-1 [-0.2, +3]") == (
        r"\textbackslash{}x\_\{1\} \textasciitilde{} 100 \% \textless{}b\textgreater{} $-$0.5 a-1 "
        r"[$-$0.2, +3]"
    )


def test_an_unknown_format_is_refused(tmp_path: Path, capsys: Any) -> None:
    folder = write(tmp_path / "a", record("none", 0, 0.2))
    assert main(["report", str(folder), "--figures", "gif"]) == 2
    assert "svg, pdf, png" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at /a/b/c.txt, 3/4", "at c.txt, 3/4"),
        ("C:\\Users\\me\\x", "x"),
        ("hf://org/name and org/name", "hf://org/name and org/name"),
        ("encoder[model=~/m/bert]", "encoder[model=bert]"),
    ],
)
def test_no_folder_of_a_machine_is_told(text: str, shown: str) -> None:
    assert without_folders(text) == shown


def test_numbers_in_the_page_are_those_of_the_records(tmp_path: Path) -> None:
    runs = [record(p, s, e) for p, e in (("none", 0.3), ("amp", 0.1)) for s in range(3)]
    _, html = report(write(tmp_path / "a", *runs), out=tmp_path / "out")
    (found,) = re.findall(r'id="differences-1-spec">(.*?)</script>', html)
    none, amp = (
        [r.test_wrong.mean() for r in runs if r.specification["policy"] == p]
        for p in ("none", "amp")
    )
    difference = round(100 * (sum(amp) - sum(none)) / 3, 3)
    json.loads(found)
    assert f'"difference":{difference}' in found


def test_the_template_lets_through_nothing_but_what_is_ours() -> None:
    template = (Path(page.__file__).parent / "assets" / "page.html").read_text()
    let_through = re.findall(r"([^\s{(]+) \| safe", template)
    assert sorted(let_through) == ['",<wbr>"', '"<br>"', "library", "script", "style"]
    assert template.count("safe") == len(let_through)
    assert "autoescape" not in template
