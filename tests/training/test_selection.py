"""Early stopping: when it ends, what it keeps, and who is told."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from ampmix.backbones.encoder import MiniLM
from ampmix.backbones.text_cnn import TextCNN
from ampmix.cli.main import main
from ampmix.data.dataset import Examples, Split, TextDataset
from ampmix.data.splits import split_holdout
from ampmix.errors import AmpmixError
from ampmix.policies.none import NoMixup
from ampmix.terminal.progress import RunsProgress
from ampmix.training import config as training_config
from ampmix.training import training_run
from ampmix.training.config import TrainConfig
from ampmix.training.fit import fit
from ampmix.training.selection import Reading, Selection
from ampmix.training.training_run import Fit

CNN = TextCNN(embedding_dim=8, filter_sizes=(1, 2), feature_maps=4)
Readings = list[tuple[float, float]]


class Marked(torch.nn.Module):
    """A model that says when its weights were taken."""

    def __init__(self, step: int = 0) -> None:
        super().__init__()
        self.at = torch.nn.Parameter(torch.tensor(float(step)))


def loop(readings: Readings, rule: str, patience: int) -> tuple[int, int]:
    """The reading where training ends and the one that is kept (from 1), by a plain loop."""
    best, waited, at = (np.inf, np.inf), 0, 0
    for i, reading in enumerate(readings, start=1):
        if reading < best:
            best, waited, at = reading, 0, i
        else:
            waited += 1
        if patience and waited == patience:
            break
    return i, i if rule == "last" else at


few = st.sampled_from([0.1, 0.2, 0.3])


@given(
    st.lists(st.tuples(few, few), min_size=1, max_size=12),
    st.sampled_from(["best_dev", "last"]),
    st.integers(0, 4),
)
@settings(max_examples=200, deadline=None)
def test_it_ends_and_keeps_as_a_plain_loop_does(
    readings: Readings, rule: str, patience: int
) -> None:
    selection = Selection(rule, patience)
    for step, reading in enumerate(readings, start=1):
        selection.add(Reading(step, 0.0, *reading), Marked(step))
        if selection.enough:
            break
    assert (step, selection.kept.step) == loop(readings, rule, patience)
    model = Marked()
    selection.restore(model)
    assert model.at.item() == selection.kept.step


# --- in fit() ----------------------------------------------------------------------------------


def toy(n: int = 45) -> Split:
    draws = np.random.default_rng(0)

    def part(count: int) -> Examples:
        own = np.arange(count) % 3
        words = [f"{('apple', 'train', 'music')[y]} w{draws.integers(9)}" for y in own]
        return Examples(tuple(words), own)

    return split_holdout(TextDataset("toy", ("A", "B", "C"), part(n), part(30), part(30)), 0)


def scripted(monkeypatch: pytest.MonkeyPatch, readings: Readings, **options: Any) -> Fit:
    """A run whose development readings are given, one every second step."""
    script = iter(readings)
    monkeypatch.setattr(training_run, "_measure", lambda *_: next(script))
    config = TrainConfig(steps=2 * len(readings), batch_size=7, lr=0.01, eval_every=2, **options)
    return fit(CNN, NoMixup(), toy(), config)


FALLING_THEN_RISING = [(0.5, 1.0), (0.3, 0.9), (0.3, 1.0), (0.4, 0.8), (0.3, 0.95), (0.1, 0.1)]


@pytest.mark.parametrize(
    ("patience", "selection", "stopped", "kept"),
    [
        (0, "best_dev", None, 12),
        (1, "best_dev", 6, 4),
        (3, "best_dev", 10, 4),
        (4, "best_dev", None, 12),
        (3, "last", 10, 10),
        (9, "last", None, 12),
    ],
)
def test_training_ends_and_says_where(
    monkeypatch: pytest.MonkeyPatch, patience: int, selection: str, stopped: int | None, kept: int
) -> None:
    made = scripted(monkeypatch, FALLING_THEN_RISING, patience=patience, selection=selection)
    assert (made.stopped, made.best.step, made.test_reads) == (stopped, kept, (kept,))
    assert [r.step for r in made.curve] == list(range(2, (stopped or 12) + 1, 2))
    if kept == stopped or stopped is None:
        return
    there = scripted(monkeypatch, FALLING_THEN_RISING[: kept // 2])
    for name, value in there.classifier.model.state_dict().items():
        assert torch.equal(made.classifier.model.state_dict()[name], value), name


def test_patience_that_runs_out_with_the_steps_ends_nothing_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = scripted(monkeypatch, FALLING_THEN_RISING[:3], patience=1)
    assert made.stopped is None and made.best.step == 4


def test_steps_before_the_end_are_those_of_a_run_without_patience() -> None:
    """The schedule goes by `steps`, so what is cut off is all that differs."""
    config = TrainConfig(steps=60, batch_size=7, lr=0.3, eval_every=3, schedule="linear")
    whole = fit(CNN, NoMixup(), toy(), config)
    cut = fit(CNN, NoMixup(), toy(), replace(config, patience=2))
    assert cut.stopped is not None and cut.stopped < 60
    assert cut.curve == whole.curve[: len(cut.curve)]
    assert cut.best == min(cut.curve, key=lambda r: (r.dev_error, r.dev_loss, r.step))


def test_on_step_is_told_of_the_last_step_and_no_more() -> None:
    seen: list[int] = []
    config = TrainConfig(steps=400, batch_size=7, lr=0.1, eval_every=1, patience=3)
    made = fit(CNN, NoMixup(), toy(), config, on_step=seen.append)
    assert made.stopped is not None
    assert seen == list(range(1, made.stopped + 1))


def test_who_asks_for_patience_gets_the_best_step_unless_told_otherwise() -> None:
    assert TrainConfig.of(MiniLM()).selection == "last"
    assert TrainConfig.of(MiniLM(), patience=0).selection == "last"
    assert TrainConfig.of(MiniLM(), patience=2).selection == "best_dev"
    assert TrainConfig.of(MiniLM(), patience=2, selection="last").selection == "last"


@pytest.mark.parametrize("value", [-1, 1.5])
def test_patience_is_a_whole_number(value: Any) -> None:
    with pytest.raises(AmpmixError, match=f"patience is {value}"):
        TrainConfig(patience=value)


# --- on the command line -----------------------------------------------------------------------

QUICK = ["--backbone", "cnn[embedding_dim=8,feature_maps=4]", "--batch-size", "8", "--lr", "0.05"]
STOP = ["--steps", "400", "--eval-every", "2", "--patience", "2"]


@pytest.fixture
def here(tmp_path: Path, serial: list[Any], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [f"a {w} film {i},{w}\n" for i in range(15) for w in ("good", "bad")]
    Path("films.csv").write_text("text,label\n" + "".join(rows))
    return tmp_path


def test_train_says_where_it_ended(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "films.csv", "--out", "model", *QUICK, *STOP]) == 0
    said = capsys.readouterr().out
    about = json.loads(Path("model/config.json").read_text())["about"]
    assert about["best_step"] + 4 == about["stopped"] < 400, "two readings after the best"
    assert "at most 400 steps" in said
    assert f"Ended at step {about['stopped']}: no improvement in the last 2 readings." in said
    card = Path("model/README.md").read_text()
    assert f"step at which training ended early: `{about['stopped']}`" in card


def test_compare_records_where_each_run_ended_and_its_progress_gets_to_the_end(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[tuple[float, float]] = []
    show = RunsProgress._show

    def watched(progress: RunsProgress) -> None:
        show(progress)
        task = progress._bar.tasks[0]
        shown.append((task.completed, task.total or 0))

    monkeypatch.setattr(RunsProgress, "_show", watched)
    command = ["compare", "films.csv", "--policies", "none,mixup", "--seeds", "2", "--out", "out"]
    assert main([*command, "--no-refit", *QUICK, *STOP]) == 0
    assert "at most 400 steps a run" in " ".join(capsys.readouterr().out.split())
    records = [json.loads(path.read_text()) for path in Path("out/records").iterdir()]
    stopped = [r["result"]["stopped"] for r in records if "curve" in r["result"]]
    assert len(stopped) == 4 and all(step < 400 for step in stopped)
    for record in records:
        if "curve" in record["result"]:
            assert record["result"]["curve"][-1]["step"] == record["result"]["stopped"]
            assert record["specification"]["training"]["patience"] == 2
    done = [completed for completed, _ in shown]
    assert done == sorted(done) and shown[-1][0] == shown[-1][1], "it ends full"


def test_a_run_that_ends_early_counts_as_done() -> None:
    """Also where a last message on its steps comes after its record, as from a worker."""
    progress = RunsProgress(1, 100, Console(file=io.StringIO()))
    record = type("Record", (), {"specification": {"policy": "none", "seed": 0}, "done": True})
    progress.on_step(("none", 0), 30)
    progress.on_record(("none", 0), record)
    progress.on_step(("none", 0), 34)
    assert progress._bar.tasks[0].completed == progress._bar.tasks[0].total == 1


def test_where_the_last_step_is_kept_there_are_five_readings() -> None:
    assert training_config.settings(MiniLM(), False).eval_every == 120
    assert training_config.settings(MiniLM(), False, patience=3).eval_every == 30, (
        "the best is kept"
    )
    assert training_config.settings(MiniLM(), False, steps=3).eval_every == 1
    assert training_config.settings(MiniLM(), False, eval_every=7).eval_every == 7
