"""What comes from data is shown, and commands nothing: no terminal, no page, no document.

Names of classes, columns, files and models, and texts, hold escape sequences, bidirectional
overrides, markup and line ends. Every command is run on them; what it shows has none of these left
as a command. Files of data (predict's rows, JSON) keep them: they are data.
"""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ampmix import Classifier
from ampmix.cli.main import main
from ampmix.errors import printable
from ampmix.models.model_card import card
from ampmix.report.markdown import escaped

CLEAR = "\x1b[2J\x1b]0;title\x07"
CLASSES = [
    f"red\x1b[31m{CLEAR}",
    "c1\x9b31m",
    "\u202eevil",
    "two\nlines",
    "back`quote ``two``",
    "<img src=x onerror=alert(1)>",
    "[bold]markup[/bold]",
    "family \U0001f468\u200d\U0001f469",
]
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
SMALL = ["--backbone", "cnn[embedding_dim=4,feature_maps=2]", "--steps", "2", "--batch-size", "8"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of hostile names, and a model trained on it."""
    folder = tmp_path_factory.mktemp("hostile")
    with (folder / "data.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        for i in range(8 * len(CLASSES)):
            rows.writerow([f"text {i} {CLEAR} \u202e [red] <b>", CLASSES[i % len(CLASSES)]])
    assert main(["train", str(folder / "data.csv"), "--out", str(folder / "model"), *SMALL]) == 0
    return folder


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    code = main(arguments)
    out, err = capsys.readouterr()
    assert code in (0, 2), err
    assert not COMMANDS.search(out + err), repr(COMMANDS.search(out + err))
    return out + err


@pytest.mark.slow
def test_every_command_shows_names_and_obeys_none(
    made: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, serial: Any
) -> None:
    monkeypatch.chdir(made)
    train = run(["train", "data.csv", "--out", "model", *SMALL], capsys)
    assert "8 classes" in train
    shown = run(["evaluate", "model", "data.csv", "--picture", "c.svg"], capsys)
    assert "red\\x1b[31m\\x1b[2J" in shown and "[bold]markup[/bold]" in shown
    assert "\U0001f468\u200d\U0001f469" in shown  # joined as it was
    compare = ["compare", "data.csv", "--out", "runs", "--seeds", "2", "--policies", "none,mixup"]
    run([*compare, *SMALL], capsys)
    run(["report", "runs", "--out", "page"], capsys)
    run(["path", "model", "--data", "data.csv", "--site", "word", "--out", "paths"], capsys)
    run(["predict", "model", "data.csv", "--out", "labelled.csv"], capsys)
    for path in (*made.rglob("*.md"), *made.rglob("*.html"), made / "c.svg"):
        assert not COMMANDS.search(path.read_text(encoding="utf-8")), path
    # data keep names as they are
    assert tuple(sorted(CLASSES)) == tuple(sorted(Classifier.load("model").classes))
    with (made / "labelled.csv").open(encoding="utf-8", newline="") as file:
        assert {row["label"] for row in csv.DictReader(file)} <= set(CLASSES)


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "data.csv", "--out", "m", "--label", CLASSES[0]],
        ["evaluate", "model", "data.csv", "--text", CLASSES[2]],
        ["predict", f"no{CLEAR}model", "data.csv"],
        ["compare", f"no{CLEAR}file.csv"],
        ["compare", "data.csv", "--policies", CLASSES[1]],
        ["report", f"no{CLEAR}folder"],
        [f"no{CLEAR}command"],
        ["train", "data.csv", "--out", "m", f"--no{CLEAR}option"],
    ],
    ids=lambda arguments: arguments[0][:8],
)
def test_messages_show_names_and_obey_none(
    arguments: list[str],
    made: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(made)
    try:
        assert "\\" in run(arguments, capsys)
    except SystemExit as ended:
        assert ended.code == 2
        out, err = capsys.readouterr()
        assert not COMMANDS.search(out + err)


class Texts(HTMLParser):
    """The texts of a page, and its elements."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.add(tag)


@pytest.mark.parametrize("name", CLASSES)
def test_a_model_card_keeps_every_name_in_its_code_span(name: str) -> None:
    made = card({"backbone": "cnn", "classes": [name, "other"], "about": {"dataset": name}})
    assert not COMMANDS.search(made)
    (line,) = re.findall(r"^1\. .*$", made, re.M)
    fence = re.match(r"1\. (`+)", line)
    assert fence is not None
    inner = line[len("1. ") + len(fence[1]) : -len(fence[1])]
    assert line.endswith(fence[1]) and fence[1] not in re.findall("`+", inner)
    parser = Texts()
    parser.feed(re.sub(r"(`+).*?(?<!`)\1(?!`)", "", re.sub(r"\\.", "", made)))
    assert not parser.elements


@pytest.mark.parametrize("name", CLASSES)
def test_printable_texts_stay(name: str) -> None:
    assert not COMMANDS.search(printable(name)) and not COMMANDS.search(escaped(name))
    assert printable("\u0645\u200c\u062e \u0e01 \u4e2d \u00a0 \U0001f469\u200d\U0001f52c") == (
        "\u0645\u200c\u062e \u0e01 \u4e2d \u00a0 \U0001f469\u200d\U0001f52c"
    )
    assert json.loads(json.dumps(name)) == name
