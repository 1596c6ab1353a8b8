"""The leaderboard: every effect once, as the records have it, found by filter and order."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_runs_report as runs

from ampmix.cli.main import main
from ampmix.records.pack import unpack
from browser import chromium, errors_of, open_page, requests_of

EVIL = "<img src=x onerror=\"document.title='broken'\">"
ERRORS = {"none": 0.2, "mixup": 0.1, "amp": 0.3}


def study(folder: Path, **specification: object) -> Path:
    """Three seeds of three policies, in the output folder of a study."""
    changes = {"specification": specification} if specification else {}
    made = [
        runs.record(policy, seed, error, **changes)
        for policy, error in ERRORS.items()
        for seed in range(3)
    ]
    runs.write(folder, *made)
    return folder


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "leaderboard.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def add(folder: Path, given: Path, *more: str) -> int:
    return main(["leaderboard", str(folder), "--add", str(given), *more])


def test_an_added_study_is_packed_and_its_effects_are_those_of_its_records(tmp_path: Path) -> None:
    given, folder = study(tmp_path / "mine"), tmp_path / "all"
    assert add(folder, given, "--machine", "two cores") == 0
    packed = list(unpack((folder / "mine/records.jsonl.gz").read_bytes()))
    assert len(packed) == 9 and not any(isinstance(one, ValueError) for one in packed)
    rows = {row["policy"]: row for row in table(folder)}
    assert rows.keys() == {"mixup", "amp"}
    wrong = {
        name: np.mean([r.test_wrong.mean() for r in packed if r.specification["policy"] == name])
        for name in ERRORS
    }
    for policy, row in rows.items():
        assert float(row["difference"]) == pytest.approx(100 * (wrong[policy] - wrong["none"]))
        assert float(row["none"]) == pytest.approx(100 * wrong["none"])
        assert float(row["low"]) <= float(row["difference"]) <= float(row["high"])
        assert row["machine"] == "two cores" and row["study"] == "mine" and row["runs"] == "3 seeds"
        first = next(r for r in packed if r.specification["policy"] == policy)
        assert int(row["labels"]) == first.result.n_learned


def test_a_study_grows_but_loses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, folder = study(tmp_path / "mine"), tmp_path / "all"
    assert add(folder, given, "--machine", "two cores") == 0
    runs.write(given, runs.record("none", 3, 0.2), runs.record("amp", 3, 0.3))
    assert add(folder, given) == 0
    assert {row["runs"] for row in table(folder)} == {"3 seeds", "4 seeds"}
    assert json.loads((folder / "mine/about.json").read_text()) == {"machine": "two cores"}
    other = study(tmp_path / "other" / "mine", dataset="other")
    capsys.readouterr()
    assert add(folder, other) == 2
    assert "with 11 runs that" in capsys.readouterr().err
    assert add(folder, other, "--name", "theirs") == 0
    assert {row["study"] for row in table(folder)} == {"mine", "theirs"}


def test_names_of_strangers_are_no_formulas(tmp_path: Path) -> None:
    folder = tmp_path / "all"
    study(folder / "mine", dataset="=1+1\x1b[2J")
    assert main(["leaderboard", str(folder)]) == 0
    assert {row["dataset"] for row in table(folder)} == {r"'=1+1\x1b[2J"}


@pytest.mark.parametrize("name", ["../out", ".hidden", "a/b"])
def test_a_name_leads_nowhere_else(name: str, tmp_path: Path) -> None:
    assert add(tmp_path / "all", study(tmp_path / "mine"), "--name", name) == 2
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_compared_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "all"
    assert main(["leaderboard", str(folder)]) == 2
    assert "--add RUNS" in capsys.readouterr().err
    study(folder / "good")
    runs.write(folder / "alone", runs.record("amp", 0, 0.2), runs.record("mixup", 0, 0.2))
    (folder / "empty").mkdir()
    assert main(["leaderboard", str(folder)]) == 0
    told = capsys.readouterr().err
    assert "alone, " in told and "no runs of the policy none" in told and "empty is left" in told
    assert main(["leaderboard", str(folder), "--name", "x"]) == 2


def choose(element: Any, value: str) -> None:
    from selenium.webdriver.support.ui import Select

    Select(element).select_by_value(value)


def test_the_page_is_filtered_and_sorted(tmp_path: Path) -> None:
    folder = tmp_path / "all"
    study(folder / "mine")
    study(folder / "theirs", dataset=EVIL)
    assert main(["leaderboard", str(folder)]) == 0
    path = folder / "leaderboard.html"
    for width, dark in ((1280, False), (400, True)):
        with chromium(tmp_path, width, dark=dark) as browser:
            open_page(browser, path)
            rows = "return [...document.querySelectorAll('tbody tr')].filter((r) => r.offsetHeight)"
            assert len(browser.execute_script(rows)) == 4
            selects = browser.find_elements("css selector", ".board-choose select")
            choose(selects[2], "mixup")
            assert len(browser.execute_script(rows)) == 2
            assert browser.find_element("css selector", ".board-count").text == "2 of 4 effects"
            choose(selects[2], "")
            choose(selects[-1], "difference")
            order = [
                float(one)
                for one in browser.execute_script(f"{rows}.map((r) => r.dataset.difference)")
            ]
            assert order == sorted(order) and len(order) == 4
            if width > 1000:
                by = browser.find_element("css selector", "th[data-by='difference'] button")
                by.click()
                assert (
                    browser.find_element(
                        "css selector", "th[aria-sort='descending']"
                    ).get_attribute("data-by")
                    == "difference"
                )
            assert EVIL in browser.find_element("css selector", "tbody").text
            assert browser.title == "Leaderboard" and errors_of(browser) == []
            assert browser.execute_script("return document.images.length") == 0
            asked = [u for u in requests_of(browser) if u.startswith(("http", "file"))]
            assert asked == [path.resolve().as_uri()]
            wide = "return document.documentElement.scrollWidth > innerWidth"
            assert not browser.execute_script(wide)
