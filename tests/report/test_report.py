"""Tables and progress: all of it within 80 columns, nothing eaten, nothing that crashes."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from ampmix._support import wording
from ampmix._support.wording import duration
from ampmix.studies.executors import Task
from ampmix.studies.plan import Run
from ampmix.terminal import comparison
from ampmix.terminal import progress as progress_module
from ampmix.terminal.progress import RunsProgress

LONG = "amp[alpha=0.5,eps=0.125,site=sent,min_op=false,direction=sign,shared_dropout=false]"


def row(policy: str, **changes: Any) -> dict[str, Any]:
    return {
        "policy": policy,
        "errors": [8.0, 9.0, 8.8],
        "seeds": [0, 1, 2],
        "mean": 8.6,
        "std": 0.53,
        "difference": -0.4,
        "interval": [-1.24, 0.44],
        "p": 0.213,
        "detectable": 1.2,
        "decision": "no difference shown",
        "verdict": "no difference shown; 3 seeds could have detected 1.2 points or more",
        "dev_error": 7.0,
        "failures": {},
        "paper": None,
    } | changes


def baseline(policy: str = "none", **changes: Any) -> dict[str, Any]:
    nothing = {"difference": None, "interval": None, "p": None, "detectable": None}
    return row(policy, **nothing, decision="baseline", verdict="baseline") | changes


FAILED = {
    "errors": [],
    "seeds": [],
    "mean": None,
    "std": None,
    "difference": None,
    "interval": None,
    "p": None,
    "detectable": None,
    "dev_error": None,
    "decision": "not decided",
    "verdict": "not decided: no seed finished for both",
    "failures": {"0": "the training loss is nan at step 7: lower the learning rate", "1": "x"},
}


def summary(*rows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "design": "test set",
        "baseline": "none",
        "rows": list(rows),
        "model": {"folder": "model", "policy": "amp[site=sent]", "seed": 2},
    } | changes


def shown(content: dict[str, Any], width: int = 80) -> str:
    file = io.StringIO()
    comparison.print_comparison(
        content,
        Console(width=width, file=file, force_terminal=True, no_color=True, color_system=None),
    )
    return file.getvalue()


def test_options_in_brackets_are_visible() -> None:
    text = shown(summary(baseline(), row("amp[site=sent]"), row("mixup[alpha=0.5]")))
    head = text.split("\n\n")[0]
    assert "amp[site=sent]" in head
    assert "mixup[alpha=0.5]" in head
    assert "amp[site=sent]: no difference shown" in text
    assert "Model: amp[site=sent], seed 2" in text


@pytest.mark.parametrize("paper", [None, {"error": 8.4, "std": 0.92}])
@pytest.mark.parametrize("policy", ["none", "amp[site=sent]", LONG, "amp[red]x[/red]"])
def test_it_fits_into_80_columns(policy: str, paper: dict[str, float] | None) -> None:
    wide = {"mean": 55.5, "std": 10.2, "interval": [-212.5, 130.4], "difference": -100.0}
    text = shown(summary(baseline(paper=paper), row(policy, paper=paper, **wide)))
    assert max(map(len, text.splitlines())) <= 80
    head = text.split("\n\n")[0].splitlines()
    column = head[0].index("test error %")
    assert policy in "".join(line[:column].rstrip() for line in head[1:])
    assert "[-212.5, +130.4]" in text
    assert ("8.4 ± 0.9" in text) == (paper is not None)


def test_a_wide_name_goes_on_after_a_comma() -> None:
    text = shown(summary(row("minilm[pooling=layers,freeze=true]"), row("minilm[freeze=true]")))
    first = [line.split()[0] for line in text.split("\n\n")[0].splitlines()[1:]]
    assert first == ["minilm[pooling=layers,", "freeze=true]", "minilm[freeze=true]"]


def test_the_cells() -> None:
    text = shown(summary(row("tfidf-logreg", p=0.0004), baseline(), row("mixup")))
    head = [line.split() for line in text.split("\n\n")[0].splitlines()]
    assert head[0] == ["policy", "test", "error", "%", "difference", "95", "%", "interval", "p"]
    assert head[1] == ["tfidf-logreg", "8.6", "±", "0.5", "-0.4", "[-1.2,", "+0.4]", "<0.001"]
    assert head[2] == ["none", "8.6", "±", "0.5", "baseline"]
    assert head[3] == ["mixup", "8.6", "±", "0.5", "-0.4", "[-1.2,", "+0.4]", "0.213"]


def test_the_papers_number_stands_beside_ours() -> None:
    paper = {"error": 8.8, "std": 0.86}
    head = shown(summary(baseline(paper=paper), row("mixup"))).split("\n\n")[0].splitlines()
    assert head[0].split()[-1] == "paper"
    assert head[1].endswith("8.8 ± 0.86")
    assert head[2].rstrip().endswith("0.213")
    assert "paper" not in shown(summary(baseline(), row("mixup")))


def test_what_is_not_known_is_left_out() -> None:
    one = {"std": None, "interval": None, "p": None, "detectable": None, "decision": "not decided"}
    one |= {"verdict": "not decided: one seed says nothing about new seeds"}
    text = shown(summary(baseline(std=None), row("mixup", **one)))
    head = [line.split() for line in text.split("\n\n")[0].splitlines()]
    assert head[1:] == [["none", "8.6", "baseline"], ["mixup", "8.6", "-0.4"]]
    assert "mixup: not decided: one seed says nothing about new seeds." in text
    assert "None" not in text
    assert "nan" not in text


def test_failures_are_told_with_their_number_and_step() -> None:
    rows = [baseline(**FAILED | {"decision": "baseline"}), row("mixup", **FAILED)]
    text = " ".join(shown(summary(*rows, model=None)).split())
    assert "none: 2 of 2 runs failed (seeds 0, 1): the training loss is nan at step 7" in text
    assert "mixup: 2 of 2 runs failed" in text
    assert "mixup: not decided: no seed finished for both." in text
    assert "None" not in text
    assert "Model:" not in text

    some = row("mixup", failures={"3": "the training loss is nan at step 7"})
    text = " ".join(shown(summary(baseline(), some)).split())
    assert "mixup: 1 of 4 runs failed (seed 3): the training loss is nan at step 7." in text


def test_it_says_what_was_paired_and_with_what() -> None:
    rows = (baseline("mixup"), row("amp"))
    text = shown(summary(*rows, baseline="mixup"))
    assert "Difference to mixup in points, paired by seed and test text;" in text
    assert "paired by fold;" in shown(summary(*rows, design="cross-validation"))


@pytest.mark.parametrize(
    ("value", "text"), [(0.0004, "<0.001"), (0.001, "0.001"), (0.05, "0.050"), (1.0, "1.000")]
)
def test_p_values(value: float, text: str) -> None:
    assert wording.p_value(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (9000, "2.5 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


class Record:
    def __init__(self, done: bool = True, seconds: float | None = None) -> None:
        self.done = done
        self.provenance = {} if seconds is None else {"seconds": seconds}


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(progress_module.time, "monotonic", lambda: self.now)


def test_plain_lines_now_and_then_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, file = Clock(monkeypatch), io.StringIO()
    with RunsProgress(4, 100, Console(file=file, width=80)) as bar:
        bar.on_step(("none", 0), 30)
        clock.now += 500
        bar.on_step(("none", 0), 39)
        assert file.getvalue() == ""  # no tenth is done, however long it takes
        clock.now -= 484
        bar.on_record(("none", 0), Record(done=False))
        assert file.getvalue() == "1 of 4 runs, 1 failed, 25%, about 48 s left\n"
        clock.now += 1
        bar.on_step(("none", 1), 10)
        assert file.getvalue().count("\n") == 1
        clock.now += 15
        bar.on_step(("amp[site=sent]", 1), 90)
    assert file.getvalue().splitlines()[1:] == ["1 of 4 runs, 1 failed, 50%, about 32 s left"]


def test_time_left_weighs_runs_by_their_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of none take 10 s and of amp 50 s: 20 of 120 s are done when the cheap ones are."""
    clock, file = Clock(monkeypatch), io.StringIO()
    tasks = [Task(0, Run(policy, seed)) for policy in ("none", "amp") for seed in (0, 1)]
    with RunsProgress(0, 0, Console(file=file, width=80)) as bar:
        bar.on_begin(dict.fromkeys(tasks, 100), "policies")
        for task in tasks[:2]:
            bar.on_step(task, 1)
            clock.now += 10
            bar.on_record(task, Record(seconds=10.0))
        bar.on_step(tasks[2], 0)
        clock.now += 5
        bar.on_step(tasks[2], 10)  # a tenth of it in 5 s
        bar.on_step(tasks[2], 20)
        clock.now += 45
        bar.on_record(tasks[2], Record(seconds=50.0))
    lines = file.getvalue().splitlines()
    assert lines[1] == "policies: 2 of 4 runs, 50%, about 20 s left"  # nothing is known of amp yet
    left = [int(line.split()[-3]) for line in lines if "min" not in line]
    assert lines[-1] == "policies: 3 of 4 runs, 75%, about 50 s left" and len(left) == len(lines)


def test_steps_never_go_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that is reported after its run has ended, out of order, changes nothing."""
    clock, file = Clock(monkeypatch), io.StringIO()
    with RunsProgress(2, 100, Console(file=file, width=80)) as bar:
        bar.on_record(("none", 0), Record())
        clock.now += 16
        bar.on_step(("none", 0), 40)
    assert file.getvalue().startswith("1 of 2 runs, 50%")


def test_a_run_that_was_not_announced_does_not_crash_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """compare() trains the chosen run again if its weights were removed, though none is missing."""
    clock, file = Clock(monkeypatch), io.StringIO()
    with RunsProgress(0, 100, Console(file=file, width=80)) as bar:
        clock.now += 16
        bar.on_step(("none", 0), 40)
        clock.now += 16
        bar.on_record(("none", 0), Record())
    assert "inf" not in file.getvalue()


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    file = io.StringIO()
    with RunsProgress(2, 100, Console(file=file, width=80, force_terminal=True)) as bar:
        bar.on_step(("amp[site=sent]", 0), 50)
        bar.on_record(("amp[site=sent]", 0), Record())
        bar._bar.refresh()
    assert "1 of 2 runs" in file.getvalue()
    assert "50%" in file.getvalue()
