"""Policies, backbones and data sets of anybody's: by object, by module:Class, by entry point."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ampmix
import forked
from ampmix import Classifier, Mixup, NoMixup, Plan, TextCNN
from ampmix._support.components import BACKBONES, POLICIES
from ampmix.cli.main import main
from ampmix.errors import AmpmixError
from ampmix.studies.plan import Run
from small_studies import CNN, STUDY, contents, write_study, write_texts

MINE = """
from dataclasses import dataclass
from typing import ClassVar
import ampmix
from ampmix.backbones.text_cnn import TextCNN

SHARE = 0.5

@dataclass(frozen=True)
class Half(ampmix.Mixup):
    "Mixup with half of the texts."
    name: ClassVar[str] = "half"
    alpha: float = SHARE

@dataclass(frozen=True)
class Small(TextCNN):
    "A small TextCNN."
    name: ClassVar[str] = "small"
    embedding_dim: int = 8
    feature_maps: int = 4

@dataclass(frozen=True)
class Films:
    "Films of mine."
    name: ClassVar[str] = "myfilms"

    def load(self):
        from pathlib import Path
        return ampmix.load_dataset(Path(__file__).with_name("films.csv"))
"""
SCRIPT = """
import ampmix

class Mine(ampmix.Mixup):
    name = "mine"

if __name__ == "__main__":
    print(ampmix.compare("films.csv", "out", policies=[ampmix.NoMixup(), Mine()], seeds=2,
                         backbone="CNN", steps=4, workers=2))
"""
QUICK = ["--seeds", "2", "--steps", "4", "--workers", "1"]


def run(folder: Path, *command: str, run: Any = forked.run) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=300)


def recorded(out: Path) -> dict[tuple[str, int], dict[str, Any]]:
    found = contents(out).values()
    return {(r["specification"]["policy"], r["specification"]["seed"]): r for r in found}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Texts, a module of one's own, and the installed package `films` with entry points."""
    write_texts(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    installed = tmp_path / "films-1.2.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: films\nVersion: 1.2\n")
    (installed / "entry_points.txt").write_text(
        "[ampmix.policies]\nhalf = mine:Half\nmixup = mine:Half\nbroken = nosuch:Thing\n"
        "other = mine:Half\n"
        "[ampmix.backbones]\nsmall = mine:Small\n[ampmix.datasets]\nmyfilms = mine:Films\n"
    )
    return tmp_path


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same as the current folder, and what is imported from there forgotten in the end."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield folder
    for name in {"mine", "own", "raising", "evil"} - before:
        sys.modules.pop(name, None)
    importlib.invalidate_caches()


# ------------------------------------------------------------------ by object


@pytest.mark.slow
def test_a_policy_of_a_script_is_compared_on_workers(folder: Path) -> None:
    (folder / "script.py").write_text(SCRIPT.replace("CNN", CNN))
    done = run(folder, "script.py")
    assert done.returncode == 0, done.stderr
    assert "mine: " in done.stdout and "Model: " in done.stdout
    found = recorded(folder / "out")
    assert set(found) == {(p, s) for p in ("tfidf-logreg", "none", "mine") for s in (0, 1)}
    for (policy, _), record in found.items():
        assert ("policy_source" in record["specification"]) == (policy == "mine")
    again = run(folder, "-m", "ampmix", "report", "out")
    assert again.returncode == 0, again.stderr
    assert "mine" in (folder / "out" / "report.md").read_text()


@pytest.mark.slow
def test_a_script_without_a_guard_is_told_of_it(folder: Path) -> None:
    guarded = SCRIPT.replace("CNN", CNN)
    (folder / "script.py").write_text(guarded.replace('if __name__ == "__main__":', "if True:"))
    done = run(folder, "script.py", run=subprocess.run)  # its workers must begin anew
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1  # the script's own, not the workers'
    assert 'if __name__ == "__main__":' in done.stderr.splitlines()[-1]


def test_without_workers_a_script_needs_no_guard(folder: Path) -> None:
    source = SCRIPT.replace("CNN", CNN).replace(", workers=2", "")
    (folder / "script.py").write_text(source.replace('if __name__ == "__main__":', "if True:"))
    assert run(folder, "script.py").returncode == 0


class Own(Mixup):
    name = "own"


def test_an_own_policy_trains_as_what_it_is(tmp_path: Path) -> None:
    """One that changes nothing of Mixup has Mixup's results to the bit."""
    path = write_texts(tmp_path)
    pieces: dict[str, Any] = {"backbone": CNN, "seeds": 2, "steps": 4}
    summary = ampmix.compare(path, tmp_path / "out", policies=[NoMixup(), Mixup(), Own()], **pieces)
    found = recorded(tmp_path / "out")
    for seed in range(2):
        assert found["own", seed]["result"] == found["mixup", seed]["result"]
    assert "own" in str(summary) and summary.trained == 8
    assert ampmix.compare(summary.plan, tmp_path / "out").trained == 0


def test_changed_source_is_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_texts(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    ids = []
    for name, text in (
        ("one", MINE),
        ("two", MINE + "\n# a remark at the end\n"),
        ("three", MINE.replace("SHARE = 0.5", "SHARE = 0.25")),
    ):
        Path(f"own_{name}.py").write_text(text)
        plan = Plan.of("films.csv", [f"own_{name}:Half[alpha=0.3]"], CNN, seeds=2, steps=4)
        ids.append(plan.run_id(Run("half[alpha=0.3]", 0)))
    assert ids[0] == ids[1] != ids[2]


# ------------------------------------------------------------------ by module:Class


def test_module_and_class_on_the_command_line_and_in_study_files(folder: Path) -> None:
    where = ["films.csv", "--backbone", "mine:Small", *QUICK, "--out", "out"]
    command = ["compare", *where, "--policies", "none,mine:Half[alpha=0.4]"]
    done = run(folder, "-m", "ampmix", *command)
    assert done.returncode == 0, done.stderr
    record = recorded(folder / "out")["half[alpha=0.4]", 1]
    assert record["specification"]["backbone"] == "small"
    assert {"policy_source", "backbone_source"} <= set(record["specification"])
    assert record["provenance"]["versions"]["films"] == "1.2"
    write_study(folder, STUDY.replace('"mixup"', '"mine:Half[alpha=0.4]"'))
    done = run(folder, "-m", "ampmix", "study", "small.toml", "--no-estimate", "--out", "study")
    assert done.returncode == 0, done.stderr
    assert ("half[alpha=0.4]", 1) in recorded(folder / "study")


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("nosuch:Thing", "nosuch:Thing cannot be imported (ModuleNotFoundError"),
        ("mine:Haff", "did you mean Half"),
        ("mine:SHARE", "is no class"),
        ("mine:Films", "is no subclass of ampmix's Policy"),
        ("mine:Half[beta=1]", "unknown option of policy mine:Half 'beta'"),
        ("raising:X", "cannot be imported (RuntimeError: on purpose"),
    ],
)
def test_what_cannot_be_had_is_one_sentence(
    here: Path, spec: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("raising.py").write_text("raise RuntimeError('on purpose')")
    assert main(["compare", "films.csv", "--policies", spec]) == 2
    said = capsys.readouterr().err
    assert told in said and said.count("\n") == 1


# ------------------------------------------------------------------ by entry point


@pytest.mark.slow
def test_entry_points_are_listed_and_compared(folder: Path) -> None:
    done = run(folder, "-m", "ampmix", "list")
    assert done.returncode == 0
    for shown in ("half[alpha=0.5,site=word", "small[", "myfilms (package films)"):
        assert shown in done.stdout
    assert "policy broken of the installed package films cannot be imported" in done.stderr
    assert "policy mixup too: that of ampmix is used" in done.stderr
    assert "calls itself 'half'" in done.stderr
    command = ["compare", "myfilms", "--policies", "none,half", "--backbone", "small", *QUICK]
    done = run(folder, "-m", "ampmix", *command, "--out", "out")
    assert done.returncode == 0, done.stderr
    record = recorded(folder / "out")["half", 0]
    assert record["provenance"]["versions"]["films"] == "1.2"
    command = ["predict", "out/model", "films.csv", "--text", "text", "--out", "labelled.csv"]
    done = run(folder, "-m", "ampmix", *command)
    assert done.returncode == 0, done.stderr
    assert run(folder, "-m", "ampmix", "report", "out").returncode == 0
    done = run(folder, "-m", "ampmix", "compare", "films.csv", "--policies", "broken")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


# ------------------------------------------------------------------ strangers


def test_a_model_folder_or_record_imports_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "evil.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(folder)
    for kind in (BACKBONES, POLICIES):
        for spec in ("evil:X", "os:system", "ampmix:MixupTrainer", "mine:Small"):
            with pytest.raises(AmpmixError):
                kind.parse(spec)
    assert "evil" not in sys.modules and "mine" not in sys.modules
    model = folder / "model"
    split = ampmix.split_train(ampmix.load_dataset(folder / "films.csv"), 0)
    config = ampmix.TrainConfig(steps=2, eval_every=1)
    ampmix.fit(TextCNN(embedding_dim=8, feature_maps=4), NoMixup(), split, config).classifier.save(
        model
    )
    content = json.loads((model / "config.json").read_text())
    content["backbone"] = "evil:X"
    del content["sha256"]
    (model / "config.json").write_text(json.dumps(content))
    with pytest.raises(AmpmixError, match="is not imported"):
        Classifier.load(model)


# ------------------------------------------------------------------ broken contracts

BREACHES = {
    "no name": ("class X(ampmix.Mixup): pass", "has the name 'mixup', as one of ampmix's own"),
    "odd name": ("class X(ampmix.Mixup): name = 'a b'", "has no name"),
    "not frozen": (
        "import abc\nfrom ampmix import Policy\nclass X(Policy):\n    name = 'x'",
        "does not define _train",
    ),
    "unhashable": ("class X(ampmix.Mixup):\n    name = 'x'\n    __hash__ = None", "not hashable"),
    "no default": (
        "@dataclass(frozen=True)\nclass X(ampmix.Mixup):\n    name: ClassVar[str] = 'x'\n"
        "    more: list = field(default_factory=list)",
        "has no default for its option more",
    ),
    "odd default": (
        "@dataclass(frozen=True)\nclass X(ampmix.Mixup):\n    name: ClassVar[str] = 'x'\n"
        "    more: object = None",
        "has the default None for its option more",
    ),
    "shape": (
        "class X(ampmix.Mixup):\n    name = 'x'\n    def _train(self, *a):\n"
        "        m = super()._train(*a)\n        return replace(m, loss=m.loss.mean())",
        "policy x gave a loss of shape [] for a batch of [",
    ),
    "no Mixed": (
        "class X(ampmix.Mixup):\n    name = 'x'\n    def _train(self, *a):\n        return 1.0",
        "policy x gave a float: it must return ampmix.Mixed",
    ),
    "raises": (
        "class X(ampmix.Mixup):\n    name = 'x'\n    def _train(self, *a):\n        return a.b",
        "policy x failed in line 7 of own.py (AttributeError",
    ),
}


@pytest.mark.parametrize("case", BREACHES)
def test_a_broken_contract_is_one_sentence(
    here: Path, case: str, serial: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    source, told = BREACHES[case]
    head = "import ampmix\nfrom dataclasses import *\nfrom typing import ClassVar\n"
    Path("own.py").write_text(head + source + "\n")
    command = ["compare", "films.csv", "--policies", "none,own:X", "--backbone", CNN, *QUICK]
    assert main(command) == 2
    (last,) = [line for line in capsys.readouterr().err.splitlines() if "ampmix: " in line]
    assert told in last


def test_a_class_that_no_worker_can_import_is_named(tmp_path: Path) -> None:
    class Inner(Mixup):
        name = "inner"

    plan = Plan.of(write_texts(tmp_path), [NoMixup(), Inner()], CNN, seeds=2, steps=2)
    with pytest.raises(AmpmixError, match=r"Inner cannot be had in a worker.*workers=0"):
        ampmix.compare(plan, tmp_path / "out", workers=1)
    assert ampmix.compare(plan, tmp_path / "out").trained == 6


def test_an_own_policy_on_ray(tmp_path: Path) -> None:
    """Ray takes the class along by value; the source was read here."""
    ray = pytest.importorskip("ray")
    from ampmix.studies.executors.on_ray import Ray

    class Inner(Mixup):
        name = "inner"

    plan = Plan.of(write_texts(tmp_path), [NoMixup(), Inner()], CNN, seeds=2, steps=2)
    study = ampmix.Study("own", "none", (plan,))
    try:
        outcome = ampmix.run_study(
            study, tmp_path / "out", lambda plans, models, _: Ray(plans, models, limit=1)
        )
    finally:
        ray.shutdown()
    assert not outcome.errors and outcome.trained == 6


# ------------------------------------------------------------------ what is told beside the result


class Silent(TextCNN):
    """A backbone that knows no name, neither the paper's nor its own in public."""

    name = "silent"

    @property
    def reference_name(self) -> str:
        raise RuntimeError("no name")

    @property
    def public_spec(self) -> str:
        raise RuntimeError("no spec")


class Nameless(Mixup):
    name = "nameless"

    @property
    def reference_name(self) -> str:
        raise RuntimeError("no name")


def test_no_name_that_fails_loses_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("no version")

    monkeypatch.setattr("ampmix.studies.plan.package_of", broken)
    monkeypatch.setattr("ampmix.models.classifier.card", broken)
    backbone = Silent(embedding_dim=8, feature_maps=4)
    plan = Plan.of(write_texts(tmp_path), [NoMixup(), Nameless()], backbone, seeds=2, steps=4)
    summary = ampmix.compare(plan, tmp_path / "out", keep_fold=True)
    assert summary.trained == 6 and not summary.unfinished
    found = recorded(tmp_path / "out")
    assert {r["result"]["status"] for r in found.values()} == {"done"}
    assert "printed_as" not in found["none", 0]["provenance"]
    model = Classifier.load(tmp_path / "out" / "model")
    assert model.predict(["a film"])[0] in model.classes
    assert "silent" in repr(model)
    assert main(["report", str(tmp_path / "out"), "--out", str(tmp_path / "page")]) == 0
    assert (tmp_path / "page" / "report.md").exists()
