"""--json, --quiet and --verbose do the same in every command that has an answer."""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

import ampmix
import forked
from ampmix import Classifier
from ampmix._support import components
from ampmix.cli.main import build_parser, main
from ampmix.cli.output import Output, dumped
from ampmix.studies.file import read
from ampmix.studies.run import run_study
from ampmix.studies.study import build
from small_models import saved_model
from small_studies import write_study

CNN = "cnn[embedding_dim=8,feature_maps=4]"
SMALL = ["--backbone", CNN, "--steps", "4"]
COMPARE = ["--policies", "none,mixup", "--seeds", "2", *SMALL]
COMMANDS: dict[str, list[str]] = {
    "compare": ["films.csv", *COMPARE, "--out", "runs"],
    "errors": ["runs", "films.csv"],
    "evaluate": ["runs", "films.csv"],
    "export": ["runs", "--onnx", "model.onnx"],
    "leaderboard": ["studies", "--out", "board"],
    "list": ["policies"],
    "path": ["cnn/model", "--data", "films.csv", "--pairs", "4", "--points", "3"],
    "predict": ["runs", "films.csv"],
    "report": ["runs", "--out", "report"],
    "serve": ["runs", "--port", "0"],
    "study": ["small.toml", "--out", "study", "--executor", "here", "--no-estimate"],
    "train": ["films.csv", "--out", "trained", *SMALL],
}
EXTRAS = {"errors": "cleanlab", "export": "onnxscript", "serve": "uvicorn"}
EXTRAS |= dict.fromkeys(("leaderboard", "path", "report"), "altair")
EVERY = pytest.mark.parametrize("command", COMMANDS)
QUICK = pytest.mark.parametrize(  # an export takes seconds
    "command",
    [pytest.param(c, marks=pytest.mark.slow if c == "export" else ()) for c in COMMANDS],
)


def strict(text: str) -> Any:
    """The value of a JSON document, which holds no NaN and nothing beside it."""

    def refuse(name: str) -> NoReturn:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with texts, a comparison of them, a study file and a folder of studies."""
    folder = tmp_path_factory.mktemp("made")
    study = build(read(write_study(folder)))
    run_study(study, folder / "study")
    pieces = {"policies": "none,mixup", "seeds": 2, "steps": 4, "backbone": CNN}
    ampmix.compare(folder / "films.csv", folder / "runs", **pieces)
    saved_model(folder / "cnn", Classifier.load(folder / "runs").classes)
    shutil.copytree(folder / "runs", folder / "studies" / "one")
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture(autouse=True)
def helped(monkeypatch: pytest.MonkeyPatch, serial: Any) -> None:
    """A server ends as it begins, and a package offers a policy that cannot be had."""
    uvicorn = sys.modules.get("uvicorn") or pytest.importorskip("uvicorn")
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_, **__: None)
    broken = metadata.EntryPoint("broken", "nowhere:Policy", "ampmix.policies")
    monkeypatch.setattr(components, "_entries", lambda package: {"broken": broken})


def said(capsys: Any, command: str, *more: str) -> tuple[str, str]:
    """What a command prints, on standard output and beside it."""
    pytest.importorskip(EXTRAS.get(command, "torch"))
    before, handler = torch.get_num_threads(), signal.getsignal(signal.SIGTERM)
    try:
        assert main([command, *COMMANDS[command], *more]) == 0
    finally:
        torch.set_num_threads(before)
        signal.signal(signal.SIGTERM, handler)
    told = capsys.readouterr()
    return told.out, told.err


def lasting(beside: str) -> set[str]:
    """Lines but those on progress, which tell how long it takes."""
    return {line for line in beside.splitlines() if not line.endswith(" left")}


def test_every_command_that_answers_has_the_options_and_is_tested() -> None:
    (action,) = (a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    having = {name for name, parser in action.choices.items() if "--json" in parser.options}
    assert having == set(COMMANDS) == set(action.choices) - {"completion"}
    for name in having:
        assert {"--quiet", "-q", "--verbose", "-v"} <= set(action.choices[name].options)


@EVERY
def test_json_is_one_document_and_the_notes_are_beside_it(
    command: str, here: Path, capsys: Any
) -> None:
    text, notes = said(capsys, command)
    document, beside = said(capsys, command, "--json")
    told = strict(document)
    assert isinstance(told, dict) and told
    assert document.isascii() and document.endswith("}\n") and document != text
    # no note is lost, but those on how the text is written
    kept = {line for line in lasting(notes) if "names of added columns" not in line}
    assert kept <= lasting(beside)


@QUICK
def test_json_with_a_file_prints_the_text(command: str, here: Path, capsys: Any) -> None:
    document = strict(said(capsys, command, "--json")[0])
    text, _ = said(capsys, command)
    with_file, _ = said(capsys, command, "--json", "told/answer.json")
    written = strict(Path("told/answer.json").read_text(encoding="utf-8"))
    if command == "serve":  # a free port each time
        for one in (document, written):
            assert one.pop("port") > 0
        text = with_file = ""
    assert written == document and with_file == text


@QUICK
def test_quiet_leaves_the_answer_alone(command: str, here: Path, capsys: Any) -> None:
    text, notes = said(capsys, command)
    quiet, beside = said(capsys, command, "--quiet")
    assert beside == "" and (quiet, beside) != (text, notes)
    assert set(quiet.splitlines()) <= set(text.splitlines())
    assert bool(quiet) == (command not in ("export", "serve"))  # whose answer is what they do
    document, beside = said(capsys, command, "--quiet", "--json")
    assert strict(document) and beside == ""


@QUICK
def test_verbose_says_more_and_the_answer_stays(command: str, here: Path, capsys: Any) -> None:
    text, notes = said(capsys, command)
    verbose, beside = said(capsys, command, "--verbose")
    assert command == "serve" or verbose == text
    more = beside.splitlines()
    assert lasting(notes) <= lasting(beside)
    assert f"torch {metadata.version('torch')}" in more[0]
    assert f"{command} took " in more[-1] and "computed for" in more[-1]
    assert not logging.getLogger("ampmix").handlers
    assert lasting(said(capsys, command)[1]) == lasting(notes)


@QUICK
def test_an_error_is_a_sentence_and_no_document(command: str, here: Path, capsys: Any) -> None:
    shutil.rmtree("runs")
    shutil.rmtree("cnn")
    given = ["absent" if one in ("films.csv", "studies", "small.toml") else one
             for one in COMMANDS[command]]  # fmt: skip
    given = ["polices"] if command == "list" else given
    for level in ([], ["--quiet"]):
        assert main([command, *given, "--json", *level]) == 2
        told = capsys.readouterr()
        assert told.out == "" and told.err.startswith("ampmix: ") and told.err.count("\n") == 1


def test_quiet_and_verbose_exclude_each_other(capsys: Any) -> None:
    assert main(["list", "-q", "-v"]) == 2
    assert "not allowed with" in capsys.readouterr().err


def test_the_document_of_compare_is_its_summary(here: Path, capsys: Any) -> None:
    told = strict(said(capsys, "compare", "--json")[0])
    written = strict(Path("runs/summary.json").read_text())
    assert {key: told[key] for key in written} == written
    assert set(told) - set(written) == {"out", "trained", "unfinished"}
    assert told["trained"] == 0 and told["unfinished"] == [] and told["out"] == "runs"


def test_runs_without_a_record_are_in_the_document(here: Path) -> None:
    limit = [*COMMANDS["compare"], "--fraction", "0.9", "--time-limit", "0.001", "--json"]
    done = piped(here, ["compare", *limit])
    assert done.returncode == 1, done.stderr
    told = strict(done.stdout)
    assert {one["policy"] for one in told["unfinished"]} >= {"none", "mixup"}
    assert all("--time-limit" in one["reason"] for one in told["unfinished"])


def test_the_document_of_predict_has_what_the_model_says(here: Path, capsys: Any) -> None:
    texts = ["a good film", "dull", " "]
    assert main(["predict", "runs", *texts, "--json"]) == 0
    told = strict(capsys.readouterr().out)
    model = Classifier.load("runs")
    for row, text in zip(told["rows"], texts, strict=True):
        assert row["text"] == text
        if not text.strip():
            assert row["label"] is None and row["probabilities"] is None
            continue
        (given,) = model.predict_proba([text])
        assert row["label"] == model.classes[given.argmax()]
        assert row["probabilities"] == {
            name: pytest.approx(float(p), rel=1e-5)
            for name, p in zip(model.classes, given, strict=True)
        }
    assert (told["texts"], told["unlabelled"]) == (3, 1)
    assert sum(told["labels"].values()) == 2 and list(told["labels"]) == list(model.classes)


def test_rows_that_go_to_a_file_are_counted(here: Path, capsys: Any) -> None:
    whole = strict(said(capsys, "predict", "--json")[0])
    for out in ("labelled.csv", "labelled.jsonl"):
        told = strict(said(capsys, "predict", "--json", "--out", out)[0])
        assert told["rows"] is None and told["out"] == out and Path(out).exists()
        assert told["labels"] == whole["labels"] and told["texts"] == len(whole["rows"])
    plain = strict(said(capsys, "predict", "--json", "--no-proba")[0])
    assert [set(row) for row in plain["rows"]] == [{"line", "text", "label"}] * plain["texts"]


def test_the_others_documents_hold_what_the_text_says(here: Path, capsys: Any) -> None:
    trained = strict(said(capsys, "train", "--json")[0])
    again, _ = said(capsys, "train")
    assert f"Development error {trained['dev_error']:.1%}" in again
    found = strict(said(capsys, "evaluate", "--json")[0])
    assert f"Error {found['error']:.1%}" in said(capsys, "evaluate")[0]
    listed = strict(said(capsys, "list", "--json")[0])["policies"]
    assert [one["name"] for one in listed if one["options"].get("eps") == 0.002] == ["amp"]
    study = strict(said(capsys, "study", "--json")[0])
    assert study["runs"] == 6 and study["left"] == 0 and study["failed"] == []
    left = strict(said(capsys, "study", "--json", "--dry-run", "--seeds", "3")[0])
    assert left["runs"] == 9 and left["left"] > 0 and "trained" not in left


def test_data_after_json_are_no_file_of_it(here: Path, capsys: Any) -> None:
    """``list --json policies`` asks for policies; a file for the document is named .json."""
    assert main(["list", "--json", "policies"]) == 0
    assert list(strict(capsys.readouterr().out)) == ["policies"]
    assert not Path("policies").exists()
    assert main(["list", "policies", "--json=policies"]) == 0
    assert "policies" in strict(Path("policies").read_text())


def test_a_file_of_another_name_is_told_what_json_takes(here: Path, capsys: Any) -> None:
    assert main(["evaluate", "runs", "films.csv", "--json", "figures.txt"]) == 2
    assert "'figures.txt'" in (error := capsys.readouterr().err) and "ends in .json" in error


def test_a_folder_is_no_file_for_the_document(here: Path, capsys: Any) -> None:
    Path("x.json").mkdir()
    assert main(["list", "--json", "x.json"]) == 2
    assert "names a folder" in capsys.readouterr().err


def test_of_several_processes_the_first_alone_speaks(here: Path, capsys: Any) -> None:
    arguments = build_parser().parse_args(["list", "--json"])
    output = Output(arguments, sys.stdout)
    output.only_first(1)
    output.document({"answer": 1})
    output.answer("answer")
    output.note("note")
    logging.getLogger("ampmix").setLevel(logging.NOTSET)
    assert capsys.readouterr() == ("", "")


def test_a_document_commands_no_terminal() -> None:
    hostile = "".join(map(chr, range(32))) + "\x7f\x9b\u202e\ud800é"
    assert dumped([hostile]).isprintable() and dumped([hostile]).isascii()
    assert strict(dumped([hostile, float("inf"), float("nan")])) == [hostile, None, None]


# ------------------------------------------------------------------ pipes

LOUD = """
from dataclasses import dataclass
from typing import ClassVar
import os
import ampmix

print("imported")

@dataclass(frozen=True)
class Loud(ampmix.Mixup):
    "Mixup that prints."
    name: ClassVar[str] = "loud"

    def _train(self, *given):
        print("training")
        os.write(1, b"by the system\\n")
        return super()._train(*given)
"""


def piped(here: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    full = [sys.executable, "-m", "ampmix", *command]
    return forked.run(full, cwd=here, capture_output=True, text=True, timeout=300)


def test_what_a_policy_prints_is_not_in_the_document(here: Path) -> None:
    (here / "mine.py").write_text(LOUD)
    given = ["--policies", "none,mine:Loud", "--seeds", "2", *SMALL, "--workers", "1"]
    done = piped(here, ["compare", "films.csv", *given, "--json"])
    assert done.returncode == 0, done.stderr
    assert strict(done.stdout)["rows"][-1]["policy"] == "loud"
    for words in ("imported", "training", "by the system"):
        assert words in done.stderr


def test_another_program_reads_the_document(here: Path) -> None:
    ours = [sys.executable, "-m", "ampmix", "list", "--json"]
    with subprocess.Popen(ours, cwd=here, stdout=subprocess.PIPE) as process:
        theirs = [sys.executable, "-m", "json.tool"]
        done = subprocess.run(theirs, stdin=process.stdout, capture_output=True, text=True)
    assert process.returncode == 0 and done.returncode == 0, done.stderr
    assert "policies" in strict(done.stdout)


def test_a_closed_pipe_is_no_traceback(here: Path) -> None:
    ours = [sys.executable, "-m", "ampmix", "predict", "runs", "films.csv", "--json"]
    process = forked.Popen(ours, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    process.wait(timeout=60)
    assert process.returncode == 1
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
