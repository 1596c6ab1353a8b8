"""The pages in a real browser: drawn, usable, silent, and asking nobody for anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ampmix.cli.main import main
from browser import chromium, errors_of, open_page, requests_of

EVIL = "<img src=x onerror=\"document.title='broken'\"></script><script>document.title='broken'"


def report_page(folder: Path) -> Path:
    import test_runs_report as runs

    named = {"specification": {"dataset": EVIL}, "provenance": {"printed_as": ["", ""]}}
    made = [
        runs.record(policy, seed, 0.2, **changes)
        for policy in ("none", "mixup", "amp")
        for seed in range(3)
        for changes in ({}, named)
    ]
    assert main(["report", str(runs.write(folder / "runs", *made)), "--out", str(folder)]) == 0
    return folder / "report.html"


def path_page(folder: Path) -> Path:
    import csv

    import test_path as paths

    arguments = paths.write(folder)
    rows = [("text", "label"), (EVIL, "ask"), ("who is it", "tell")]
    rows += [(f"text {i}", "ask") for i in range(4)]
    with (folder / "test.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    assert main(arguments) == 0
    return folder / "out" / "path.html"


def is_sound(browser: Any, path: Path) -> None:
    assert errors_of(browser) == []
    assert browser.title != "broken"
    assert browser.execute_script("return document.images.length") == 0
    asked = [url for url in requests_of(browser) if not url.startswith("data:")]
    assert asked == [path.resolve().as_uri()]
    scrolls = "return document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not browser.execute_script(scrolls)


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, True)])
def test_report_is_drawn(width: int, dark: bool, tmp_path: Path) -> None:
    with chromium(tmp_path, width, dark=dark) as browser:
        path = report_page(tmp_path)
        open_page(browser, path)
        is_sound(browser, path)
        charts = browser.find_elements("css selector", ".chart")
        assert charts
        for chart in charts:
            assert chart.find_elements("css selector", "svg .mark-rule, svg .mark-line")
            assert chart.get_attribute("aria-label")
        assert EVIL in browser.find_element("tag name", "body").text
        ground = "return getComputedStyle(document.body).backgroundColor"
        assert (browser.execute_script(ground) == "rgb(255, 255, 255)") is not dark
        # from the keyboard: the first stop leads past the contents, tables open and close
        summary = browser.find_element("css selector", "summary")
        summary.send_keys("\ue006")
        assert summary.find_element("xpath", "..").get_attribute("open")


def test_a_pair_is_chosen_and_read(tmp_path: Path) -> None:
    with chromium(tmp_path, 1000) as browser:
        path = path_page(tmp_path)
        open_page(browser, path)
        seen = {}
        pairs = len(browser.find_elements("css selector", "#pair option"))
        for _ in range(pairs):
            texts = [browser.find_element("id", f"text-{i}").text for i in (0, 1)]
            told = browser.find_element("id", "pair-told").text
            drawn = browser.execute_async_script(
                "const done = arguments[0], view = ampmixViews['path-pair'];"
                "view.runAsync().then(() => done(view.data('path').map((d) => d.mean)));"
            )
            seen[tuple(texts)] = (told, tuple(drawn))
            browser.find_element("id", "later").send_keys("\ue006")
        assert len(seen) == pairs >= 3 and len(set(seen.values())) >= 3  # some texts read alike
        texts = [text for pair in seen for text in pair]
        assert EVIL in texts
        choice = browser.find_element("id", "pair")
        assert choice.get_property("value") == "0"  # round and back
        choice.send_keys("2")
        assert browser.find_element("id", "text-0").text == list(seen)[1][0]
        is_sound(browser, path)
