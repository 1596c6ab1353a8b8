"""`ampmix study`: what a file means, what is refused, what is run, and that it is run once."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ampmix import load_records
from ampmix._support import components
from ampmix.cli.main import main
from ampmix.errors import AmpmixError
from ampmix.records.store import RunRecord
from ampmix.studies import baseline
from ampmix.studies.executors import InProcess, Task
from ampmix.studies.file import read
from ampmix.studies.plan import Plan, Run
from ampmix.studies.run import Watchers, run_study
from ampmix.studies.study import Study, build
from small_studies import CNN, STUDY, contents, digests, write_study, write_texts


def study_of(folder: Path, text: str = STUDY, **options: Any) -> Study:
    return build(read(write_study(folder, text)), **options)


def ampmix(*arguments: str) -> int:
    return main(["study", *arguments, "--executor", "here", "--no-estimate"])


def names(study: Study) -> set[tuple[str, str, str, float, float]]:
    return {
        (p.dataset.name, components.spec(p.backbone), policy, p.config.lr, p.fraction)
        for p in study.plans
        for policy in p.policy_names
    }


# ------------------------------------------------------------------ what a file means


def test_a_study_is_the_product_of_its_axes(tmp_path: Path) -> None:
    text = STUDY.replace("lr = 0.01", "lr = [0.01, 1]").replace(
        "seeds = 2", 'seeds = 2\nfractions = [1.0, 0.5]\nvectors = ""'
    )
    text = text.replace('"mixup"]', '"mixup", "amp[eps=0.1|0.2,site=word|sent]"]')
    study = study_of(tmp_path, text)
    policies = ["none", "mixup"]
    for eps in ("0.1", "0.2"):
        policies += [f"amp[eps={eps}]", f"amp[eps={eps},site=sent]"]
    expected = {
        ("films", CNN, policy, lr, fraction)
        for policy in policies
        for lr in (0.01, 1.0)
        for fraction in (1.0, 0.5)
    }
    assert names(study) == expected
    assert all(isinstance(plan.config.lr, float) for plan in study.plans)
    # 6 policies, 2 fractions, 2 lrs, 2 seeds; the baseline knows no lr
    assert len(study.tasks()) == 6 * 2 * 2 * 2 + 2 * 2


@pytest.mark.parametrize("seeds", range(2, 9))
def test_two_workers_end_within_the_shortest_run_of_each_other(tmp_path: Path, seeds: int) -> None:
    """The last policy's runs take longest: none of them is the last to begin."""
    text = STUDY.replace("seeds = 2", f"seeds = {seeds}").replace('"mixup"]', '"mixup", "amp"]')
    tasks = study_of(tmp_path, text).tasks()
    assert [task.run.seed for task in tasks] == sorted(task.run.seed for task in tasks)
    seconds = {baseline.NAME: 0.1, "none": 10.0, "mixup": 10.0, "amp": 17.0}
    assert {task.run.policy for task in tasks} == set(seconds)
    busy = [0.0, 0.0]
    for task in tasks:
        busy[busy.index(min(busy))] += seconds[task.run.policy]
    assert abs(busy[0] - busy[1]) <= 10.2
    assert tasks[0].run == Run(baseline.NAME, 0), "the cheap model is known first"


def test_grids_take_from_the_top_what_they_do_not_say(tmp_path: Path) -> None:
    text = f"""
policies = ["none"]
datasets = "films.csv"
seeds = 2
[training]
steps = 6
lr = 0.01
[[grid]]
backbones = "{CNN}"
[[grid]]
backbones = "{CNN}"
policies = ["none", "amp"]
training.lr = 0.02
"""
    study = study_of(tmp_path, text)
    assert study.name == "small"  # the file's
    assert names(study) == {
        ("films", CNN, "none", 0.01, 1.0),
        ("films", CNN, "none", 0.02, 1.0),
        ("films", CNN, "amp", 0.02, 1.0),
    }
    assert {plan.config.steps for plan in study.plans} == {6}


def test_runs_go_seed_by_seed_and_each_is_one_once(tmp_path: Path) -> None:
    text = STUDY + '\n[[grid]]\n[[grid]]\npolicies = ["mixup", "amp"]\n'
    study = study_of(tmp_path, text)
    tasks = study.tasks()
    assert [task.run.seed for task in tasks] == sorted(task.run.seed for task in tasks)
    runs = [(task.run.policy, task.run.seed) for task in tasks]
    policies = (baseline.NAME, "none", "mixup", "amp")
    assert sorted(runs) == sorted((policy, seed) for policy in policies for seed in (0, 1))


def test_the_same_ids_as_compare_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What compare has done is not done again."""
    write_study(tmp_path)
    monkeypatch.chdir(tmp_path)
    options = ["--backbone", CNN, "--steps", "4", "--eval-every", "2", "--lr", "0.01"]
    compare = ["compare", "films.csv", "--policies", "none,mixup", "--seeds", "2", "--out", "out"]
    assert main([*compare, *options]) == 0
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "records").iterdir()}
    outcome = run_study(study_of(tmp_path), tmp_path / "out", InProcess, Watchers([]))
    assert outcome.trained == 0
    assert len(outcome.records) == 6
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "records").iterdir()} == before


def test_defaults_are_those_of_compare(tmp_path: Path) -> None:
    study = study_of(tmp_path, 'datasets = ["films.csv"]\npolicies = ["none"]\n')
    (plan,) = study.plans
    assert (plan.config.steps, plan.config.eval_every, plan.seeds) == (1500, 75, 5)
    assert components.spec(plan.backbone) == "cnn"


def test_folds_are_for_data_without_a_test_set(tmp_path: Path) -> None:
    write_texts(tmp_path)
    text = STUDY.replace("seeds = 2", "seeds = 2\nfolds = 3").replace(
        '["films.csv"]', '["films.csv", {file = "films.csv", test = "films.csv"}]'
    )
    study = study_of(tmp_path, text)
    assert {plan.seeds: plan.cross_validated for plan in study.plans} == {3: True, 2: False}


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("seeds", "seedz"), "unknown key of a study 'seedz': did you mean seeds?"),
        (("lr =", "learning_rate ="), "unknown training setting of a study 'learning_rate'"),
        (("steps = 4", "stesp = 4"), "did you mean steps"),
        (('["none", "mixup"]', "[]"), "policies is empty"),
        (("lr = 0.01", "lr = []"), "lr is empty"),
        (('"mixup"]', '"none"]'), "policies has 'none' twice"),
        (('"mixup"]', "3]"), "policies has 3"),
        (("seeds = 2", "seeds = 0"), "seeds is 0"),
        (("seeds = 2", 'seeds = "2"'), "seeds is '2'"),
        (("seeds = 2", 'fractions = ["all"]'), "fractions has 'all'"),
        (("seeds = 2", "redraw = 1"), "redraw is '1': it is true or false"),
        (("seeds = 2", 'models = "all"'), "did you mean|there are none, best"),
        (("seeds = 2", "grid = 3"), "grid is 3"),
        (('["films.csv"]', '[{flie = "films.csv"}]'), "datasets has"),
        (('["films.csv"]', '[{file = "films.csv", txet = "text"}]'), "did you mean text"),
        (('name = "small"', 'name = "../up"'), "name is '../up'"),
        (("seeds = 2", "seeds = 2 2"), "is not TOML"),
        (('policies = ["none", "mixup"]', ""), "no policies"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_file_is_refused_in_one_sentence(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    assert change[0] in STUDY
    path = write_study(tmp_path, STUDY.replace(*change))
    with pytest.raises(AmpmixError, match=re.compile(message)) as caught:
        read(path)
    assert "\n" not in str(caught.value) or "TOML" in str(caught.value)


def test_there_must_be_a_file(tmp_path: Path) -> None:
    with pytest.raises(AmpmixError, match="cannot read the study"):
        read(tmp_path / "none.toml")


BROKEN = STUDY.replace('"mixup"]', '"mixup", "amp[site=wrod]"]').replace(
    "backbones = [", 'backbones = ["cnn[vectors=nowhere.txt]", '
)


def test_all_that_cannot_run_is_named_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(AmpmixError, match="2 combinations cannot run") as caught:
        study_of(tmp_path, BROKEN)
    assert "did you mean word" in str(caught.value)
    assert "nowhere.txt" in str(caught.value)
    assert "--skip-invalid" in str(caught.value)


def test_one_that_cannot_run_is_told_of_as_one(tmp_path: Path) -> None:
    text = STUDY.replace('"mixup"]', '"amp[site=wrod]"]')
    with pytest.raises(AmpmixError, match="^1 combination cannot run; .* leave it out with"):
        study_of(tmp_path, text)


def test_what_cannot_run_can_be_left_out(tmp_path: Path) -> None:
    study = study_of(tmp_path, BROKEN, skip_invalid=True)
    assert names(study) == {("films", CNN, policy, 0.01, 1.0) for policy in ("none", "mixup")}
    assert len(study.refused) == 2


@pytest.mark.parametrize("setting", ["steps = true", 'lr = "high"', "steps = 1.5"])
def test_settings_have_the_type_they_have(tmp_path: Path, setting: str) -> None:
    key = setting.split()[0]
    text = re.sub(rf"^{key} = .*$", setting, STUDY, flags=re.MULTILINE)
    with pytest.raises(AmpmixError, match=f"training.{key} is"):
        study_of(tmp_path, text)


def test_no_data_is_said_once_for_each_combination(tmp_path: Path) -> None:
    with pytest.raises(AmpmixError, match=r"unknown data set 'tred': did you mean trec"):
        study_of(tmp_path, STUDY.replace("films.csv", "tred"))


# ------------------------------------------------------------------ the command


def test_a_dry_run_says_what_and_how_long_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_study(tmp_path)
    assert main(["study", str(path), "--dry-run", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "2 folds, 4 steps: 6 runs\n" in said
    assert "small: 6 runs, 1 comparison\n" in said
    assert "\n6 runs are left: about " in said
    assert re.search(r"\(\d of 3 kinds of run measured\)", said)
    assert not (tmp_path / "out").exists()


def test_models_that_are_solved_for_take_no_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = STUDY.replace(f'["{CNN}"]', '"tfidf-logreg"').replace('["none", "mixup"]', '"none"')
    path = write_study(tmp_path, text)
    assert main(["study", str(path), "--dry-run", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert re.search(r"tfidf-logreg: none[^\n]*; 2 folds: 2 runs\n", said)
    assert "runs are left: about " in said


def test_it_runs_once_and_says_how_it_went(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = write_study(tmp_path), tmp_path / "out"
    assert ampmix(str(path), "--out", str(out)) == 0
    assert "6 of 6 runs are done, 6 of them now" in capsys.readouterr().out
    made = digests(out)
    assert len(made) == 6
    listed = json.loads((out / "study.json").read_text())
    assert {f"{run}.json" for plan in listed["plans"] for run in plan["runs"]} == set(made)
    assert not (out / "models").exists()
    assert not any((out / "locks").iterdir())
    assert ampmix(str(path), "--out", str(out)) == 0
    said = capsys.readouterr().out
    assert f"All 6 runs are recorded in {out}." in said
    assert "6 of 6 runs are done, 0 of them now" in said
    assert digests(out) == made
    (out / "records" / min(made)).unlink()
    assert main(["study", str(path), "--dry-run", "--out", str(out)]) == 0
    assert "\n1 run is left: about " in capsys.readouterr().out


def test_options_go_before_the_file_and_smoke_has_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_study(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert ampmix(str(path), "--smoke") == 0
    made = contents(tmp_path / "ampmix-runs" / "small-smoke")
    steps = {m["specification"].get("training", {}).get("steps") for m in made.values()}
    assert steps == {None, 4}
    assert {m["specification"]["folds"] for m in made.values()} == {2}
    assert ampmix(str(path), "--steps", "3", "--seeds", "3") == 0
    made = contents(tmp_path / "ampmix-runs" / "small")
    steps = {m["specification"].get("training", {}).get("steps") for m in made.values()}
    assert steps == {None, 3}
    assert len(made) == 3 * 3


def test_diverged_runs_are_recorded_counted_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_study(tmp_path, STUDY.replace("0.01", "1e30"))
    assert ampmix(str(path), "--out", str(tmp_path / "out")) == 0
    captured = capsys.readouterr()
    assert "2 of 6 runs are done, 6 of them now" in captured.out
    assert captured.out.count("failed: films") == 4
    assert "4 failed" in captured.err or "the training loss is" in captured.err
    frame = load_records(tmp_path / "out")
    assert frame["status"].value_counts().sort("status").rows() == [("done", 2), ("failed", 4)]
    failed = frame.filter(pl.col("status") == "failed")
    assert failed["error"].str.contains("step").all()
    assert failed["test_error"].is_null().all()


class Told:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Task]] = []

    def on_start(self, task: Task) -> None:
        self.events.append(("start", task))

    def on_step(self, task: Task, step: int) -> None:
        pass

    def on_lost(self, task: Task) -> None:
        self.events.append(("lost", task))

    def on_record(self, task: Task, record: RunRecord) -> None:
        self.events.append(("record", task))

    def on_failure(self, task: Task, error: str) -> None:
        self.events.append((f"failure {error}", task))


def test_what_a_run_raises_is_kept_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, out, told = study_of(tmp_path), tmp_path / "out", Told()
    execute = Plan.execute

    def broken(self: Plan, run: Run, *more: Any) -> RunRecord:
        if run == Run("mixup", 1):
            raise RuntimeError("out of memory")
        return execute(self, run, *more)

    with monkeypatch.context() as patch:
        patch.setattr(Plan, "execute", broken)
        outcome = run_study(study, out, InProcess, told)
    assert [task.run for task in outcome.errors] == [Run("mixup", 1)]
    assert set(outcome.errors.values()) == {"RuntimeError: out of memory"}
    assert len(outcome.records) == len(digests(out)) == 5
    assert ("failure RuntimeError: out of memory", Task(0, Run("mixup", 1))) in told.events
    (note,) = (out / "failures").iterdir()
    assert "in broken" in json.loads(note.read_text())["trace"]

    outcome = run_study(study, out, InProcess, told)
    assert (outcome.trained, dict(outcome.errors)) == (1, {})
    assert not list((out / "failures").iterdir())


def test_the_best_models_of_one_seed_are_kept_if_asked_for(tmp_path: Path) -> None:
    """Policies of other seeds differ by more than the policy."""
    study = study_of(tmp_path, STUDY.replace("seeds = 2", 'seeds = 4\nmodels = "best"'))
    run_study(study, tmp_path / "out", InProcess, Watchers([]))

    def kept() -> set[str]:
        return {path.name for path in (tmp_path / "out" / "models").iterdir()}

    sums: dict[int, list[float]] = {}
    for content in contents(tmp_path / "out").values():
        specification, result = content["specification"], content["result"]
        if "dev_error" in result:
            own = sums.setdefault(specification["seed"], [0.0, 0.0, specification["seed"]])
            own[0] += result["dev_error"]
            own[1] += result["dev_loss"]
    seed = min(sums, key=lambda seed: sums[seed])
    expected = {study.plans[0].run_id(Run(policy, seed)) for policy in ("none", "mixup")}
    assert kept() == expected
    # removed weights are made again
    for path in (tmp_path / "out" / "models").iterdir():
        path.rename(tmp_path / path.name)
    run_study(study, tmp_path / "out", InProcess, Watchers([]))
    assert kept() == expected
    for name in kept():
        file = "model.safetensors"
        again = (tmp_path / "out" / "models" / name / file).read_bytes()
        assert again == (tmp_path / name / file).read_bytes()


def test_records_of_several_machines_merge_by_copying(tmp_path: Path) -> None:
    whole = study_of(tmp_path)
    for name, policies in (("one", '["none"]'), ("two", '["mixup"]')):
        part = study_of(tmp_path, STUDY.replace('["none", "mixup"]', policies))
        run_study(part, tmp_path / name, InProcess, Watchers([]))
    merged = tmp_path / "merged" / "records"
    merged.mkdir(parents=True)
    for name in ("one", "two"):
        for path in (tmp_path / name / "records").iterdir():
            (merged / path.name).write_bytes(path.read_bytes())
    assert run_study(whole, tmp_path / "merged", InProcess, Watchers([])).trained == 0
    run_study(whole, tmp_path / "alone", InProcess, Watchers([]))
    assert digests(tmp_path / "merged") == digests(tmp_path / "alone")


# ------------------------------------------------------------------ a table of records


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("done")
    run_study(study_of(folder), folder / "out", InProcess, Watchers([]))
    return folder / "out"


def check_frame(frame: pl.DataFrame, out: Path, leave: Sequence[str] = ()) -> None:
    expected = {n.removesuffix(".json"): c for n, c in contents(out).items() if n not in leave}
    assert set(frame["run"]) == set(expected)
    for row in frame.iter_rows(named=True):
        content = expected[row["run"]]
        for key in ("dataset", "policy", "seed", "fraction", "folds"):
            assert row[key] == content["specification"][key]
        for key in ("test_error", "test_wrong", "status", "split_hash"):
            assert row[key] == content["result"][key]
        training = content["specification"].get("training", {"lr": None})
        assert row["training.lr"] == training["lr"]
        assert row["provenance.seconds"] == content["provenance"]["seconds"]
        assert row["curve"] == content["result"].get("curve")


def test_records_are_read_as_a_table(done: Path) -> None:
    check_frame(load_records(done), done)
    check_frame(load_records(str(done / "records")), done)


def test_records_are_read_from_a_url(done: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for path in (done / "records").iterdir():
        memory.pipe(f"/bucket/records/{path.name}", path.read_bytes())
    check_frame(load_records("memory://bucket"), done)
    check_frame(load_records("memory://bucket/records/"), done)
    check_frame(load_records(f"file://{done}"), done)
    with pytest.raises(AmpmixError, match="no records in memory://elsewhere"):
        load_records("memory://elsewhere")
    with pytest.raises(AmpmixError, match="cannot read nosuch://x"):
        load_records("nosuch://x")


def test_damaged_records_are_left_aside_and_named(done: Path, tmp_path: Path) -> None:
    folder = tmp_path / "records"
    folder.mkdir()
    for path in (done / "records").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    truncated, altered, older = sorted(folder.iterdir())[:3]
    truncated.write_bytes(truncated.read_bytes()[:100])
    altered.write_text(altered.read_text().replace('"seed": ', '"seed": 1'))
    older.write_text(older.read_text().replace('"format": 1', '"format": 0'))
    with pytest.warns(UserWarning) as warned:
        frame = load_records(tmp_path)
    bad = (truncated.name, altered.name, older.name)
    assert all(name in str(warned[0].message) for name in bad)
    assert len(frame) == 3
    check_frame(frame, done, leave=bad)


def test_no_folder_is_an_error_and_an_empty_one_an_empty_table(tmp_path: Path) -> None:
    with pytest.raises(AmpmixError, match="no records in"):
        load_records(tmp_path / "nowhere")
    assert load_records(tmp_path).is_empty()
